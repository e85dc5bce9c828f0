"""What more votes would bring, predicted from few: the spread of a question's answers.

A question's draws are first right or wrong, at a rate with the posterior of
`dwell.laws.success_rates`. Among the wrong ones answers repeat, more or less: they are draws from
a Pitman-Yor process with concentration `theta` and discount `d` (Pitman and Yor, The
Two-Parameter Poisson-Dirichlet Distribution, 1997), and so are the right ones, of which there may
be several (equivalent programs). How much they repeat differs from question to question: each has
its own (theta, d) on a lattice. The weights of the lattice are learned from all questions, and
drawn anew for each future, as Dirichlet shares of that many questions.

Given seen counts `n_1 .. n_A`, the shares of these answers and of all unseen ones together are

    (w_1, .., w_A, rest) ~ Dirichlet(n_1 - d, .., n_A - d, theta + d A),

and the rest is broken by sticks `Beta(1 - d, theta + d (A + j))`. Futures are drawn from that and
voted on: a leader by a narrow margin may lose, and an answer that was never seen may win.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from dwell.errors import UsageError
from dwell.laws.success_rates import (
    Forecast,
    SuccessRates,
    checked_budgets,
    fit_success_rates,
)
from dwell.metrics.voting import vote_at_k

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# The lattice reaches from "always the same wrong answer" to "hardly ever the same twice".
_THETAS = np.geomspace(0.03, 100.0, 12)
_DISCOUNTS = np.array([0.0, 0.25, 0.5, 0.75])
_THETA, _DISCOUNT = (grid.ravel() for grid in np.meshgrid(_THETAS, _DISCOUNTS, indexing="ij"))
# Unseen answers that may come to lead; what the sticks leave is too thin to win a vote.
_STICKS = 6
_EM_STEPS = 60
_NUM_FUTURES = 400
# Doubles in the shares of one batch of futures: about 16 MB.
_BATCH_SIZE = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRates:
    """The posterior over answers' shares, and what votes it predicts.

    Attributes:
        success: posterior of the rates of right draws.
        right: seen right answers.
        wrong: seen wrong answers, the abstentions last.
        counts: `[P, A]` seen draws of each answer, as they were given.
        payoff: `[P, A]` 1 for a right answer, 0 for a wrong one.
    """

    success: SuccessRates
    right: _Group
    wrong: _Group
    counts: IntArray
    payoff: FloatArray

    def predict(self, k: npt.ArrayLike, *, level: float = 0.9) -> Forecast:
        """Accuracy of a plurality vote among `k` draws of each seen question (maj@k).

        Args:
            k: draws of each question, the seen ones included, one number or `[P]`. A question
                with n >= k seen draws has the exact `vote_at_k` of these.
            level: probability that the band is to hold.

        Returns:
            Expected accuracy and band, in `[0, 1]`; ties are broken evenly. The band is for the
            accuracy of the votes that *are* taken once the draws are made.

        Raises:
            UsageError: `k` is negative or not whole, or has the wrong length, or `level` is not
                between 0 and 1.

        Examples:
            >>> rates = fit_answer_rates([[3, 1], [2, 2], [1, 3]], [[1, 0]] * 3, [4, 4, 4])
            >>> forecast = rates.predict(64)
            >>> forecast.low < forecast.value < forecast.high
            True
        """
        seen = self.success.num_samples
        budgets = checked_budgets(k, len(seen), level)
        is_open = np.flatnonzero(seen < budgets)
        sure = self._sure_votes(budgets)
        if not len(is_open):
            share = sure / len(seen)
            return Forecast(value=share, low=share, high=share, level=level)
        votes = self._futures(is_open, (budgets - seen)[is_open])
        totals = (sure + votes.sum(axis=1)) / len(seen)
        tail = 0.5 * (1.0 - level)
        low = float(np.quantile(totals, tail, method="inverted_cdf"))
        high = float(np.quantile(totals, 1.0 - tail, method="inverted_cdf"))
        return Forecast(value=float(totals.mean()), low=low, high=high, level=level)

    def _sure_votes(self, budgets: IntArray) -> float:
        """Sum of the votes of questions that have enough draws."""
        seen, total = self.success.num_samples, 0.0
        for k in np.unique(budgets[(seen >= budgets) & (budgets > 0)]):
            mine = (budgets == k) & (seen >= k)
            votes = vote_at_k(self.counts[mine], self.payoff[mine], seen[mine], int(k))
            total += float(votes.sum())
        return total

    def _futures(self, chosen: IntArray, more: IntArray) -> FloatArray:
        """`[R, Q]` votes of the chosen questions after `more [Q]` further draws."""
        rng = np.random.default_rng(0)
        rates = self.success.draw_rates(rng, _NUM_FUTURES)[:, chosen]
        width = self.right.width + self.wrong.width
        size = max(1, _BATCH_SIZE // (len(chosen) * width))
        votes = np.empty(rates.shape)
        for start in range(0, _NUM_FUTURES, size):
            part = slice(start, start + size)
            hits = rng.binomial(more, rates[part])
            right, right_level = self.right.leaders(chosen, hits, rng)
            wrong, wrong_level = self.wrong.leaders(chosen, more - hits, rng)
            shared = right_level / np.maximum(right_level + wrong_level, 1)
            tied = np.where((right == wrong) & (right > 0), shared, 0.0)
            votes[part] = np.where(right > wrong, 1.0, tied)
        return votes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Answers of one kind: `counts [P, A]`, of which the last may abstain.

    `likelihood [P, H]` is that of each point of the lattice for each question, up to a factor;
    `shares [H]` how many questions are at each point, by expectation.
    """

    counts: IntArray
    last_abstains: bool
    likelihood: FloatArray
    shares: FloatArray

    @property
    def width(self) -> int:
        """Numbers that are held for a question at once."""
        return int(self.counts.shape[1]) + _STICKS + 1 + len(_THETA)

    def leaders(
        self, chosen: IntArray, more: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        """`[R, Q]` votes of the leading answer and how many lead, after `more [R, Q]` draws."""
        counts = self.counts[chosen]
        futures = rng.multinomial(more, self._shares(chosen, len(more), rng))
        votes = futures[..., :-1]  # the last share is dust: answers too rare to matter
        votes[..., : counts.shape[1]] += counts
        if self.last_abstains:
            votes[..., counts.shape[1] - 1] = 0
        top = votes.max(axis=-1)
        return top, (votes == top[..., None]).sum(axis=-1)

    def _shares(self, chosen: IntArray, num: int, rng: np.random.Generator) -> FloatArray:
        """`[R, Q, A + sticks + 1]` shares of the seen answers, of new ones, and of the dust."""
        prior = rng.dirichlet(self.shares, num)[:, None]
        reached = np.cumsum(self.likelihood[chosen] * prior, axis=-1)
        uniform = rng.random((num, len(chosen), 1)) * reached[..., -1:]
        point = np.minimum((reached <= uniform).sum(axis=-1), len(_THETA) - 1)
        theta, discount = _THETA[point], _DISCOUNT[point]
        counts = self.counts[chosen]
        weights = rng.standard_gamma(np.maximum(counts - discount[..., None], 0.0))
        num_seen = (counts > 0).sum(axis=1)
        unseen = theta + discount * num_seen
        rest = np.maximum(rng.standard_gamma(unseen), 1e-300)
        total = weights.sum(axis=-1) + rest
        order = np.arange(1, _STICKS + 1)
        sticks = rng.beta(
            (1.0 - discount)[..., None], unseen[..., None] + order * discount[..., None]
        )
        left = np.cumprod(1.0 - sticks, axis=-1)
        pieces = sticks * np.concatenate([np.ones((*left.shape[:-1], 1)), left[..., :-1]], -1)
        new = np.concatenate([pieces, left[..., -1:]], axis=-1) * rest[..., None]
        shares = np.concatenate([weights, new], axis=-1) / total[..., None]
        return np.asarray(shares / shares.sum(axis=-1, keepdims=True), np.float64)


def fit_answer_rates(
    counts: npt.ArrayLike, correct: npt.ArrayLike, num_samples: npt.ArrayLike
) -> AnswerRates:
    """Infer the shares of questions' answers from few draws; arguments as for `vote_at_k`.

    Args:
        counts: `[P, A]` draws with each distinct answer, 0 where a question has fewer answers.
        correct: `[P, A]` correctness of each answer; from 0.5 on it counts as right.
        num_samples: `[P]` draws; what exceeds the sum of counts abstains and is wrong.

    Returns:
        The posterior; the same for the same arguments.

    Raises:
        UsageError: shapes differ, counts exceed `num_samples`, or there are no draws.
    """
    seen, size = np.asarray(counts, np.int64), np.asarray(num_samples, np.int64)
    payoff = np.asarray(correct, np.float64)
    if seen.ndim != 2 or payoff.shape != seen.shape or size.shape != seen.shape[:1]:
        raise UsageError(
            "`counts` and `correct` must be tables of one row a question, with one number in "
            f"`num_samples` for each, but got shapes {seen.shape}, {payoff.shape}, {size.shape}. "
            "Use what `dwell.metrics.answer_counts` returns."
        )
    silent = size - seen.sum(axis=1)
    if np.any(seen < 0) or np.any(silent < 0):
        raise UsageError(
            "Counts of answers must add up to at most `num_samples`, but question "
            f"{int(np.argmax((silent < 0) | np.any(seen < 0, axis=1)))} does not. "
            "Count each draw once."
        )
    is_right = payoff >= 0.5
    right, wrong = np.where(is_right, seen, 0), np.where(is_right, 0, seen)
    with_silent = np.concatenate([wrong, silent[:, None]], axis=1)
    return AnswerRates(
        success=fit_success_rates(size, right.sum(axis=1)),
        right=_group(right, last_abstains=False),
        wrong=_group(with_silent, last_abstains=True),
        counts=seen,
        payoff=is_right.astype(np.float64),
    )


def _group(counts: IntArray, *, last_abstains: bool) -> _Group:
    """A group whose (theta, d) are learned from all its questions.

    Empirical Bayes by expectation-maximisation, with one more question's worth of even prior.
    """
    log_likelihood = _log_partition(counts)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    shares = np.ones(len(_THETA))
    for _ in range(_EM_STEPS):
        posterior = likelihood * shares
        posterior /= posterior.sum(axis=1, keepdims=True)
        shares = posterior.sum(axis=0) + 1.0 / len(shares)
    return _Group(counts=counts, last_abstains=last_abstains, likelihood=likelihood, shares=shares)


def _log_partition(counts: IntArray) -> FloatArray:
    """`[P, H]` log-probability of the sizes of the seen answers (Pitman and Yor).

    `prod_{i=1}^{A-1} (theta + i d)  /  prod_{i=1}^{n-1} (theta + i)  *  prod_a (1-d)_{n_a - 1}`
    """
    num, kinds = counts.sum(axis=1), (counts > 0).sum(axis=1)
    steps = np.arange(1, max(int(kinds.max(initial=0)), 2))
    new = np.cumsum(np.log(_THETA[:, None] + steps * _DISCOUNT[:, None]), axis=1)
    new = np.concatenate([np.zeros((len(_THETA), 1)), new], axis=1)
    opened = new[:, np.maximum(kinds - 1, 0)].T
    drawn = gammaln(_THETA + np.maximum(num, 1)[:, None]) - gammaln(_THETA + 1.0)
    repeats = np.zeros((len(counts), len(_DISCOUNTS)))
    for place, discount in enumerate(_DISCOUNTS):
        each = gammaln(np.maximum(counts, 1) - discount) - gammaln(1.0 - discount)
        repeats[:, place] = np.where(counts > 0, each, 0.0).sum(axis=1)
    return np.asarray(opened - drawn + np.tile(repeats, len(_THETAS)), np.float64)

"""What more votes would bring, predicted from few: the spread of a question's answers.

A question's draws are first right or wrong, at a rate with the posterior of
`dwell.laws.success_rates`. Wrong answers repeat, more or less, and so do right ones, of which
there may be several (equivalent programs): `dwell.laws.answer_repeats`. No answer at all counts
as one of the wrong ones, but wins no vote.

Whether wrong answers repeat more where draws are seldom right (all fall into the same trap) or
less (all are guesses) differs between models and tasks, and few draws hardly tell. So it is not
assumed: the log weight of a point of the lattice is tilted by `slope * z(rate) * z(repeats)`, with
normal scores z of the rate and of the log odds that two wrong answers agree, and the slope has a
posterior of its own. All questions of a future share it, so that it widens the band where a mean
over questions would hide it.

Futures are drawn from all that and voted on: a leader by a narrow margin may lose, and an answer
that was never seen may win.

Letters: `P` questions, `Q` open ones, `A` answers, `G` rates, `R` futures, `L` slopes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.laws.answer_repeats import FloatArray, IntArray, Repeats, repeats_of
from dwell.laws.success_rates import (
    Forecast,
    SuccessRates,
    checked_budgets,
    fit_success_rates,
)
from dwell.metrics.voting import vote_at_k

_NUM_FUTURES = 400
# Doubles in the shares of one batch of futures: about 16 MB.
_BATCH_SIZE = 2_000_000
# Slopes of how repeats follow rates, and the deviation of their normal prior: a slope of 0.7 is a
# rank correlation of about 0.5.
_SLOPES = np.linspace(-2.1, 2.1, 31)
_SLOPE_DEVIATION = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRates:
    """The posterior over answers' shares, and what votes it predicts.

    Attributes:
        success: posterior of the rates of right draws.
        right: seen right answers.
        wrong: seen wrong answers, the abstentions last.
        scores: `[G]` normal score of each rate among those of the seen questions.
        slopes: `[L]` probability of each slope of repeats on rates.
        counts: `[P, A]` seen draws of each answer, as they were given.
        payoff: `[P, A]` 1 for a right answer, 0 for a wrong one.
    """

    success: SuccessRates
    right: Repeats
    wrong: Repeats
    scores: FloatArray
    slopes: FloatArray
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
        slope = rng.choice(_SLOPES, (_NUM_FUTURES, 1), p=self.slopes)
        grid = np.exp(self.success.grid.log_hit)
        tilt = slope * self.scores[np.searchsorted(grid, rates)]
        width = self.right.width + self.wrong.width
        size = max(1, _BATCH_SIZE // (len(chosen) * width))
        votes = np.empty(rates.shape)
        for start in range(0, _NUM_FUTURES, size):
            part = slice(start, start + size)
            hits = rng.binomial(more, rates[part])
            right, right_level = self.right.leaders(chosen, hits, rng)
            wrong, wrong_level = self.wrong.leaders(chosen, more - hits, rng, tilt[part])
            shared = right_level / np.maximum(right_level + wrong_level, 1)
            tied = np.where((right == wrong) & (right > 0), shared, 0.0)
            votes[part] = np.where(right > wrong, 1.0, tied)
        return votes


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
    counts_right, counts_wrong = np.where(is_right, seen, 0), np.where(is_right, 0, seen)
    success = fit_success_rates(size, counts_right.sum(axis=1))
    wrong = repeats_of(np.concatenate([counts_wrong, silent[:, None]], axis=1), last_abstains=True)
    each = success.posteriors()
    scores = _normal_scores(each.mean(axis=0))
    return AnswerRates(
        success=success,
        right=repeats_of(counts_right, last_abstains=False),
        wrong=wrong,
        scores=scores,
        slopes=_slope_posterior(each, scores, wrong),
        counts=seen,
        payoff=is_right.astype(np.float64),
    )


def _normal_scores(shares: FloatArray) -> FloatArray:
    """`[G]` normal quantile of the middle of each rate's place among all rates."""
    middle = np.cumsum(shares) - 0.5 * shares
    return np.asarray(scipy.special.ndtri(np.clip(middle, 1e-4, 1.0 - 1e-4)), np.float64)


def _slope_posterior(rates: FloatArray, scores: FloatArray, wrong: Repeats) -> FloatArray:
    """`[L]` probability of each slope, given all seen wrong answers.

    The weights of the lattice are those without a slope: scores are centred, so a slope moves
    questions apart and hardly the whole.

    Args:
        rates: `[P, G]` posterior of each question's rate.
        scores: `[G]` of the rates.
        wrong: the wrong answers.
    """
    log_posterior = -0.5 * (_SLOPES / _SLOPE_DEVIATION) ** 2
    for place, slope in enumerate(_SLOPES):
        prior = wrong.shares * np.exp(slope * scores[:, None] * wrong.scores)
        prior /= prior.sum(axis=1, keepdims=True)
        log_posterior[place] += np.log(((rates @ prior) * wrong.likelihood).sum(axis=1)).sum()
    weights = np.exp(log_posterior - log_posterior.max())
    return np.asarray(weights / weights.sum(), np.float64)

"""How answers to a question repeat: what is drawn next, given what was seen.

Answers of one kind (right ones, or wrong ones) are draws from a Pitman-Yor process with
concentration `theta` and discount `d` (Pitman and Yor, The Two-Parameter Poisson-Dirichlet
Distribution, 1997). How much they repeat differs from question to question: each has its own
(theta, d) on a lattice, whose weights are learned from all questions.

Given seen counts `n_1 .. n_A`, the shares of these answers and of all unseen ones together are

    (w_1, .., w_A, rest) ~ Dirichlet(n_1 - d, .., n_A - d, theta + d A),

and the rest is broken by sticks `Beta(1 - d, theta + d (A + j))`.

Letters: `P` questions, `Q` chosen ones, `A` answers, `H` points of the lattice, `R` futures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# The lattice reaches from "always the same wrong answer" to "hardly ever the same twice".
_THETAS = np.geomspace(0.03, 100.0, 12)
_DISCOUNTS = np.array([0.0, 0.25, 0.5, 0.75])
_THETA, _DISCOUNT = (grid.ravel() for grid in np.meshgrid(_THETAS, _DISCOUNTS, indexing="ij"))
# Log odds that two draws of unseen answers agree: (1 - d) / (1 + theta) as odds.
_LOG_AGREEMENT = np.log((1.0 - _DISCOUNT) / (_THETA + _DISCOUNT))
# Unseen answers that may come to lead; what the sticks leave is too thin to win a vote.
_STICKS = 6
_EM_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """Answers of one kind, and how much they may repeat.

    Attributes:
        counts: `[P, A]` seen draws of each answer.
        last_abstains: whether the last answer is none at all, which uses draws and wins no vote.
        likelihood: `[P, H]` of each point of the lattice for each question, up to a factor.
        shares: `[H]` how many questions are at each point, by expectation.
    """

    counts: IntArray
    last_abstains: bool
    likelihood: FloatArray
    shares: FloatArray

    @property
    def width(self) -> int:
        """Numbers that are held for a question at once."""
        return int(self.counts.shape[1]) + _STICKS + 1 + len(_THETA)

    @property
    def scores(self) -> FloatArray:
        """`[H]` how much answers repeat at each point: mean 0 and deviation 1 over questions."""
        weights = self.shares / self.shares.sum()
        away = _LOG_AGREEMENT - weights @ _LOG_AGREEMENT
        return np.asarray(away / np.sqrt(weights @ away**2 + 1e-12), np.float64)

    def leaders(
        self,
        chosen: IntArray,
        more: IntArray,
        rng: np.random.Generator,
        tilt: FloatArray | None = None,
    ) -> tuple[IntArray, IntArray]:
        """Votes of the leading answer, and how many lead, after more draws.

        Args:
            chosen: `[Q]` questions.
            more: `[R, Q]` further draws of this kind.
            rng: what futures are drawn from.
            tilt: `[R, Q]` by how much log weights on the lattice rise with `scores`; None is 0.

        Returns:
            Two arrays `[R, Q]`.
        """
        counts = self.counts[chosen]
        futures = rng.multinomial(more, self._shares(chosen, len(more), rng, tilt))
        votes = futures[..., :-1]  # the last share is dust: answers too rare to matter
        votes[..., : counts.shape[1]] += counts
        if self.last_abstains:
            votes[..., counts.shape[1] - 1] = 0
        top = votes.max(axis=-1)
        return top, (votes == top[..., None]).sum(axis=-1)

    def _shares(
        self, chosen: IntArray, num: int, rng: np.random.Generator, tilt: FloatArray | None
    ) -> FloatArray:
        """`[R, Q, A + sticks + 1]` shares of the seen answers, of new ones, and of the dust."""
        prior = rng.dirichlet(self.shares, num)[:, None]
        if tilt is not None:
            prior = prior * np.exp(tilt[..., None] * self.scores)
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


def repeats_of(counts: IntArray, *, last_abstains: bool) -> Repeats:
    """How much answers with these counts `[P, A]` repeat.

    Empirical Bayes by expectation-maximisation, with one more question's worth of even prior.
    """
    log_likelihood = log_partition(counts)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    shares = np.ones(len(_THETA))
    for _ in range(_EM_STEPS):
        posterior = likelihood * shares
        posterior /= posterior.sum(axis=1, keepdims=True)
        shares = posterior.sum(axis=0) + 1.0 / len(shares)
    return Repeats(
        counts=counts, last_abstains=last_abstains, likelihood=likelihood, shares=shares
    )


def log_partition(counts: IntArray) -> FloatArray:
    """`[P, H]` log-probability of the sizes of the seen answers (Pitman and Yor).

    `prod_{i=1}^{A-1} (theta + i d)  /  prod_{i=1}^{n-1} (theta + i)  *  prod_a (1-d)_{n_a - 1}`
    """
    num, kinds = counts.sum(axis=1), (counts > 0).sum(axis=1)
    steps = np.arange(1, max(int(kinds.max(initial=0)), 2))
    new = np.cumsum(np.log(_THETA[:, None] + steps * _DISCOUNT[:, None]), axis=1)
    new = np.concatenate([np.zeros((len(_THETA), 1)), new], axis=1)
    opened = new[:, np.maximum(kinds - 1, 0)].T
    drawn = scipy.special.gammaln(_THETA + np.maximum(num, 1)[:, None])
    drawn -= scipy.special.gammaln(_THETA + 1.0)
    repeats = np.zeros((len(counts), len(_DISCOUNTS)))
    for place, discount in enumerate(_DISCOUNTS):
        each = scipy.special.gammaln(np.maximum(counts, 1) - discount)
        each -= scipy.special.gammaln(1.0 - discount)
        repeats[:, place] = np.where(counts > 0, each, 0.0).sum(axis=1)
    return np.asarray(opened - drawn + np.tile(repeats, len(_THETAS)), np.float64)

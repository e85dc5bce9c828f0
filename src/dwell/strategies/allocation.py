"""How many children each candidate gets: beam, REBASE, particle resampling, softmax, uniform.

All rules have one signature, ``counts = rule(scores, width, rng)``, and one contract:

- `counts` are integers, at least 0, with a sum of at most `width`;
- a NaN score ("not verified") gets no children, unless all are NaN: then all count as equal;
- permuting the scores permutes the counts, up to ties (candidates are ranked first, so this
  holds for random rules too, given the same state of `rng`);
- as the temperature falls to 0 (or the children per parent rise to `width`), all children go to
  the best candidate.

Letters: `B` candidates on the frontier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.strategies.parameters import check_choice, check_int, check_number

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Scores are kept this far from 0 and 1 before odds are taken, and infinities this far out.
_EDGE = 1e-9
_LARGE = 1e9
#: Rounding error that must not turn a whole number into the next one.
_ROUNDING = 1e-9


class Rule(ABC):
    """An allocation rule; subclasses share out the width among *ranked* candidates."""

    def __call__(self, scores: npt.ArrayLike, width: int, rng: np.random.Generator) -> IntArray:
        """Returns `[B]` how many children each candidate gets.

        Args:
            scores: `[B]`, higher is better, NaN = not verified.
            width: how many children there are to give, at least 0.
            rng: consumed by the random rules only, by the same amount whatever the scores' order.

        Raises:
            UsageError: `width` is negative.
        """
        values = np.asarray(scores, np.float64)
        if width < 0:
            raise UsageError(f"`width` must be at least 0, but got {width=}.")
        counts = np.zeros(len(values), np.int64)
        if not len(values):
            return counts
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            known, values = np.arange(len(values)), np.zeros(len(values))
        values = np.nan_to_num(values, nan=0.0, posinf=_LARGE, neginf=-_LARGE)
        ranked = known[np.argsort(-values[known], kind="stable")]
        counts[ranked] = self.share(values[ranked], width, rng)
        return counts

    @abstractmethod
    def share(self, ranked: FloatArray, width: int, rng: np.random.Generator) -> IntArray:
        """Counts for finite scores `[B]` in falling order, B at least 1."""


@dataclass(frozen=True)
class TopK(Rule):
    """Beam search: the best `ceil(width / children)` get equal numbers of children.

    Snell et al., "Scaling LLM Test-Time Compute Optimally" (2024): keep the best N/M of N beams
    and sample M next steps from each. Where `width` is not a multiple of M, the better parents
    get one child more; no parent gets more than M.

    Attributes:
        children: M, children of each kept parent, at least 1.
    """

    children: int = 4

    def __post_init__(self) -> None:
        check_int("children", self.children, least=1)

    def share(self, ranked: FloatArray, width: int, rng: np.random.Generator) -> IntArray:
        """Equal counts for the first; see the class."""
        kept = min(len(ranked), -(-width // self.children))
        counts = np.zeros(len(ranked), np.int64)
        if kept:
            each, extra = divmod(width, kept)
            counts[:kept] = np.minimum(each + (np.arange(kept) < extra), self.children)
        return counts


@dataclass(frozen=True)
class Rebase(Rule):
    """REBASE: visit candidates by falling score; each takes its softmax share, rounded up.

    Wu et al., "Inference Scaling Laws: An Empirical Analysis of Compute-Optimal Inference"
    (2024): `W_i = ceil(W_left e^(r_i/T) / sum_left e^(r_j/T))`, then both what is left of the
    width and of the sum shrink. So no more than `width` are given, and the worst may get none.

    Attributes:
        temperature: T, in units of the score, above 0.
    """

    temperature: float = 0.2

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0.0)

    def share(self, ranked: FloatArray, width: int, rng: np.random.Generator) -> IntArray:
        """Counts by the recursion; sequential, because each share depends on those before."""
        mass = np.exp((ranked - ranked[0]) / self.temperature)
        # Sums from the back, not differences from the front: no cancellation, never 0 too early.
        left = np.cumsum(mass[::-1])[::-1]
        counts = np.zeros(len(ranked), np.int64)
        for i in range(len(ranked)):
            if width == 0 or mass[i] == 0.0:
                break
            counts[i] = min(width, int(np.ceil(width * mass[i] / left[i] - _ROUNDING)))
            width -= int(counts[i])
        return counts


@dataclass(frozen=True)
class Resample(Rule):
    """Particle resampling: `width` draws with replacement, by weight.

    Weights are `softmax(logit(r) / T)`, that is odds `r / (1 - r)` at T = 1 (Puri et al.,
    "A Probabilistic Inference Approach to Inference-Time Scaling of LLMs using Particle-Based
    Monte Carlo Methods", 2025), or `softmax(r / T)` for scores that are logarithms.

    Attributes:
        temperature: T, above 0.
        weight: "odds" for scores in `[0, 1]` (clipped to it), "exp" for logarithms of weights.
        scheme: "multinomial" (independent draws) or "systematic" (one uniform number for all:
            the same mean, and every count is its mean rounded up or down).
    """

    temperature: float = 1.0
    weight: Literal["odds", "exp"] = "odds"
    scheme: Literal["multinomial", "systematic"] = "multinomial"

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0.0)
        check_choice("weight", self.weight, ("odds", "exp"))
        check_choice("scheme", self.scheme, ("multinomial", "systematic"))

    def share(self, ranked: FloatArray, width: int, rng: np.random.Generator) -> IntArray:
        """Random counts with sum `width`."""
        prob = softmax(log_weights(ranked, self.weight), self.temperature)
        if self.scheme == "multinomial":
            return rng.multinomial(width, prob).astype(np.int64)
        ticks = (rng.random() + np.arange(width)) / max(width, 1)
        edges = np.cumsum(prob)
        edges[-1] = 1.0
        slots = np.searchsorted(edges, ticks, side="right")
        return np.bincount(slots, minlength=len(prob)).astype(np.int64)


@dataclass(frozen=True)
class Softmax(Rule):
    """Softmax shares `e^(r_i/T) / sum_j e^(r_j/T)`, rounded by largest remainders to `width`.

    Attributes:
        temperature: T, in units of the score, above 0.
    """

    temperature: float = 0.2

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0.0)

    def share(self, ranked: FloatArray, width: int, rng: np.random.Generator) -> IntArray:
        """Counts with sum `width`; equal remainders go to the better candidate."""
        quota = width * softmax(ranked, self.temperature)
        counts = np.floor(quota + _ROUNDING).astype(np.int64)
        by_remainder = np.argsort(-np.round(quota - counts, 9), kind="stable")
        counts[by_remainder[: width - int(counts.sum())]] += 1
        return counts


@dataclass(frozen=True)
class Uniform(Rule):
    """Equal counts whatever the score; what is left over goes to the better candidates."""

    def share(self, ranked: FloatArray, width: int, rng: np.random.Generator) -> IntArray:
        """Counts with sum `width`."""
        each, extra = divmod(width, len(ranked))
        return np.int64(each) + (np.arange(len(ranked)) < extra).astype(np.int64)


def log_weights(scores: FloatArray, weight: Literal["odds", "exp"]) -> FloatArray:
    """Logarithms of unnormalised weights `[B]`: log-odds of scores in `[0, 1]`, or the scores."""
    if weight == "exp":
        return scores
    inside = np.clip(scores, _EDGE, 1.0 - _EDGE)
    return np.log(inside) - np.log1p(-inside)


def softmax(log_weights: FloatArray, temperature: float = 1.0) -> FloatArray:
    """Probabilities `[B]` in proportion to `exp(log_weights / temperature)`."""
    mass = np.exp((log_weights - np.max(log_weights)) / temperature)
    return np.asarray(mass / mass.sum(), np.float64)

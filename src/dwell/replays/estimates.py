"""What a strategy or bound is worth on a recording where that can be computed exactly.

"At k" is the mean over all subsets of k of a question's recorded draws (`dwell.metrics`). A
question with fewer draws than the budget has no value there (NaN). Letters: `P` questions, `N`
most draws, `K` budgets, `A` answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from dwell.metrics import best_of_k, pass_at_k, vote_at_k, weighted_vote_at_k
from dwell.protocols import Strategy
from dwell.recordings import NO_ANSWER, Recording
from dwell.recordings.arrays import FloatArray, IntArray
from dwell.records import USAGE_KINDS
from dwell.replays.asking import EXACT, Asked, first_turn

CALLS, OUTPUT, VERIFIER, SECONDS, USD = (
    USAGE_KINDS.index(kind)
    for kind in ("calls", "output_tokens", "verifier_tokens", "seconds", "usd")
)
#: Subsets that a weighted vote may go through at one budget, over all questions.
MOST_SUBSETS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A curve of one recording.

    Attributes:
        values: `[P, K]` accuracy of each question, NaN where it has too few draws.
        charged: `[P, K, 10]` mean usage, NaN for what was not recorded.
        kind: as `dwell.curves.Curve.kind`.
        estimator: "exact", "orders" or "driver".
        abstained: `[P, K]` share of times that no answer was given, NaN likewise; None where that
            was not counted.
    """

    values: FloatArray
    charged: FloatArray
    kind: str
    estimator: str
    abstained: FloatArray | None = None


def exact(one: Asked, recording: Recording, budgets: Sequence[int]) -> Estimate | None:
    """The exact estimate; None where no estimator holds for this strategy."""
    if one.name == "turns":
        return _turns(recording, budgets)
    if one.bound:
        values, kind = _BOUNDS[one.name](recording, budgets)
        return _estimate(recording, budgets, values, kind)
    kind = one.strategy.exchangeable or ""
    if kind == "pass":
        return _estimate(recording, budgets, _average(recording, budgets)[0], kind)
    if kind == "vote":
        return _estimate(recording, budgets, vote(recording, budgets), kind)
    if kind == "best" and getattr(one.strategy, "mode", None) is None:
        chosen = best_of(recording, score_of(one.strategy, recording), budgets)
        return _estimate(recording, budgets, chosen, kind, scorer=scorer_of(one.strategy))
    if one.name == "weighted_majority" and getattr(one.strategy, "mode", None) is None:
        return _weighted(one.strategy, recording, budgets)
    return None


def score_of(strategy: Strategy, recording: Recording) -> FloatArray:
    """`[P, N]` the recorded number that a strategy's verifier is."""
    name = scorer_of(strategy)
    return recording.correct if name == EXACT else recording.columns[name]


def scorer_of(strategy: Strategy) -> str:
    """The name of a strategy's one verifier."""
    (name,) = strategy.verifiers()
    return name


def vote(recording: Recording, budgets: Sequence[int]) -> FloatArray:
    """`[P, K]` accuracy of a plurality vote."""
    counts, payoff = tally(recording)
    return vote_at_k(counts, payoff, recording.sizes, list(budgets))


def tally(recording: Recording) -> tuple[IntArray, FloatArray]:
    """`[P, A]` draws of each answer, and its grade (0 where there is no such answer)."""
    assert recording.codes is not None
    assert recording.values is not None
    num, width = recording.values.shape
    cells = np.arange(num)[:, None] * width + recording.codes
    counts = np.bincount(cells[recording.codes >= 0], minlength=num * width)
    return counts.reshape(num, width), np.nan_to_num(recording.values)


def best_of(recording: Recording, scores: FloatArray, budgets: Sequence[int]) -> FloatArray:
    """`[P, K]` grade of the draw with the highest score.

    A draw without an answer is never chosen while there is another, and wrong if it must be.
    """
    grades = recording.correct
    if recording.codes is not None:
        silent = recording.codes == NO_ANSWER
        scores = np.where(silent, np.nan, np.where(np.isnan(scores), -np.inf, scores))
        grades = np.where(silent, 0.0, grades)
    return _by_size(
        recording, budgets, lambda rows, n: best_of_k(scores[rows, :n], grades[rows, :n], budgets)
    )


def _weighted(strategy: Strategy, recording: Recording, budgets: Sequence[int]) -> Estimate | None:
    """A weighted vote where scores are weights as they stand and subsets are few; else None.

    Negative scores are read as logarithms, and where no score is above 0 the plain vote decides:
    both depend on the draws at hand, which weights of their own cannot say.
    """
    assert recording.codes is not None
    codes, scores = recording.codes, score_of(strategy, recording)
    if not np.all(scores[codes != NO_ANSWER] > 0) or not _enumerable(recording, budgets):
        return None
    weights = np.where(codes == NO_ANSWER, 0.0, scores)

    def of_size(rows: IntArray, n: int) -> FloatArray:
        return weighted_vote_at_k(
            codes[rows, :n], weights[rows, :n], recording.correct[rows, :n], list(budgets),
            max_subsets=MOST_SUBSETS,
        ).values  # fmt: skip

    values = _by_size(recording, budgets, of_size)
    return _estimate(recording, budgets, values, "best", scorer=scorer_of(strategy))


def _enumerable(recording: Recording, budgets: Sequence[int]) -> bool:
    """Whether all subsets of all questions are few enough to go through."""
    return all(
        len(rows) * comb(size, k) <= MOST_SUBSETS
        for rows, size in same_size(recording)
        for k in budgets
    )


def _coverage(recording: Recording, budgets: Sequence[int]) -> tuple[FloatArray, str]:
    grades = recording.correct
    known = grades[np.isfinite(grades)]
    if np.all((known == 0) | (known == 1)):
        right = np.nansum(grades, axis=1).astype(np.int64)
        return pass_at_k(recording.sizes, right, list(budgets)), "coverage"
    return _best(recording, budgets)[0], "coverage"


def _best(recording: Recording, budgets: Sequence[int]) -> tuple[FloatArray, str]:
    return _extreme(recording, budgets, 1.0), "coverage"


def _worst(recording: Recording, budgets: Sequence[int]) -> tuple[FloatArray, str]:
    return _extreme(recording, budgets, -1.0), "pass"


def _extreme(recording: Recording, budgets: Sequence[int], sign: float) -> FloatArray:
    """Expected best (+1) or worst (-1) true grade of k."""
    grades = recording.correct
    return _by_size(
        recording,
        budgets,
        lambda rows, n: best_of_k(sign * grades[rows, :n], grades[rows, :n], budgets),
    )


def _average(recording: Recording, budgets: Sequence[int]) -> tuple[FloatArray, str]:
    mean = mean_of(recording.correct)[:, None]
    return np.where(_enough(recording, budgets), mean, np.nan), "pass"


_BOUNDS: dict[str, Callable[[Recording, Sequence[int]], tuple[FloatArray, str]]] = {
    "coverage": _coverage,
    "best": _best,
    "worst": _worst,
    "average": _average,
}


def _by_size(
    recording: Recording,
    budgets: Sequence[int],
    function: Callable[[IntArray, int], FloatArray],
) -> FloatArray:
    """`[P, K]` from a function of questions that have the same number of draws."""
    values = np.full((len(recording.sizes), len(budgets)), np.nan)
    for rows, size in same_size(recording):
        values[rows] = function(rows, size)
    clipped: FloatArray = np.clip(values, 0.0, 1.0)  # a sum of probabilities may be 1 + 1e-16
    return clipped


def same_size(recording: Recording) -> Iterator[tuple[IntArray, int]]:
    """(questions, size) of all sizes above 0."""
    for size in np.unique(recording.sizes[recording.sizes > 0]):
        yield np.flatnonzero(recording.sizes == size), int(size)


def _enough(recording: Recording, budgets: Sequence[int]) -> npt.NDArray[np.bool_]:
    return np.asarray(recording.sizes)[:, None] >= np.asarray(budgets)


def mean_of(column: FloatArray | None) -> FloatArray:
    """`[P]` mean of each question's recorded numbers; NaN where there is none.

    `[1]` NaN for a column that was not recorded at all.
    """
    if column is None:
        return np.full(1, np.nan)
    known = np.isfinite(column)
    with np.errstate(invalid="ignore"):
        mean: FloatArray = np.where(known, column, 0.0).sum(axis=1) / known.sum(axis=1)
    return mean


def _estimate(
    recording: Recording,
    budgets: Sequence[int],
    values: FloatArray,
    kind: str,
    scorer: str = "",
) -> Estimate:
    """An estimate for draws asked for at once: k draws cost k times a question's mean.

    The seconds are those of the slowest of k; `scorer` is the column whose scores are read.
    """
    k = np.asarray(budgets, np.float64)
    charged = np.full((*values.shape, len(USAGE_KINDS)), np.nan)
    charged[..., CALLS] = k
    charged[..., VERIFIER] = 0.0
    charged[..., OUTPUT] = k * mean_of(recording.tokens)[:, None]
    charged[..., USD] = k * mean_of(recording.usd)[:, None]
    seconds = recording.seconds
    if seconds is not None:
        for rows, n in same_size(recording):
            taken = seconds[rows, :n]
            charged[rows, :, SECONDS] = best_of_k(taken, taken, list(budgets))
    if (scored := recording.score_tokens.get(scorer)) is not None:
        # With a single draw there is nothing to choose, and nothing is scored.
        charged[..., VERIFIER] = np.where(k > 1, k, 0.0) * mean_of(scored)[:, None]
    charged[~_enough(recording, budgets)] = np.nan
    values = np.clip(values, 0.0, 1.0)
    return Estimate(values=values, charged=charged, kind=kind, estimator="exact")


def _turns(recording: Recording, budgets: Sequence[int]) -> Estimate:
    """Success within the first t turns; a sample ends at its first full grade.

    A question's samples are averaged. A sample with fewer turns stays as it ended.
    """
    assert recording.turns is not None
    turn = recording.turns - first_turn(recording)
    within = recording.turns >= 0
    starts = np.ones(turn.shape, bool)
    starts[:, 1:] = turn[:, 1:] <= turn[:, :-1]
    sample = np.cumsum(starts & within, axis=1) - 1
    width = int(sample.max()) + 1
    cells = (np.arange(len(turn))[:, None] * width + sample)[within]
    never = np.iinfo(np.int64).max
    solved = np.full(len(turn) * width, never)
    np.minimum.at(solved, cells, np.where(recording.correct[within] >= 1.0, turn[within], never))
    there = np.bincount(cells, minlength=len(solved)) > 0
    count = there.reshape(len(turn), width).sum(axis=1)
    values = np.empty((len(turn), len(budgets)))
    charged = np.full((*values.shape, len(USAGE_KINDS)), np.nan)
    charged[..., VERIFIER] = 0.0
    first = solved[cells]
    for column, budget in enumerate(budgets):
        right = (solved < budget).reshape(len(turn), width).sum(axis=1)
        values[:, column] = right / count
        used = (turn[within] < budget) & (turn[within] <= first)
        for place, amount in _amounts(recording):
            spent = np.bincount(np.nonzero(within)[0], np.where(used, amount[within], 0.0),
                                len(turn))  # fmt: skip
            charged[:, column, place] = spent / count
    return Estimate(values=values, charged=charged, kind="turns", estimator="exact")


def _amounts(recording: Recording) -> Iterator[tuple[int, FloatArray]]:
    """(place in a usage, `[P, N]` amount of each row) of what was recorded."""
    yield CALLS, np.ones(recording.correct.shape)
    for place, amount in ((OUTPUT, recording.tokens), (SECONDS, recording.seconds),
                          (USD, recording.usd)):  # fmt: skip
        if amount is not None:
            yield place, amount

"""When did it go wrong? Scoring a detector of events in a trace, with credit for being near.

PATE, the proximity-aware measure for time series (not the privacy method of that name). A flag
inside an event is right; one shortly before or after it is partly right, by its distance; one
elsewhere is wrong. What "shortly" means is not known, so the score is averaged over buffers.

Letters: `T` positions of a trace (steps, tokens), `E` events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.metrics.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCounts:
    """Weighted counts of a detector's flags.

    Attributes:
        true_positive: weight of flags in and near events.
        false_positive: weight of the others, and what near ones lack.
        false_negative: weight of what was missed of the events.
    """

    true_positive: float
    false_positive: float
    false_negative: float

    @property
    def precision(self) -> float:
        """Share of flagged weight that is right; 0 without flags."""
        return _share(self.true_positive, self.false_positive)

    @property
    def recall(self) -> float:
        """Share of event weight that is found; 0 without events."""
        return _share(self.true_positive, self.false_negative)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 0 where both are."""
        total = self.precision + self.recall
        return 2.0 * self.precision * self.recall / total if total > 0 else 0.0


def event_counts(
    truth: npt.ArrayLike, flags: npt.ArrayLike, *, before: int, after: int
) -> EventCounts:
    """Weighted true positives, false positives and false negatives for given buffers.

    An event is a run of true positions [s, f]. With `D(x)` the sum of |x - u| over u in [s, f], a
    flag at x in a buffer weighs `1 - D(x) / D(far edge of the buffer)`; that goes to TP, the rest
    to FP. The buffer after an event ends before the next event; the buffer before one starts
    after the previous buffer, and counts only if the event itself is hit, else its flags are FP.
    A missed event adds its length to FN. In a partly missed one each missed position adds 1 up
    to s + h, h being the number of hits, and beyond `1 - D'(x) / D(f)`, where D' sums over
    [s, s + h]: late misses weigh less once much was found.

    Args:
        truth: `[T]`, 1 within events.
        flags: `[T]`, 1 where the detector fired.
        before: buffer before each event, in positions.
        after: buffer after each event, in positions.

    Returns:
        `EventCounts`.

    Raises:
        UsageError: shapes differ, values other than 0 and 1, or a negative buffer.

    References:
        Ghorbani, Reinders and Tax, "PATE: Proximity-Aware Time series anomaly Evaluation"
        (2024). The released code takes h from the *first* run of hits only, and its
        cases with several runs in one event therefore differ.

    Examples:
        >>> truth, flags = np.zeros(20), np.zeros(20)
        >>> truth[8:12], flags[[6, 7, 8, 9, 17]] = 1, 1
        >>> counts = event_counts(truth, flags, before=3, after=3)
        >>> round(counts.true_positive, 4), round(counts.precision, 4), round(counts.recall, 4)
        (2.6667, 0.5333, 0.7273)
    """
    true, fired = _marks("truth", truth), _marks("flags", flags)
    if true.shape != fired.shape or before < 0 or after < 0:
        raise UsageError(
            "`truth` and `flags` must be of one length and buffers at least 0, but got "
            f"{true.shape}, {fired.shape}, {before=}, {after=}."
        )
    credit = np.zeros(len(true))
    missed = 0.0
    starts, ends = _runs(true)
    previous_end = -1
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        limit = starts[index + 1] if index + 1 < len(starts) else len(true)
        last = min(end + after, limit - 1)
        first = max(start - before, previous_end + 1)
        previous_end = int(last)
        inside = np.arange(start, end + 1)
        hits = fired[inside]
        credit[inside] = 1.0
        _grade(credit, inside, np.arange(end + 1, last + 1), last)
        if hits.any():
            _grade(credit, inside, np.arange(first, start), first)
        missed += _missed_weight(inside, hits)
    found = float(credit[fired].sum())
    return EventCounts(
        true_positive=found,
        false_positive=float(fired.sum()) - found,
        false_negative=missed,
    )


def pate_f1(
    truth: npt.ArrayLike, flags: npt.ArrayLike, *, before: Sequence[int], after: Sequence[int]
) -> float:
    """F1 of yes/no flags, averaged over all pairs of buffers.

    Args:
        truth: `[T]`, 1 within events.
        flags: `[T]`, 1 where the detector fired.
        before: buffers before events; 0 should be among them.
        after: buffers after events, likewise.

    Returns:
        In `[0, 1]`, higher is better.

    Raises:
        UsageError: those of `event_counts`, or no buffers.

    Examples:
        >>> truth, flags = np.zeros(20), np.zeros(20)
        >>> truth[8:12], flags[[6, 7, 8, 9, 17]] = 1, 1
        >>> round(pate_f1(truth, flags, before=[0, 3], after=[0, 3]), 6)
        0.557692
    """
    grid = _grid(before, after)
    return float(np.mean([event_counts(truth, flags, before=e, after=d).f1 for e, d in grid]))


def pate_area(
    truth: npt.ArrayLike, scores: npt.ArrayLike, *, before: Sequence[int], after: Sequence[int]
) -> float:
    """Area under precision against recall of graded scores, averaged over pairs of buffers.

    All thresholds are used, from (recall 0, precision 1) on; points at which recall falls (flags
    near an event dilute it) are dropped, and neighbours joined by straight lines.

    Args:
        truth: `[T]`, 1 within events.
        scores: `[T]`, higher = more likely an event, no NaN.
        before: buffers before events; 0 should be among them.
        after: buffers after events, likewise.

    Returns:
        In `[0, 1]`, higher is better; depends on how common events are.

    Raises:
        UsageError: those of `event_counts`, NaN, or no buffers.

    Examples:
        >>> truth = [0, 0, 1, 1, 0, 0]
        >>> round(pate_area(truth, [0, 0, 9, 8, 1, 0], before=[0, 1], after=[0, 1]), 6)
        1.0
    """
    values = np.asarray(scores, np.float64)
    if np.any(np.isnan(values)):
        raise UsageError("`scores` must not be NaN. Give unscored positions the lowest score.")
    thresholds = np.unique(values)[::-1]
    areas = []
    for e, d in _grid(before, after):
        curve = [event_counts(truth, values >= cut, before=e, after=d) for cut in thresholds]
        areas.append(_area([(0.0, 1.0), *((c.recall, c.precision) for c in curve)]))
    return float(np.mean(areas))


def _area(points: list[tuple[float, float]]) -> float:
    """Trapezoids over the points at which recall does not fall below the last one kept."""
    kept = [points[0]]
    for point in points[1:]:
        if point[0] >= kept[-1][0]:
            kept.append(point)
    recall, precision = np.array(kept).T
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def _grade(credit: FloatArray, inside: IntArray, buffer: IntArray, edge: int) -> None:
    """Write the credit of a buffer's positions; the far edge itself gets none."""
    if len(buffer):
        distance = np.abs(buffer[:, None] - inside).sum(axis=1)
        credit[buffer] = 1.0 - distance / np.abs(edge - inside).sum()


def _missed_weight(inside: IntArray, hits: BoolArray) -> float:
    """False negatives of one event."""
    if not hits.any():
        return float(len(inside))
    missed = inside[~hits]
    near = inside[: int(hits.sum()) + 1]
    far = missed[missed > near[-1]]
    scale = np.abs(inside[-1] - inside).sum()
    decayed = 1.0 - np.abs(far[:, None] - near).sum(axis=1) / max(scale, 1)
    return float(len(missed) - len(far) + decayed.sum())


def _runs(marks: BoolArray) -> tuple[IntArray, IntArray]:
    """First and last positions of the runs of True."""
    edges = np.diff(np.concatenate([[0], marks.astype(np.int64), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


def _marks(name: str, values: npt.ArrayLike) -> BoolArray:
    marks = np.asarray(values)
    if marks.ndim != 1 or not np.all(np.isin(marks, (0, 1))):
        raise UsageError(f"`{name}` must be `[T]` of 0 and 1, but got shape {marks.shape}.")
    return marks.astype(bool)


def _grid(before: Sequence[int], after: Sequence[int]) -> list[tuple[int, int]]:
    if len(before) == 0 or len(after) == 0:
        raise UsageError("`before` and `after` must each name at least one buffer, for example 0.")
    return [(int(e), int(d)) for e in before for d in after]


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else 0.0

"""Parts of a recording: some of its questions, and one half of its draws with levels by the other.

Pass rates of the same draws that are then evaluated would flatter whatever adapts to difficulty
(regression to the mean), so the draws are split first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dwell.recordings import Recording
from dwell.recordings.arrays import FloatArray, IntArray

#: Groups of questions, as many as Snell et al. (2024) use.
NUM_GROUPS = 5
#: A half of fewer draws tells too little of a question.
LEAST_DRAWS = 4


def halves(recording: Recording) -> tuple[Recording, list[str]] | None:
    """Every second draw as a recording, and the level of each question by the other draws.

    Levels are quantile groups of the pass rate; questions with equal rates are in one group.

    Returns:
        The half to evaluate and a level for each question; None where draws are too few, not
        exchangeable, or all questions are alike.

    References:
        Snell et al., "Scaling LLM Test-Time Compute Optimally" (2024), section 3.2: five bins of
        pass@1; here from draws that are not evaluated.
    """
    if recording.turns is not None or recording.sizes.min() < 2 * LEAST_DRAWS:
        return None
    rates = _rates(recording)
    edges = np.unique(np.quantile(rates, np.linspace(0, 1, NUM_GROUPS + 1)[1:-1]))
    groups = np.searchsorted(edges, rates, side="left")
    names = {
        group: _name(number, rates[groups == group])
        for number, group in enumerate(np.unique(groups)[::-1], start=1)
    }
    if len(names) < 2:
        return None
    return _second_half(recording), [names[group] for group in groups]


def _rates(recording: Recording) -> FloatArray:
    first = recording.correct[:, ::2]
    rates: FloatArray = np.nansum(first, axis=1) / np.isfinite(first).sum(axis=1)
    return rates


def _name(number: int, rates: FloatArray) -> str:
    low, high = 100 * rates.min(), 100 * rates.max()
    return (
        f"{number}: right {low:.0f}-{high:.0f} %" if low < high else f"{number}: right {low:.0f} %"
    )


def _second_half(recording: Recording) -> Recording:
    half = cut(recording, (slice(None), slice(1, None, 2)))
    # Another name: runs on it must not be taken for runs on the whole.
    return replace(half, run=f"{recording.run}, second half", sizes=recording.sizes // 2)


def questions_of(recording: Recording, rows: IntArray) -> Recording:
    """The same recording with some of its questions only."""
    return replace(
        cut(recording, rows),
        questions=tuple(recording.questions[row] for row in rows),
        sizes=recording.sizes[rows],
        values=None if recording.values is None else recording.values[rows],
        texts=tuple(recording.texts[row] for row in rows) if recording.texts else (),
        tags={name: [values[row] for row in rows] for name, values in recording.tags.items()},
    )


def cut(recording: Recording, index: Any) -> Recording:
    """The recording with all its tables of draws `[P, N]` indexed."""
    maybe = {"codes": recording.codes, "rows": recording.rows, "tokens": recording.tokens}
    return replace(
        recording,
        correct=recording.correct[index],
        columns={name: column[index] for name, column in recording.columns.items()},
        score_tokens={name: column[index] for name, column in recording.score_tokens.items()},
        **{name: None if table is None else table[index] for name, table in maybe.items()},  # type: ignore[arg-type]
    )

"""What every strategy would have answered and cost on recorded draws, in random orders.

The only part of planning that looks at draws; all choices are made on its arrays.

Letters: `P` questions, `N` draws of each, `R` random orders.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.recordings.arrays import Recording, orders
from dwell.streams import Replayed, Streams

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

UNITS = ("draws", "tokens", "usd", "seconds")
#: Questions with fewer draws than this share of the others are left out, rather than all be cut.
_LEFT_OUT = 0.05
#: Streams (orders x questions) that are enough: more orders hardly narrow an interval over
#: questions, and cost time and memory.
_ENOUGH_STREAMS = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a strategy made of every stream.

    Attributes:
        right: `[R, P]` grade of the answer given; 0 where it gave none.
        cost: `[R, P]` in the evidence's unit.
        drawn: `[R, P]` draws used.
    """

    right: FloatArray
    cost: FloatArray
    drawn: FloatArray


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Recorded draws in R random orders, with their grades and what they cost.

    Attributes:
        recording: of the questions that have `cap` draws.
        left_out: questions that have fewer.
        cap: N, draws of each question.
        unit: what cost is counted in.
        streams: `[R, P, N]` codes and scores.
        grades: `[R, P, N]` in [0, 1].
        spent: `[R, P, N+1]` cost of the first 0, 1, ..., N draws.
        price: dollars a million output tokens, where that gave the dollars; else None.
    """

    recording: Recording
    left_out: int
    cap: int
    unit: str
    streams: Streams
    grades: FloatArray
    spent: FloatArray
    price: float | None = None
    _known: dict[Strategy, Outcome] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """(R, P)."""
        return self.grades.shape[0], self.grades.shape[1]

    @property
    def mean_cost(self) -> float:
        """What one draw costs on average."""
        return float(self.spent[..., -1].mean()) / self.cap

    def outcome(self, strategy: Strategy) -> Outcome:
        """What a strategy would have answered and cost.

        Raises:
            UsageError: that cannot be told from whole answers.
        """
        if strategy not in self._known:
            self._known[strategy] = self._replayed(strategy)
        return self._known[strategy]

    def _replayed(self, strategy: Strategy) -> Outcome:
        found = strategy.replay(self.streams)
        if found is None or (found.drawn < 0).any():
            raise UsageError(
                f"A plan chooses among strategies that recorded answers can tell, but "
                f"{strategy.spec()} needs more than {self.cap} whole answers. Leave it out."
            )
        right = self.grades_of(found)
        cost = np.take_along_axis(self.spent, found.drawn[..., None], -1)[..., 0]
        return Outcome(right=right, cost=cost, drawn=found.drawn.astype(np.float64))

    def grades_of(self, found: Replayed) -> FloatArray:
        """`[R, P]` grades of the answers given; 0 where none was."""
        if found.place is not None:
            right = np.take_along_axis(self.grades, np.maximum(found.place, 0)[..., None], -1)
            return np.where(found.place >= 0, right[..., 0], 0.0)
        values = self.recording.values
        assert values is not None  # streams without answers number the draws, see `gather`
        rows = np.arange(len(values))
        return np.where(found.chosen >= 0, values[rows, np.maximum(found.chosen, 0)], 0.0)


def gather(
    recording: Recording,
    *,
    unit: str = "draws",
    price: float | None = None,
    repetitions: int | None = None,
    seed: int = 0,
) -> Evidence:
    """The evidence in a recording.

    Args:
        recording: draws of one run.
        unit: "draws", "tokens", "usd" or "seconds".
        price: dollars a million output tokens, for "usd" where no dollars were recorded.
        repetitions: R; None takes 4 to 32, fewer the more questions there are.
        seed: decides the orders.

    Raises:
        UsageError: the recording has no draws or turns instead of them, or does not hold what the
            unit needs.
    """
    if recording.turns is not None:
        raise UsageError(
            f"A plan needs independent samples, but {recording.run!r} holds successive turns. "
            "Choose one turn with --where turn=0."
        )
    kept, cap = _common_size(recording)
    own = rows_of(recording, kept)
    if repetitions is None:
        repetitions = int(np.clip(_ENOUGH_STREAMS // len(kept), 4, 32))
    places = orders(own, repetitions, seed)
    rows = np.arange(len(kept))[:, None]
    costs = draw_costs(own, unit, price)
    spent = np.zeros((*places.shape[:2], cap + 1))
    spent[..., 1:] = np.cumsum(costs[rows, places[..., :cap]], axis=-1)
    places = places[..., :cap]
    codes = np.where(np.isnan(own.correct), -1, np.arange(own.correct.shape[1]))
    if own.codes is not None and own.values is not None:
        codes = own.codes
    return Evidence(
        recording=own if own.codes is not None else replace(own, values=own.correct),
        left_out=len(recording.questions) - len(kept),
        cap=cap,
        unit=unit,
        streams=Streams(
            codes=codes[rows, places],
            sizes=np.full(places.shape[:2], cap),
            scores={name: table[rows, places] for name, table in own.columns.items()},
        ),
        grades=np.nan_to_num(own.correct[rows, places]),
        spent=spent,
        price=price,
    )


def draw_costs(recording: Recording, unit: str, price: float | None = None) -> FloatArray:
    """`[P, N]` what each draw cost, in a unit. Prompts are not in it: recordings lack them.

    Raises:
        UsageError: the recording does not hold what the unit needs.
    """
    if unit == "draws":
        return np.ones(recording.correct.shape)
    tokens = recording.tokens
    recorded = {"tokens": tokens, "usd": recording.usd, "seconds": recording.seconds}.get(unit)
    if unit == "usd" and price is not None:
        recorded = None if tokens is None else tokens * price / 1e6
    if recorded is not None and np.isfinite(recorded).any():
        return _filled(recorded)
    ways = {
        "tokens": "Record a column `tokens`, or plan in draws.",
        "usd": "Give --usd-per-mtok (needs recorded tokens), or record a column `usd`.",
        "seconds": "Record a column `seconds`, or plan in draws.",
    }
    if unit not in ways:
        raise UsageError(f"`unit` must be one of {', '.join(UNITS)}, but got {unit!r}.")
    raise UsageError(
        f"A plan in {unit} needs the {unit} of each draw, but the recording {recording.run!r} "
        f"does not hold them. {ways[unit]}"
    )


def _filled(costs: FloatArray) -> FloatArray:
    """Unknown costs are the question's mean, or the mean of all."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(costs)
        sums, counts = np.where(known, costs, 0.0).sum(axis=1), known.sum(axis=1)
        overall = sums.sum() / max(int(counts.sum()), 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), overall)
    return np.where(known, costs, means[:, None])


def _common_size(recording: Recording) -> tuple[IntArray, int]:
    """Questions to keep, and the number of draws that all of them have."""
    sizes = recording.sizes
    if not len(sizes) or sizes.max() < 2:
        raise UsageError(
            "A plan needs at least two draws of its questions, but the recording "
            f"{recording.run!r} has {int(sizes.max(initial=0))}. Record more draws a question."
        )
    # The largest number of draws that all but a few questions have.
    cap = int(np.sort(sizes)[::-1][int(np.ceil(len(sizes) * (1 - _LEFT_OUT))) - 1])
    if cap < 2:
        raise UsageError(
            "A plan needs at least two draws of nearly all its questions, but many of "
            f"{recording.run!r} have {cap}. Record more draws, or leave these questions out."
        )
    return np.flatnonzero(sizes >= cap), cap


def rows_of(recording: Recording, rows: IntArray) -> Recording:
    """The recording of some questions only."""

    def cut(table: FloatArray | None) -> FloatArray | None:
        return None if table is None else table[rows]

    return replace(
        recording,
        questions=tuple(recording.questions[i] for i in rows),
        sizes=recording.sizes[rows],
        correct=recording.correct[rows],
        codes=None if recording.codes is None else recording.codes[rows],
        values=cut(recording.values),
        texts=tuple(recording.texts[i] for i in rows) if recording.texts else (),
        tokens=cut(recording.tokens),
        columns={name: table[rows] for name, table in recording.columns.items()},
        tags={name: [column[i] for i in rows] for name, column in recording.tags.items()},
        rows=None if recording.rows is None else recording.rows[rows],
    )

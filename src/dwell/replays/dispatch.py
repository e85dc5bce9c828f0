"""Which way each strategy is evaluated: exactly, on random orders, or by the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dwell.curves import Curve
from dwell.recordings import Recording
from dwell.replays.asking import EACH, Asked, budgets_of
from dwell.replays.driven import driven
from dwell.replays.estimates import Estimate, exact, same_size
from dwell.replays.ordered import over_orders
from dwell.replays.parts import questions_of

#: Called with the share that is done.
Tick = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a replay is made.

    Attributes:
        budgets: numbers, "all", "each" (all draws that a question has, however many), or None for
            powers of two and the most draws.
        repetitions: random orders, for strategies without an exact estimator.
        seed: decides orders and resamples.
        num_resamples: bootstrap resamples of questions.
        driver: run every strategy through the driver and a ledger, exact estimators or not.
        out: folder of that ledger; None keeps it in memory.
    """

    budgets: str | Sequence[int] | None = None
    repetitions: int = 25
    seed: int = 0
    num_resamples: int = 1000
    driver: bool = False
    out: Path | None = None


def curves_of(
    recording: Recording,
    wanted: Sequence[Asked],
    settings: Settings,
    *,
    model: str,
    tick: Tick = lambda share: None,
) -> list[Curve]:
    """The curves of one recording, in the order asked for.

    Args:
        recording: the draws.
        wanted: what is asked, with the verifiers that this recording has.
        settings: how.
        model: what the run is called.
        tick: called with the share that is done, on the way.
    """
    budgets = [budgets_of(one, recording, settings.budgets) for one in wanted]
    if settings.budgets == EACH and recording.turns is None:
        found = _at_own_size(recording, wanted, budgets, settings)
    else:
        found = estimates_of(recording, wanted, budgets, settings, tick)
    return [
        _curve(wanted[place], budgets[place], estimate, recording, model)
        for place, estimate in enumerate(found)
        if estimate is not None and np.isfinite(estimate.values).any()
    ]


def _at_own_size(
    recording: Recording,
    wanted: Sequence[Asked],
    budgets: Sequence[tuple[int, ...]],
    settings: Settings,
) -> list[Estimate | None]:
    """Each question at as many draws as it has: one column, under the largest of them."""
    whole: list[Estimate | None] = [None] * len(wanted)
    for rows, size in same_size(recording):
        part = questions_of(recording, rows)
        own = [(size,) if one else () for one in budgets]
        for place, estimate in enumerate(estimates_of(part, wanted, own, settings)):
            if estimate is not None:
                whole[place] = _filled(whole[place], estimate, rows, len(recording.sizes))
    return whole


def _filled(
    whole: Estimate | None, part: Estimate, rows: npt.NDArray[np.int64], num: int
) -> Estimate:
    """An estimate for all questions with those of some of them put in."""
    if whole is None:
        values = np.full((num, *part.values.shape[1:]), np.nan)
        whole = replace(
            part,
            values=values,
            charged=np.full((num, *part.charged.shape[1:]), np.nan),
            abstained=None if part.abstained is None else values.copy(),
        )
    whole.values[rows], whole.charged[rows] = part.values, part.charged
    if whole.abstained is not None and part.abstained is not None:
        whole.abstained[rows] = part.abstained
    return whole


def estimates_of(
    recording: Recording,
    wanted: Sequence[Asked],
    budgets: Sequence[tuple[int, ...]],
    settings: Settings,
    tick: Tick = lambda share: None,
) -> list[Estimate | None]:
    """Estimates of each curve at its budgets, each by the first way that holds; None without."""
    found: list[Estimate | None] = [None] * len(wanted)
    places = [place for place, own in enumerate(budgets) if own]

    def advance(done: float) -> None:
        tick((sum(one is not None for one in found) + done) / len(places))

    for place in places:
        if not settings.driver or wanted[place].bound:
            found[place] = exact(wanted[place], recording, budgets[place])
            advance(0)
    left = [place for place in places if found[place] is None]
    if not settings.driver:
        replayed = over_orders(
            [(wanted[place], budgets[place]) for place in left], recording,
            repetitions=settings.repetitions, seed=settings.seed,
            tick=lambda share: advance(share * len(left)),
        )  # fmt: skip
        for place, estimate in zip(left, replayed, strict=True):
            found[place] = estimate
    for place in left:
        if found[place] is None:
            found[place] = driven(
                wanted[place], budgets[place], recording, repetitions=settings.repetitions,
                seed=settings.seed, out=settings.out, tick=advance,
            )  # fmt: skip
    return found


def _curve(
    one: Asked, budgets: tuple[int, ...], estimate: Estimate, recording: Recording, model: str
) -> Curve:
    return Curve(
        name=one.name,
        label=one.label,
        strategy=one.strategy,
        model=model,
        task=recording.dataset,
        kind=estimate.kind,
        estimator=estimate.estimator,
        budgets=budgets,
        values=estimate.values,
        answered=estimate.values,
        charged=estimate.charged,
        oracle=one.oracle,
        scale=one.scale,
        abstained=estimate.abstained,
    )

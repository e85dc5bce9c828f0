"""Strategies on a recording through the driver, unchanged, as on a live model.

Where neither an exact estimator nor whole streams tell what a strategy would do. Draws are read in
place; runs, answers and charges go into a ledger, so that an interrupted replay goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import cast

import numpy as np

from dwell.driver import Driver, RunPlan
from dwell.ledger import Ledger
from dwell.protocols import Generator, Verifier
from dwell.recordings import (
    RecordedExact,
    RecordedScores,
    RecordedTask,
    Recording,
    RecordingGenerator,
    fingerprint_of,
    problems_of,
)
from dwell.records import USAGE_KINDS, Problem
from dwell.replays.asking import EXACT, Asked
from dwell.replays.estimates import OUTPUT, SECONDS, USD, Estimate
from dwell.study import LEDGER, run_name


def driven(
    one: Asked,
    budgets: Sequence[int],
    recording: Recording,
    *,
    repetitions: int,
    seed: int,
    out: Path | None,
    tick: Callable[[float], None] = lambda share: None,
) -> Estimate:
    """The mean over R runs of each question at each budget.

    Args:
        one: the strategy.
        budgets: `[K]`.
        recording: the draws; a question with fewer of them than the budget is left out.
        repetitions: R; repetition r deals its draws in the order of `orders(...)[r]`.
        seed: of the orders, and of the strategy's own randomness.
        out: folder of the ledger; None keeps it in memory.
        tick: called with the share of runs that are done, on the way.

    Raises:
        UsageError: the strategy asks for what was not recorded.
    """
    shape = (len(recording.questions), len(budgets))
    charged = np.full((*shape, len(USAGE_KINDS)), np.nan)
    problems = problems_of(recording)
    verifiers = _verifiers(recording, one)
    source = _source(recording, verifiers)
    place = {problem.id: p for p, problem in enumerate(problems)}
    plans: dict[str, tuple[RunPlan, int]] = {}
    for column, budget in enumerate(budgets):
        strategy = one.at(budget)
        least = budget if one.scale == "n" else 1
        able = [problems[p] for p in np.flatnonzero(recording.sizes >= least)]
        for problem in [_pool(problems)] if strategy.pooled else able:
            for r in range(repetitions):
                name = run_name(source, strategy, problem.id, r)
                plan = RunPlan(name=name, strategy=strategy, problem=problem, repetition=r)
                plans[name] = (plan, column)
    task = RecordedTask(recording)
    counts, right, silent = np.zeros((3, *shape))
    spent = np.zeros(charged.shape)
    with Ledger(":memory:" if out is None else out / LEDGER) as ledger:
        _run(ledger, [plan for plan, _ in plans.values()], recording, verifiers, task, seed, tick)
        for row in ledger.answers():
            if row.run not in plans:
                continue
            cell = place[row.problem], plans[row.run][1]
            counts[cell] += 1
            spent[cell] += [amount for _, amount in row.charged.items()]
            if row.value is None:
                silent[cell] += 1
            else:
                right[cell] += task.value(problems[cell[0]], row.value)
    full = counts == repetitions
    charged[full] = spent[full] / repetitions
    for kind, amount in ((OUTPUT, recording.tokens), (SECONDS, recording.seconds),
                         (USD, recording.usd)):  # fmt: skip
        if amount is None:
            charged[..., kind] = np.nan
    return Estimate(
        values=np.where(full, right / repetitions, np.nan),
        charged=charged,
        kind="measured",
        estimator="driver",
        abstained=np.where(full, silent / repetitions, np.nan),
    )


def _pool(problems: Sequence[Problem]) -> Problem:
    """All questions as one, for a strategy that spends one budget over them."""
    return Problem(id="pool", prompt="", task=problems[0].task, members=tuple(problems))


def _verifiers(recording: Recording, one: Asked) -> dict[str, Verifier]:
    return {
        name: RecordedExact(recording) if name == EXACT else RecordedScores(recording, name)
        for name in one.strategy.verifiers()
    }


def _source(recording: Recording, verifiers: Mapping[str, Verifier]) -> str:
    """The run's name with a digest of all that its runs read: a changed table makes new runs."""
    read = [
        fingerprint_of(recording),
        *(verifiers[name].fingerprint for name in sorted(verifiers)),
    ]
    return f"{recording.run} {blake2b(repr(read).encode(), digest_size=6).hexdigest()}"


def _run(
    ledger: Ledger,
    plans: Sequence[RunPlan],
    recording: Recording,
    verifiers: Mapping[str, Verifier],
    task: RecordedTask,
    seed: int,
    tick: Callable[[float], None],
) -> None:
    generator = RecordingGenerator(recording)
    ledger.put_source(generator.fingerprint, {**generator.info, "model": recording.run})
    driver = Driver(
        ledger,
        generators={"solver": cast("Generator", generator)},
        verifiers=verifiers,
        tasks={recording.dataset: task},
        seed=seed,
        keep_text=False,
        on_progress=lambda progress: tick(progress.runs_done / len(plans)),
    )
    asyncio.run(driver.run(plans))

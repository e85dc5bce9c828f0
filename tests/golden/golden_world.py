"""The world of the golden runs: every strategy on a scripted generator, with fixed seeds."""

import asyncio
import json
from pathlib import Path

from dwell.driver import Driver, RunPlan
from dwell.generators import Scripted
from dwell.generators.scripted import Latency, uniforms
from dwell.ledger import Ledger
from dwell.protocols import Outcome
from dwell.records import Draw, Problem
from dwell.strategies import STRATEGIES

HOME = Path(__file__).parent / "runs.jsonl"
PROBLEMS = [Problem(id=f"golden/{k}", prompt=f"problem {k}") for k in range(2)]
POOL = Problem(id="golden/pool", prompt="", members=tuple(PROBLEMS))
LIMITS = [{}, {"output_tokens": 14}]


class Noisy:
    """The share of right lines, and noise from the seed."""

    name, fingerprint, wants = "process", "golden", frozenset()
    derived = oracle = False
    max_batch, concurrency = 8, 8

    async def score(self, work):
        return [
            Outcome([Draw(value=self._value(item, u), output_tokens=1, seconds=0.01)
                     for u in uniforms(item.seeds, 7).tolist()])
            for item in work
        ]  # fmt: skip

    def _value(self, item, noise):
        lines = item.candidates[0].text.split("\n")
        return 0.8 * lines.count("1") / len(lines) + 0.2 * noise


def generator():
    return Scripted.coin(
        0.4, steps=3, failure_rate=0.05, flops_per_token=2.0,
        latency=Latency(base_seconds=0.1, seconds_per_token=0.01, sigma=0.4),
    )  # fmt: skip


def strategies():
    """All strategies that can be made without a file."""
    return {name: kind for name, kind in STRATEGIES.items() if name != "plan"}


def plans():
    for name, kind in strategies().items():
        for size in (1, 6):
            for limits in LIMITS:
                for problem in [POOL] if kind.pooled else PROBLEMS:
                    yield RunPlan(
                        name=f"{name} {size} {limits} {problem.id}",
                        strategy=kind(**{kind.scale: size}),
                        problem=problem,
                        limits=limits,
                    )


def record(session):
    """What a run asked, answered and was charged."""
    charged = {
        kind: float(f"{amount:.9g}") for kind, amount in session.meter.charged().items() if amount
    }
    return {
        "strategy": session.strategy.spec(),
        "problem": session.problem.id,
        "limits": session.name.split("{")[1].split("}")[0],
        "status": session.status,
        "answer": session.answer,
        "num_requests": session.num_requests,
        "digest": session.digest().hex(),
        "charged": charged,
    }


def lines():
    """All golden runs as JSON lines, in the order of the plans."""
    sessions = {}
    with Ledger(":memory:") as ledger:
        driver = Driver(
            ledger,
            generators={"solver": generator()},
            verifiers={"process": Noisy()},
            on_done=lambda session: sessions.__setitem__(session.name, session),
        )
        asyncio.run(driver.run(plans()))
    return [json.dumps(record(sessions[plan.name])) for plan in plans()]

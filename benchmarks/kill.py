"""Kills a running study with SIGKILL at random moments, resumes it, and compares.

    python benchmarks/kill.py --kills 50                     # every strategy, scripted generator
    python benchmarks/kill.py --kills 10 --model tiny-0.2m   # an embedded model

In order "issued" the resumed study must equal an uninterrupted one: answers, charges, digests and
draws. In order "finished" the recorded deliveries must be repeated exactly. In both, no draw that
was committed before a kill may be made again: sources note every seed that they serve.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dwell.driver import Driver, RunPlan
from dwell.generators import Scripted
from dwell.generators.scripted import Latency, uniforms
from dwell.keys import draw_seeds
from dwell.ledger import Ledger
from dwell.protocols import Outcome, VerifyWork
from dwell.records import Draw, Problem
from dwell.strategies import STRATEGIES

#: What must be equal; row ids, attempts and cached tokens may differ.
SAME = {
    "answers": "SELECT r.name, a.problem, a.value, a.charged FROM answer a "
    "JOIN run r ON r.id = a.run",
    "runs": "SELECT name, spec, num_requests, digest, status FROM run",
    "draws": "SELECT k.hash, k.op, d.i, d.status, d.text, d.value, d.state, d.prompt_tokens, "
    "d.output_tokens, d.flops, d.seconds, d.usd FROM draw d JOIN key k ON k.id = d.key",
}
HELD = {
    "issued": "equal to the uninterrupted study, no committed draw made twice",
    "finished": "recorded deliveries repeated, no committed draw made twice",
}
#: A child tells of each turn in a message of this size, through a pipe of 4096 bytes: it runs
#: at most eight turns ahead of its killer, however busy the machine is.
MESSAGE = b"." * 512
EVENTS = "SELECT r.name, e.seq, e.kind, e.unit FROM event e JOIN run r ON r.id = e.run"


class Noted:
    """A source that writes down the seed of every draw that it makes, and takes its time."""

    def __init__(self, source: Any, log: Path, seconds: float) -> None:
        self.source, self.log, self.seconds = source, log, seconds
        self.moods = np.random.default_rng(os.getpid())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    async def generate(self, work: Sequence[Any]) -> Any:
        return await self._noted(self.source.generate, work)

    async def score(self, work: Sequence[Any]) -> Any:
        return await self._noted(self.source.score, work)

    async def _noted(self, serve: Any, work: Sequence[Any]) -> Any:
        await asyncio.sleep(self.moods.uniform(0, 2 * self.seconds))
        served = await serve(work)
        with self.log.open("a") as file:
            file.write("".join(f"{seed}\n" for item in work for seed in item.seeds))
        return served


class Noisy:
    """A verifier: the share of right lines, and noise from the seed."""

    name, fingerprint, wants = "process", "noisy", frozenset[str]()
    derived = oracle = False
    max_batch, concurrency = 4, 8

    async def score(self, work: Sequence[VerifyWork]) -> list[Outcome]:
        return [
            Outcome([Draw(value=self._value(item, u), output_tokens=1, seconds=0.01) for u in
                     uniforms(item.seeds, 7).tolist()])
            for item in work
        ]  # fmt: skip

    def _value(self, item: VerifyWork, noise: float) -> float:
        lines = item.candidates[0].text.split("\n")
        return 0.8 * lines.count("1") / len(lines) + 0.2 * noise


@dataclass(frozen=True)
class World:
    """What is run: the parts of a driver, and its plans."""

    generator: Any
    verifiers: dict[str, Any]
    tasks: dict[str, Any]
    plans: list[RunPlan]
    seconds: float = 0.0005


def scripted_world(problems: int = 3, size: int = 5) -> World:
    """Every strategy on a coin of three lines, with draws that fail and take modelled time."""
    generator = Scripted.coin(
        0.4, steps=3, failure_rate=0.05, flops_per_token=2.0, concurrency=6, max_batch=3,
        latency=Latency(base_seconds=0.1, seconds_per_token=0.01, sigma=0.4),
    )  # fmt: skip
    asked = [Problem(id=f"p{k}", prompt=f"problem {k}") for k in range(problems)]
    return World(generator, {"process": Noisy()}, {}, _plans(asked, size))


def embedded_world(model: str, problems: int = 4, size: int = 4) -> World:
    """Every strategy on an embedded model."""
    from dwell.generators.registry import make_generator
    from dwell.tasks import TASKS
    from dwell.verifiers import make_verifier

    asked = [p for task in TASKS.values() for p in task.problems(problems // 2, seed=0)]  # type: ignore[attr-defined]
    tasks = dict(TASKS)
    verifiers = {"process": make_verifier("process", tasks=tasks)}
    return World(make_generator(model), verifiers, tasks, _plans(asked, size))


def _plans(problems: Sequence[Problem], size: int) -> list[RunPlan]:
    return [
        RunPlan(name=f"{name}|{problem.id}", strategy=kind(**{kind.scale: size}), problem=problem,
                limits={"calls": 9} if name == "beam" else {})
        for problem in problems
        for name, kind in STRATEGIES.items()
    ]  # fmt: skip


def run_study(world: World, path: Path, order: str, turn: Any = lambda _: None) -> None:
    """One process's work: go on with the study until it is done."""
    log = path.with_suffix(".log")
    verifiers = {k: Noted(v, log, world.seconds) for k, v in world.verifiers.items()}
    with Ledger(path) as ledger:
        driver = Driver(
            ledger,
            generators={"solver": Noted(world.generator, log, world.seconds)},
            verifiers=verifiers,
            tasks=world.tasks,
            wants=frozenset().union(*(v.wants for v in verifiers.values())),
            order=order,
            window=12,
            on_progress=turn,
        )
        asyncio.run(driver.run(world.plans))


def killed(world: World, path: Path, order: str, turns: int, dice: np.random.Generator) -> bool:
    """Run in a child process and kill it after some turns; False if it was done before."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    child = os.fork()
    if child == 0:
        try:
            run_study(world, path, order, lambda _: os.write(writer, MESSAGE))
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)
    os.close(writer)
    seen = 0
    while seen < turns * len(MESSAGE) and (chunk := os.read(reader, 4096)):
        seen += len(chunk)
    time.sleep(dice.uniform(0, 0.004))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reader)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise AssertionError(f"the study ended with exit code {os.WEXITSTATUS(status)}")
    return os.WIFSIGNALED(status)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query finds in a ledger, sorted."""
    if not path.exists():
        return []
    db = sqlite3.connect(path)
    try:
        return sorted(db.execute(query).fetchall(), key=repr)
    except sqlite3.OperationalError:  # killed before the tables were made
        return []
    finally:
        db.close()


def committed(path: Path) -> set[int]:
    """The seeds of all draws on disk."""
    return {draw_seeds(row[0], row[2], 1)[0] for row in rows(path, SAME["draws"])}


def noted(path: Path) -> list[int]:
    """The seeds of all draws made, in order."""
    log = path.with_suffix(".log")
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def torture(
    world: World, folder: Path, order: str, kills: int, turns: int, dice: np.random.Generator
) -> Iterator[Path]:
    """Kill studies, ten times each, until enough kills hit; the ledger of each, once it is done.

    Args:
        turns: how many turns an uninterrupted study takes.

    Raises:
        AssertionError: a committed draw was made again, or a recorded delivery was not repeated.
    """
    hits = rounds = 0
    while hits < kills:
        path = folder / f"{order}-{rounds}.db"
        for _ in range(min(10, kills - hits)):
            hits += _once(world, path, order, int(dice.integers(1, 2 + turns // 4)), dice)
        _once(world, path, order, 10**9, dice)
        rounds += 1
        yield path


def _once(world: World, path: Path, order: str, turns: int, dice: np.random.Generator) -> bool:
    events, on_disk, before = rows(path, EVENTS), committed(path), len(noted(path))
    hit = killed(world, path, order, turns, dice)
    again = on_disk & set(noted(path)[before:])
    assert not again, f"{len(again)} committed draws were made again"
    lost = set(events) - set(rows(path, EVENTS))
    assert not lost, f"{len(lost)} recorded deliveries were not repeated"
    assert on_disk <= committed(path), "committed draws are gone"
    return hit


def uninterrupted(world: World, path: Path, order: str) -> int:
    """Run the study in peace; how many turns it took."""
    count = [0]
    run_study(world, path, order, lambda _: count.__setitem__(0, count[0] + 1))
    return count[0]


def compare(path: Path, expected: Path) -> None:
    """Assert that two ledgers hold the same study.

    Raises:
        AssertionError: they do not.
    """
    for name, query in SAME.items():
        found, wanted = rows(path, query), rows(expected, query)
        assert found == wanted, f"{name} differ: {len(found)} and {len(wanted)}"


def recheck(world: World, path: Path, order: str) -> None:
    """Repeat every finished run from the ledger and compare digests and answers."""
    with Ledger(path) as ledger:
        driver = Driver(
            ledger, generators={"solver": world.generator}, verifiers=world.verifiers,
            tasks=world.tasks, order=order, check=True,
            wants=frozenset().union(*(v.wants for v in world.verifiers.values())),
        )  # fmt: skip
        asyncio.run(driver.run(world.plans))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--kills", type=int, default=50, help="in order 'issued'; half as many in 'finished'"
    )
    parser.add_argument("--model", help="an embedded model instead of the scripted generator")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    world = embedded_world(chosen.model) if chosen.model else scripted_world()
    dice = np.random.default_rng(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.db"
        turns = uninterrupted(world, whole, "issued")
        print(
            f"uninterrupted: {len(world.plans)} runs, {len(committed(whole))} draws, {turns} turns"
        )
        for order, kills in (("issued", chosen.kills), ("finished", chosen.kills // 2)):
            rounds, started = 0, time.perf_counter()
            for path in torture(world, Path(folder), order, kills, turns, dice):
                if order == "issued":
                    compare(path, whole)
                recheck(world, path, order)
                rounds += 1
            seconds = time.perf_counter() - started
            print(f"{order}: {kills} kills in {rounds} studies, {seconds:.0f} s: {HELD[order]}")


if __name__ == "__main__":
    main()

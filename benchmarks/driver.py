"""How fast the driver and the ledger are, and whether memory stays flat.

    python benchmarks/driver.py             # prints two tables
    python benchmarks/driver.py --quick     # a tenth of the draws

Draws per second through driver and ledger with the scripted generator, which makes a draw in less
than a microsecond or two; a second pass replays the same draws into runs of other names. CPU
seconds of the process are what counts: wall time depends on what else the machine does. Then one
study of a million draws: how much its resident memory grows after the first 100,000.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dwell.driver import Driver, Progress, RunPlan
from dwell.generators import Scripted
from dwell.ledger import Ledger
from dwell.protocols import Strategy
from dwell.records import Problem
from dwell.requests import Generate, Solution


def generator() -> Scripted:
    """A coin with a known rate, and nothing to wait for."""
    return Scripted.coin(0.3)


@dataclass(frozen=True)
class Repeats(Strategy):
    """Asks again and again for `n` draws; answers with the last."""

    name = "repeats"

    n: int
    requests: int

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        drawn = ()
        for _ in range(self.requests):
            drawn = yield Generate(problem.context(), n=self.n)
        return drawn[-1].answer


def plans(draws: int, strategy: Repeats, name: str) -> Iterator[RunPlan]:
    """As many runs as make so many draws, on a problem of its own each."""
    for k in range(draws // (strategy.n * strategy.requests)):
        problem = Problem(id=f"p{k}", prompt=f"problem {k}")
        yield RunPlan(name=f"{name}{k}", strategy=strategy, problem=problem)


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def timed(path: Path, draws: int, strategy: Repeats, name: str) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of one study."""
    with Ledger(path) as ledger:
        driver = Driver(ledger, generators={"solver": generator()})
        cpu, wall = time.process_time(), time.perf_counter()
        asyncio.run(driver.run(plans(draws, strategy, name)))
        return time.process_time() - cpu, time.perf_counter() - wall


def speed(folder: Path, draws: int) -> None:
    """A table of draws per second, fresh and replayed."""
    print("n a request, requests a run, draws; draws/s of CPU, of wall; microseconds a draw")
    for n, requests in ((1, 1), (1, 64), (16, 4), (64, 1)):
        path = folder / f"{n}-{requests}.db"
        count = draws // 8 if n * requests == 1 else draws
        for what, name in (("fresh", "a"), ("replayed", "b")):
            cpu, wall = timed(path, count, Repeats(n, requests), name)
            print(f"{n:>8} {requests:>8} {count:>8} {what:>9} {count / cpu:>9,.0f} "
                  f"{count / wall:>9,.0f} {1e6 * cpu / count:>6.1f}")  # fmt: skip


def memory(folder: Path, draws: int) -> None:
    """How much memory grows from a tenth of the draws to all of them."""
    marks: list[tuple[int, int]] = []

    def watch(progress: Progress) -> None:
        if progress.draws_new >= (draws // 10 if not marks else 10**12):
            marks.append((progress.draws_new, resident()))

    with Ledger(folder / "memory.db") as ledger:
        driver = Driver(ledger, generators={"solver": generator()}, on_progress=watch)
        cpu = time.process_time()
        asyncio.run(driver.run(plans(draws, Repeats(64, 1), "m")))
        cpu = time.process_time() - cpu
        marks.append((driver.progress.draws_new, resident()))
    for count, size in marks:
        print(f"{count:>10,} draws: {size / 2**20:7.1f} MB resident")
    print(f"growth {(marks[-1][1] - marks[0][1]) / 2**20:.1f} MB (at most 20 wanted); "
          f"{draws / cpu:,.0f} draws/s CPU")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws")
    parser.add_argument("--only", choices=["speed", "memory"])
    chosen = parser.parse_args()
    scale = 10 if chosen.quick else 1
    with tempfile.TemporaryDirectory() as folder:
        if chosen.only != "memory":
            speed(Path(folder), 200_000 // scale)
        if chosen.only != "speed":
            memory(Path(folder), 1_000_000 // scale)


if __name__ == "__main__":
    main()

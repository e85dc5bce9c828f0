"""The claims about the embedded models, measured on fresh problems of the test split.

    python benchmarks/embedded.py --problems 1000 --out benchmarks/runs/embedded

Everything is resumable; a second run only prints. Each claim is printed with the number that was
asked for, the number that was measured and its interval, and "holds" or "does not hold". Problems
come from a seed that no training, tuning or demo used. Exits with 1 if a claim does not hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dwell.commands.console import LiveView, print_table
from dwell.curves import Panel, panels
from dwell.metrics import paired_difference
from dwell.results import analyse
from dwell.study import Study
from dwell.study_file import parse_study

TEST_SEED = 20261122

HEAD = """
title = "{title}"
seed = 7
budgets = [1, 2, 4, 8, 16, 32, 64]
"""
TASK = """
[[tasks]]
name = "{task}"
problems = {problems}
seed = {seed}
"""
STRATEGIES = """
[[strategies]]
name = "majority"
[[strategies]]
name = "best_of_n"
"""
MORE_STRATEGIES = """
[[strategies]]
name = "weighted_majority"
[[strategies]]
name = "best_of_n"
verifier = "process_weak"
[[strategies]]
name = "best_of_n"
verifier = "worst_surprisal"
[[strategies]]
name = "particle"
budgets = [4]
[[strategies]]
name = "budget_forcing"
budgets = [0, 1, 2]
"""


def study_text(title: str, models: Sequence[str], problems: int, strategies: str) -> str:
    parts = [HEAD.format(title=title)]
    parts += [f'[[models]]\nname = "{name}"\n' for name in models]
    parts += [
        TASK.format(task=task, problems=problems, seed=TEST_SEED)
        for task in ("chain", "countdown")
    ]
    return "".join(parts) + strategies


@dataclass(frozen=True)
class Claim:
    text: str
    measured: float
    low: float
    high: float
    holds: bool


class Numbers:
    """Look-ups in a study's results."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.results = results

    def point(self, task: str, label: str, n: int) -> dict[str, float]:
        for curve in self.results["curves"]:
            if (curve["task"], curve["label"]) == (task, label):
                for point in curve["points"]:
                    if point["n"] == n:
                        return point
        raise SystemExit(f"no point {label} at n={n} on {task}")

    def claim(
        self, text: str, task: str, label: str, n: int, rule: Callable[[float], bool]
    ) -> Claim:
        p = self.point(task, label, n)
        return Claim(text, p["accuracy"], p["low"], p["high"], rule(p["accuracy"]))


def paired(of_model: Sequence[Panel], task: str, a: tuple[str, int], b: tuple[str, int],
           text: str, least: float) -> Claim:  # fmt: skip
    """A paired difference between two points of one model, with its interval."""
    panel = next(p for p in of_model if p.task == task)
    curves = [next(c for c in panel.curves if c.label == label) for label, _ in (a, b)]
    exact = all(curve.kind != "measured" for curve in curves)
    rows = [
        (curve.values if exact else curve.answered)[:, curve.budgets.index(n)]
        for curve, (_, n) in zip(curves, (a, b), strict=True)
    ]
    interval = paired_difference(rows[0], rows[1], panel.resamples)
    value, low, high = (float(x) for x in (interval.value, interval.low, interval.high))
    return Claim(text, value, low, high, value >= least and low > 0)


def claims(results: dict[str, Any], folder: Path) -> Iterator[Claim]:
    of_model = panels(folder)
    at = Numbers(results)
    weak = "best_of_n (verifier=process_weak)"
    coverage = "coverage (pass@k)"
    yield at.claim("chain pass@1 in 40-65 %", "chain", coverage, 1, lambda a: 0.40 <= a <= 0.65)
    yield paired(of_model, "chain", ("majority", 64), ("majority", 1),
                 "chain majority@64 >= pass@1 + 30 points", 0.30)  # fmt: skip
    yield at.claim("chain pass@64 >= 98 %", "chain", coverage, 64, lambda a: a >= 0.98)
    yield at.claim("countdown pass@1 in 20-40 %", "countdown", coverage, 1,
                   lambda a: 0.20 <= a <= 0.40)  # fmt: skip
    yield at.claim("countdown pass@64 >= 90 %", "countdown", coverage, 64, lambda a: a >= 0.90)
    yield paired(of_model, "countdown", ("best_of_n", 16), ("majority", 16),
                 "countdown best-of-16 (good) >= majority@16 + 10 points", 0.10)  # fmt: skip
    yield paired(of_model, "chain", ("particle", 4), ("best_of_n", 4),
                 "chain particle filter at 4 > best-of-4", 0.0)  # fmt: skip
    yield paired(of_model, "chain", (weak, 4), (weak, 64),
                 "chain weak verifier: best-of-4 > best-of-64", 0.0)  # fmt: skip
    share = results["tokens_spent"] / results["tokens_charged"]
    yield Claim("spent <= 1/2 of charged", share, share, share, share <= 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--size-problems", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/runs/embedded"))
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    studies = {
        "main": study_text(
            "embedded model on fresh problems", ["tiny-0.8m"], args.problems,
            STRATEGIES + MORE_STRATEGIES,
        ),
        "sizes": study_text(
            "model size against number of draws", ["tiny-0.2m", "tiny-0.8m", "tiny-3m"],
            args.size_problems, STRATEGIES,
        ),
    }  # fmt: skip
    folders = []
    for name, text in studies.items():
        study = Study(parse_study(text), args.out / name)
        with LiveView(study) as view:
            study.run(jobs=args.jobs, watch=view.watch)
        print(f"{name}: {view.counts.draws_new:,} draws in {view.seconds:.0f} s")
        folders.append(study.folder)
    results = analyse(folders[0])
    print_table(results)
    held = True
    for claim in claims(results, folders[0]):
        word = "holds" if claim.holds else "DOES NOT HOLD"
        held &= claim.holds
        print(
            f"{claim.text:58s} {claim.measured:6.3f} [{claim.low:.3f}, {claim.high:.3f}]  {word}"
        )
    print_frontier(analyse(folders[1]))
    sys.exit(0 if held else 1)


def print_frontier(results: dict[str, Any]) -> None:
    print("\nFrontier in FLOPs per problem (nothing cheaper is as accurate):")
    for record in sorted(results["frontier"], key=lambda r: (r["task"], r["flops"])):
        if record["on_frontier"]:
            print(
                f"  {record['task']:10s} {record['model']:10s} {record['label']:10s} "
                f"n={record['n']:<3d} {record['flops']:.2e} FLOPs  {record['accuracy']:.3f} "
                f"[{record['low']:.3f}, {record['high']:.3f}]"
            )


if __name__ == "__main__":
    main()

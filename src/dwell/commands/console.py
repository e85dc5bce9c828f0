"""What a person sees in a terminal: the live view of a study, and its table."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from dwell.driver import Progress as Counts
from dwell.driver.session import Session
from dwell.protocols import is_right
from dwell.study import Study, Watch


class LiveView:
    """A progress view of a study: runs, tokens, spent against charged, the best so far.

    Use as a context manager; pass `watch` to `Study.run`. Without a terminal it is silent.

    Attributes:
        counts: the latest counts.
        failures: (run, why) of the runs that failed.
    """

    def __init__(self, study: Study, console: Console | None = None) -> None:
        self._study = study
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._begin = self._shown = 0.0
        self._right: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.watch = Watch(self._planned, self._progressed, self._done)
        self.counts = Counts()
        self.failures: list[tuple[str, str]] = []

    def __enter__(self) -> LiveView:
        self._begin = time.perf_counter()
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the view was opened."""
        return time.perf_counter() - self._begin

    def _planned(self, count: int) -> None:
        self._bar.update(self._task, total=count)

    def _progressed(self, counts: Counts) -> None:
        self.counts = counts
        now = time.perf_counter()
        if now - self._shown < 0.2:
            return
        self._shown = now
        rate = counts.spent / max(now - self._begin, 1e-9)
        text = (
            f"{counts.draws_new:,} draws, {rate:,.0f} tokens/s; "
            f"spent {counts.spent:,.0f} of {counts.charged:,.0f} charged{self._best()}"
        )
        self._bar.update(self._task, completed=counts.runs_done, description=text)

    def _done(self, session: Session) -> None:
        if session.status.startswith("failed: "):
            self.failures.append((session.name, session.status.removeprefix("failed: ")))
            return
        problem = session.problem
        task = self._study.tasks[problem.task]
        known = getattr(task, "known", None)
        tally = self._right[f"{session.strategy.spec()} on {problem.task}"]
        answers = {name: answer for name, answer, _ in session.results()}
        for each in problem.members or (problem,):
            if known is not None and not known(each, answers[each.id]):
                continue  # a program that is still to be run
            tally[0] += is_right(task, each, answers[each.id])
            tally[1] += 1

    def _best(self) -> str:
        """The strategy that is right most often so far, once it has some problems."""
        seen = {name: right / count for name, (right, count) in self._right.items() if count >= 10}
        if not seen:
            return ""
        name = max(seen, key=lambda key: seen[key])
        return f"; best {name.split('(')[0]} {100 * seen[name]:.0f} %"


def print_summary(results: Mapping[str, Any]) -> None:
    """The table, how wide its intervals are, what it cost, and the advice."""
    print_table(results)
    for sentence in (width_sentence(results), cost_sentence(results), results["advice"]):
        click.echo(sentence)
    for line in confidence_lines(results):
        click.echo(line)


def print_table(results: Mapping[str, Any], console: Console | None = None) -> None:
    """Accuracy of each strategy at each budget, with intervals, a table a model and task."""
    console = console or _wide_console()
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for curve in results["curves"]:
        groups[curve["model"], curve["task"]].append(curve)
    for (model, task), curves in groups.items():
        budgets = sorted({p["n"] for c in curves if c["scale"] == "n" for p in c["points"]})
        problems = max(p["problems"] for c in curves for p in c["points"])
        title = f"{task}, {model}: % right of {problems} problems [95 % interval]"
        table = Table(title=title)
        table.add_column("strategy")
        for n in budgets:
            table.add_column(f"N={n}", justify="right")
        for curve in curves:
            if curve["scale"] == "n":
                points = {point["n"]: point for point in curve["points"]}
                name = curve["label"] + _oracle(curve)
                table.add_row(name, *(_cell(points.get(n)) for n in budgets))
        console.print(table if budgets else title.replace("[", "\\["))
        for curve in curves:
            if curve["scale"] != "n":
                cells = (f"{curve['scale']}={p['n']}: {_cell(p)}" for p in curve["points"])
                console.print(f"  {curve['label']}: {', '.join(cells)}")


def _oracle(curve: Mapping[str, Any]) -> str:
    """What to say of a curve that reads the true grades."""
    if not curve["oracle"]:
        return ""
    return " (oracle)" if curve["strategy"] in ("worst", "average") else " (upper bound)"


def _wide_console() -> Console:
    """The terminal, or as many columns as a table needs where output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=180)


def _cell(point: Mapping[str, Any] | None) -> str:
    if point is None:
        return ""
    low, high = 100 * point["low"], 100 * point["high"]
    return f"{100 * point['accuracy']:.0f} \\[{low:.0f}, {high:.0f}]"


def width_sentence(results: Mapping[str, Any]) -> str:
    """How wide the intervals are, in a sentence."""
    points = [p for c in results["curves"] for p in c["points"]]
    if not points:
        return "Nothing is finished yet."
    widths = [100 * (p["high"] - p["low"]) / 2 for p in points]
    problems = max(p["problems"] for p in points)
    return (
        f"With {problems} problems a task the intervals are about ±{sum(widths) / len(widths):.0f}"
        f" points (at most ±{max(widths):.0f}): read differences in the paired table of the "
        "report, which is sharper."
    )


def confidence_lines(results: Mapping[str, Any]) -> list[str]:
    """What plans said of their answers and what was so, a sentence each."""
    return [str(one["text"]) for one in results.get("confidence") or ()]


def cost_sentence(results: Mapping[str, Any]) -> str:
    """Charged against spent, in a sentence."""
    charged, spent = results["tokens_charged"], results["tokens_spent"]
    share = f" ({charged / spent:.1f} times less)" if spent else ""
    return (
        f"Strategies were charged {charged:,.0f} tokens; {spent:,.0f} were generated{share}, "
        "because the ledger shares draws."
    )

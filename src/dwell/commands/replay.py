"""`dwell replay`: what strategies would have got on recorded samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dwell import replays
from dwell.commands.console import confidence_lines, print_table, width_sentence
from dwell.recordings import NO_VOTE, Recorded, read_recordings
from dwell.report import render
from dwell.report.wording import plural
from dwell.results import to_json
from dwell.study import STUDY
from dwell.study_recording import recordings_of

#: With more runs than this the terminal shows one line a run instead of one table a run.
MANY_RUNS = 4

HELP = f"""What strategies would have got on recorded samples; no model is called.

\b
  dwell replay samples.parquet --strategies sample,majority,coverage
  dwell replay samples.csv --strategies "majority best_of_n:verifier=score" --budgets 1,4,16
  dwell replay runs/mine --strategy adaptive_consistency:threshold=0.9 --budgets all --json

TABLE is parquet, CSV or JSON-lines with one row a sample, a log of Inspect or lm-eval, or the
folder of a study. Required columns: `question_id`, and `correct` (or `answer` with --reference).
Used when present: answer, sample_index, run_id, model, dataset, tokens, score, turn. Any other
column of numbers is a verifier that a strategy may name (it costs nothing here).

Besides strategies one may ask for bounds, which read the true grades: coverage (pass@k), best,
worst (all of k right), average, and turns for successive attempts.

How each is evaluated is in the output: "exact" averages over all subsets of the draws (sample,
majority, best_of_n, weighted_majority, bounds); "orders" over random orders without replacement
(strategies that stop early); "driver" runs the strategy on the recorded draws.

Laws are fitted, and levels of difficulty made from half of the draws, where there are at most
{replays.FEW_CURVES} curves (runs x strategies); --laws and --no-laws decide otherwise for laws.
"""


@click.command(help=HELP)
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--strategies", "lines", multiple=True, help="Strategies and bounds, with commas "
              "or spaces between them.  [default: what the columns allow]")  # fmt: skip
@click.option("--strategy", "words", multiple=True, help="One more, as NAME:KEY=VALUE,...")
@click.option("--budgets", help="Draws, such as 1,4,16; `all` for every number; `each` for all "
              "that a question has.  [default: powers of two, most]")  # fmt: skip
@click.option("--map", "mapping", multiple=True, help="Another column's name: answer=pred.")
@click.option("--where", multiple=True, help="Only rows such as turn=3 or model=a|b.")
@click.option("--reference", help="Column, or table of question_id and reference, to grade by.")
@click.option("--no-vote", multiple=True, help="Answers that cast no vote, besides empty ones.  "
              f"[default: {' '.join(NO_VOTE)}]")  # fmt: skip
@click.option("--skip-bad", is_flag=True, help="Leave bad rows out, and count them.")
@click.option("--runs-as-samples", is_flag=True, help="The first sample of each run as the "
              "samples of one recording: a vote among models.")  # fmt: skip
@click.option("--orders", type=click.IntRange(1), default=25, show_default=True,
              help="Random orders of the draws.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Decides orders and resamples.")  # fmt: skip
@click.option("--laws/--no-laws", default=None, help="Fit laws to the curves.")
@click.option("--driver", is_flag=True, help="Run every strategy through the driver (slow).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the driver's ledger.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the page, too.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def replay(table: Path, **options: Any) -> None:
    """Replay strategies on a table."""
    recorded = _read(table, options)
    with _bar() as progress:
        bar = progress.add_task("replaying", total=len(recorded.recordings))
        results = replays.replay(
            recorded,
            [*options["lines"], *options["words"]] or None,
            options["budgets"],
            repetitions=options["orders"],
            seed=options["seed"],
            laws=options["laws"],
            driver=options["driver"],
            out=options["out"],
            watch=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    if options["report"]:
        page = render(results, options["report"])
        click.echo(f"Wrote {page}", err=True)
    if options["as_json"]:
        click.echo(to_json(results))
        return
    print_replay(results)


def _read(table: Path, options: Mapping[str, Any]) -> Recorded:
    if (table / STUDY).exists():
        return recordings_of(table)
    return read_recordings(
        table,
        mapping=options["mapping"],
        where=options["where"],
        reference=options["reference"],
        no_vote=options["no_vote"] or NO_VOTE,
        skip_bad=options["skip_bad"],
        runs_as_samples=options["runs_as_samples"],
    )


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} runs"), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip


def print_replay(results: Mapping[str, Any]) -> None:
    """Tables of accuracy, what was read and left out, and the advice."""
    runs = results["recording"]["runs"]
    curves = results["curves"]
    if len(runs) > MANY_RUNS:
        means = [curve for curve in curves if curve.get("mean_over_runs")]
        for group in dict.fromkeys((curve["task"], curve["model"]) for curve in means):
            own = [curve for curve in means if (curve["task"], curve["model"]) == group]
            print_table({**results, "curves": own})
            for line in spread_lines(own):
                click.echo(line)
        for line in run_lines([c for c in curves if not c.get("mean_over_runs")]):
            click.echo(line)
    else:
        print_table(results)
    for line in (*accounts(results), *confidence_lines(results)):
        click.echo(line)


def spread_lines(means: Sequence[Mapping[str, Any]]) -> list[str]:
    """How far runs differ from each other at each mean's largest budget."""
    lines = []
    for curve in means:
        point = curve["points"][-1]
        lines.append(
            f"  {curve['label']} at {curve['scale']}={point['n']}: {point['runs']} runs, from "
            f"{100 * point['runs_least']:.1f} to {100 * point['runs_most']:.1f} % "
            f"(standard deviation {100 * point['runs_sd']:.1f})"
        )
    return lines


def run_lines(curves: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a run: each strategy at its largest budget that most of its questions have."""
    lines: dict[tuple[str, str], list[str]] = {}
    for curve in curves:
        most = max(point["problems"] for point in curve["points"])
        point = [p for p in curve["points"] if p["problems"] >= 0.9 * most][-1]
        cell = f"{curve['label']}@{point['n']} {100 * point['accuracy']:.1f}"
        lines.setdefault((curve["task"], curve["model"]), []).append(cell)
    return [f"  {model}: {', '.join(cells)}" for (_, model), cells in lines.items()]


def accounts(results: Mapping[str, Any]) -> list[str]:
    """What was read, skipped and left out, how it was estimated, and the advice."""
    read = results["recording"]
    rows = f"{read['rows']:,} rows of {read['path']}"
    lines = [f"{rows}, {read['skipped']:,} skipped; {plural(len(read['runs']), 'run')}."]
    lines += read["notes"]
    if read["each"]:
        lines.append("N stands for all draws that a question has, however many.")
    lines += [f"  skipped {count:,}: {rule}" for rule, count in read["skipped_by"].items()]
    if read["mixed"]:
        lines.append(
            f"{read['mixed']:,} answers are graded both right and wrong: their mean counts."
        )
    how: dict[str, list[str]] = {}
    for curve in results["curves"]:
        labels = how.setdefault(curve["estimator"], [])
        if curve["label"] not in labels:
            labels.append(curve["label"])
    means = {
        "exact": "Exact over all subsets",
        "orders": f"Mean of {read['orders']} random orders",
        "driver": f"Run {read['orders']} times",
    }
    lines += [f"{means.get(kind, kind)}: {', '.join(labels)}." for kind, labels in how.items()]
    for entry in results["left_out"][:3]:
        lines.append(f"left out on {entry['model']}: {entry['why']}")
    if len(results["left_out"]) > 3:
        lines.append(f"left out {len(results['left_out']) - 3} more; --json names them.")
    return [*lines, width_sentence(results), results["advice"]]

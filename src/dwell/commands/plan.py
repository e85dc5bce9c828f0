"""`dwell plan`: which policy for a budget, what it promises, and whether it is worth having."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dwell import replays
from dwell.cost import read_prices
from dwell.errors import UsageError
from dwell.plans import Plan
from dwell.plans import plan as make_plan
from dwell.plans.evidence import UNITS
from dwell.plans.pooling import wanted
from dwell.plans.wording import cost_text
from dwell.recordings import read_recordings
from dwell.report import render
from dwell.results import analyse
from dwell.study import STUDY

HELP = """Find the policy that spends a budget best, and what it will bring.

\b
  dwell plan samples.parquet --budget 8 --out plan.json
  dwell plan runs/mine --unit tokens --budget 2000
  dwell plan samples.csv --target-accuracy 0.9
  dwell plan samples.csv --usd-per-question 0.01 --usd-per-mtok 4.4

SOURCE is a study's folder or a table of recorded samples (see `dwell replay --help`). No model is
called. Strategies, stopping rules and routes by the first draws are searched; what they bring is
measured on questions that the search did not see (cross-fitting), with 95 % intervals. So is how
far the plan's confidence in its answers may be trusted.

\b
  dwell plan samples.csv --budget 8 --abstain-risk 0.05     # else it says that it is not sure
  dwell plan FOLDER/labelled.jsonl --budget 8               # from what users said of `dwell serve`

The plan file is a strategy: `dwell run ... --strategy plan:plan.json`, `dwell replay` and
`dwell serve --plan plan.json` likewise.
"""


@click.command(help=HELP)
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--budget", type=float, help="Mean cost a question, in --unit: be most accurate.")
@click.option("--target-accuracy", type=float, help="Share right, such as 0.9: be cheapest.")
@click.option("--usd-per-question", type=float, help="A budget in dollars.")
@click.option("--unit", type=click.Choice(UNITS), default="draws", show_default=True,
              help="What the budget counts.")  # fmt: skip
@click.option("--usd-per-mtok", type=float, help="Dollars a million output tokens.")
@click.option("--prices", type=click.Path(path_type=Path), help="Price table (TOML), by model.")
@click.option("--score", "scores", multiple=True, help="A recorded number that may choose "
              "answers.  [default: score, or a study's verifiers]")  # fmt: skip
@click.option("--run", help="Which run or model, where there are several.")
@click.option("--pool", is_flag=True, help="One plan for all runs together.")
@click.option("--clusters", help="Tag of questions that move together.")
@click.option("--abstain-risk", type=float, help="Share of the answers given that may be wrong, "
              "such as 0.05: be silent where less sure; half of the questions "
              "certify it.")  # fmt: skip
@click.option("--abstain-delta", type=float, default=0.1, show_default=True,
              help="Chance that these questions misled.")  # fmt: skip
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True,
              help="How often the questions are dealt into folds.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--map", "mapping", multiple=True, help="Another column's name: answer=pred.")
@click.option("--where", multiple=True, help="Only rows such as turn=3 or model=a|b.")
@click.option("--reference", help="Column, or table of question_id and reference, to grade by.")
@click.option("--skip-bad", is_flag=True, help="Leave bad rows out, and count them.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the plan file.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a page that shows it.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan file.")
def plan(source: Path, **options: Any) -> None:
    """Make a plan; print it, write it, show it."""
    reading = {key: options[key] for key in ("mapping", "where", "reference", "skip_bad")}
    asked = (
        "budget", "target_accuracy", "usd_per_question", "unit", "scores", "run", "pool",
        "clusters", "folds", "repeats", "seed", "abstain_risk", "abstain_delta",
    )  # fmt: skip
    found = make_plan(
        source,
        usd_per_mtok=_price(options),
        **{key: options[key] for key in asked},
        **({} if (source / STUDY).exists() else reading),
    )
    if options["out"]:
        found.save(options["out"])
        click.echo(f"Wrote {options['out']}", err=True)
    if options["report"]:
        page = render(_results(source, found, options, reading), options["report"])
        click.echo(f"Wrote {page}", err=True)
    if options["as_json"]:
        click.echo(json.dumps(found.record, indent=2, ensure_ascii=False))
        return
    print_plan(found)


def _price(options: Mapping[str, Any]) -> float | None:
    """Dollars a million output tokens, as given or from a table by the run's name."""
    if options["prices"] is None:
        price: float | None = options["usd_per_mtok"]
        return price
    if not options["run"]:
        raise UsageError(
            "A price table needs the model's name, but --run is not given. "
            "Add --run MODEL, or give --usd-per-mtok."
        )
    return float(read_prices(options["prices"]).model(options["run"]).output_usd)


def _results(
    source: Path, found: Plan, options: Mapping[str, Any], reading: Mapping[str, Any]
) -> dict[str, Any]:
    """What a report shows: the curves of the source, and the plan."""
    if (source / STUDY).exists():
        return {**analyse(source), "plan": found.for_report()}
    recorded = read_recordings(source, **reading)
    kept = wanted(recorded.recordings, options["run"])
    strategies = ["sample", "coverage"]
    votes = all(recording.codes is not None for recording in kept)
    strategies += ["majority", "adaptive_consistency"] if votes else []
    for score in found.record["measured_on"]["scores"]:
        strategies.append(f"best_of_n:verifier={score}")
        strategies += [f"weighted_majority:verifier={score}"] if votes else []
    results = replays.replay(replace(recorded, recordings=tuple(kept)), strategies)
    return {**results, "plan": found.for_report()}


def print_plan(found: Plan) -> None:
    """The plan in words, and its frontier."""
    on = found.record["measured_on"]
    left_out = f" ({on['left_out']} with fewer draws left out)" if on["left_out"] else ""
    skipped = f"; {on['skipped']} bad rows skipped" if on.get("skipped") else ""
    click.echo(
        f"{on['run']}: {on['questions']} questions x {on['draws']} draws{left_out}, "
        f"{on['folds']} folds, {on['repeats']} times{skipped}"
    )
    sentences = found.sentences()
    words = len(found.record["in_words"])
    for line in sentences[:words]:
        click.echo(f"  {line}")
    click.echo(sentences[words])
    _print_frontier(found)
    for line in sentences[words + 1 :]:
        click.echo(line)


def _print_frontier(found: Plan) -> None:
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    table = Table(title="Frontier: % right on questions not planned on [95 % interval]")
    for head in ("budget", "cost", "% right", "plan", "best fixed choice"):
        table.add_column(head, justify="right" if head != "plan" else "left")
    for row in found.record["frontier"]:
        low, high = 100 * row["low"], 100 * row["high"]
        fixed = row["fixed"]
        table.add_row(
            cost_text(row["budget"], found.unit),
            cost_text(row["cost"], found.unit),
            f"{100 * row['accuracy']:.1f} \\[{low:.1f}, {high:.1f}]",
            row["label"],
            f"{100 * fixed['accuracy']:.1f}  {fixed['label']}",
        )
    console.print(table)

"""`dwell demo`: the main job on the embedded model, in a minute."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from dwell.commands.console import print_summary
from dwell.commands.run import run_study
from dwell.report import render
from dwell.results import analyse
from dwell.study import REPORT
from dwell.study_file import parse_study


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
              help="The study's folder.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True,
              help="Worker processes.")  # fmt: skip
def demo(out: Path, jobs: int) -> None:
    """Run a small study of the embedded 0.8 M model: strategies, budgets, laws, a report."""
    text = files("dwell").joinpath("demo.toml").read_text(encoding="utf-8")
    view = run_study(parse_study(text, "demo.toml"), out, jobs=jobs)
    results = analyse(out)
    results["demo_note"] = (
        "Both tasks and the model are dwell's own. Careless slips in the model's training traces "
        "make its errors random, so that votes and verifiers can mend them: a designed property."
    )
    page = render(results, out / REPORT)
    print_summary(results)
    click.echo(f"The study took {view.seconds:.0f} s. Open the report: {page.resolve()}")

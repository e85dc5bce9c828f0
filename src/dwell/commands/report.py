"""`dwell report`: a study's report as one page."""

from __future__ import annotations

from pathlib import Path

import click

from dwell.report import render
from dwell.results import analyse
from dwell.study import REPORT


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="The page; default FOLDER/report.html"
)
def report(folder: Path, out: Path | None) -> None:
    """Write a study's report: one HTML file that needs no network."""
    path = render(analyse(folder), out or folder / REPORT)
    click.echo(str(path))

"""`dwell show`: a study's accuracies as a table or as JSON."""

from __future__ import annotations

from pathlib import Path

import click

from dwell.commands.console import print_summary
from dwell.results import analyse, to_json


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def show(folder: Path, *, as_json: bool) -> None:
    """Print a study's accuracies with intervals, its advice and its cost."""
    results = analyse(folder)
    if as_json:
        click.echo(to_json(results))
        return
    print_summary(results)

"""`dwell crossover`: where two fitted curves meet."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dwell.commands.law_options import estimate_record, numbers_of, told
from dwell.errors import UsageError
from dwell.laws.answers import Crossing
from dwell.laws.answers import crossover as crossings_of
from dwell.laws.files import read_fit


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--over", required=True, help="The input along which they are compared: C.")
@click.option("--range", "bounds", help="Where to look, LOW:HIGH.  [default: the data, and 100 "
              "times beyond]")  # fmt: skip
@click.option("--at", multiple=True, help="Other inputs: N=1e9.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def crossover(
    first: Path,
    second: Path,
    *,
    over: str,
    bounds: str | None,
    at: tuple[str, ...],
    as_json: bool,
) -> None:
    """All crossings of two fits, with intervals; or that there is none in range.

    FIRST and SECOND are files written by `dwell fit --out`.
    """
    fits = read_fit(first), read_fit(second)
    ends = None if bounds is None else _bounds(bounds)
    found = crossings_of(*fits, over, at=numbers_of(at, "--at"), bounds=ends)
    if as_json:
        click.echo(json.dumps([_record(one, over) for one in found], allow_nan=False, indent=1))
        return
    if not found:
        click.echo("The curves do not cross in range.")
    for one in found:
        place = "within the data" if one.in_data else "outside the data"
        better = first if one.first_leads_above else second
        click.echo(
            f"{over} = {told(one.at)}, where the target is {one.value:.5g}: {place}; "
            f"{one.share:.0%} of the resamples cross. Beyond it {better} is lower."
        )


def _bounds(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise UsageError(f"--range is LOW:HIGH, but got {text!r}.") from None


def _record(one: Crossing, over: str) -> dict[str, object]:
    return {
        over: estimate_record(one.at),
        "value": one.value,
        "in_data": one.in_data,
        "share_of_resamples": one.share,
        "first_is_lower_beyond": one.first_leads_above,
    }

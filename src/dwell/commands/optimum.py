"""`dwell optimum`: the best model size and tokens for a budget, from a fit."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import click

from dwell.commands.law_options import estimate_record, numbers_of, told
from dwell.laws.allocation import Allocation
from dwell.laws.files import read_fit
from dwell.laws.fit import Estimate


@click.command()
@click.argument("fit", type=click.Path(path_type=Path))
@click.option("--compute", type=float, required=True, help="Training FLOP, such as 5.76e23.")
@click.option("--served-tokens", type=click.FloatRange(0), default=0.0, help="Tokens the model "
              "will read and write later, at 2 FLOP a parameter.")  # fmt: skip
@click.option("--at", multiple=True, help="Other inputs: U=1e9.")
@click.option("--group", help="Which group's parameters.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def optimum(
    fit: Path,
    *,
    compute: float,
    served_tokens: float,
    at: tuple[str, ...],
    group: str | None,
    as_json: bool,
) -> None:
    """The parameters and tokens with the least predicted loss for a budget.

    FIT is a file written by `dwell fit --out`, of a law of N and D.
    """
    fitted = read_fit(fit)
    others = numbers_of(at, "--at")
    if served_tokens:
        found = fitted.allocate(
            compute,
            cost=lambda n, d: 6.0 * n * d + 2.0 * n * served_tokens,
            at=others,
            group=group,
        )
    else:
        found = fitted.allocate(compute, at=others, group=group)
    if as_json:
        click.echo(json.dumps(_record(found), allow_nan=False, indent=1))
        return
    click.echo(
        f"compute           {compute:.4g} FLOP\n"
        f"parameters        {told(found.params)}, growing as C^{told(found.params_exponent)}\n"
        f"tokens            {told(found.tokens)}, growing as C^{told(found.tokens_exponent)}\n"
        f"tokens/parameter  {told(found.tokens_per_param)}\n"
        f"loss              {told(found.loss)}\n"
        f"{found.params.level:.0%} intervals from {fitted.samples_from}"
    )
    if not found.in_data:
        click.echo("This lies outside the data: an extrapolation.")
    if found.at_bound:
        click.echo("The best size is the largest or smallest possible: no optimum inside.")


def _record(found: Allocation) -> dict[str, object]:
    record: dict[str, object] = {}
    for field in fields(found):
        value = getattr(found, field.name)
        record[field.name] = estimate_record(value) if isinstance(value, Estimate) else value
    return record

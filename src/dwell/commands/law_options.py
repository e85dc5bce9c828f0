"""What the commands about laws share: how they read options, tables and print fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table as Printed

from dwell.errors import UsageError
from dwell.laws.conditions import condition_mask, largest
from dwell.laws.envelope import envelope
from dwell.laws.fit import Errors, Estimate, Fit
from dwell.laws.rows import input_of
from dwell.tables import read_table

Columns = Mapping[str, npt.NDArray[Any]]


def pairs_of(texts: Sequence[str], what: str) -> dict[str, str]:
    """`a=b,c=d`, several times or with commas, as a mapping.

    Raises:
        UsageError: a part has no `=`.
    """
    pairs = {}
    for part in (piece for text in texts for piece in text.split(",") if piece.strip()):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{what} is given as NAME=VALUE, but got {part!r}.")
        pairs[name.strip()] = value.strip()
    return pairs


def numbers_of(texts: Sequence[str], what: str) -> dict[str, float]:
    """The same with numbers.

    Raises:
        UsageError: a value is no number.
    """
    found = {}
    for name, value in pairs_of(texts, what).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise UsageError(f"{what} is given as NAME=NUMBER, but got {value!r}.") from None
    return found


def columns_of(
    path: Path,
    x: Mapping[str, str],
    where: Sequence[str],
    exclude: Sequence[str],
    drop_largest: Sequence[str],
) -> Columns:
    """The columns of a table, with only the rows that are asked for.

    Raises:
        UsageError: the table cannot be read, a condition is wrong, or no row is left.
    """
    columns: Columns = read_table(path).columns
    count = len(next(iter(columns.values())))
    keep = np.ones(count, np.bool_)
    for text in where:
        keep &= condition_mask(columns, text, x)
    for text in exclude:
        keep &= ~condition_mask(columns, text, x)
    columns = {name: values[keep] for name, values in columns.items()}
    for text in drop_largest:
        kept = ~largest(columns, text)
        columns = {name: values[kept] for name, values in columns.items()}
    if not len(next(iter(columns.values()))):
        raise UsageError(f"no row of {path} is left after the filters. Loosen them.")
    return columns


def on_frontier(columns: Columns, name: str, x: Mapping[str, str], target: str | None) -> Columns:
    """Only the rows on the binned Pareto frontier of the target along an input."""
    along = input_of(columns, name, x.get(name))
    kept = envelope(along, input_of(columns, target or "error"), ratio=2.0)
    return {key: values[kept] for key, values in columns.items()}


def wide_console() -> Console:
    """The terminal, or 140 columns where output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def print_fit(fit: Fit, console: Console) -> None:
    """A fit for people: parameters, objective, evidence, errors, verdict."""
    law = fit.law
    console.print(f"[bold]{law.name}[/bold]  {law.target} = {law.text}", highlight=False)
    table = Printed("parameter", "value", "standard error", f"{fit.level:.0%} interval", "meaning")
    errors = fit.standard_errors
    for name in fit.names:
        one = fit.interval(name)
        meaning = law.params[name.split("[")[0]].meaning
        shown = name.replace("[", r"\[")
        table.add_row(shown, number(one.value), number(errors[name]), ends(one), meaning)
    console.print(table)
    objective = fit.objective
    lines = [
        f"objective  {objective.value:.7g} (mean {objective.mean:.4g}): {objective.text}",
        f"starts     {fit.starts_at_best} of {fit.num_starts} reach it; intervals from "
        f"{fit.samples_from}; condition {fit.condition:.3g}",
        f"in range   {error_text(fit.errors)}; R2 {fit.r2:.5f}, AICc {fit.aicc:.2f}, "
        f"BIC {fit.bic:.2f}",
    ]
    if fit.holdout is not None:
        lines.append(f"held out   {error_text(fit.holdout.errors)}")
    for other in fit.optima[1:]:
        shown = ", ".join(f"{k} {number(v)}" for k, v in other.params.items())
        lines.append(f"optimum    another at {other.objective:.7g}: {shown}")
    lines.append(f"verdict    {fit.verdict}" + "".join(f"; {why}" for why in fit.reasons))
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def error_text(errors: Errors) -> str:
    """Errors in a line."""
    return (
        f"{errors.num_rows} rows, rmse {errors.rmse:.4g}, mae {errors.mae:.4g}, "
        f"mape {errors.mape:.3%}, worst {errors.max_rel:.3%}"
    )


def number(value: float) -> str:
    """A number with five digits."""
    return f"{value:.5g}"


def ends(one: Estimate) -> str:
    """The ends of an interval."""
    return f"{one.low:.5g} .. {one.high:.5g}"


def told(one: Estimate) -> str:
    """A number with its interval."""
    return f"{one.value:.5g} ({one.low:.5g} .. {one.high:.5g})"


def estimate_record(one: Estimate) -> dict[str, float | None]:
    """A number with its interval, JSON-able."""
    entries = {"value": one.value, "low": one.low, "high": one.high, "level": one.level}
    return {key: float(v) if np.isfinite(v) else None for key, v in entries.items()}

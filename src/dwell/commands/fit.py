"""`dwell fit`: any scaling law on any table, with intervals and held-out error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import numpy.typing as npt
from rich.table import Table as Printed

from dwell.commands.law_options import (
    Columns,
    columns_of,
    number,
    numbers_of,
    on_frontier,
    pairs_of,
    print_fit,
    wide_console,
)
from dwell.errors import UsageError
from dwell.law_plots import write_plot
from dwell.laws.bootstrap import BootstrapKind
from dwell.laws.comparison import Comparison, Criterion, candidates, compare
from dwell.laws.conditions import condition_mask
from dwell.laws.files import record_of, write_fit
from dwell.laws.fit import Fit
from dwell.laws.isoflop import IsoFlop, isoflop
from dwell.laws.registry import law_of

HELP = """Fit a scaling law to a table, with intervals and held-out error.

\b
  dwell fit runs.csv --law chinchilla --holdout "C>1e21" --bootstrap 1000
  dwell fit runs.csv --law chinchilla --x N=params,D=tokens --y loss --out fit.json
  dwell fit runs.csv --law auto --plot fit.html
  dwell fit runs.csv --law vlm --x C=gflops_total --y error --where recipe=clip

TABLE is parquet, CSV or JSON-lines with one row a run. Columns are found by name (params, tokens,
budget, loss, ...) or mapped by --x and --y. `dwell laws` lists the laws; `auto` compares all that
fit the columns by AICc, or by the held-out error with --holdout; a law is left out, and named,
where the rows to fit have fewer than two distinct inputs more than it has parameters.
"""


@click.command(help=HELP)
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--law", required=True, help="A law of `dwell laws`, or `auto`.")
@click.option("--x", "inputs", multiple=True, help="Inputs' columns: N=params,D=tokens.")
@click.option("--y", "target", help="The target's column.")
@click.option("--where", multiple=True, help='Only rows such as setup=a|b or "C<=1e21".')
@click.option("--exclude", multiple=True, help="Not rows such as outlier=true.")
@click.option("--drop-largest", multiple=True, help="Not the largest rows: loss:5.")
@click.option("--frontier", help="Only the best row of each factor two of this input, where it "
              "is better than all before.")  # fmt: skip
@click.option("--holdout", help='Rows kept out of the fit and predicted: "C>1e21".')
@click.option("--bootstrap", type=click.IntRange(0), default=0, help="Resamples, such as 1000.")
@click.option("--kind", type=click.Choice(["pairs", "residual", "cluster"]), help="What is "
              "resampled.  [default: clusters if --cluster, else pairs]")  # fmt: skip
@click.option("--cluster", help="Column of clusters: checkpoints of a run, draws of a problem.")
@click.option("--group", help="Column of groups that share exponents.")
@click.option("--weights", help="Column of weights.")
@click.option("--loss", type=click.Choice(["huber", "squares"]), help="[default: the law's own]")
@click.option("--delta", type=float, help="Huber's threshold.  [default: the law's own]")
@click.option("--space", type=click.Choice(["log", "linear", "logit", "loglog"]),
              help="Where residuals live.  [default: the law's own]")  # fmt: skip
@click.option("--fix", "fixed", multiple=True, help="Parameters held: alpha=0.34.")
@click.option("--tie", "tied", multiple=True, help="Parameters that are equal: alpha=beta.")
@click.option("--scale", type=click.Choice(["fixed", "joint"]), default="fixed",
              show_default=True, help="Whether the residuals' scale is fitted.")  # fmt: skip
@click.option("--starts", type=click.IntRange(1), help="Random starts.  [default: the grid]")
@click.option("--level", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.9,
              show_default=True, help="Coverage of intervals.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the fit, for `dwell optimum` "
              "and `dwell crossover`.")  # fmt: skip
@click.option("--plot", type=click.Path(path_type=Path), help="Write a plot: .html, .png, .svg.")
def fit(table: Path, **options: Any) -> None:
    """Fit a law to a table."""
    x = pairs_of(options["inputs"], "--x")
    columns = columns_of(table, x, options["where"], options["exclude"], options["drop_largest"])
    if options["frontier"]:
        columns = on_frontier(columns, options["frontier"], x, options["target"])
    if options["law"] == "isoflop":
        _isoflop(columns, x, options)
        return
    holdout = None
    if options["holdout"]:
        holdout = condition_mask(columns, options["holdout"], x)
        _check_split(holdout, options["holdout"])
    settings = _settings(options)
    if options["law"] == "auto":
        ranked = _compared(columns, x, holdout, settings)
        best = ranked.fits[0]
    else:
        law = law_of(options["law"])
        ranked, best = None, law.fit(columns, x=x, holdout=holdout, **settings)
    if options["bootstrap"]:
        kind = options["kind"] or ("cluster" if options["cluster"] else "pairs")
        best = best.bootstrap(
            options["bootstrap"], cast("BootstrapKind", kind), seed=options["seed"]
        )
    if options["out"]:
        write_fit(best, options["out"])
    if options["plot"]:
        write_plot(best, options["plot"])
    _show(best, ranked, as_json=options["as_json"])


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    tied = pairs_of(options["tied"], "--tie")
    return {
        "y": options["target"],
        "weights": options["weights"],
        "group": options["group"],
        "cluster": options["cluster"],
        "loss": options["loss"],
        "delta": options["delta"],
        "space": options["space"],
        "fixed": numbers_of(options["fixed"], "--fix"),
        "tied": list(tied.items()),
        "scale": options["scale"],
        "starts": options["starts"] or "grid",
        "level": options["level"],
        "seed": options["seed"],
    }


def _check_split(mask: npt.NDArray[np.bool_], text: str) -> None:
    if mask.all() or not mask.any():
        raise UsageError(
            f"--holdout {text!r} must hold some rows out and leave some, but it holds "
            f"{mask.sum()} of {len(mask)}. Move the bound."
        )


def _compared(
    columns: Columns,
    x: Mapping[str, str],
    holdout: npt.NDArray[np.bool_] | None,
    settings: dict[str, Any],
) -> Comparison:
    found = candidates(columns, x, settings["y"])
    if not found:
        raise UsageError(
            f"no law fits the columns {', '.join(columns)}. Map them: --x N=...,D=... --y ..., "
            "or name a law of `dwell laws`."
        )
    criterion: Criterion = "aicc" if holdout is None else "holdout"
    return compare(found, columns, criterion, holdout=holdout, **settings)


def _show(best: Fit, ranked: Comparison | None, *, as_json: bool) -> None:
    if as_json:
        record = record_of(best)
        if ranked is not None:
            record["compared"] = [
                {"law": one.law.name, ranked.criterion: score if np.isfinite(score) else None}
                for one, score in zip(ranked.fits, ranked.scores, strict=True)
            ]
            record["left_out"] = dict(ranked.left_out)
        click.echo(json.dumps(record, allow_nan=False, indent=1))
        return
    console = wide_console()
    if ranked is not None:
        table = Printed("law", ranked.criterion, "parameters", "verdict")
        for one, score in zip(ranked.fits, ranked.scores, strict=True):
            table.add_row(one.law.name, number(score), str(one.num_free), one.verdict)
        console.print(table)
        for name, why in ranked.left_out.items():
            console.print(f"left out {name}: {why}", markup=False, soft_wrap=True)
    print_fit(best, console)


def _isoflop(columns: Columns, x: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """The parabola method has its own output: vertices, exponents and their bias."""
    found = isoflop(columns, x=x, y=options["target"])
    if options["as_json"]:
        click.echo(json.dumps(_isoflop_record(found), allow_nan=False, indent=1))
        return
    table = Printed("budget", "N*", "D*", "loss", "outside the sizes sampled")
    for row in zip(
        found.budgets, found.params, found.tokens, found.loss, found.outside, strict=True
    ):
        table.add_row(*(number(v) for v in row[:4]), "yes" if row[4] else "")
    wide_console().print(table)
    click.echo(
        f"N* = exp({found.params_log_scale:.4g}) C^{found.params_exponent:.4f}\n"
        f"D* = exp({found.tokens_log_scale:.4g}) C^{found.tokens_exponent:.4f}\n"
        f"surface fitted to the same rows: N* ~ C^{found.surface_exponent:.4f}\n"
        f"bias of the parabolas on that surface, without noise: {found.bias:+.4f}"
    )


def _isoflop_record(found: IsoFlop) -> dict[str, Any]:
    def clean(value: float) -> float | None:
        return float(value) if np.isfinite(value) else None

    return {
        "law": "isoflop",
        "params": {"a": clean(found.params_exponent), "b": clean(found.tokens_exponent)},
        "log_scales": {
            "a": clean(found.params_log_scale),
            "b": clean(found.tokens_log_scale),
        },
        "surface_exponent": clean(found.surface_exponent),
        "bias": clean(found.bias),
        "optima": [
            {"budget": float(c), "params": clean(n), "tokens": clean(d), "outside": bool(o)}
            for c, n, d, o in zip(
                found.budgets, found.params, found.tokens, found.outside, strict=True
            )
        ],
    }

"""`dwell report`: the report of a study, or of results that were saved as JSON, as one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from dwell.cost import ModelShape, find_hardware, read_prices
from dwell.cost.axes import ANY_MODEL, Pricing, with_axes
from dwell.errors import UsageError
from dwell.generators.tiny_models import MODELS
from dwell.report import render
from dwell.results import analyse
from dwell.study import REPORT

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("source", type=_FILE)
@click.option("--out", type=_FILE, help="The page; default: report.html beside the source.")
@click.option("--config", help="A config.json of the model: gives FLOPs and eFLOPs.")
@click.option("--hardware", help="A name of the hardware table: gives seconds at least.")
@click.option("--hardware-table", type=_FILE, help="TOML file instead of the package's table.")
@click.option("--prices", type=_FILE, help="TOML file of prices; default: the dated example.")
@click.option("--price-model", help="A name of the price table: gives dollars.")
@click.option("--prompt", type=click.IntRange(0), help="Prompt tokens; default: as recorded.")
@click.option("--unshared", is_flag=True, help="Each draw reads its own prompt.")
def report(source: Path, out: Path | None, **options: Any) -> None:
    """Write a report: one HTML file that needs no network.

    SOURCE is a study's folder, or a JSON file from `dwell show --json` or `dwell replay --json`.
    With a model's config, hardware or prices the curves can also be read against eFLOPs, seconds
    and dollars; what was measured is kept.
    """
    results = saved(source) if source.is_file() else analyse(source)
    results = with_axes(results, pricings(results, options))
    page = out or (source.with_suffix(".html") if source.is_file() else source / REPORT)
    click.echo(str(render(results, page)))


def saved(path: Path) -> dict[str, Any]:
    """The results in a JSON file.

    Raises:
        UsageError: it is not JSON, or no results.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(
            "a report is made from a study's folder or from JSON that `dwell show --json` or "
            f"`dwell replay --json` printed, but got {str(path)!r} ({error})."
        ) from error
    if not isinstance(found, dict) or "curves" not in found:
        raise UsageError(
            f"results must be an object with `curves`, but {str(path)!r} holds none. "
            "Save what `dwell replay --json` prints."
        )
    return found


def pricings(results: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Pricing]:
    """What is known of each model: what was given for all, and the shapes of embedded models.

    Raises:
        UsageError: a file or a name is not there.
    """
    hardware = options["hardware"] and find_hardware(
        options["hardware"], options["hardware_table"]
    )
    price = None
    if options["price_model"]:
        price = read_prices(options["prices"]).model(options["price_model"])
    elif options["prices"]:
        raise UsageError("`--prices` needs `--price-model`, a name of its table.")

    def pricing(shape: ModelShape | None) -> Pricing:
        return Pricing(
            shape=shape, hardware=hardware or None, price=price,
            prompt_tokens=options["prompt"], shared_prompt=not options["unshared"],
        )  # fmt: skip

    given = options["config"] and ModelShape.from_file(
        MODELS[options["config"]].path if options["config"] in MODELS else options["config"]
    )
    found = {
        str(curve.get("model")): pricing(ModelShape.from_file(MODELS[curve["model"]].path))
        for curve in results["curves"]
        if curve.get("model") in MODELS
    }
    return found | {ANY_MODEL: pricing(given or None)}

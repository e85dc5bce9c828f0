"""`dwell cost`: what samples of one prompt cost on a described model and device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dwell.cost import (
    Deployment,
    Estimate,
    ModelShape,
    Precision,
    Prices,
    Workload,
    estimate,
    experts_read,
    find_hardware,
    read_prices,
)
from dwell.cost.tables import DTYPE_BYTES
from dwell.errors import UsageError
from dwell.generators.tiny_models import MODELS

_TYPES = click.Choice(list(DTYPE_BYTES))
_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("config")
@click.option("--prompt", default=512, show_default=True, help="Prompt tokens.")
@click.option("--output", default=1024, show_default=True, help="Output tokens of a sample.")
@click.option("--n", default=1, show_default=True, help="Samples of the prompt.")
@click.option("--hardware", default="h100", show_default=True, help="A name of the table.")
@click.option("--hardware-table", type=_FILE, help="TOML file instead of the package's table.")
@click.option("--devices", default=1, show_default=True, help="In tensor parallel.")
@click.option("--dtype", type=_TYPES, default="bf16", show_default=True, help="Of weights.")
@click.option(
    "--cache-dtype", type=_TYPES, default="bf16", show_default=True, help="Of keys and values."
)
@click.option("--batch", type=int, help="Sequences that a step decodes; default: the samples.")
@click.option("--unshared", is_flag=True, help="Each sample reads and keeps its own prompt.")
@click.option("--sparse", type=int, help="Tokens that attention reads, the best of all.")
@click.option("--block-sparse", type=int, help="The same, found by blocks: adds their search.")
@click.option("--intensity", type=float, help="FLOP/byte of eFLOPs; default: the hardware's.")
@click.option("--parameter-reads", is_flag=True, help="eFLOPs count the weights' stream.")
@click.option("--prices", type=_FILE, help="TOML file of prices; default: the dated example.")
@click.option("--model", help="A name of the price table, for dollars of an endpoint.")
@click.option("--usd-per-hour", type=float, help="Of one device; default: --prices, if it says.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def cost(config: str, **options: Any) -> None:
    """What N samples cost: FLOPs, bytes, seconds, dollars.

    CONFIG is a Hugging Face config.json, its folder, or an embedded model's name. Times are lower
    bounds from peak rates; nothing is measured.
    """
    shape = _shape(config)
    sparse = options["sparse"] or options["block_sparse"]
    if options["sparse"] and options["block_sparse"]:
        raise UsageError("attention is sparse in one way, but got --sparse and --block-sparse.")
    work = Workload(
        prompt_tokens=options["prompt"],
        output_tokens=options["output"],
        samples=options["n"],
        shared_prompt=not options["unshared"],
        batch=options["batch"],
    )
    where, dates = _deployment(options)
    used = shape.with_attention_budget(sparse) if sparse else shape
    found = estimate(used, work, where)
    if options["as_json"]:
        click.echo(json.dumps(_record(config, shape, work, where, found), indent=1))
        return
    _print(config, shape, work, where, found, dates)


def _shape(config: str) -> ModelShape:
    if config in MODELS:
        return ModelShape.from_file(MODELS[config].path)
    if not Path(config).exists():
        raise UsageError(
            "a model must be a config.json, the folder of one, or an embedded model "
            f"({', '.join(MODELS)}), but got {config!r}."
        )
    return ModelShape.from_file(config)


def _deployment(options: Mapping[str, Any]) -> tuple[Deployment, list[str]]:
    """Where it runs, and what to say of the prices."""
    name = options["hardware"]
    hardware = find_hardware(name, options["hardware_table"])
    dates = [f"{hardware.title}: {hardware.source}, {hardware.date}"]
    price, hourly = None, options["usd_per_hour"]
    if options["model"] or options["prices"]:
        table: Prices = read_prices(options["prices"])
        if options["model"]:
            price = table.model(options["model"])
            dates.append(f"price of {price.model}: {price.source}, {price.date}")
        if hourly is None and options["prices"] and name in table.usd_per_hour:
            hourly, date, source = table.usd_per_hour[name]
            dates.append(f"price of an hour of {name}: {source}, {date}")
    where = Deployment(
        hardware=hardware,
        precision=Precision(weights=options["dtype"], cache=options["cache_dtype"]),
        devices=options["devices"],
        intensity=options["intensity"],
        parameter_reads=options["parameter_reads"],
        block_top_k=options["block_sparse"],
        price=price,
        usd_per_hour=hourly,
    )
    return where, dates


def _record(
    config: str, shape: ModelShape, work: Workload, where: Deployment, found: Estimate
) -> dict[str, Any]:
    price = where.price
    return {
        "model": config,
        "family": shape.name,
        "prompt_tokens": work.prompt_tokens,
        "output_tokens": work.output_tokens,
        "samples": work.samples,
        "shared_prompt": work.shared_prompt,
        "batch": work.batch or work.samples,
        "hardware": where.hardware.name,
        "hardware_source": f"{where.hardware.source}, {where.hardware.date}",
        "devices": where.devices,
        "dtype": where.precision.weights,
        "cache_dtype": where.precision.cache,
        "price": price and {"model": price.model, "date": str(price.date), "source": price.source},
        "usd_per_hour": where.usd_per_hour,
        **found.as_json(),
    }


def _print(
    config: str,
    shape: ModelShape,
    work: Workload,
    where: Deployment,
    found: Estimate,
    dates: list[str],
) -> None:
    how = "shared" if work.shared_prompt else "not shared"
    table = Table(
        title=f"{config} ({shape.name}), {work.samples} samples of {work.output_tokens} tokens "
        f"after {work.prompt_tokens} ({how}), {where.devices} x {where.hardware.title}",
        show_header=False,
        title_justify="left",
    )
    for part in (
        _model_rows(shape, found, work.batch or work.samples),
        _work_rows(found, where),
        _time_rows(found, work),
    ):
        for name, value in part:
            table.add_row(name, value)
        table.add_section()
    for name, value in _dollar_rows(found):
        table.add_row(name, value)
    console = Console()
    (console if console.is_terminal else Console(width=110)).print(table)
    click.echo("Times are lower bounds: peak rates, no scheduling. " + "; ".join(dates) + ".")


def _model_rows(shape: ModelShape, found: Estimate, sequences: float) -> list[tuple[str, str]]:
    active = found.active_parameters
    rows = [("parameters", f"{found.total_parameters:,}")]
    if active != found.total_parameters:
        rows.append(("parameters active for a token", f"{active:,}"))
    kinds: dict[str, int] = {}
    for block in shape.blocks:
        kinds[block.mixer.kind] = kinds.get(block.mixer.kind, 0) + block.count
    layers = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if kind != "none")
    rows += [("layers", layers), ("weights", _bytes(found.weight_bytes))]
    chosen = {
        (b.feed_forward.num_experts, b.feed_forward.experts_per_token)
        for b in shape.blocks
        if b.feed_forward.num_experts
    }
    for experts, each in sorted(chosen):
        read = experts_read(experts, each, sequences)
        rows.append(("experts read by a step", f"{read:.1f} of {experts} ({each} a token)"))
    return rows


def _work_rows(found: Estimate, where: Deployment) -> list[tuple[str, str]]:
    moved = found.traffic
    rows = [
        ("FLOPs of the prompt", f"{found.prefill_flops:.4g}"),
        ("FLOPs of decoding", f"{found.decode_flops:.4g}"),
        ("weights streamed", _bytes(moved.weights)),
        ("cache read, written", f"{_bytes(moved.cache_reads)}, {_bytes(moved.cache_writes)}"),
        ("cache of a token", _bytes(found.cache_bytes_per_token)),
        ("cache at its peak", _bytes(found.cache_bytes_peak)),
        ("fits into memory", "yes" if found.fits else "no"),
        (f"eFLOPs at {found.intensity:.4g} FLOP/byte",
         f"{found.equivalent_flops:.4g} = {found.equivalent_compute:.4g} compute "
         f"+ {found.equivalent_memory:.4g} memory"),
    ]  # fmt: skip
    if found.state_bytes:
        rows.insert(4, ("state of a sample, at any length", _bytes(found.state_bytes)))
        rows.insert(4, ("states read and written", _bytes(moved.states)))
    return rows


def _time_rows(found: Estimate, work: Workload) -> list[tuple[str, str]]:
    times = found.latency
    rows = [
        ("prompt, at least", _seconds(times.prefill)),
        ("decoding, at least", _seconds(times.decode)),
        ("decoding, without overlap", _seconds(times.additive)),
        ("tokens/s of a sample, at most", f"{found.tokens_per_second:,.1f}"),
        ("tokens/s of the batch, at most", f"{found.tokens_per_second_batch:,.1f}"),
        ("batch where compute equals the weights' stream", f"{found.balance_batch:.0f}"),
    ]
    if times.exchange:
        rows.insert(2, ("of it exchange between devices", _seconds(times.exchange)))
    if len(work.waves) > 1:
        rows.insert(0, ("waves of samples", str(len(work.waves))))
    return rows


def _dollar_rows(found: Estimate) -> list[tuple[str, str]]:
    words = {
        "separate": "USD, one call a sample",
        "cached": "USD, prompt cached after the first call",
        "together": "USD, one call with n choices",
    }
    rows = [(words[way], f"{usd:.6g}") for way, usd in found.usd.items()]
    if found.self_hosted_usd is not None:
        rows.append(("USD self-hosted, at least", f"{found.self_hosted_usd:.6g}"))
        per_mtok = found.self_hosted_usd_per_mtok
        rows.append(("USD self-hosted per Mtok, at least", f"{per_mtok:.4g}"))
    return rows


def _bytes(value: float) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= size:
            return (
                f"{value / size:,.4g} {unit}"
                if value < 1e4 * size
                else f"{value / size:,.0f} {unit}"
            )
    return f"{value:g} B"


def _seconds(value: float) -> str:
    for unit, size in (("h", 3600.0), ("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value * 1e6:.4g} us"

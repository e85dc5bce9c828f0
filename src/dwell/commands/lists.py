"""`dwell strategies`, `dwell models`, `dwell tasks`: what there is."""

from __future__ import annotations

from dataclasses import MISSING, fields

import click
from rich.console import Console
from rich.table import Column, Table

from dwell.generators.tiny_models import MODELS
from dwell.protocols import Strategy
from dwell.strategies import STRATEGIES, Planned
from dwell.tasks import TASKS


@click.command()
def strategies() -> None:
    """List the strategies: parameters with defaults, and the paper."""
    table = Table(
        Column("strategy", no_wrap=True),
        "parameters (first: what budgets sweep)",
        "what it does",
        "paper",
    )
    # A plan has no default: it is named by the file that says what it does.
    kinds: dict[str, type[Strategy]] = {**STRATEGIES, f"{Planned.name}:FILE": Planned}
    for name, kind in kinds.items():
        given = {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
        ordered = [kind.scale, *(key for key in given if key != kind.scale)]
        params = ", ".join(f"{key}={given[key]}" for key in ordered if given[key] is not MISSING)
        first_line = (kind.__doc__ or "").strip().splitlines()[0]
        table.add_row(name, params, first_line, kind.paper)
    Console().print(table)


@click.command()
def models() -> None:
    """List the embedded models: weights that ship with dwell and need no torch.

    Other models are named openai:NAME (an endpoint, with --base-url) or transformers:FOLDER (a
    checkpoint of Hugging Face's form, run by torch).
    """
    table = Table("model", "parameters", "weights", "folder")
    for name, model in MODELS.items():
        table.add_row(
            name, f"{model.num_parameters:,}", f"{model.num_bytes / 1e6:.1f} MB", str(model.path)
        )
    Console().print(table)
    Console().print("others: openai:NAME with --base-url, transformers:FOLDER, coin:RATE")


@click.command()
def tasks() -> None:
    """List the built-in tasks: problems are generated, and checked exactly."""
    table = Table("task", "levels", "default levels", "what it is", "an easy problem")
    for name, task in TASKS.items():
        (problem,) = task.problems(1, seed=0, levels=task.levels[1:2])
        about = (type(task).__doc__ or "").strip().splitlines()[0]
        levels = f"{task.levels[0]}..{task.levels[-1]}"
        default = f"{task.default_levels[0]}..{task.default_levels[-1]}"
        table.add_row(name, levels, default, about, problem.prompt.strip())
    Console().print(table)

"""`dwell doctor`: does this installation work here?"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version

import click

import dwell
from dwell.generators.registry import make_generator
from dwell.generators.tiny_models import MODELS
from dwell.sandbox.bubblewrap import why_not
from dwell.strategies import make
from dwell.study import solve
from dwell.tasks import get_task

OPTIONAL = {"torch": "transformers", "transformers": "transformers", "gguf": "training"}


@click.command()
def doctor() -> None:
    """Check Python, libraries, the embedded model and the speed of this machine."""
    click.echo(f"dwell {dwell.__version__}, Python {platform.python_version()} ({sys.platform})")
    click.echo(f"cores: {os.cpu_count()}, SQLite {sqlite3.sqlite_version}")
    for package in ("numpy", "scipy", "pydantic", "aiohttp", "plotly"):
        click.echo(f"ok    {package} {version(package)}")
    for package, extra in OPTIONAL.items():
        click.echo(_optional(package, extra))
    with tempfile.TemporaryDirectory() as folder:
        click.echo(f"ok    a writable temporary folder ({folder})")
    for name in MODELS:
        click.echo(_try_model(name))
    refused = why_not()
    click.echo(f"info  sandbox: {refused}" if refused else "ok    sandbox for programs (bwrap)")
    key = "set" if os.environ.get("OPENAI_API_KEY") else "not set (needed only by endpoints)"
    click.echo(f"info  OPENAI_API_KEY is {key}")


def _optional(package: str, extra: str) -> str:
    try:
        return f"ok    {package} {version(package)}"
    except PackageNotFoundError:
        return f"info  {package} is not installed (optional: pip install 'dwell[{extra}]')"


def _try_model(name: str) -> str:
    (problem,) = get_task("chain").problems(1, seed=0)
    begin = time.perf_counter()
    solved = solve(problem, make("majority", n=64), make_generator(name))
    seconds = time.perf_counter() - begin
    rate = solved.charged.output_tokens / seconds
    return f"ok    {name}: 64 draws in {seconds:.2f} s ({rate:,.0f} tokens/s, load included)"

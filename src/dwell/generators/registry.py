"""Generators by name: what a study file or the command line calls them.

The web client is loaded for endpoints alone: a study of embedded models starts without it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from dwell.errors import UsageError
from dwell.generators.scripted import Scripted
from dwell.generators.tiny import TinyGenerator, weak_scorer
from dwell.generators.tiny_models import MODELS
from dwell.protocols import Generator

__all__ = ["make_generator", "weak_scorer"]


def make_generator(
    name: str, *, jobs: int = 1, base_url: str | None = None, **options: Any
) -> Generator:
    """The generator of a name.

    Args:
        name: an embedded model ("tiny-0.8m"), a folder of one, "coin:RATE" for a biased coin
            with a known rate, or "openai:MODEL" for an endpoint.
        jobs: worker processes of embedded models.
        base_url: the endpoint's address.
        options: further arguments of the endpoint; None values are left out.

    Raises:
        UsageError: no such model, or an endpoint without an address.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if name.startswith("openai:"):
        if base_url is None:
            raise UsageError(
                f"An endpoint needs its address, but {name} was given none. "
                "Add base_url to the model, or --base-url http://HOST:PORT/v1"
            )
        endpoint = import_module("dwell.generators.endpoint")
        made: Generator = endpoint.Endpoint(name.removeprefix("openai:"), base_url, **given)
        return made
    if name.startswith("coin:"):
        return Scripted.coin(rate=_rate(name))
    if name in MODELS or Path(name).is_dir():
        return TinyGenerator(name, jobs=jobs, **given)
    raise UsageError(
        f"A model is one of {', '.join(MODELS)}, a folder with an exported model, coin:RATE or "
        f"openai:NAME, but got {name!r}. `dwell models` lists the embedded ones."
    )


def _rate(name: str) -> float:
    text = name.removeprefix("coin:")
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"A coin is written as coin:RATE, but got {name!r}.") from error

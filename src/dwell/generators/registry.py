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
            with a known rate, "openai:MODEL" for an endpoint, or "transformers:FOLDER" for a
            checkpoint that torch runs.
        jobs: worker processes of embedded models.
        base_url: the endpoint's address.
        options: further arguments of its class; None values are left out.

    Raises:
        UsageError: no such model, or an endpoint without an address.
        MissingExtraError: a checkpoint for torch, without torch.
    """
    made: Generator
    given = {key: value for key, value in options.items() if value is not None}
    if name.startswith("openai:"):
        if base_url is None:
            raise UsageError(
                f"An endpoint needs its address, but {name} was given none. "
                "Add base_url to the model, or --base-url http://HOST:PORT/v1"
            )
        endpoint = import_module("dwell.generators.endpoint")
        made = endpoint.Endpoint(name.removeprefix("openai:"), base_url, **given)
        return made
    if name.startswith("transformers:"):
        import_module("dwell.torch_checkpoints")  # says what to install where torch is missing
        local = import_module("dwell.generators.transformers_generator")
        made = local.TransformersGenerator(name.removeprefix("transformers:"), **given)
        return made
    if name.startswith("coin:"):
        return Scripted.coin(rate=_rate(name))
    if name in MODELS or Path(name).is_dir():
        return TinyGenerator(name, jobs=jobs, **given)
    raise UsageError(
        f"A model is one of {', '.join(MODELS)}, a folder with an exported model, coin:RATE, "
        f"openai:NAME or transformers:FOLDER, but got {name!r}. `dwell models` lists the embedded "
        "ones."
    )


def _rate(name: str) -> float:
    text = name.removeprefix("coin:")
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"A coin is written as coin:RATE, but got {name!r}.") from error

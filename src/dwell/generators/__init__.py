"""Generators: the adapters that touch a model, or stand in for one.

`Scripted` follows a script, `TinyGenerator` runs the embedded models, `Endpoint` asks a server
that speaks the OpenAI protocol, `FakeServer` is such a server for tests and demos, and
`TransformersGenerator` runs a local checkpoint with torch. Each is loaded when first asked for,
so naming this package imports neither weights nor a web client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dwell.generators.endpoint import Endpoint
    from dwell.generators.fake_server import FakeServer, Faults
    from dwell.generators.scripted import Latency, Scripted
    from dwell.generators.tiny import StepScorer, TinyGenerator

__all__ = [
    "Endpoint",
    "FakeServer",
    "Faults",
    "Latency",
    "Scripted",
    "StepScorer",
    "TinyGenerator",
]

_HOMES = {
    "Endpoint": "endpoint",
    "FakeServer": "fake_server",
    "Faults": "fake_server",
    "Latency": "scripted",
    "Scripted": "scripted",
    "StepScorer": "tiny",
    "TinyGenerator": "tiny",
    "TransformersGenerator": "transformers_generator",  # not in __all__: it needs torch
}


def __getattr__(name: str) -> Any:
    """Loads a generator's module when its name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

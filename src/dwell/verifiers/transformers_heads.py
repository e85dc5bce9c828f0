"""The scoring heads of reward models: from hidden states to a probability.

A process or outcome reward model is a decoder with a small head: one linear layer of one or two
outputs, or two layers with a ReLU between them (Qwen2.5-Math-PRM, Qwen2.5-Math-RM). Reading the
head from the weights makes every such model the same thing, and none of the code that some of
them bring along has to be run. A language model that was tuned to write "+" or "-" behind a step
(Math-Shepherd) has such a head too: the two rows of its output matrix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from dwell.errors import UsageError
from dwell.torch_checkpoints import loading

#: What heads are called in checkpoints: of transformers, of TRL and OpenRLHF, and of others.
HEADS = ("score", "v_head", "classifier", "value_head", "reward_head", "regression_layer")
_NAME = re.compile(rf"^(?:\w+\.)*?({'|'.join(HEADS)})(?:\.(\w+))?\.(weight|bias)$")

Layer = tuple[Any, Any]


class Head:
    """Linear layers with a ReLU between them.

    Args:
        layers: (weight `[out, in]`, bias `[out]` or None) of each, in float32; the last has one
            output, whose sigmoid is the probability, or two, for "wrong" and "right". They
            stay on the CPU: few places are read.
    """

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers

    def probs(self, hidden: Any) -> list[float]:
        """The probability of "right" at each of some places.

        Args:
            hidden: `[K, d]` final hidden states.
        """
        values = hidden.float().cpu()
        for index, (weight, bias) in enumerate(self._layers):
            values = torch.relu(values) if index else values
            values = torch.nn.functional.linear(values, weight, bias)
        values = values.double()
        logits = values[:, 0] if values.shape[1] == 1 else values[:, 1] - values[:, 0]
        found: list[float] = torch.sigmoid(logits).tolist()
        return found


def stored_head(folder: Path) -> Head | None:
    """The head among a checkpoint's weights; None if there is none.

    Raises:
        UsageError: it has more than two outputs, there are several heads, or a damaged file.
    """
    found: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for name, tensor in _head_tensors(folder):
        matched = _NAME.match(name)
        assert matched is not None
        names.add(matched[1])
        found.setdefault(matched[2] or "", {})[matched[3]] = tensor.float()
    if not found:
        return None
    # nn.Sequential numbers its layers, the ReLU between them included
    layers = [_layer(found[key]) for key in sorted(found, key=lambda key: (len(key), key))]
    if len(names) > 1 or layers[-1][0].shape[0] > 2:
        raise UsageError(
            "A reward model must have one head with one or two outputs, but "
            f"{folder} has {', '.join(sorted(names))} with {layers[-1][0].shape[0]} outputs."
        )
    return Head(layers)


def written_head(model: Any, wrong: int, right: int) -> Head:
    """The head of a language model that writes one of two tokens behind a step."""
    output = model.get_output_embeddings()
    rows, bias = [wrong, right], getattr(output, "bias", None)
    chosen = [None if part is None else part[rows].float().cpu() for part in (output.weight, bias)]
    return Head([(chosen[0], chosen[1])])


def _layer(tensors: Mapping[str, Any]) -> Layer:
    return tensors["weight"], tensors.get("bias")


def _head_tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    """(name, tensor) of everything in the weights that belongs to a head."""
    for file in sorted(folder.glob("*.safetensors")):
        with loading(folder, "weights"), safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is not a mapping
                if _NAME.match(name):
                    yield name, tensors.get_tensor(name)

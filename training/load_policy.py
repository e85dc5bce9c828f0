"""Reads a policy back, from its exported folder or from a checkpoint of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model import SHAPES, Policy, Shape

NUMPY_TYPES = {"F16": np.float16, "F32": np.float32}


def read_safetensors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Returns the tensors of a safetensors file."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, facts in header.items():
        first, last = facts["data_offsets"]
        flat = np.frombuffer(data[start + first : start + last], NUMPY_TYPES[facts["dtype"]])
        tensors[name] = flat.reshape(facts["shape"])
    return tensors


def load_policy(folder: Path, *, size: str = "", checkpoint: Path | None = None) -> Policy:
    """Returns the policy of a model folder, or of a checkpoint of the named size.

    A checkpoint's weights are rounded to the export's grid on the way in, so that both forms
    of a finished run give the same network.
    """
    if checkpoint is not None:
        policy = Policy(SHAPES[size])
        policy.load_state_dict(torch.load(checkpoint, weights_only=False)["policy"])
        policy.fake_quantisation = True
        return policy
    config = json.loads((folder / "config.json").read_text())
    policy = Policy(Shape(width=config["hidden_size"], hidden=config["intermediate_size"]))
    policy.load_state_dict(_stacked(read_safetensors(folder / "model.safetensors"), policy.shape))
    return policy


def _stacked(tensors: dict[str, NDArray[np.generic]], shape: Shape) -> dict[str, torch.Tensor]:
    def stack(*names: str) -> torch.Tensor:
        layers = [
            np.concatenate([tensors[f"model.layers.{k}.{name}.weight"] for name in names])
            for k in range(shape.layers)
        ]
        return torch.from_numpy(np.stack(layers).astype(np.float32))

    return {
        "embed": torch.from_numpy(tensors["model.embed_tokens.weight"].astype(np.float32)),
        "qkv": stack("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "out": stack("self_attn.o_proj"),
        "gate_up": stack("mlp.gate_proj", "mlp.up_proj"),
        "down": stack("mlp.down_proj"),
        "head": torch.from_numpy(tensors["lm_head.weight"].astype(np.float32)),
    }

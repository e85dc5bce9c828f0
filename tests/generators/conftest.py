"""Small embedded models: one of random weights, one with a value head of random weights."""

import json
import shutil

import numpy as np
import pytest

from dwell.generators.tiny_models import MODELS
from dwell.generators.tiny_weights import TinyModel
from tiny_world import write_model


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, values in tensors.items():
        size = values.nbytes
        header[name] = {"dtype": "F32", "shape": values.shape,
                        "data_offsets": [offset, offset + size]}  # fmt: skip
        offset += size
    text = json.dumps(header).encode()
    body = b"".join(values.astype("<f4").tobytes() for values in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The smallest packaged model with a random head in place of the trained one."""
    folder = tmp_path_factory.mktemp("models") / "random-head"
    shutil.copytree(MODELS["tiny-0.2m"].path, folder)
    rng = np.random.default_rng(5)
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    tensors = {
        "layer1.weight": rng.normal(size=(16, width + 8)).astype(np.float32) * 0.2,
        "layer1.bias": rng.normal(size=16).astype(np.float32),
        "layer2.weight": rng.normal(size=(1, 16)).astype(np.float32),
        "layer2.bias": np.zeros(1, np.float32),
    }
    write_safetensors(folder / "value_head.safetensors", tensors)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A model of random weights: `tiny_world.write_model`."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def model(folder):
    return TinyModel.load(folder)

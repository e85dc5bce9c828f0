"""The shipped models: sizes, exact 8-bit weights, tokenizer, and equality with transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dwell.generators.tiny_weights import TinyModel, parse_safetensors, row_codes
from dwell.tasks import TASKS
from dwell.value_head import SCALARS, ValueHead

MODELS = Path(__file__).parent.parent / "src" / "dwell" / "models"
POLICIES = ("tiny-0.2m", "tiny-0.8m", "tiny-3m")
ALL = (*POLICIES, "weak-verifier")


def test_everything_shipped_fits_in_12_megabytes() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) <= 12_000_000


def test_the_largest_policy_has_14_times_the_parameters_of_the_smallest() -> None:
    counts = [TinyModel.load(MODELS / name).num_parameters for name in POLICIES]
    assert counts == sorted(counts)
    assert counts[-1] >= 14 * counts[0]


@pytest.mark.parametrize("name", ALL)
def test_every_matrix_is_8_bit_codes_times_a_power_of_two_per_row(name: str) -> None:
    tensors = parse_safetensors((MODELS / name / "model.safetensors").read_bytes())
    for key, tensor in tensors.items():
        if tensor.ndim == 2 and "embed" not in key:
            codes, steps = row_codes(tensor, key)
            assert np.abs(codes).max() <= 127
            assert np.array_equal(codes * steps[:, None], tensor)
        assert np.isfinite(tensor).all()


@pytest.mark.parametrize("name", ALL)
def test_the_tokenizer_goes_there_and_back_on_every_prompt(name: str) -> None:
    model = TinyModel.load(MODELS / name)
    for task in TASKS.values():
        for problem in task.problems(8, seed=0, levels=task.levels):
            text = problem.prompt + "47+38=85,3 7\nA26\nW\n"
            assert model.decode(model.encode(text)) == text


@pytest.mark.parametrize("name", POLICIES)
def test_training_facts_are_recorded_and_final(name: str) -> None:
    facts = json.loads((MODELS / name / "training.json").read_text())
    assert "placeholder" not in facts
    assert facts["steps"] == facts["recipe"]["steps"]
    assert facts["parameters"] == TinyModel.load(MODELS / name).num_parameters


@pytest.mark.parametrize("name", ALL)
def test_the_value_head_fits_its_model(name: str) -> None:
    width = TinyModel.load(MODELS / name).config.width
    path = MODELS / name / "value_head.safetensors"
    head = ValueHead.from_tensors(parse_safetensors(path.read_bytes()))
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(5, width)).astype(np.float32)
    scalars = rng.normal(size=(5, len(SCALARS))).astype(np.float32)
    together = head.logits(hidden, scalars)
    alone = np.concatenate([head.logits(hidden[k : k + 1], scalars[k : k + 1]) for k in range(5)])
    assert together.shape == (5,)
    assert np.array_equal(together, alone)


def plain_logits(tensors: dict[str, Any], config: dict[str, Any], ids: list[int]) -> Any:
    """A textbook Llama forward pass in float32: `[T, V]`."""
    heads, dim, length = config["num_attention_heads"], config["head_dim"], len(ids)
    turns = np.arange(length)[:, None] * config["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
    cos, sin = (np.tile(f(turns), 2)[:, None].astype(np.float32) for f in (np.cos, np.sin))
    future = np.triu(np.full((length, length), -np.inf, np.float32), 1)

    def norm(x: Any) -> Any:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config["rms_norm_eps"])

    def rotate(x: Any) -> Any:
        half = np.concatenate([-x[..., dim // 2 :], x[..., : dim // 2]], -1)
        return x * cos + half * sin

    x = tensors["model.embed_tokens.weight"][ids]
    for k in range(config["num_hidden_layers"]):
        weight = {
            name.removeprefix(f"model.layers.{k}.").removesuffix(".weight"): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"model.layers.{k}.")
        }
        query, key, value = (
            (norm(x) @ weight[f"self_attn.{part}_proj"].T).reshape(length, heads, dim)
            for part in "qkv"
        )
        scores = np.einsum("qhd,khd->hqk", rotate(query), rotate(key)) / dim**0.5 + future
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", shares, value).reshape(length, -1)
        x = x + mixed @ weight["self_attn.o_proj"].T
        gate = norm(x) @ weight["mlp.gate_proj"].T
        inner = gate / (1 + np.exp(-gate)) * (norm(x) @ weight["mlp.up_proj"].T)
        x = x + inner @ weight["mlp.down_proj"].T
    return norm(x) @ tensors["lm_head.weight"].T


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", POLICIES)
def test_transformers_loads_the_folder_with_equal_logits(name: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    text = "C47+38*3-29\n47+38=85\n85*3=55\n55-29=26\nA26\n"
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODELS / name)
    ids = tokenizer(text)["input_ids"]
    assert ids == TinyModel.load(MODELS / name).encode(text)
    assert tokenizer.decode(ids) == text
    loaded = transformers.AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32)
    assert type(loaded).__name__ == "LlamaForCausalLM"
    with torch.no_grad():
        found = loaded(torch.tensor([ids])).logits[0].numpy()
    tensors = parse_safetensors((MODELS / name / "model.safetensors").read_bytes())
    config = json.loads((MODELS / name / "config.json").read_text())
    assert np.abs(found - plain_logits(tensors, config, ids)).max() < 1e-4

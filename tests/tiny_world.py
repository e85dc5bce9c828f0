"""A small llama with random weights, and random jobs for its engine."""

import json
from pathlib import Path

import numpy as np

from dwell.generators.tiny_engine import Job, Result

CHARACTERS = "\n0123456789+-*=,> ACGW"
EVERYTHING = frozenset({"surprisal", "hidden", "mean_log_prob"})
WIDTH, INNER, LAYERS, VOCAB, CONTEXT = 64, 96, 2, 32, 96


def codes_times_powers(rng: np.random.Generator, shape: tuple[int, int], gain: float):
    weight = rng.normal(size=shape) * gain / np.sqrt(shape[1])
    steps = 2.0 ** np.ceil(np.log2(np.abs(weight).max(axis=1) / 127))
    return np.rint(weight / steps[:, None]) * steps[:, None]


def write_model(folder: Path, seed: int = 0, **changes) -> Path:
    rng = np.random.default_rng(seed)
    tensors = {"model.embed_tokens.weight": rng.normal(size=(VOCAB, WIDTH)) * 0.5}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for part in "qkvo":
            name = f"{prefix}self_attn.{part}_proj.weight"
            tensors[name] = codes_times_powers(rng, (WIDTH, WIDTH), 1.2)
        for part in ("gate", "up"):
            tensors[f"{prefix}mlp.{part}_proj.weight"] = codes_times_powers(
                rng, (INNER, WIDTH), 1.0
            )
        tensors[f"{prefix}mlp.down_proj.weight"] = codes_times_powers(rng, (WIDTH, INNER), 1.0)
        for part in ("input", "post_attention"):
            tensors[f"{prefix}{part}_layernorm.weight"] = np.ones(WIDTH)
    tensors["model.norm.weight"] = np.ones(WIDTH)
    tensors["lm_head.weight"] = codes_times_powers(rng, (VOCAB, WIDTH), 1.5)
    tensors |= changes.pop("tensors", {})
    folder.mkdir(parents=True, exist_ok=True)
    header, body = {}, b""
    for name, values in tensors.items():
        data = values.astype("<f2").tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    names = ["<pad>", "<eos>", *CHARACTERS]
    names += [f"<unused{k}>" for k in range(VOCAB - len(names))]
    vocab = {name: index for index, name in enumerate(names)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}))
    config = {
        "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": WIDTH // 32, "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
        "eos_token_id": 1,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def random_jobs(num: int, seed: int = 0) -> list[Job]:
    rng = np.random.default_rng(seed)
    return [
        Job(
            prompt=tuple(rng.integers(2, 24, size=rng.integers(1, 30)).tolist()),
            key=int(rng.integers(2**63)),
            max_tokens=int(rng.integers(1, 60)),
            temperature=float(rng.choice([0.0, 0.7, 1.0, 1.0])),
            until=str(rng.choice(["end", "step"])),
            forbid_end=bool(rng.integers(2)),
            step_cap=int(rng.integers(10, 50)),
            want=EVERYTHING,
        )
        for _ in range(num)
    ]


def same(one: Result, other: Result) -> bool:
    """Equal bit for bit, but for what the cache happened to hold."""
    arrays = ("surprisals", "hidden", "mean_log_probs")
    return (one.tokens, one.status) == (other.tokens, other.status) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays
    )

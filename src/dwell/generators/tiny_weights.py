"""Weights, vocabulary and configuration of an embedded model, read with numpy alone.

An embedded model is an ordinary Hugging Face folder of a small Llama (RMSNorm, RoPE, SwiGLU,
untied output head) with a character-level vocabulary: `config.json`, `tokenizer.json` and
`model.safetensors` in F16. One thing is special: every row of every matrix is 8-bit integers times
a power of two. `row_codes` recovers those integers, and the exact arithmetic of `tiny_forward`
rests on them. This module knows files, not arithmetic.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_LARGEST_CODE = 127
_SMALLEST_HALF = 2.0**-24  # every F16 value is an integer multiple of it
_ANSWER_MARK = "A"  # opens the line with the answer in the chain task's texts


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyConfig:
    """The shape of a model.

    Attributes:
        num_layers: transformer blocks.
        width: residual stream, in floats.
        num_heads: attention heads (keys and values have as many).
        inner: width of the feed-forward block.
        vocab_size: rows of the embedding, padding included.
        max_positions: longest context in tokens.
        rope_theta: base of the rotary frequencies.
        norm_eps: added to the mean square in RMSNorm.
    """

    num_layers: int
    width: int
    num_heads: int
    inner: int
    vocab_size: int
    max_positions: int
    rope_theta: float
    norm_eps: float

    @property
    def head_dim(self) -> int:
        """Floats per attention head."""
        return self.width // self.num_heads


class TinyModel:
    """An embedded model as it lies in its folder.

    Attributes:
        path: the folder.
        config: its shape.
        vocabulary: the text of each token, by id.
        tensors: float32 arrays by their names in the checkpoint, matrices as `[out, in]`.
        eos: id of the token that ends a text.
        newline: id of the token that ends a step.
        closing: ids that may not come first where a text must not end yet: `eos`, and the
            character that opens the answer's line.
        sampleable: `[V]` bool, which tokens may be drawn: characters and `eos`, no padding.
        fingerprint: SHA-256 of the weights, the configuration and the vocabulary, in hex.
        num_parameters: floats in all tensors.
    """

    def __init__(
        self,
        path: Path,
        config: TinyConfig,
        vocabulary: tuple[str, ...],
        eos: int,
        tensors: dict[str, Floats],
        fingerprint: str,
    ) -> None:
        self.path = path
        self.config = config
        self.vocabulary = vocabulary
        self.tensors = tensors
        self.eos = eos
        self.fingerprint = fingerprint
        self._ids = {text: index for index, text in enumerate(vocabulary) if len(text) == 1}
        if "\n" not in self._ids:
            raise UsageError(f"steps end with a newline, but {path} has no token for it.")
        self.newline = self._ids["\n"]
        answer = {self._ids[_ANSWER_MARK]} if _ANSWER_MARK in self._ids else set()
        self.closing = frozenset({eos} | answer)
        self.sampleable = np.array(
            [index == eos or len(text) == 1 for index, text in enumerate(vocabulary)]
        )
        self.num_parameters = sum(int(tensor.size) for tensor in tensors.values())

    @classmethod
    def load(cls, path: str | Path) -> TinyModel:
        """Reads a model folder.

        Raises:
            UsageError: a file is missing or is not of the kind described above.
        """
        folder = Path(path)
        files = {name: _read(folder / name) for name in _FILES}
        config = _parse_config(json.loads(files["config.json"]), folder)
        vocabulary = _parse_vocabulary(json.loads(files["tokenizer.json"]), config, folder)
        eos = json.loads(files["config.json"]).get("eos_token_id")
        if not isinstance(eos, int) or not 0 <= eos < config.vocab_size:
            raise UsageError(f"`eos_token_id` must be a token of {folder}, but got {eos!r}.")
        tensors = parse_safetensors(files["model.safetensors"])
        _check_tensors(tensors, config, folder)
        digest = hashlib.sha256()
        for name in sorted(_FILES):
            digest.update(hashlib.sha256(files[name]).digest())
        return cls(folder, config, vocabulary, eos, tensors, digest.hexdigest())

    def encode(self, text: str) -> list[int]:
        """Returns the token ids of a text, one per character.

        Raises:
            UsageError: a character that the model has no token for.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            known = "".join(sorted(self._ids))
            raise UsageError(
                f"the embedded model reads only the characters {known!r}, but got "
                f"{error.args[0]!r} in {text[:60]!r}."
            ) from None

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of token ids; `eos` and padding have none."""
        pieces = (self.vocabulary[token] for token in tokens)
        return "".join(piece for piece in pieces if len(piece) == 1)


_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def parse_safetensors(data: bytes) -> dict[str, Floats]:
    """Returns the tensors of a safetensors file as float32 arrays by name.

    The format is an 8-byte little-endian length, that many bytes of JSON (name to dtype, shape and
    byte range), then the bytes. F16 and F32 are understood.

    Raises:
        UsageError: the bytes are not such a file.
    """
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
    except ValueError as error:
        raise UsageError(
            f"weights must be a safetensors file, but its header says: {error}."
        ) from None
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + size :]
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in _DTYPES:
            raise UsageError(f"tensors must be F16 or F32, but {name} is {entry['dtype']}.")
        start, stop = entry["data_offsets"]
        if stop > len(body):
            raise UsageError(f"the safetensors file ends inside {name}. Fetch it again.")
        stored = np.frombuffer(body[start:stop], dtype=_DTYPES[entry["dtype"]])
        tensors[name] = stored.reshape(entry["shape"]).astype(np.float32)
    return tensors


def row_codes(weight: Floats, name: str = "weight") -> tuple[Ints, Doubles]:
    """Returns the integers and the power of two of each row of a matrix.

    Args:
        weight: `[out, in]`, every row an integer in [-127, 127] times a power of two.
        name: for the message.

    Returns:
        codes `[out, in]` and steps `[out]`, with ``weight == codes * steps[:, None]`` exactly and
        the steps as large as they can be.

    Raises:
        UsageError: a row needs more than 8 bits.
    """
    units = np.rint(weight.astype(np.float64) / _SMALLEST_HALF).astype(np.int64)
    bits = np.bitwise_or.reduce(np.abs(units), axis=1)
    lowest = np.maximum(bits & -bits, 1)  # a row of zeros has the step 1
    codes = units // lowest[:, None]
    steps = lowest * _SMALLEST_HALF
    same = np.array_equal(codes * steps[:, None], weight.astype(np.float64))
    worst = int(np.abs(codes).max(initial=0))
    if not same or worst > _LARGEST_CODE:
        raise UsageError(
            "every row of a matrix must be 8-bit integers times a power of two, but a row of "
            f"`{name}` needs integers up to {worst}. Export the model with its training script."
        )
    return codes, steps


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the embedded model: {error.strerror}: {path}") from None


def _parse_config(raw: dict[str, Any], folder: Path) -> TinyConfig:
    rope = raw.get("rope_parameters") or {}
    heads = raw.get("num_attention_heads", 0)
    rules = {
        "model_type": (raw.get("model_type"), "llama"),
        "hidden_act": (raw.get("hidden_act", "silu"), "silu"),
        "num_key_value_heads": (raw.get("num_key_value_heads", heads), heads),
        "tie_word_embeddings": (raw.get("tie_word_embeddings", False), False),
        "attention_bias": (raw.get("attention_bias", False), False),
        "mlp_bias": (raw.get("mlp_bias", False), False),
        "rope_type": (rope.get("rope_type", "default"), "default"),
    }
    for key, (found, wanted) in rules.items():
        if found != wanted:
            raise UsageError(
                f"`{key}` must be {wanted!r} for the embedded engine, but {folder} has {found!r}."
            )
    return TinyConfig(
        num_layers=raw["num_hidden_layers"],
        width=raw["hidden_size"],
        num_heads=heads,
        inner=raw["intermediate_size"],
        vocab_size=raw["vocab_size"],
        max_positions=raw["max_position_embeddings"],
        rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10000.0))),
        norm_eps=float(raw["rms_norm_eps"]),
    )


def _parse_vocabulary(raw: dict[str, Any], config: TinyConfig, folder: Path) -> tuple[str, ...]:
    vocab = dict(raw["model"]["vocab"])
    for added in raw.get("added_tokens", ()):
        vocab.setdefault(added["content"], added["id"])
    if max(vocab.values()) >= config.vocab_size:
        raise UsageError(
            f"the vocabulary of {folder} has ids beyond `vocab_size`={config.vocab_size}."
        )
    texts = [f"<unused{index}>" for index in range(config.vocab_size)]
    for text, index in vocab.items():
        texts[index] = text
    return tuple(texts)


def _check_tensors(tensors: dict[str, Floats], config: TinyConfig, folder: Path) -> None:
    width, inner, vocab = config.width, config.inner, config.vocab_size
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocab, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (vocab, width),
    }
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}."
        shapes |= {f"{prefix}self_attn.{x}_proj.weight": (width, width) for x in "qkvo"}
        shapes |= {f"{prefix}mlp.{x}_proj.weight": (inner, width) for x in ("gate", "up")}
        shapes[f"{prefix}mlp.down_proj.weight"] = (width, inner)
        shapes |= {f"{prefix}{x}_layernorm.weight": (width,) for x in ("input", "post_attention")}
    for name, shape in shapes.items():
        found = tensors[name].shape if name in tensors else None
        if found != shape:
            raise UsageError(f"`{name}` must have shape {shape}, but {folder} has {found}.")
        if name.endswith("norm.weight") and not np.all(tensors[name] == 1.0):
            raise UsageError(
                f"RMSNorm gains must be 1 for the embedded engine, but `{name}` has others."
            )

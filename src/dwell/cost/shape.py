"""A decoder as the cost model sees it: FLOPs, weights, and what it keeps of the past.

A multiply and an add are two operations. Counted are the matrix products, attention and the
updates of recurrent states; norms, activations and softmax are left out (well below one per cent).

Symbols: L layers, d width, H query heads, G key-value heads, h head size, V vocabulary,
p prompt tokens, o output tokens, N samples that share the prompt, b bytes of a cached value.
The formulas in the docstrings are those of a dense decoder with full attention; windows, latents,
experts and states replace the terms that they concern.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.cost.config import read_config
from dwell.cost.layers import Block, Reach
from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]


def attended(before: npt.ArrayLike, count: npt.ArrayLike, limit: int | None = None) -> FloatArray:
    """Tokens attended to by `count` tokens that follow `before` others, each itself included.

    `sum over t = 1..count of min(before + t, limit)`; without limit `before count + count
    (count + 1) / 2`.

    Args:
        before: tokens that came first, scalar or array.
        count: tokens that attend, broadcast against it.
        limit: at most so many are attended to; None = all.
    """
    start, steps = np.asarray(before, np.float64), np.asarray(count, np.float64)
    if limit is None:
        return np.asarray(start * steps + steps * (steps + 1) / 2.0, np.float64)
    free = np.clip(limit - start, 0.0, steps)  # steps that see everything
    return np.asarray(start * free + free * (free + 1) / 2.0 + limit * (steps - free), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes of a decoder, as runs of equal layers.

    Attributes:
        blocks: runs of equal layers, first to last.
        width: d.
        vocabulary: V.
        tied: whether input and output embedding are one matrix.
        extra_weights: last norm, learned positions, biases of the head.
        name: its `model_type`.
    """

    blocks: tuple[Block, ...]
    width: int
    vocabulary: int
    tied: bool = False
    extra_weights: int = 0
    name: str = "llama"
    # Sums over layers, worked out once: generators ask for FLOPs at every batch.
    _decode: tuple[tuple[int | None, float], ...] = field(init=False, repr=False, compare=False)
    _prefill: tuple[tuple[int | None, float], ...] = field(init=False, repr=False, compare=False)
    _states: float = field(init=False, repr=False, compare=False)
    _body: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        decode: dict[int | None, float] = {}
        prefill: dict[int | None, float] = {}
        for count, reach in self.reaches():
            decode[reach.limit] = decode.get(reach.limit, 0.0) + count * reach.pair_flops
            limit = None if reach.dense_prompt else reach.limit
            prefill[limit] = prefill.get(limit, 0.0) + count * reach.prefill_flops
        put = object.__setattr__  # the dataclass is frozen
        put(self, "_decode", tuple(decode.items()))
        put(self, "_prefill", tuple(prefill.items()))
        put(self, "_states", sum(b.count * b.mixer.state_flops for b in self.blocks))
        put(self, "_body", sum(b.count * b.product_weights for b in self.blocks))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape:
        """Read the shape from the `config.json` of a Hugging Face checkpoint.

        Args:
            config: its fields; of a model with images or sound, the text part is read.

        Raises:
            UsageError: a size is missing, or the family or a layer is of a kind that is not
                costed.
        """
        parts = read_config(config)
        return cls(
            blocks=parts.blocks,
            width=parts.width,
            vocabulary=parts.vocabulary,
            tied=parts.tied,
            extra_weights=parts.extra_weights,
            name=parts.name,
        )

    @classmethod
    def from_file(cls, path: Path | str) -> ModelShape:
        """Read the shape from a `config.json`, or from the folder that holds one.

        Raises:
            UsageError: there is no such file, it is not JSON, or it cannot be costed.
        """
        file = Path(path)
        file = file / "config.json" if file.is_dir() else file
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UsageError(
                f"a model must be described by a readable config.json, but got {str(file)!r} "
                f"({error}). Pass the file of a Hugging Face checkpoint, or its folder."
            ) from error
        if not isinstance(config, dict):
            raise UsageError(f"a config.json must hold an object, but {str(file)!r} does not.")
        return cls.from_config(config)

    def with_attention_budget(self, budget: int) -> ModelShape:
        """The same decoder, each full attention decoding with only the `budget` best tokens.

        Raises:
            UsageError: the budget is below 1.
        """
        if budget < 1:
            raise UsageError(f"an attention budget must be at least 1 token, but got {budget}.")
        blocks = tuple(replace(b, mixer=b.mixer.with_budget(budget)) for b in self.blocks)
        return replace(self, blocks=blocks)

    def reaches(self) -> tuple[tuple[int, Reach], ...]:
        """(layers, what they do with earlier tokens), for every run of layers."""
        return tuple((b.count, reach) for b in self.blocks for reach in b.mixer.reaches)

    # ---- weights -----------------------------------------------------------------------------

    @property
    def num_layers(self) -> int:
        """L."""
        return sum(block.count for block in self.blocks)

    @property
    def num_parameters(self) -> int:
        """All weights, embeddings and norms included."""
        layers = sum(b.count * b.weights for b in self.blocks if not b.repeated)
        return layers + self.vocabulary * self.width * (1 if self.tied else 2) + self.extra_weights

    @property
    def active_parameters(self) -> int:
        """Weights that serve one token: all but the experts that it does not choose.

        A layer whose weights are those of an earlier one counts again.
        """
        again = sum(b.count * b.weights for b in self.blocks if b.repeated)
        idle = sum(
            b.count * b.feed_forward.expert_weights
            * (b.feed_forward.num_experts - b.feed_forward.experts_per_token)
            for b in self.blocks
        )  # fmt: skip
        return self.num_parameters + again - idle

    @property
    def product_weights(self) -> int:
        """`P_mm`: weights that every token is multiplied with, all layers and the output head."""
        return self._body + self.vocabulary * self.width

    def weights_read(self, num_tokens: float = 1.0) -> float:
        """Weights that one step of `num_tokens` tokens reads.

        All but the input embedding (of which a token reads one row), and of the experts those
        that the tokens choose, `E (1 - (1 - e/E)^T)` of each layer's.
        """
        layers = sum(
            b.count * (b.mixer.weights + b.norm_weights + b.feed_forward.weights_read(num_tokens))
            for b in self.blocks
        )
        return layers + self.vocabulary * self.width + self.extra_weights

    # ---- operations --------------------------------------------------------------------------

    def token_flops(self, context: npt.ArrayLike) -> FloatArray:
        """FLOPs of decoding one token that attends to `context` tokens, itself included.

        `2 P_mm + 4 L H h c`.

        Args:
            context: c, scalar or array.
        """
        reach = np.asarray(context, np.float64)
        total = np.full(reach.shape, 2.0 * self.product_weights + self._states)
        for limit, unit in self._decode:
            total = total + unit * (reach if limit is None else np.minimum(reach, limit))
        return np.asarray(total, np.float64)

    def prefill_flops(self, prompt_tokens: npt.ArrayLike) -> FloatArray:
        """FLOPs of reading a prompt, the output head on its last token only.

        `2 L (att + mlp) p + 2 V d + 2 L H h p (p + 1)`; no prompt costs nothing.

        Args:
            prompt_tokens: p, scalar or array.
        """
        p = np.asarray(prompt_tokens, np.float64)
        head = 2.0 * self.vocabulary * self.width
        total = (2.0 * self._body + self._states) * p + head
        for limit, unit in self._prefill:
            total = total + unit * attended(0.0, p, limit)
        return np.where(p > 0, total, 0.0)

    def scoring_flops(self, tokens: npt.ArrayLike) -> FloatArray:
        """FLOPs of a scalar reward model that reads prompt and answer once: no output head.

        `2 L (att + mlp) t + 2 L H h t (t + 1)`, `t = p + o`. A judge that writes is costed as
        what it is: a prompt and a decode of its own.

        Args:
            tokens: t, scalar or array.
        """
        t = np.asarray(tokens, np.float64)
        head = 2.0 * self.vocabulary * self.width
        return np.where(t > 0, self.prefill_flops(t) - head, 0.0)

    def decode_flops(
        self, prompt_tokens: npt.ArrayLike, output_tokens: npt.ArrayLike
    ) -> FloatArray:
        """FLOPs of decoding each sample after its prompt.

        `2 P_mm o + 4 L H h (p o + o (o + 1) / 2)`.

        Args:
            prompt_tokens: p, scalar or array.
            output_tokens: o, broadcast against it: one entry for each sample.

        Returns:
            The broadcast shape; sum it over samples.
        """
        p, o = np.asarray(prompt_tokens, np.float64), np.asarray(output_tokens, np.float64)
        total = (2.0 * self.product_weights + self._states) * o + 0.0 * p
        for limit, unit in self._decode:
            total = total + unit * attended(p, o, limit)
        return np.asarray(total, np.float64)

    def samples_flops(
        self, prompt_tokens: int, output_tokens: npt.ArrayLike, *, shared_prompt: bool = True
    ) -> float:
        """FLOPs of N samples of one prompt.

        Args:
            prompt_tokens: p.
            output_tokens: `[N]`, tokens of each sample.
            shared_prompt: whether the prompt is read once for all; else once for each sample.
        """
        lengths = np.atleast_1d(np.asarray(output_tokens, np.float64))
        reads = 1 if shared_prompt else len(lengths)
        decode = float(self.decode_flops(prompt_tokens, lengths).sum())
        return decode + reads * float(self.prefill_flops(prompt_tokens))

    # ---- memory ------------------------------------------------------------------------------

    def kv_bytes_per_token(self, bytes_per_value: float = 2) -> float:
        """Bytes kept for one more token, `kappa = 2 L G h b`; layers with a window included."""
        return bytes_per_value * sum(count * reach.values for count, reach in self.reaches())

    def state_bytes(self, bytes_per_value: float = 2) -> float:
        """Bytes of the recurrent states of one sample, whatever its length."""
        return bytes_per_value * sum(b.count * b.mixer.state_values for b in self.blocks)

    def kv_bytes(
        self,
        prompt_tokens: int,
        output_tokens: npt.ArrayLike,
        *,
        shared_prompt: bool = True,
        bytes_per_value: float = 2,
    ) -> float:
        """Peak bytes of keys, values and states when N samples of one prompt are held at once.

        `kappa (p + sum o)` with a shared prompt, `kappa sum (p + o)` without. A sliding window
        keeps no more than its size; a state is kept once for each sample.

        Args:
            prompt_tokens: p.
            output_tokens: `[N]`, tokens of each sample.
            shared_prompt: whether all samples point to one copy of the prompt.
            bytes_per_value: b, 2 for 16-bit caches.
        """
        lengths = np.atleast_1d(np.asarray(output_tokens, np.int64))
        values = 0
        for count, reach in self.reaches():
            window = reach.limit if reach.rolling else None
            own = lengths if window is None else np.minimum(lengths, window)
            prompts = np.full_like(lengths, prompt_tokens)
            if window is not None:
                prompts = np.clip(window - lengths, 0, prompt_tokens)
            kept = int(prompts.max() if shared_prompt else prompts.sum())
            values += count * reach.values * (kept + int(own.sum()))
        return bytes_per_value * values + len(lengths) * self.state_bytes(bytes_per_value)

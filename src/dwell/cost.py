"""What a run costs a dense decoder: floating-point operations and key-value memory.

A multiply and an add are two operations. Counted are the matrix products and attention; norms,
activations and softmax are left out (well below one per cent). Latency, bytes streamed, dollars
and mixtures of experts are not here.

Symbols: L layers, d width, H query heads, G key-value heads, h head size, F feed-forward width,
V vocabulary, p prompt tokens, o output tokens, N samples that share the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes of a decoder with a gated feed-forward (Llama, Qwen, Mistral and their like).

    Attributes:
        num_layers: L.
        width: d.
        num_heads: H.
        num_kv_heads: G; H where every head has its own.
        head_size: h.
        feed_forward: F.
        vocabulary: V.
        tied: whether input and output embedding are one matrix.
        head_norm: whether queries and keys are normalised for each head (2h more weights).
    """

    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int
    tied: bool = False
    head_norm: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape:
        """Read the shape from the `config.json` of a Hugging Face checkpoint.

        Args:
            config: its fields; `num_key_value_heads`, `head_dim` and `tie_word_embeddings` have
                the usual defaults (all heads, width / heads, False).

        Raises:
            UsageError: a field is missing, or the model is a mixture of experts.
        """
        experts = ("num_experts", "num_local_experts", "n_routed_experts")
        if any(config.get(name) for name in experts):
            raise UsageError(
                "only dense decoders can be costed, but the config describes a mixture of "
                f"experts ({next(name for name in experts if config.get(name))})."
            )
        needed = (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "intermediate_size",
            "vocab_size",
        )
        missing = [name for name in needed if config.get(name) is None]
        if missing:
            raise UsageError(
                f"a model config must have {list(needed)}, but lacks {missing}. "
                "Pass the fields of the checkpoint's config.json."
            )
        width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        return cls(
            num_layers=int(config["num_hidden_layers"]),
            width=width,
            num_heads=heads,
            num_kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or width // heads),
            feed_forward=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            head_norm=str(config.get("model_type", "")).startswith("qwen3"),
        )

    @property
    def attention_weights(self) -> int:
        """Weights of a layer's four attention projections, `d h (H + 2G) + H h d`."""
        inner = self.num_heads + 2 * self.num_kv_heads
        return self.width * self.head_size * (inner + self.num_heads)

    @property
    def feed_forward_weights(self) -> int:
        """Weights of a layer's gated feed-forward, `3 d F`."""
        return 3 * self.width * self.feed_forward

    @property
    def norm_weights(self) -> int:
        """Weights of a layer's norms, `2d`, and `2h` more with norms for each head."""
        return 2 * self.width + (2 * self.head_size if self.head_norm else 0)

    @property
    def num_parameters(self) -> int:
        """All weights, embeddings and the last norm included."""
        layer = self.attention_weights + self.feed_forward_weights + self.norm_weights
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.num_layers * layer + embeddings + self.width

    @property
    def product_weights(self) -> int:
        """Weights that every token is multiplied with: all layers and the output head."""
        layer = self.attention_weights + self.feed_forward_weights
        return self.num_layers * layer + self.vocabulary * self.width

    def token_flops(self, context: npt.ArrayLike) -> FloatArray:
        """FLOPs of decoding one token that attends to `context` tokens, itself included.

        `2 P_mm + 4 L H h c`, P_mm being `product_weights`.

        Args:
            context: c, scalar or array.
        """
        reach = np.asarray(context, np.float64)
        return np.asarray(2.0 * self.product_weights + self._attention_unit * reach, np.float64)

    def prefill_flops(self, prompt_tokens: npt.ArrayLike) -> FloatArray:
        """FLOPs of reading a prompt, the output head on its last token only.

        `2 L (att + mlp) p + 2 V d + 2 L H h p (p + 1)`; no prompt costs nothing.

        Args:
            prompt_tokens: p, scalar or array.
        """
        p = np.asarray(prompt_tokens, np.float64)
        layers = self.num_layers * (self.attention_weights + self.feed_forward_weights)
        head = 2.0 * self.vocabulary * self.width
        pairs = p * (p + 1) / 2.0
        return np.where(p > 0, 2.0 * layers * p + head + self._attention_unit * pairs, 0.0)

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
        attended = p * o + o * (o + 1) / 2.0
        return np.asarray(
            2.0 * self.product_weights * o + self._attention_unit * attended, np.float64
        )

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

    def kv_bytes_per_token(self, bytes_per_value: int = 2) -> int:
        """Bytes of keys and values kept for one token, `2 L G h b`."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_size * bytes_per_value

    def kv_bytes(
        self,
        prompt_tokens: int,
        output_tokens: npt.ArrayLike,
        *,
        shared_prompt: bool = True,
        bytes_per_value: int = 2,
    ) -> int:
        """Peak bytes of keys and values when N samples of one prompt are held at once.

        `kappa (p + sum o)` with a shared prompt, `kappa sum (p + o)` without.

        Args:
            prompt_tokens: p.
            output_tokens: `[N]`, tokens of each sample.
            shared_prompt: whether all samples point to one copy of the prompt.
            bytes_per_value: 2 for 16-bit caches.
        """
        lengths = np.atleast_1d(np.asarray(output_tokens, np.int64))
        prompts = prompt_tokens * (1 if shared_prompt else len(lengths))
        return self.kv_bytes_per_token(bytes_per_value) * (prompts + int(lengths.sum()))

    @property
    def _attention_unit(self) -> float:
        """FLOPs of scores and weighted sum for one pair of tokens, all layers: `4 L H h`."""
        return 4.0 * self.num_layers * self.num_heads * self.head_size

"""The parts of a decoder's layer, as counts: what mixes tokens, and what follows it.

A part says how many weights it has, how many of them a token is multiplied with, what it keeps
of the past (keys and values for every token, or a state of fixed size), and what reading the past
costs. A multiply and an add are two operations; norms, activations and softmax are left out.

Symbols: d width, H query heads, G key-value heads, h head size, F feed-forward width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one layer does with each earlier token that the current one attends to.

    Attributes:
        pair_flops: FLOPs for one pair of tokens while decoding; `4 H h` for scores and sum.
        prefill_pair_flops: the same while a prompt is read; None where it is the same.
        values: cached values read for each attended token; `2 G h`.
        limit: at most so many tokens are attended to; None = all.
        rolling: whether tokens beyond the limit are dropped from the cache (a sliding window);
            where not, the limit is a choice among all tokens, made anew for each sample.
        heads: over how many devices the cache can be split.
        dense_prompt: whether the limit holds while decoding only, the prompt being read in full.
    """

    pair_flops: float
    values: int
    prefill_pair_flops: float | None = None
    limit: int | None = None
    rolling: bool = False
    heads: int = 1
    dense_prompt: bool = False

    @property
    def prefill_flops(self) -> float:
        """FLOPs for one pair of tokens of a prompt."""
        return self.pair_flops if self.prefill_pair_flops is None else self.prefill_pair_flops

    @property
    def chosen(self) -> bool:
        """Whether each sample chooses which tokens it reads, so that none are read for all."""
        return self.limit is not None and not self.rolling


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixer:
    """What mixes a layer's tokens: attention, a recurrence, or both at once.

    Attributes:
        kind: its name.
        product_weights: weights that every token is multiplied with.
        small_weights: biases, norms, convolutions, decay rates: stored, not counted as FLOPs.
        reaches: what it does with earlier tokens; empty for a pure recurrence.
        state_values: values of its state, whatever the context.
        state_flops: FLOPs of one update of the state and its reading.
    """

    kind: str
    product_weights: int = 0
    small_weights: int = 0
    reaches: tuple[Reach, ...] = ()
    state_values: int = 0
    state_flops: float = 0.0

    @property
    def weights(self) -> int:
        """All weights."""
        return self.product_weights + self.small_weights

    def beside(self, other: Mixer) -> Mixer:
        """Two mixers on the same input whose outputs are added (Falcon-H1)."""
        return Mixer(
            kind=f"{self.kind} + {other.kind}",
            product_weights=self.product_weights + other.product_weights,
            small_weights=self.small_weights + other.small_weights,
            reaches=self.reaches + other.reaches,
            state_values=self.state_values + other.state_values,
            state_flops=self.state_flops + other.state_flops,
        )

    def with_budget(self, budget: int) -> Mixer:
        """The same, where attention to all tokens becomes attention to the `budget` best."""
        reaches = tuple(
            replace(reach, limit=budget, dense_prompt=True) if reach.limit is None else reach
            for reach in self.reaches
        )
        return replace(self, reaches=reaches)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """A layer's feed-forward: dense, or a choice of experts.

    Attributes:
        shared_weights: weights that every token is multiplied with: a dense feed-forward, or the
            router and the experts that are always on.
        expert_weights: weights of one expert.
        num_experts: E; 0 for a dense one.
        experts_per_token: e.
        small_weights: biases.
    """

    shared_weights: int = 0
    expert_weights: int = 0
    num_experts: int = 0
    experts_per_token: int = 0
    small_weights: int = 0

    @property
    def weights(self) -> int:
        """All weights."""
        return self.shared_weights + self.num_experts * self.expert_weights + self.small_weights

    @property
    def active_weights(self) -> int:
        """Weights that one token is multiplied with."""
        return self.shared_weights + self.experts_per_token * self.expert_weights

    def weights_read(self, num_tokens: float) -> float:
        """Weights that a step of so many tokens reads."""
        if not self.num_experts:
            return float(self.weights)
        read = experts_read(self.num_experts, self.experts_per_token, num_tokens)
        return self.shared_weights + self.small_weights + read * self.expert_weights


def experts_read(num_experts: int, experts_per_token: int, num_tokens: float) -> float:
    """Expected experts that a batch of tokens touches, `E (1 - (1 - e/E)^T)`.

    Each token is taken to choose its experts evenly and independently; real routers are less
    even, and touch fewer.

    Args:
        num_experts: E.
        experts_per_token: e.
        num_tokens: T.
    """
    missed = (1.0 - experts_per_token / num_experts) ** num_tokens
    return float(num_experts * (1.0 - missed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A run of equal layers.

    Attributes:
        count: how many layers.
        mixer: what mixes the tokens.
        feed_forward: what follows.
        norm_weights: weights of a layer's own norms.
        repeated: whether its weights are those of an earlier layer (Zamba): stored once, but
            computed with and read at each use.
    """

    count: int
    mixer: Mixer
    feed_forward: FeedForward
    norm_weights: int = 0
    repeated: bool = False

    @property
    def weights(self) -> int:
        """Weights of one layer."""
        return self.mixer.weights + self.feed_forward.weights + self.norm_weights

    @property
    def product_weights(self) -> int:
        """Weights of one layer that one token is multiplied with."""
        return self.mixer.product_weights + self.feed_forward.active_weights


def attention(
    *,
    width: int,
    heads: int,
    kv_heads: int,
    head_size: int,
    window: int | None = None,
    gated: bool = False,
    small_weights: int = 0,
) -> Mixer:
    """Softmax attention: `d h (H + 2G) + H h d` weights, `4 H h` FLOPs a pair, `2 G h` values.

    Args:
        width: d.
        heads: H.
        kv_heads: G; H for multi-head, 1 for multi-query attention.
        head_size: h.
        window: tokens seen, itself included; None = all.
        gated: whether a gate of the queries' size multiplies the output (Qwen3-Next).
        small_weights: biases and norms of queries and keys.
    """
    inner = heads * (2 + gated) + 2 * kv_heads
    return Mixer(
        kind="attention" if window is None else f"attention to {window} tokens",
        product_weights=width * head_size * inner,
        small_weights=small_weights,
        reaches=(
            Reach(
                pair_flops=4.0 * heads * head_size,
                values=2 * kv_heads * head_size,
                limit=window,
                rolling=window is not None,
                heads=kv_heads,
            ),
        ),
    )


def latent_attention(
    *,
    width: int,
    heads: int,
    query_rank: int | None,
    kv_rank: int,
    nope_size: int,
    rope_size: int,
    value_size: int,
    index_heads: int = 0,
    index_size: int = 0,
    index_top: int | None = None,
) -> Mixer:
    """Multi-head latent attention (DeepSeek-V2, 2024), with V3.2's choice of tokens if given.

    One latent of `kv_rank` values and one rotary key are cached for a token, for all heads.
    Decoding works on the latents themselves (up-projections absorbed into queries and output):
    `2 H (2 kv_rank + rope)` FLOPs a pair; a prompt is read head by head: `2 H (nope + rope + v)`.

    Args:
        width: d.
        heads: H.
        query_rank: rank of the query's down-projection; None = one full matrix.
        kv_rank: size of the latent.
        nope_size: part of a head without position.
        rope_size: part of a head with rotary position.
        value_size: a head's value.
        index_heads: heads of the indexer that scores all tokens.
        index_size: size of its heads; its one key of a token is cached too.
        index_top: tokens that attention then reads; None = all.
    """
    query = nope_size + rope_size
    asked = width * heads * query if query_rank is None else query_rank * (width + heads * query)
    kept = width * (kv_rank + rope_size) + kv_rank * heads * (nope_size + value_size)
    indexer = 0
    reaches = [
        Reach(
            pair_flops=2.0 * heads * (2 * kv_rank + rope_size),
            prefill_pair_flops=2.0 * heads * (query + value_size),
            values=kv_rank + rope_size,
            limit=index_top,
        )
    ]
    if index_top is not None:
        rank = query_rank or width
        indexer = index_heads * (rank * index_size + width) + width * index_size
        reaches.append(Reach(pair_flops=2.0 * index_heads * index_size, values=index_size))
    return Mixer(
        kind="latent attention",
        product_weights=asked + kept + heads * value_size * width + indexer,
        small_weights=kv_rank + (query_rank or 0) + (2 * index_size if indexer else 0),
        reaches=tuple(reaches),
    )

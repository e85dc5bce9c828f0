"""Feed-forwards from a config: dense ones, and choices of experts."""

from __future__ import annotations

from dwell.cost.families import RECURRENT
from dwell.cost.fields import Fields
from dwell.cost.layers import FeedForward
from dwell.errors import UsageError


def has_experts(fields: Fields, index: int, kind: str) -> bool:
    """Whether the layer of this index chooses among experts."""
    if fields.type == "nemotron_h":
        return kind == "moe"
    if fields.get("mlp_layer_types"):
        return bool(fields.get("mlp_layer_types")[index] == "sparse")
    if not fields.get("num_experts"):
        return False
    if fields.type == "llama4_text":
        step = fields.size("interleave_moe_layer_step", 1)
        listed = fields.get("moe_layers") or range(step - 1, fields.num_layers, step)
        return index in listed
    if index < fields.size("first_k_dense_replace", 0):
        return False
    if index in (fields.get("mlp_only_layers") or ()):
        return False
    if fields.type == "jamba":
        period = fields.size("expert_layer_period", 2)
        return index % period == fields.size("expert_layer_offset", 1)
    if index % fields.size("moe_layer_freq", 1):
        return False
    return (index + 1) % fields.size("decoder_sparse_step", 1) == 0


def dense(fields: Fields) -> FeedForward:
    """The feed-forward of a layer without experts."""
    family, width = fields.family, fields.size("hidden_size")
    if fields.type == "rwkv":
        inner = fields.size("intermediate_size", 4 * width)
        return FeedForward(shared_weights=2 * width * inner + width**2, small_weights=2 * width)
    if fields.type == "llama4_text":
        inner = fields.size("intermediate_size_mlp")
    elif fields.type in ("gpt2", "gpt_bigcode", "falcon"):
        inner = fields.size("intermediate_size", 4 * width)
    elif fields.type in RECURRENT:
        return FeedForward()
    elif fields.type == "granitemoehybrid":
        inner = fields.size("shared_intermediate_size")
    else:
        inner = fields.size("intermediate_size")
    if fields.type == "recurrent_gemma":
        inner //= 2  # the config gives gate and value together
    matrices = 3 if family.gated else 2
    said = fields.flag("mlp_bias") if family.mlp_bias is None else family.mlp_bias
    bias = (matrices - 1) * inner + width if said else 0
    return FeedForward(shared_weights=matrices * width * inner, small_weights=bias)


def experts(fields: Fields) -> FeedForward:
    """The feed-forward of a layer that chooses among experts.

    Raises:
        UsageError: the config does not say how many a token has, or experts read something else
            than the layer's width.
    """
    family, width = fields.family, fields.size("hidden_size")
    if fields.get("moe_latent_size"):
        raise UsageError(
            "experts must read the layer's own width to be costed, but the config has "
            f"moe_latent_size={fields.get('moe_latent_size')}."
        )
    count, chosen = fields.size("num_experts"), fields.size("num_experts_per_tok")
    each = fields.size("moe_intermediate_size", fields.size("intermediate_size"))
    matrices = 3 if family.gated else 2
    shared = _shared_size(fields, each)
    small = 0
    if fields.type == "gpt_oss":  # biases of the router, and of gate, value and output
        small = count + count * (2 * each + width)
    gate = width if fields.get("shared_expert_intermediate_size") else 0
    return FeedForward(
        shared_weights=width * count + matrices * width * shared + gate,
        expert_weights=matrices * width * each,
        num_experts=count,
        experts_per_token=chosen,
        small_weights=small,
    )


def _shared_size(fields: Fields, each: int) -> int:
    """Width of the feed-forward that every token passes beside its experts."""
    if fields.type == "llama4_text":
        return each
    if fields.get("n_shared_experts"):
        return fields.size("n_shared_experts") * fields.size(
            "moe_shared_expert_intermediate_size", each
        )
    return fields.size("shared_expert_intermediate_size", 0) or fields.size(
        "shared_intermediate_size", 0
    )

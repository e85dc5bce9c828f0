"""What distinguishes the families of decoders: a table, one row a `model_type`.

Matrix products, caches and states follow from the config's sizes alone; this table holds what a
config leaves unsaid (biases, norms, what is tied when nothing is said). A family that is not here
is refused by name, because its layers might be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a family's configs leave unsaid.

    Attributes:
        norms: norms of a layer, of the width each; layers with a mixer alone have one.
        norm_bias: whether a norm has a bias as well.
        gated: whether the feed-forward has a gate, so that it has three matrices.
        qkv_bias: whether queries, keys and values have biases; None = as `attention_bias` says.
        out_bias: whether the output projection has one; None = as `attention_bias` says.
        mlp_bias: whether the feed-forward has biases; None = as `mlp_bias` says.
        head_norm: "" none, "head" one of the head size for queries and one for keys, "all" one
            over all heads of each.
        tied: whether input and output embedding are one matrix when the config does not say.
        positions: whether positions are learned, and how many more rows they have than positions.
        head_bias: whether the output head has a bias.
    """

    norms: int = 2
    norm_bias: bool = False
    gated: bool = True
    qkv_bias: bool | None = None
    out_bias: bool | None = None
    mlp_bias: bool | None = None
    head_norm: str = ""
    tied: bool = False
    positions: int | None = None
    head_bias: bool = False


_LLAMA = Family()
_QWEN2 = Family(qkv_bias=True, out_bias=False)
_QWEN3 = Family(head_norm="head")
_OLD = Family(norm_bias=True, gated=False, qkv_bias=True, out_bias=True, mlp_bias=True)
_PURE = Family(norms=1)

#: `model_type` -> what its configs leave unsaid; "" is a config that does not name one.
FAMILIES: Mapping[str, Family] = {
    "": _LLAMA, "llama": _LLAMA, "mistral": _LLAMA, "ministral": _LLAMA, "mixtral": _LLAMA,
    "granite": _LLAMA, "granitemoe": _LLAMA, "granitemoeshared": _LLAMA,
    "smollm3": Family(tied=True),
    "seed_oss": Family(qkv_bias=None, out_bias=False), "phi3": _LLAMA, "helium": _LLAMA,
    "olmo": Family(norms=0), "olmo2": Family(head_norm="all"), "olmo3": Family(head_norm="all"),
    "olmoe": Family(head_norm="all"), "arcee": Family(gated=False),
    "qwen2": _QWEN2, "qwen2_moe": _QWEN2, "qwen3": _QWEN3, "qwen3_moe": _QWEN3,
    "qwen3_next": _QWEN3, "qwen3_5_text": _QWEN3, "qwen3_5_moe_text": _QWEN3,
    "qwen3_vl_text": _QWEN3, "qwen3_vl_moe_text": _QWEN3, "qwen2_vl_text": _QWEN2,
    "qwen2_5_vl_text": _QWEN2,
    "gemma": Family(tied=True), "gemma2": Family(norms=4, tied=True),
    "gemma3": Family(norms=4, head_norm="head", tied=True),
    "gemma3_text": Family(norms=4, head_norm="head", tied=True),
    "recurrent_gemma": Family(tied=True, out_bias=True, mlp_bias=True, qkv_bias=False),
    "glm4": Family(norms=4, qkv_bias=None, out_bias=False),
    "glm4_moe": Family(qkv_bias=None, out_bias=False),
    "gpt_oss": Family(), "minimax_m2": Family(head_norm="all"), "phimoe": Family(norm_bias=True),
    "cohere": Family(norms=1, tied=True), "cohere2": Family(norms=1, tied=True),
    "ernie4_5": _LLAMA, "glm": Family(out_bias=False), "cwm": _LLAMA, "ministral3": _LLAMA,
    "exaone4": _QWEN3, "exaone_moe": _QWEN3, "hunyuan_v1_dense": _QWEN3, "hy_v3": _QWEN3,
    "solar_open": _LLAMA,
    "llama4_text": _LLAMA,
    "deepseek_v2": _LLAMA, "deepseek_v3": _LLAMA, "deepseek_v32": _LLAMA, "kimi_k2": _LLAMA,
    "glm4_moe_lite": _LLAMA, "glm_moe_dsa": _LLAMA,
    "minimax": _LLAMA,
    "jamba": Family(), "bamba": _LLAMA, "granitemoehybrid": _LLAMA, "falcon_h1": _LLAMA,
    "nemotron_h": Family(norms=1, gated=False),
    "nemotron": Family(norm_bias=True, gated=False),
    "mamba": Family(norms=1, tied=True), "falcon_mamba": Family(norms=1, tied=True),
    "mamba2": _PURE, "zamba2": Family(norms=1, tied=True),
    "rwkv": Family(norm_bias=True),
    "gpt2": Family(norm_bias=True, gated=False, qkv_bias=True, out_bias=True, mlp_bias=True,
                   tied=True, positions=0),
    "gpt_bigcode": Family(norm_bias=True, gated=False, qkv_bias=True, out_bias=True,
                          mlp_bias=True, tied=True, positions=0),
    "opt": Family(norm_bias=True, gated=False, qkv_bias=True, out_bias=True, mlp_bias=True,
                  tied=True, positions=2),
    "gpt_neox": _OLD,
    "phi": Family(norms=1, norm_bias=True, gated=False, qkv_bias=True, out_bias=True,
                  mlp_bias=True, head_bias=True),
    "starcoder2": Family(norm_bias=True, gated=False, qkv_bias=True, out_bias=True,
                         mlp_bias=True, tied=True),
    "falcon": Family(norms=1, norm_bias=True, gated=False, qkv_bias=False, out_bias=False,
                     mlp_bias=False, tied=True),
}  # fmt: skip

#: Families whose only layers are recurrences.
RECURRENT: Mapping[str, str] = {
    "mamba": "mamba", "falcon_mamba": "mamba", "mamba2": "mamba2", "rwkv": "rwkv",
}  # fmt: skip

#: Attention that is a latent's.
LATENT = (
    "deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm4_moe_lite", "glm_moe_dsa",
)  # fmt: skip

#: Attention whose output is multiplied with a gate of the queries' size.
GATED = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")

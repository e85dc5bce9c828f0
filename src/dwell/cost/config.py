"""Reads a decoder's layers from the `config.json` of a Hugging Face checkpoint.

Field names are those of the checkpoints; nothing is guessed: a missing size, an unknown family or
an unknown kind of layer is refused by name. Of a model with images or sound the text part is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from dwell.cost.families import GATED, LATENT, RECURRENT
from dwell.cost.feed_forwards import dense, experts, has_experts
from dwell.cost.fields import Fields
from dwell.cost.layers import Block, FeedForward, Mixer, attention, latent_attention
from dwell.cost.recurrent import gated_delta, gated_recurrence, lightning, mamba, mamba2, rwkv
from dwell.errors import UsageError

#: What a letter of `hybrid_override_pattern` stands for (Nemotron-H).
LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A decoder as read from its config.

    Attributes:
        name: its `model_type`.
        blocks: runs of equal layers.
        width: d.
        vocabulary: V.
        tied: whether input and output embedding are one matrix.
        extra_weights: last norm, learned positions, biases of the head.
    """

    name: str
    blocks: tuple[Block, ...]
    width: int
    vocabulary: int
    tied: bool
    extra_weights: int


def read_config(config: Mapping[str, Any]) -> Parts:
    """The parts of a decoder.

    Args:
        config: the fields of a `config.json`.

    Raises:
        UsageError: a size is missing, or the family or a layer is of a kind that is not costed.
    """
    fields = Fields(text_part(config))
    family = fields.family
    layers = _shared_layers(fields) if fields.type == "zamba2" else _layers(fields)
    blocks = tuple(replace(one, count=len(list(run))) for one, run in groupby(layers))
    width = fields.size("hidden_size")
    extra = width * (1 + family.norm_bias) if fields.type != "olmo" else 0
    if fields.type == "rwkv":
        extra *= 2  # a norm after the embedding as well
    if family.positions is not None:
        extra += width * (fields.size("max_position_embeddings") + family.positions)
    vocabulary = fields.size("vocab_size")
    return Parts(
        name=fields.type or "llama",
        blocks=blocks,
        width=width,
        vocabulary=vocabulary,
        tied=fields.flag("tie_word_embeddings", family.tied),
        extra_weights=extra + (vocabulary if family.head_bias else 0),
    )


def text_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of the text decoder inside that of a larger model."""
    inner = config.get("text_config") or config.get("llm_config")
    if not isinstance(inner, Mapping):
        return dict(config)
    return {k: v for k, v in config.items() if k == "tie_word_embeddings"} | dict(inner)


# ---- layers ----------------------------------------------------------------------------------


def _layers(fields: Fields) -> list[Block]:
    """The layers, one by one."""
    kinds = layer_kinds(fields)
    family, width = fields.family, fields.size("hidden_size")
    norm = width * (1 + family.norm_bias)
    mixers = {kind: _mixer(fields, kind) for kind in set(kinds)}
    afters: dict[bool, FeedForward] = {}
    layers = []
    for index, kind in enumerate(kinds):
        chooses = has_experts(fields, index, kind)
        if chooses not in afters:
            afters[chooses] = experts(fields) if chooses else dense(fields)
        alone = fields.type == "nemotron_h" or fields.type in ("mamba", "mamba2", "falcon_mamba")
        without = alone and kind not in ("mlp", "moe")
        after = FeedForward() if without else afters[chooses]
        norms = norm * _num_norms(fields)
        layers.append(Block(count=1, mixer=mixers[kind], feed_forward=after, norm_weights=norms))
    return layers


def _shared_layers(fields: Fields) -> list[Block]:
    """Layers of Zamba2: Mamba-2, and before some of them one of a few shared transformers.

    A shared transformer reads the layer's input and the embedding side by side (2d), has
    low-rank adapters of its own at each use, and a matrix of d x d behind it.
    """
    width, uses = fields.size("hidden_size"), 0
    both, heads = 2 * width, fields.size("num_attention_heads")
    inner = fields.size("intermediate_size", 4 * width)
    size, kv_heads = both // heads, fields.size("num_key_value_heads", heads)
    wide = attention(width=both, heads=heads, kv_heads=kv_heads, head_size=size)
    # The output goes back to d, not to 2d.
    shared = replace(wide, product_weights=wide.product_weights - heads * size * width)
    rank = fields.size("adapter_rank", 128)
    adapters = rank * (width + 2 * inner)
    if fields.flag("use_shared_attention_adapter"):
        adapters += 3 * rank * 2 * both
    own = FeedForward(shared_weights=width**2 + adapters)
    mlp = FeedForward(shared_weights=3 * width * inner)
    blocks = []
    for kind in layer_kinds(fields):
        hybrid = kind in ("hybrid", "full_attention")
        if hybrid:
            again = uses >= fields.size("num_mem_blocks", 1)
            uses += 1
            blocks.append(
                Block(count=1, mixer=shared, feed_forward=mlp, norm_weights=both + width,
                      repeated=again)
            )  # fmt: skip
        after = own if hybrid else FeedForward()
        blocks.append(
            Block(count=1, mixer=_mamba2(fields), feed_forward=after, norm_weights=width)
        )
    return blocks


def _num_norms(fields: Fields) -> int:
    if fields.type == "falcon" and fields.flag("new_decoder_architecture"):
        return 2 if fields.size("num_ln_in_parallel_attn", 2) == 2 else 1
    if fields.type == "falcon" and not fields.flag("parallel_attn", True):
        return 2
    return fields.family.norms


def layer_kinds(fields: Fields) -> Sequence[str]:
    """What mixes the tokens in each layer, by name.

    Raises:
        UsageError: a list of layers has not as many entries as there are layers.
    """
    count = fields.num_layers
    if fields.type in RECURRENT:
        return [RECURRENT[fields.type]] * count
    if fields.type == "falcon_h1":
        return ["attention and mamba"] * count
    pattern = fields.get("hybrid_override_pattern")
    named = [LETTERS.get(letter, letter) for letter in pattern] if pattern else None
    listed = named or fields.get("layer_types") or fields.get("layers_block_type")
    if listed is None and fields.get("attn_type_list"):  # MiniMax-01: 1 is softmax attention
        listed = ["attention" if kind else "linear_attention" for kind in
                  fields.get("attn_type_list")]  # fmt: skip
    if fields.type == "recurrent_gemma":  # a pattern that repeats
        pattern = fields.needed("block_types")
        listed = [pattern[i % len(pattern)] for i in range(count)]
    if listed is None and fields.type == "minimax":
        listed = fields.needed("layer_types")
    if listed is None:
        return [_implied(fields, index) for index in range(count)]
    if len(listed) != count:
        raise UsageError(
            f"a list of layers must name all {count} layers, but got {len(listed)} names."
        )
    return [str(kind) for kind in listed]


def _implied(fields: Fields, index: int) -> str:
    """The kind of a layer that no list names."""
    if fields.type == "jamba" or fields.get("attn_layer_period"):
        period = fields.size("attn_layer_period", 8)
        there = index % period == fields.size("attn_layer_offset", 4)
        return "attention" if there else "mamba"
    if fields.type == "bamba":
        return "attention" if index in (fields.get("attn_layer_indices") or ()) else "mamba"
    if fields.type in GATED:
        every = fields.size("full_attention_interval", 4)
        return "linear_attention" if (index + 1) % every else "full_attention"
    if fields.type == "llama4_text":
        full = (index + 1) % 4 == 0
        return "full_attention" if full else "chunked_attention"
    if not fields.get("sliding_window"):
        return "full_attention"
    if fields.type in ("gemma2", "gemma3", "gemma3_text", "gpt_oss", "olmo3", "cohere2"):
        usual = {"gemma2": 2, "gpt_oss": 2, "olmo3": 4, "cohere2": 4}.get(fields.type, 6)
        pattern = fields.size("sliding_window_pattern", usual)
        return "sliding_attention" if (index + 1) % pattern else "full_attention"
    if fields.type.startswith("qwen"):
        uses = fields.flag("use_sliding_window")
        first = fields.size("max_window_layers", fields.num_layers)
        return "sliding_attention" if uses and index >= first else "full_attention"
    return "sliding_attention"


def _mixer(fields: Fields, kind: str) -> Mixer:
    if kind in ("mlp", "moe"):
        return Mixer(kind="none")
    if kind == "attention" and fields.type == "recurrent_gemma":
        return _attention(fields, fields.size("attention_window_size", 2048))
    if kind in ("full_attention", "attention", "indexed_attention"):
        return _latent(fields) if fields.type in LATENT else _attention(fields, None)
    if kind == "sliding_attention":
        return _attention(fields, fields.size("sliding_window"))
    if kind == "chunked_attention":
        # Within a chunk a token sees what came before it: the chunk's size is the most it sees.
        return _attention(fields, fields.size("attention_chunk_size"))
    if kind == "attention and mamba":
        return _attention(fields, None).beside(_mamba2(fields))
    return _recurrence(fields, kind)


def _recurrence(fields: Fields, kind: str) -> Mixer:
    width = fields.size("hidden_size")
    linear = kind == "linear_attention"
    if linear and fields.get("linear_num_value_heads"):
        return _delta(fields)
    if linear and fields.type == "minimax":
        heads = fields.size("num_attention_heads")
        return lightning(width=width, heads=heads, head_size=fields.head_size)
    if kind == "recurrent" and fields.type == "recurrent_gemma":
        return gated_recurrence(
            width=width, inner=fields.size("lru_width", width),
            heads=fields.size("num_attention_heads"), conv=fields.size("conv1d_width", 4),
        )  # fmt: skip
    if kind == "mamba" and fields.type in MAMBA1:
        return _mamba(fields)
    if kind in ("mamba", "mamba2") or (linear and fields.get("mamba_n_heads")):
        return _mamba2(fields)
    if kind == "rwkv":
        return rwkv(width=width, inner=fields.size("attention_hidden_size", width))
    raise UsageError(
        "every layer must be of a kind that can be costed, but the config of "
        f"{fields.type or 'the model'} names {kind!r}."
    )


def _attention(fields: Fields, window: int | None) -> Mixer:
    family, width = fields.family, fields.size("hidden_size")
    heads, size = fields.size("num_attention_heads"), fields.head_size
    kv_heads = _num_kv_heads(fields, heads)
    inner, outer = (heads + 2 * kv_heads) * size, heads * size
    said = fields.flag("attention_bias", fields.type == "gpt_oss")
    small = inner if (said if family.qkv_bias is None else family.qkv_bias) else 0
    small += width if (said if family.out_bias is None else family.out_bias) else 0
    small += heads if fields.type == "gpt_oss" else 0  # one sink a head
    small += {"head": 2 * size, "all": outer + kv_heads * size}.get(family.head_norm, 0)
    small += 2 * size if fields.type == "glm4_moe" and fields.flag("use_qk_norm") else 0
    return attention(
        width=width, heads=heads, kv_heads=kv_heads, head_size=size, window=window,
        gated=fields.type in GATED, small_weights=small,
    )  # fmt: skip


def _num_kv_heads(fields: Fields, heads: int) -> int:
    if fields.flag("new_decoder_architecture"):  # Falcon's second form
        return fields.size("num_kv_heads", heads)
    if fields.flag("multi_query", fields.type == "gpt_bigcode"):
        return 1
    return fields.size("num_key_value_heads", heads)


def _latent(fields: Fields) -> Mixer:
    return latent_attention(
        width=fields.size("hidden_size"),
        heads=fields.size("num_attention_heads"),
        query_rank=fields.size("q_lora_rank") if fields.get("q_lora_rank") else None,
        kv_rank=fields.size("kv_lora_rank"),
        nope_size=fields.size("qk_nope_head_dim"),
        rope_size=fields.size("qk_rope_head_dim"),
        value_size=fields.size("v_head_dim"),
        index_heads=fields.size("index_n_heads", 0),
        index_size=fields.size("index_head_dim", 0),
        index_top=fields.size("index_topk") if fields.get("index_topk") else None,
    )


def _delta(fields: Fields) -> Mixer:
    return gated_delta(
        width=fields.size("hidden_size"),
        key_heads=fields.size("linear_num_key_heads"),
        value_heads=fields.size("linear_num_value_heads"),
        key_size=fields.size("linear_key_head_dim"),
        value_size=fields.size("linear_value_head_dim"),
        conv=fields.size("linear_conv_kernel_dim", 4),
    )


#: Families whose layers named "mamba" are of the first kind; the others' are Mamba-2.
MAMBA1 = ("mamba", "falcon_mamba", "jamba")


def _mamba(fields: Fields) -> Mixer:
    width, state = fields.size("hidden_size"), fields.size("mamba_d_state", 16)
    inner = fields.size("mamba_expand", 2) * width
    if fields.type != "jamba":
        inner = fields.size("intermediate_size", inner)
    given = fields.get("mamba_dt_rank")
    rank = -(-width // 16) if given in (None, "auto") else fields.size("mamba_dt_rank")
    biased = fields.flag("use_bias") or fields.flag("mamba_proj_bias")
    return mamba(
        width=width, inner=inner, state=state, conv=fields.size("mamba_d_conv", 4), rank=rank,
        norms=rank + 2 * state if fields.type == "jamba" else 0,
        bias=2 * inner + width if biased else 0,
    )  # fmt: skip


def _mamba2(fields: Fields) -> Mixer:
    width = fields.size("hidden_size")
    heads = fields.size("mamba_n_heads")
    name = "head_dim" if fields.type == "mamba2" else "mamba_d_head"
    inner = fields.size("mamba_expand", 2) * width
    size = inner // heads if fields.get(name) in (None, "auto") else fields.size(name)
    state, groups = fields.size("mamba_d_state"), fields.size("mamba_n_groups", 1)
    inner = heads * size
    biased = fields.flag("use_bias") or fields.flag("mamba_proj_bias")
    plain = fields.type == "falcon_h1" and not fields.flag("mamba_rms_norm")
    return mamba2(
        width=width, heads=heads, head_size=size, state=state, groups=groups, norm=not plain,
        conv=fields.size("mamba_d_conv", 4),
        bias=2 * inner + 2 * groups * state + heads + width if biased else 0,
    )  # fmt: skip

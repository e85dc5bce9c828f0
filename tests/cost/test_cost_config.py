"""Configs of many families: sizes against a reference, and kinds of layers by hand.

`reference_counts.jsonl` holds made-up small configs with the number of parameters of the model
that transformers 5.23 builds from each (counted on its meta device). `published_sizes.jsonl` holds
the sizes of known models and the billions of parameters that their makers state.
"""

import json
from pathlib import Path

import pytest

from dwell.cost import ModelShape, experts_read
from dwell.errors import UsageError

HERE = Path(__file__).parent


def rows_of(name):
    lines = (HERE / name).read_text().splitlines()
    return {row["name"]: row for row in map(json.loads, lines)}


REFERENCE, PUBLISHED = rows_of("reference_counts.jsonl"), rows_of("published_sizes.jsonl")
SMALL = {
    "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 100,
    "num_key_value_heads": 2, "intermediate_size": 96, "head_dim": 16,
}  # fmt: skip
MOE = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def shape_of(name):
    return ModelShape.from_config(REFERENCE[name]["config"])


def kinds(shape):
    return [(block.count, block.mixer.kind) for block in shape.blocks]


@pytest.mark.parametrize("name", REFERENCE)
def test_parameters_are_those_of_the_reference(name):
    assert shape_of(name).num_parameters == REFERENCE[name]["num_parameters"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_of_known_models_are_those_that_were_published(name):
    shape = ModelShape.from_config(PUBLISHED[name]["config"])
    assert shape.num_parameters / 1e9 == pytest.approx(PUBLISHED[name]["billions"], rel=5e-3)


def test_the_latent_cache_of_deepseek_v3():
    shape = ModelShape.from_config(PUBLISHED["deepseek_v3"]["config"])
    assert shape.kv_bytes_per_token() == 70_272
    assert shape.active_parameters / 1e9 == pytest.approx(37.5, abs=0.1)


def test_experts_are_counted_once_as_active():
    shape = ModelShape.from_config({**SMALL, **MOE, "model_type": "qwen3_moe"})
    idle = 6 * (8 - 2) * 3 * 64 * 32
    assert shape.num_parameters - shape.active_parameters == idle
    assert shape.product_weights < shape.active_parameters


def test_experts_that_a_batch_reads():
    assert experts_read(128, 8, 16) == pytest.approx(82.4, abs=0.05)
    assert experts_read(128, 8, 1) == pytest.approx(8)
    shape = ModelShape.from_config({**SMALL, **MOE, "model_type": "qwen3_moe"})
    everything = shape.num_parameters - shape.vocabulary * shape.width
    assert shape.weights_read(1e6) == pytest.approx(everything)
    assert shape.weights_read(1) == pytest.approx(everything - 6 * 6 * 3 * 64 * 32)


def test_first_layers_of_deepseek_are_dense_and_latents_are_cached():
    shape = shape_of("deepseek_v3")
    assert [b.count for b in shape.blocks] == [1, 5]
    assert shape.blocks[0].feed_forward.num_experts == 0
    assert shape.blocks[1].feed_forward.shared_weights == 64 * 8 + 3 * 64 * 32
    assert shape.kv_bytes_per_token() == 2 * 6 * (16 + 4)
    # Decoding works on the latents, a prompt on whole heads: 2H(2 rank + rope), 2H(nope+rope+v).
    reach = shape.blocks[0].mixer.reaches[0]
    assert (reach.pair_flops, reach.prefill_flops) == (2 * 4 * (32 + 4), 2 * 4 * (12 + 8))


def test_chosen_tokens_of_deepseek_bound_attention_but_not_the_index():
    shape = shape_of("deepseek_v32")
    step = float(shape.token_flops(1001) - shape.token_flops(1000))
    assert step == 6 * 2 * 2 * 8  # the indexer alone grows: layers 2 heads size
    assert shape.kv_bytes_per_token() == 2 * 6 * (16 + 4 + 8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jamba", [(2, "mamba"), (1, "attention"), (3, "mamba")]),
        ("bamba", [(2, "mamba2"), (1, "attention"), (3, "mamba2")]),
        ("mamba2", [(6, "mamba2")]),
        ("rwkv", [(6, "rwkv")]),
        ("falcon_h1", [(6, "attention + mamba2")]),
        ("qwen3_next", [(3, "gated delta rule"), (1, "attention"), (2, "gated delta rule")]),
    ],
)
def test_layers_of_hybrids(name, expected):
    merged = []
    for count, kind in kinds(shape_of(name)):
        if merged and merged[-1][1] == kind:
            merged[-1] = (merged[-1][0] + count, kind)
        else:
            merged.append((count, kind))
    assert merged == expected


@pytest.mark.parametrize("name", ["mamba", "mamba2", "rwkv", "falcon_mamba"])
def test_a_recurrence_costs_the_same_at_any_context(name):
    shape = shape_of(name)
    assert float(shape.token_flops(1)) == float(shape.token_flops(1e6))
    assert shape.kv_bytes(10, [10]) == shape.kv_bytes(9999, [9999]) == shape.state_bytes() > 0
    assert shape.kv_bytes(10, [10] * 8) == 8 * shape.state_bytes()


def test_state_of_the_gated_delta_rule():
    mixer = shape_of("qwen3_next").blocks[0].mixer
    assert mixer.state_values == 4 * 8 * 8 + 4 * (2 * 2 * 8 + 4 * 8)


def test_shared_blocks_are_stored_once_and_used_at_each_place():
    shape = shape_of("zamba2-1")  # three uses of one transformer
    again = [block for block in shape.blocks if block.repeated]
    assert len(again) == 2
    assert shape.active_parameters - shape.num_parameters == 2 * again[0].weights
    values = 3 * 2 * 2 * 64  # of three attentions over twice the width
    assert shape.kv_bytes_per_token() == 2 * values


def test_multi_query_attention_keeps_one_head():
    shape = shape_of("falcon")
    assert shape.kv_bytes_per_token() == 2 * 6 * 1 * 16 * 2


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"model_type": "gemma2", "sliding_window": 8}, 3),
        ({"model_type": "gemma3_text", "sliding_window": 8}, 5),
        ({"model_type": "gemma3_text", "sliding_window": 8, "sliding_window_pattern": 2}, 3),
        ({"model_type": "mistral", "sliding_window": 8}, 6),
        ({"model_type": "mistral", "sliding_window": None}, 0),
        ({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": False}, 0),
        ({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": True,
          "max_window_layers": 4}, 2),
        ({"model_type": "llama", "sliding_window": 8,
          "layer_types": ["full_attention"] * 5 + ["sliding_attention"]}, 1),
    ],
)  # fmt: skip
def test_layers_with_a_window(extra, expected):
    shape = ModelShape.from_config({**SMALL, **extra})
    windowed = sum(b.count for b in shape.blocks if b.mixer.reaches[0].rolling)
    assert windowed == expected


def test_the_text_part_of_a_larger_model_is_read():
    text = {**SMALL, "model_type": "gemma3_text", "sliding_window": 8}
    nested = {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 9}}
    assert ModelShape.from_config(nested) == ModelShape.from_config(text)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**SMALL, "model_type": "rwkv7"}, "rwkv7"),
        ({**SMALL, "model_type": "t5", "is_encoder_decoder": True}, "t5"),
        ({**SMALL, "layer_types": ["full_attention"] * 5 + ["hyena"]}, "hyena"),
        ({**SMALL, "layer_types": ["full_attention"]}, "all 6 layers"),
        ({k: v for k, v in SMALL.items() if k != "vocab_size"}, "vocab_size"),
        ({**SMALL, "hidden_size": "wide"}, "hidden_size"),
        ({**SMALL, "num_local_experts": 8}, "num_experts_per_tok"),
        ({**SMALL, "model_type": "minimax"}, "layer_types"),
        ({**SMALL, **MOE, "moe_latent_size": 9}, "moe_latent_size"),
    ],
)
def test_what_cannot_be_costed_is_refused_by_name(config, named):
    with pytest.raises(UsageError, match=named):
        ModelShape.from_config(config)

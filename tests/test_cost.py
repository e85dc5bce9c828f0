"""The cost of a dense decoder: the worked example of an 8-billion-parameter shape."""

import json

import numpy as np
import pytest

from dwell.cost import ModelShape
from dwell.errors import UsageError

CONFIG = {
    "model_type": "qwen3",
    "num_hidden_layers": 36,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}
SHAPE = ModelShape.from_config(CONFIG)


def test_weights_of_the_worked_example():
    assert SHAPE.attention_weights == 41_943_040
    assert SHAPE.feed_forward_weights == 150_994_944
    assert SHAPE.norm_weights == 8_448
    assert SHAPE.num_parameters == 8_190_735_360
    assert SHAPE.num_parameters - 2 * SHAPE.vocabulary * SHAPE.width == 6_946_075_648
    assert SHAPE.product_weights == 7_568_097_280


def test_flops_of_a_token_grow_with_its_context():
    expected = [1.513619e10, 1.755211e10, 3.446355e10]
    np.testing.assert_allclose(SHAPE.token_flops([0, 4096, 32768]), expected, rtol=1e-6)
    products = float(SHAPE.token_flops(0))
    even = products / (float(SHAPE.token_flops(1)) - products)
    assert even == pytest.approx(25_662, abs=1)


def test_flops_of_prefill_and_decode():
    assert float(SHAPE.prefill_flops(512)) == pytest.approx(7.19117e12, rel=1e-5)
    assert float(SHAPE.decode_flops(512, 8192)) == pytest.approx(1.4626323e14, rel=1e-7)
    assert float(SHAPE.decode_flops(512, [8192] * 8).sum()) == pytest.approx(1.1701059e15)
    assert float(SHAPE.prefill_flops(0)) == 0.0


def test_decode_is_the_sum_of_its_tokens():
    contexts = np.arange(11, 31)
    assert float(SHAPE.decode_flops(10, 20)) == pytest.approx(SHAPE.token_flops(contexts).sum())


def test_samples_share_the_reading_of_their_prompt():
    shared = SHAPE.samples_flops(512, [100, 200])
    apart = SHAPE.samples_flops(512, [100, 200], shared_prompt=False)
    assert apart - shared == pytest.approx(float(SHAPE.prefill_flops(512)))


def test_one_long_chain_costs_as_much_as_twenty_five_short_ones():
    ratio = SHAPE.decode_flops(0, 32768) / SHAPE.decode_flops(0, 2048)
    assert float(ratio) == pytest.approx(25.21, abs=0.01)


def test_key_value_memory():
    gib = 2**30
    assert SHAPE.kv_bytes_per_token() == 147_456
    assert SHAPE.kv_bytes(512, [8192] * 8) / gib == pytest.approx(9.0703, abs=1e-4)
    apart = SHAPE.kv_bytes(512, [8192] * 8, shared_prompt=False)
    assert apart / gib == pytest.approx(9.5625, abs=1e-4)


def test_defaults_of_a_plain_config():
    plain = ModelShape.from_config(
        json.loads(
            '{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,'
            ' "intermediate_size": 128, "vocab_size": 40, "tie_word_embeddings": true}'
        )
    )
    assert (plain.num_kv_heads, plain.head_size, plain.tied) == (4, 16, True)
    layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert plain.num_parameters == 2 * layer + 40 * 64 + 64


def test_unusable_configs_are_refused_by_name():
    with pytest.raises(UsageError, match="vocab_size"):
        ModelShape.from_config({key: CONFIG[key] for key in CONFIG if key != "vocab_size"})
    with pytest.raises(UsageError, match="experts"):
        ModelShape.from_config({**CONFIG, "num_experts": 128})

"""FLOPs, weights and memory: the worked example of an 8-billion-parameter decoder."""

import json

import numpy as np
import pytest
from cost_worlds import CONFIG, EIGHT

from dwell.cost import ModelShape
from dwell.cost.shape import attended
from dwell.errors import UsageError

SHAPE = EIGHT


def test_weights_of_the_worked_example():
    (block,) = SHAPE.blocks
    assert block.mixer.product_weights == 41_943_040
    assert block.feed_forward.shared_weights == 150_994_944
    assert block.norm_weights + block.mixer.small_weights == 8_448
    assert SHAPE.num_parameters == SHAPE.active_parameters == 8_190_735_360
    assert SHAPE.num_parameters - 2 * SHAPE.vocabulary * SHAPE.width == 6_946_075_648
    assert SHAPE.product_weights == 7_568_097_280
    assert 2 * SHAPE.weights_read() == 15_136_811_008


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
    assert plain.tied
    assert plain.kv_bytes_per_token() == 2 * 2 * 4 * 16 * 2
    layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert plain.num_parameters == 2 * layer + 40 * 64 + 64


def test_attended_tokens_are_the_sum_over_steps():
    for before, count, limit in ((0, 9, 4), (3, 9, 5), (10, 6, 4), (2, 3, 100), (0, 0, 4)):
        steps = before + np.arange(1, count + 1)
        assert attended(before, count) == steps.sum()
        assert attended(before, count, limit) == np.minimum(steps, limit).sum()


def test_sliding_windows_bound_flops_and_memory():
    config = {**CONFIG, "model_type": "mistral", "sliding_window": 100}
    windowed = ModelShape.from_config(config)
    full = ModelShape.from_config({**config, "sliding_window": None})
    assert float(windowed.decode_flops(50, 50)) == float(full.decode_flops(50, 50))
    assert float(windowed.token_flops(5000)) == float(full.token_flops(100))
    assert windowed.kv_bytes(4000, [3000] * 8) == 8 * 100 * windowed.kv_bytes_per_token()
    assert windowed.kv_bytes(4000, [30] * 8) == (70 + 8 * 30) * windowed.kv_bytes_per_token()


def test_an_attention_budget_limits_every_full_layer_but_keeps_the_cache():
    sparse = SHAPE.with_attention_budget(1024)
    assert float(sparse.token_flops(9000)) == float(SHAPE.token_flops(1024))
    assert sparse.kv_bytes(512, [8192]) == SHAPE.kv_bytes(512, [8192])
    assert float(sparse.prefill_flops(9000)) == float(SHAPE.prefill_flops(9000))
    with pytest.raises(UsageError, match="at least 1 token"):
        SHAPE.with_attention_budget(0)


def test_a_config_is_read_from_its_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert ModelShape.from_file(tmp_path) == SHAPE
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="readable config.json"):
        ModelShape.from_file(tmp_path)


def test_a_scalar_reward_model_reads_without_an_output_head():
    reads, prompt = float(SHAPE.scoring_flops(512 + 1500)), float(SHAPE.prefill_flops(2012))
    assert prompt - reads == 2 * 151936 * 4096
    layers = SHAPE.product_weights - 151936 * 4096
    assert reads == pytest.approx(2 * layers * 2012 + 2 * 36 * 32 * 128 * 2012 * 2013)
    assert float(SHAPE.scoring_flops(0)) == 0

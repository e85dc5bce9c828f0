"""Bytes and lower bounds on time: the worked example, waves, companions, tensor parallel."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cost_worlds import EIGHT, H200, work

from dwell.cost import (
    ModelShape,
    Precision,
    balance_batch,
    hardware_table,
    latency,
    speculative_seconds,
    traffic,
)
from dwell.cost.latency import cache_read_tokens
from dwell.errors import UsageError


def test_bytes_of_the_worked_example():
    shared = traffic(EIGHT, work())
    assert shared.weights == pytest.approx(1.240008e14, rel=1e-6)
    assert shared.cache_reads == pytest.approx(4.020573e13, rel=1e-6)
    assert shared.cache_writes == pytest.approx(9.66368e9, rel=1e-6)
    assert traffic(EIGHT, work(shared_prompt=False)).cache_reads == pytest.approx(4.453505e13)


def test_seconds_of_the_worked_example():
    eight, one = latency(EIGHT, work(), H200), latency(EIGHT, work(samples=1), H200)
    assert eight.prefill == pytest.approx(7.27e-3, abs=5e-6)
    assert eight.decode == pytest.approx(34.212, abs=5e-4)
    assert eight.additive == pytest.approx(35.395, abs=5e-4)
    assert one.decode == pytest.approx(26.993, abs=6e-4)
    assert [8192 / t.decode for t in (eight, one)] == pytest.approx([239.5, 303.5], abs=0.05)
    assert eight.total == eight.prefill + eight.decode
    assert eight.exchange == 0


def test_batch_at_which_products_take_as_long_as_weights():
    assert balance_batch(EIGHT, H200) == pytest.approx(206, abs=0.5)


def test_intensities_of_the_table():
    table = hardware_table()
    known = {"a100": 153, "h100": 295, "h200": 206, "b200": 281}
    for name, expected in known.items():
        assert table[name].intensity("bf16") == pytest.approx(expected, abs=0.5)
    assert table["b200"].intensity("fp8") == 562.5


def test_step_reads_sum_to_the_traffic():
    for shared in (True, False):
        job = work(prompt_tokens=7, output_tokens=30, samples=3, shared_prompt=shared)
        reads = sum(
            2 * count * reach.values * cache_read_tokens(reach, job, 3).sum()
            for count, reach in EIGHT.reaches()
        )
        assert reads == pytest.approx(traffic(EIGHT, job).cache_reads)


def test_a_shared_prompt_inside_a_window_is_read_once():
    windowed = ModelShape.from_config(json.loads(
        '{"model_type": "mistral", "num_hidden_layers": 1, "hidden_size": 8,'
        ' "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9, "sliding_window": 4}'
    ))  # fmt: skip
    ((_, reach),) = windowed.reaches()
    job = work(prompt_tokens=3, output_tokens=5, samples=2)
    # step t: own tokens min(t, 4) for each sample, and what is left of the window of the prompt
    own, seen = np.minimum(np.arange(1, 6), 4), np.minimum(3 + np.arange(1, 6), 4)
    assert cache_read_tokens(reach, job, 2).tolist() == (seen - own + 2 * own).tolist()


def test_tokens_chosen_for_each_sample_are_not_shared():
    sparse = EIGHT.with_attention_budget(16)
    ((_, reach),) = sparse.reaches()
    assert cache_read_tokens(reach, work(output_tokens=4, samples=8), 8).tolist() == [128.0] * 4


def test_waves_take_their_sum():
    waves = latency(EIGHT, work(batch=4), H200)
    half = latency(EIGHT, work(samples=4), H200)
    assert waves.decode == pytest.approx(2 * half.decode)
    assert work(samples=10, batch=4).waves == (4, 4, 2)
    assert traffic(EIGHT, work(batch=4)).weights == pytest.approx(2 * 1.240008e14, rel=1e-6)


def test_companions_share_the_stream_of_weights():
    alone, crowd = work(), work(batch=32)
    assert crowd.companions == 4
    assert traffic(EIGHT, crowd).weights == pytest.approx(traffic(EIGHT, alone).weights / 4)
    assert traffic(EIGHT, crowd).cache_reads == traffic(EIGHT, alone).cache_reads
    slower = latency(EIGHT, crowd, H200).decode / latency(EIGHT, alone, H200).decode
    assert 1 < slower < 4


def test_tensor_parallel_divides_and_adds_the_exchange():
    one, two = (latency(EIGHT, work(), H200, devices=g) for g in (1, 2))
    assert two.decode - two.exchange == pytest.approx(one.decode / 2)
    ring = 36 * 2 * 2 * 4096 * 8 * 8192 * 2 * (1 / 2) / 450e9
    assert two.exchange == pytest.approx(ring)
    with pytest.raises(UsageError, match="devices"):
        latency(EIGHT, work(), H200, devices=0)


def test_a_cache_is_split_no_further_than_its_heads():
    link = replace(H200, link_bytes_per_second=1e30)
    times = [latency(EIGHT, work(), link, devices=g).decode for g in (8, 16)]
    weights = traffic(EIGHT, work()).weights / H200.bytes_per_second
    assert times[0] - times[1] == pytest.approx(weights / 8 - weights / 16, rel=1e-3)


def test_narrow_weights_are_streamed_faster_and_computed_at_their_rate():
    narrow = Precision(weights="fp8", cache="fp8")
    assert traffic(EIGHT, work(), narrow).weights == traffic(EIGHT, work()).weights / 2
    a100 = hardware_table()["a100"]
    assert a100.peak_flops("fp8") == a100.peak_flops("bf16")
    assert H200.peak_flops("fp8") == 2 * 989.5e12
    with pytest.raises(UsageError, match="fp7"):
        Precision(weights="fp7")


def test_no_prompt_takes_no_time_to_read():
    assert latency(EIGHT, work(prompt_tokens=0), H200).prefill == 0


@pytest.mark.parametrize("wrong", ["output_tokens", "samples", "batch"])
def test_an_impossible_workload_is_refused(wrong):
    with pytest.raises(UsageError, match=wrong):
        work(**{wrong: 0})


def test_speculation_spreads_a_round_over_its_tokens():
    assert speculative_seconds(1.0, 0.1, 4, 3.5) == pytest.approx(1.4 / 3.5)
    with pytest.raises(UsageError, match="accepted=6"):
        speculative_seconds(1.0, 0.1, 4, 6)

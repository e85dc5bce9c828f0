"""Equivalent FLOPs against the paper's numbers, and comparisons at equal compute."""

import csv
from pathlib import Path

import numpy as np
import pytest
from cost_worlds import CONFIG, EIGHT

from dwell.cost import (
    ModelShape,
    context_area,
    equivalent_flops,
    inference_multiplier,
    samples_of_equal_flops,
)
from dwell.errors import UsageError

TABLE = Path(__file__).parents[3] / "shared/data/laws/inference_cost_reference.csv"
TERA = 1e12


def shape_of(layers, heads, kv_heads):
    return ModelShape.from_config(
        {**CONFIG, "num_hidden_layers": layers, "num_attention_heads": heads,
         "num_key_value_heads": kv_heads}
    )  # fmt: skip


def test_the_eight_billion_row():
    cost = equivalent_flops(EIGHT, 512, 8192, 8, parameters=8.19e9)
    assert cost.compute / TERA == pytest.approx(1251.6006, abs=5e-5)
    assert cost.memory / TERA == pytest.approx(22613.0028, abs=5e-5)
    assert cost.total / TERA == pytest.approx(23864.6034, abs=5e-5)
    assert cost.kinetics_seconds == pytest.approx(5.3032, abs=5e-5)
    products = 2 * 8 * 8.19e9 * 8192
    assert (cost.total - products) / products == pytest.approx(21.23, abs=0.005)


@pytest.mark.parametrize(
    ("sizes", "parameters", "total", "ratio"),
    [
        ((28, 16, 8), 0.752e9, 17755.7, 179), ((28, 16, 8), 2.03e9, 17923.2, 66),
        ((36, 32, 8), 4.02e9, 23318.0, 43), ((36, 32, 8), 8.19e9, 23864.6, 21),
        ((40, 40, 8), 14.77e9, 27308.9, 13), ((64, 64, 8), 32.76e9, 45128.1, 9.5),
    ],
)  # fmt: skip
def test_the_family_at_one_workload(sizes, parameters, total, ratio):
    cost = equivalent_flops(shape_of(*sizes), 512, 8192, 8, parameters=parameters)
    products = 2 * 8 * parameters * 8192
    assert cost.total / TERA == pytest.approx(total, abs=0.05)
    assert (cost.total - products) / products == pytest.approx(ratio, abs=0.5)


def test_a_budget_subtracts_the_ramp():
    exact = np.minimum(1024, 512 + np.arange(1, 8193)).sum()
    assert exact == 8_257_792
    assert context_area(512, 8192, 1024) == 8_257_536
    assert abs(context_area(512, 8192, 1024) - exact) < 1024  # one step; adding is off by 262,000
    assert context_area(100, 50, 1024) == context_area(100, 50)
    assert context_area(2000, 50, 1024) == 50 * 1024


def test_sparse_attention_and_its_search():
    dense = equivalent_flops(EIGHT, 512, 8192, 8, parameters=8.19e9)
    sparse = equivalent_flops(EIGHT.with_attention_budget(1024), 512, 8192, 8, parameters=8.19e9)
    assert sparse.compute / TERA == pytest.approx(1112.4436, abs=5e-5)
    assert sparse.memory / TERA == pytest.approx(5479.3045, abs=5e-5)
    assert dense.total / sparse.total == pytest.approx(3.62, abs=0.005)
    block = equivalent_flops(EIGHT, 512, 8192, 8, parameters=8.19e9, block_top_k=1024)
    assert (block.compute - sparse.compute) / TERA == pytest.approx(5.5663, abs=5e-5)
    assert (block.memory - sparse.memory) / TERA == pytest.approx(706.6563, abs=5e-5)
    assert block.total / TERA == pytest.approx(7303.9708, abs=5e-5)


def test_switches_add_what_they_say():
    base = equivalent_flops(EIGHT, 512, 8192, 8)
    private = equivalent_flops(EIGHT, 512, 8192, 8, shared_prompt=False)
    streamed = equivalent_flops(EIGHT, 512, 8192, 8, parameter_reads=True)
    prefix = 7 * EIGHT.kv_bytes_per_token() * 512 * 8192 * 562.5
    assert float(private.memory - base.memory) == pytest.approx(prefix)
    reads = 2 * EIGHT.active_parameters * 8192 * 562.5
    assert float(streamed.memory - base.memory) == pytest.approx(reads)
    half = equivalent_flops(EIGHT, 512, 8192, 8, intensity=281.25)
    assert half.compute == base.compute
    assert half.memory == base.memory / 2
    with pytest.raises(UsageError, match="intensity"):
        equivalent_flops(EIGHT, 1, 1, intensity=0)


def test_costs_broadcast():
    cost = equivalent_flops(EIGHT, 512, [1024, 2048], [[1], [8]])
    assert cost.total.shape == (2, 2)
    assert float(cost.total[1, 0]) == float(equivalent_flops(EIGHT, 512, 1024, 8).total)


@pytest.mark.skipif(not TABLE.exists(), reason="no reference table beside the repository")
def test_every_row_of_the_reference_table():
    rows = list(csv.DictReader(TABLE.read_text().splitlines()))
    assert len(rows) == 72
    for row in rows:
        value = {key: float(text) for key, text in row.items() if key != "model"}
        shape = shape_of(*(int(value[key]) for key in ("layers", "q_heads", "kv_heads")))
        cost = equivalent_flops(
            shape, value["context"], value["generated"], value["trials"],
            parameters=value["params"], intensity=value["intensity"],
        )  # fmt: skip
        found = [float(x) / TERA for x in (cost.compute, cost.memory, cost.total)]
        expected = [value[f"{name}_tera"] for name in ("compute", "memory", "total")]
        # The table is printed with ten digits.
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_inference_that_a_smaller_model_may_spend():
    found = [inference_multiplier(14, ratio) for ratio in (0.16, 0.79, 22)]
    assert found == pytest.approx([257.75, 63.3671, 15.7727], abs=5e-5)
    assert inference_multiplier(14, 0.5, verified=True) == 14 + 1.5 * 13 / 0.5
    with pytest.raises(UsageError, match="size_ratio"):
        inference_multiplier(0.5, 1)


def test_short_samples_for_the_price_of_one_chain():
    assert samples_of_equal_flops(EIGHT, 32768, 2048) == pytest.approx(25.21, abs=0.005)

"""Other costs of measured points: what follows from tokens, and what is never overwritten."""

import pytest
from cost_worlds import EIGHT, H200

from dwell.cost import equivalent_flops, read_prices
from dwell.cost.axes import Pricing, with_axes

PRICE = read_prices().model("example")
ALL = Pricing(shape=EIGHT, hardware=H200, price=PRICE, prompt_tokens=512)


def results(**point):
    given = {"n": 8, "accuracy": 0.5, "low": 0.4, "high": 0.6, "tokens_charged": 8 * 1024.0}
    curve = {"label": "majority", "model": "m", "scale": "n", "points": [given | point]}
    return {"title": "t", "curves": [curve]}


def point_of(found):
    return found["curves"][0]["points"][0]


def test_costs_follow_from_tokens():
    found = with_axes(results(), {"m": ALL})
    point = point_of(found)
    assert point["flops"] == pytest.approx(EIGHT.samples_flops(512, [1024] * 8))
    equivalent = equivalent_flops(EIGHT, 512, 1024, 8, intensity=H200.intensity("bf16"))
    assert point["eflops"] == pytest.approx(float(equivalent.total))
    assert point["usd"] == pytest.approx((512 * 0.5 + 8192 * 2.0) / 1e6)
    assert 0 < point["seconds"] < 10
    assert "lower bound on NVIDIA H200" in found["axes"]["seconds"]
    assert "2025-01-01" in found["axes"]["usd"]


def test_what_was_measured_stays():
    found = with_axes(results(flops=1.0, seconds=2.0, usd=3.0), {"*": ALL})
    point = point_of(found)
    assert (point["flops"], point["seconds"], point["usd"]) == (1.0, 2.0, 3.0)
    assert set(found["axes"]) == {"eflops"}


def test_adaptive_draws_count_as_they_were_used():
    fewer = point_of(with_axes(results(draws=4.0), {"*": ALL}))
    assert fewer["flops"] == pytest.approx(EIGHT.samples_flops(512, [2048] * 4))


def test_unshared_prompts_are_paid_for_each_draw():
    alone = Pricing(shape=EIGHT, price=PRICE, prompt_tokens=512, shared_prompt=False)
    point = point_of(with_axes(results(), {"*": alone}))
    assert point["usd"] == pytest.approx((8 * 512 * 0.5 + 8192 * 2.0) / 1e6)
    assert "seconds" not in point


def test_unknown_models_and_missing_tokens_change_nothing():
    given = results()
    assert with_axes(given, {"other": ALL})["curves"] == given["curves"]
    bare = results(tokens_charged=None)
    assert with_axes(bare, {"*": ALL})["curves"] == bare["curves"]


def test_recorded_prompts_are_used_unless_others_are_given():
    recorded = Pricing(shape=EIGHT, price=PRICE)
    found = with_axes(results(prompt_tokens=512.0), {"*": recorded})
    assert point_of(found)["usd"] == pytest.approx((512 * 0.5 + 8192 * 2.0) / 1e6)
    assert found["axes"]["usd"].endswith("prompts as recorded, shared")
    bare = with_axes(results(), {"*": recorded})
    assert point_of(bare)["usd"] == pytest.approx(8192 * 2.0 / 1e6)
    assert bare["axes"]["flops"].endswith("prompts not counted")
    given = with_axes(results(prompt_tokens=9.0), {"*": ALL})
    assert given["axes"]["usd"].endswith("prompts of 512 tokens, shared")

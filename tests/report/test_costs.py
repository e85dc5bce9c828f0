"""What accuracy costs, in tables: right answers, the frontier, and only costs that are known."""

from __future__ import annotations

from typing import Any

import pytest

from dwell.report.costs import frontier_points, frontier_table, per_right, right_answer_table
from dwell.report.tables import curves_table, known_costs, tabled
from dwell.report.wording import amount, dollars


def curve(model: str, *points: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {
        "strategy": "majority", "label": "majority", "model": model, "task": "t", "oracle": False,
        "points": [
            {"n": n, "accuracy": a, "low": a - 0.1, "high": a + 0.1, "draws": float(n),
             "tokens_charged": cost, "problems": 50}
            for n, (cost, a) in enumerate(points, start=1)
        ],
    } | more  # fmt: skip


def test_a_right_answer_costs_the_mean_over_the_share_that_is_right() -> None:
    point = {"accuracy": 0.5, "low": 0.4, "high": 0.8, "tokens_charged": 100.0}
    text, value = per_right("tokens_charged", point)
    assert value == 200
    assert text == '200 <span class="interval">[125, 250]</span>'


def test_where_nothing_may_be_right_the_cost_has_no_upper_end() -> None:
    point = {"accuracy": 0.1, "low": 0.0, "high": 0.2, "tokens_charged": 10.0}
    assert "[50, ∞]" in per_right("tokens_charged", point)[0]
    assert per_right("tokens_charged", point | {"accuracy": 0.0})[1] is None
    assert "[no interval]" in per_right("tokens_charged", point | {"low": None})[0]


def test_oracles_have_no_price() -> None:
    assert right_answer_table({"curves": [curve("a", (10, 0.5), oracle=True)]}) == ""


def test_draws_stand_in_where_tokens_were_not_recorded() -> None:
    bare = curve("a", (0, 0.5), (0, 0.6))
    html = right_answer_table({"curves": [bare]})
    assert "Draws used" in html
    assert "3.33 <span" in html  # two draws, 0.6 right
    assert "Tokens" not in html


def test_the_frontier_joins_points_that_nothing_cheaper_beats() -> None:
    small, large = curve("small", (10, 0.3), (20, 0.5)), curve("large", (15, 0.4), (30, 0.45))
    key, leading = frontier_points({"curves": [small, large]})
    assert key == "tokens_charged"
    found = [(r["curve"]["model"], r["point"]["tokens_charged"]) for r in leading]
    assert found == [("small", 10), ("large", 15), ("small", 20)]
    assert frontier_points({"curves": [small]})[1] == []


def test_means_over_runs_and_oracles_are_no_models_of_the_frontier() -> None:
    curves = [
        curve("a", (10, 0.3)), curve("b", (20, 0.5)),
        curve("mean", (1, 0.9), mean_over_runs=True), curve("c", (1, 0.9), oracle=True),
    ]  # fmt: skip
    html = frontier_table({"curves": curves})
    assert "mean" not in html.split("</caption>")[1].split("<tbody>")[1]
    assert html.count("<tr data-task") == 2


def test_frontier_prefers_flops_when_they_are_known() -> None:
    curves = [curve("a", (10, 0.3)), curve("b", (20, 0.5))]
    curves[0]["points"][0]["flops"] = 5e9
    curves[1]["points"][0]["flops"] = 1e9
    key, leading = frontier_points({"curves": curves})
    assert key == "flops"
    assert [r["curve"]["model"] for r in leading] == ["b"]


def test_only_known_costs_get_a_column() -> None:
    one = curve("a", (10, 0.3), (20, 0.4))
    assert known_costs([one]) == ["tokens_charged"]
    one["points"][1] |= {"draws": 1.5, "usd": 0.002, "flops": 0.0}
    assert known_costs([one]) == ["draws", "tokens_charged", "usd"]
    assert "USD" in curves_table({"curves": [one]})


def test_tables_of_many_runs_hold_the_means(many_results: dict[str, Any]) -> None:
    kept, note = tabled(many_results["curves"])
    assert {c["model"] for c in kept} == {"mean over 126 runs"}
    assert "one of 126 runs" in note
    few = many_results["curves"][:16]
    assert tabled(few) == (few, "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0132, "$0.0132"), (0, "$0"), (1234.5, "$1,234"), (2.5e-5, "$2.50e-05"), (None, "–")],
)
def test_dollars_have_three_digits(value: object, text: str) -> None:
    assert dollars(value) == text


def test_amounts_have_the_unit_of_their_kind() -> None:
    assert amount("seconds", 0.25) == "250 ms"
    assert amount("usd", 2) == "$2"
    assert amount("tokens_charged", 1825) == "1.82 k"

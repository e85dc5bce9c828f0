"""The parts on a plan and on a recording: they say what was promised, read and left out."""

from __future__ import annotations

from typing import Any

import pytest

from dwell.report.plan import plan_section
from dwell.report.recording import recording_section
from dwell.report.sections import cost_box, facts


def test_a_plan_says_verdict_policy_promise_and_pair(plan: dict[str, Any]) -> None:
    html = plan_section({"plan": plan})
    assert "No plan beats majority(n=4) here." in html
    assert "4 votes for the leader: stop" in html
    assert '61.0% <span class="interval">[58.0, 64.0]</span> right at 3.8 draws' in html
    assert "[3.6 draws, 4 draws]" in html
    assert "+2.0 points" in html
    assert "[−1.0, +5.0]" in html
    assert "<dt>questions</dt><dd>1,200</dd>" in html


def test_every_budget_of_a_plan_stands_beside_the_best_fixed_choice(plan: dict[str, Any]) -> None:
    html = plan_section({"plan": plan})
    assert html.count("<tr>") == 1 + 4
    assert "majority(n=3)" in html
    assert "59.0%" in html
    assert 'id="plan-chart"' in html


def test_a_plan_in_dollars_is_written_in_dollars(plan: dict[str, Any]) -> None:
    plan["goal"]["unit"] = "usd"
    plan["promise"]["cost"] = 0.0042
    assert "at $0.0042" in plan_section({"plan": plan})


@pytest.mark.parametrize("missing", ["policy", "promise", "paired", "verdict", "frontier", "goal"])
def test_a_part_that_a_plan_lacks_is_left_out(plan: dict[str, Any], missing: str) -> None:
    whole = plan_section({"plan": plan})
    part = plan_section({"plan": {k: v for k, v in plan.items() if k != missing}})
    assert 0 < len(part) < len(whole)


def test_no_plan_and_no_recording_have_no_section() -> None:
    for absent in ({}, {"plan": None, "recording": None}, {"plan": {}, "recording": {}}):
        assert plan_section(absent) == ""
        assert recording_section(absent) == ""


def test_texts_of_plans_and_recordings_are_never_markup(plan: dict[str, Any]) -> None:
    attack = "<script>alert(1)</script>"
    plan |= {"verdict": attack, "policy": attack}
    plan["frontier"][0]["label"] = plan["paired"]["against"] = attack
    plan["measured_on"]["model"] = attack
    read = {"path": attack, "rows": 1, "skipped_by": {attack: 1}, "runs": [{"name": attack}]}
    left = [{"model": attack, "strategy": attack, "why": attack}]
    html = plan_section({"plan": plan}) + recording_section({"recording": read, "left_out": left})
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 10


def test_a_recording_says_what_was_read_and_left_out(recording: dict[str, Any]) -> None:
    html = recording_section({"recording": recording})
    assert "12,345 rows of samples.csv were used." in html
    assert "3 bad rows were left out." in html
    assert "`correct` must be 0 or 1" in html
    assert "2 answers are graded both right and wrong" in html
    assert "over 25 random orders" in html
    assert "<details><summary>7 runs</summary>" in html


def test_strategies_that_could_not_be_replayed_are_named(recording: dict[str, Any]) -> None:
    left = [{"model": "m", "strategy": "beam", "why": "a prefix was not recorded"}]
    html = recording_section({"recording": recording, "left_out": left})
    assert "1 refusal of strategies" in html
    assert "a prefix was not recorded" in html


def test_skipped_rows_stand_under_the_title(recording: dict[str, Any]) -> None:
    found = facts({"recording": recording})
    assert "12,345 recorded draws" in found
    assert "3 bad rows left out" in found


def test_a_replay_does_not_speak_of_a_ledger(recording: dict[str, Any]) -> None:
    cost = {"tokens_charged": 100, "tokens_spent": 0}
    assert "No model was called" in cost_box({"cost": cost, "recording": recording})
    assert "ledger" in cost_box({"cost": cost})


def test_a_plans_confidence_is_a_sentence_and_a_table(plan: dict[str, Any]) -> None:
    bins = [{"share": 0.25, "confidence": 0.6, "accuracy": 0.5}]
    plan["confidence"] = {"in_words": ["off by <2> points"], "held_out": {"bins": bins}}
    html = plan_section({"plan": plan})
    assert "<b>Confidence</b> off by &lt;2&gt; points" in html
    assert "25.0% of answers" in html
    assert "60.0%" in html
    assert "Confidence" not in plan_section({"plan": plan | {"confidence": None}})


def test_a_run_of_a_plan_says_whether_its_confidence_held() -> None:
    html = plan_section({"confidence": [{"text": "says 80 %; 79 % are"}]})
    assert "<b>Confidence here</b> says 80 %; 79 % are" in html

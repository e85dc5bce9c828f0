import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from plan_world import recording

import dwell
from dwell.driver import Driver, RunPlan
from dwell.errors import UsageError
from dwell.ledger import Ledger
from dwell.plans import load_plan, plan
from dwell.plans.evidence import gather
from dwell.plans.pooling import pooled
from dwell.plans.wording import verdict_of
from dwell.recordings import RecordedScores, RecordedTask, RecordingGenerator, problems_of
from dwell.strategies import parse


@pytest.fixture(scope="module")
def found():
    return plan(recording(scores="good"), budget=4, repeats=1)


def test_a_plan_says_all_that_it_promises(found, tmp_path):
    path = tmp_path / "plan.json"
    found.save(path)
    again = load_plan(path)
    assert again.record == json.loads(json.dumps(found.record))
    assert again.policy == found.policy
    assert found.record["measured_on"]["questions"] == 60
    assert found.record["source"]["fingerprint"]
    promise = found.record["promise"]
    assert promise["low"] <= promise["accuracy"] <= promise["high"]
    assert found.record["promise"]["cost"] <= 4.5


def test_adaptive_plans_beat_fixed_votes_where_difficulty_is_mixed():
    found = plan(recording(questions=240, draws=12), budget=5, repeats=1)
    assert found.record["paired"]["low"] > 0
    assert found.verdict.startswith("The plan beats")


def test_no_plan_beats_one_sample_where_votes_say_nothing():
    # Every draw has an answer of its own: nothing agrees, nothing is learned from more draws.
    whole = recording()
    codes = np.tile(np.arange(8), (60, 1))
    found = plan(replace(whole, codes=codes, values=whole.correct), budget=4, repeats=1)
    assert found.verdict.startswith("No plan beats sample:n=1 here")
    assert found.record["paired"]["low"] <= 0
    assert found.record["policy"]["routes"] == [{"when": {}, "strategy": "sample:n=1"}]


def test_random_scores_give_no_gain_over_votes():
    noisy, plain = (
        plan(recording(questions=90, scores=scores), budget=4, repeats=1)
        for scores in ("noise", None)
    )
    gain = noisy.record["promise"]["accuracy"] - plain.record["promise"]["accuracy"]
    error = (noisy.record["promise"]["high"] - noisy.record["promise"]["low"]) / 3.92
    assert gain < error


def test_a_target_is_met_by_the_cheapest_plan():
    found = plan(recording(), target_accuracy=0.6, repeats=1)
    enough = [r for r in found.record["frontier"] if r["accuracy"] >= 0.6]
    assert found.record["goal"]["budget"] == pytest.approx(
        min(enough, key=lambda r: r["cost"])["budget"]
    )
    with pytest.raises(UsageError, match="within reach"):
        plan(recording(), target_accuracy=0.99, repeats=1)


def test_dollars_and_tokens_are_budgets_too():
    dollars = plan(recording(), usd_per_question=2e-4, usd_per_mtok=2.0, repeats=1)
    tokens = plan(recording(), budget=100, unit="tokens", repeats=1)
    assert dollars.policy == tokens.policy
    assert dollars.record["prices"] == {"usd_per_mtok": 2.0}
    assert dollars.record["promise"]["cost"] == pytest.approx(
        2e-6 * tokens.record["promise"]["cost"], rel=1e-3
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "exactly one"),
        ({"budget": 4, "target_accuracy": 0.5}, "exactly one"),
        ({"budget": 0}, "above 0"),
        ({"target_accuracy": 90}, "0.9"),
        ({"budget": 0.2}, "one sample"),
        ({"budget": 4, "folds": 1}, "`folds`"),
        ({"budget": 4, "clusters": "chapter"}, "passage"),
        ({"budget": 4, "run": "dice"}, "coin"),
        ({"usd_per_question": 0.1}, "--usd-per-mtok"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(options, named):
    with pytest.raises(UsageError) as refused:
        plan(recording(questions=12, draws=4), **options)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_several_runs_ask_to_be_chosen_or_pooled():
    runs = [
        recording(questions=30),
        replace(recording(questions=30, seed=1), run="two", model="b"),
    ]
    with pytest.raises(UsageError, match="coin, two"):
        plan(runs, budget=4)
    assert plan(runs, budget=4, run="two", repeats=1).record["source"]["run"] == "two"
    both = plan(runs, budget=4, pool=True, repeats=1)
    assert both.record["measured_on"]["questions"] == 60
    assert len(set(pooled(runs).tags["question"])) == 30


def test_what_the_arrays_say_is_what_the_driver_does(found, tmp_path):
    whole, path = recording(questions=24, scores="good"), tmp_path / "plan.json"
    found.save(path)
    strategy = parse(f"plan:{path}")
    evidence = gather(whole, repetitions=1, seed=3)
    replayed = strategy.replay(evidence.streams)
    with Ledger(":memory:") as ledger:
        driver = Driver(
            ledger,
            generators={"solver": RecordingGenerator(whole)},
            verifiers={"score": RecordedScores(whole, "score")},
            tasks={"toy": RecordedTask(whole)},
            seed=3,
        )
        plans = [RunPlan(name=p.id, strategy=strategy, problem=p) for p in problems_of(whole)]
        asyncio.run(driver.run(plans))
        answers = {row.run: row for row in ledger.answers()}
    for number, question in enumerate(whole.questions):
        code = int(replayed.chosen[0, number])
        assert answers[question].value == (whole.texts[number][code] if code >= 0 else None)
        assert answers[question].charged.calls == replayed.drawn[0, number]


@pytest.mark.parametrize("key", ["promise", "paired", "frontier", "policy", "source"])
def test_a_damaged_plan_file_is_refused_in_one_line(found, tmp_path, key):
    path = tmp_path / "plan.json"
    record = {name: value for name, value in found.record.items() if name != key}
    path.write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"plan\.json") as refused:
        load_plan(path)
    assert "\n" not in str(refused.value)


def test_verdicts_name_the_fixed_choice_and_the_saving():
    promise = {"cost": 5.0}
    paired = {"against": "majority:n=8", "difference": 0.0, "low": -0.005, "high": 0.005,
              "fixed_cost": 8.0}  # fmt: skip
    assert "costs 38 % less" in verdict_of(promise, paired, "draws")
    worse = verdict_of({"cost": 8.0}, paired, "draws")
    assert worse.startswith("No plan beats majority:n=8 here")
    assert worse.endswith("So the plan is majority:n=8.")


def test_the_public_names_are_those_of_the_package():
    assert dwell.load_plan is load_plan
    assert dwell.plan is plan

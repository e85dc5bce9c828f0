"""Maps of confidence: what they are fitted to, how they hold on other questions, and live."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from plan_world import recording

from dwell.driver import Driver, RunPlan
from dwell.errors import UsageError
from dwell.ledger import Ledger
from dwell.metrics import calibration_interval, resample_problems
from dwell.plans import load_plan, plan
from dwell.plans.confidence import ends_of, fit_map, fitted, raw_share, sure_of
from dwell.plans.evidence import gather
from dwell.plans.reliability import calibration_of
from dwell.recordings import RecordedScores, RecordedTask, RecordingGenerator, problems_of
from dwell.records import Problem
from dwell.requests import Emit
from dwell.strategies import make, parse
from dwell.strategies.confidence import (
    Confidence,
    ConfidenceMap,
    confidence_record,
    read_confidence,
    vote_odds,
)
from dwell.strategies.policy import Policy, Route, policy_record
from dwell.testing import StrategySuite, ToyWorld, play

VOTES = ConfidenceMap(
    verifier=None, features=("votes",), weights=(1.5,), ranges=((-4.0, 4.0),), intercept=-0.5
)
PROBLEM = Problem(id="p", prompt="Q")
BLANK = ConfidenceMap(verifier=None, features=("votes",), weights=(), ranges=(), intercept=0.0)


def one(spec):
    return Policy(routes=(Route(strategy=parse(spec)),))


def saved(folder, policy, sure):
    path = folder / "plan.json"
    record = {"dwell_plan": 2, "policy": policy_record(policy)}
    path.write_text(json.dumps(record | {"confidence": sure and confidence_record(sure)}))
    return parse(f"plan:{path}")


def test_a_map_recovers_the_line_that_made_the_answers():
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 1, (20_000, 1))
    right = rng.random(20_000) < 1 / (1 + np.exp(0.5 - 1.5 * odds[:, 0]))
    found = fit_map(BLANK, odds, right.astype(float), np.ones(20_000), 999)
    # The information of a logistic line is about n/6 a parameter here: an error of 0.017.
    assert found.weights[0] == pytest.approx(1.5, abs=4 * 0.025)
    assert found.intercept == pytest.approx(-0.5, abs=4 * 0.02)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_where_all_are_right_or_wrong_it_is_the_smoothed_rate(right):
    seen = np.linspace(-1, 1, 18)[:, None]
    found = fit_map(BLANK, seen, np.full(18, right), np.ones(18), 18).apply(np.zeros((1, 1)))
    assert found[0] == pytest.approx((18 * right + 1) / 20, abs=0.02)


def test_a_map_without_features_is_the_smoothed_rate():
    blank = ConfidenceMap(verifier=None, features=(), weights=(), ranges=(), intercept=0.0)
    found = fit_map(blank, np.zeros((8, 0)), np.r_[np.ones(5), np.zeros(3)], np.ones(8), 8)
    assert found.apply(np.zeros((1, 0)))[0] == pytest.approx(6 / 10)


def test_many_questions_bend_the_line_and_it_still_rises():
    rng = np.random.default_rng(1)
    odds = rng.uniform(-3, 3, (4000, 1))
    truth = np.where(odds[:, 0] > 0, 0.9, 0.3)  # a step: no logistic line fits it
    right = (rng.random(4000) < truth).astype(float)
    line, bent = (fit_map(BLANK, odds, right, np.ones(4000), n) for n in (999, 4000))
    off = [np.mean((m.apply(odds) - truth) ** 2) for m in (line, bent)]
    assert off[1] < off[0] / 3
    signals, heights = zip(*bent.curve, strict=True)
    assert list(signals) == sorted(signals)
    assert list(heights) == sorted(heights)
    assert 0 < heights[0] < heights[-1] < 1


@pytest.mark.parametrize(("name", "bent_from"), [("votes", 1000), ("score", 100)])
def test_a_score_is_bent_sooner_for_its_scale_is_anybodys(name, bent_from):
    rng = np.random.default_rng(2)
    seen = rng.uniform(-1, 1, (500, 1))
    right = (rng.random(500) < 0.5 + 0.4 * seen[:, 0]).astype(float)
    blank = replace(BLANK, verifier="v", features=(name,))
    curves = [
        fit_map(blank, seen, right, np.ones(500), n).curve for n in (bent_from - 1, bent_from)
    ]
    assert [bool(curve) for curve in curves] == [False, True]


def test_scores_and_votes_both_count_where_a_verifier_chooses():
    evidence = gather(recording(questions=120, scores="good"), seed=1)
    ends = ends_of(one("best_of_n:n=4,verifier=score"), evidence)
    (found,) = fitted(ends, evidence, np.arange(60)).maps
    assert found.features == ("votes", "score")
    assert found.verifier == "score"
    assert min(found.weights) > 0
    held = np.arange(60, 120)
    sure = sure_of(fitted(ends, evidence, np.arange(60)), ends, evidence)
    share = raw_share(ends, evidence)
    errors = [np.nanmean((p - ends.right)[:, held] ** 2) for p in (sure, share)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("curve", [(), ((-1.0, 0.2), (0.5, 0.6), (2.0, 0.9))])
def test_one_point_is_mapped_as_an_array_of_them(curve):
    both = ConfidenceMap(
        verifier="v", features=("votes", "score"), weights=(1.2, -0.4), intercept=0.3,
        ranges=((-1.0, 2.0), (0.0, 1.0)), curve=curve,
    )  # fmt: skip
    seen = np.array([[-3.0, 0.5], [0.4, np.nan], [1.9, 7.0], [5.0, -1.0]])
    assert both.apply(seen) == pytest.approx([both.apply_one(row) for row in seen], abs=1e-12)


def test_a_missing_score_counts_as_the_lowest():
    scored = ConfidenceMap(
        verifier="v", features=("score",), weights=(1.0,), ranges=((0.2, 0.9),), intercept=0.0
    )
    sure = scored.apply(np.array([[np.nan], [0.2], [-7.0], [0.9], [50.0]]))
    assert sure[0] == sure[1] == sure[2] < sure[3] == sure[4]


def test_calibration_of_one_look_is_that_of_the_metrics():
    rng = np.random.default_rng(0)
    sure, again = rng.random(200), resample_problems(200, num_resamples=300)
    right = (rng.random(200) < sure**2).astype(float)
    found = calibration_of(sure[None], right[None], again)
    same = calibration_interval(sure, right, again, num_bins=10)
    assert found == pytest.approx(
        {"value": float(same.value), "low": float(same.low), "high": float(same.high)}
    )


def test_a_plan_carries_a_confidence_that_beats_the_bare_share(tmp_path):
    found = plan(recording(questions=240), budget=5, repeats=1)
    held = found.record["confidence"]["held_out"]
    assert held["brier_gain"]["low"] > 0
    assert held["ece"]["value"] < held["ece_of_share"]["value"] / 2
    assert any(line.startswith("Confidence: off by") for line in found.sentences())
    assert "Confidence" not in found.for_report()["confidence"]["in_words"][0]
    found.save(tmp_path / "plan.json")
    read = read_confidence(load_plan(tmp_path / "plan.json").record["confidence"], "x")
    assert confidence_record(read).items() <= found.record["confidence"].items()


def test_a_live_run_says_what_the_arrays_say(tmp_path):
    whole = recording(questions=24, scores="good")
    found = plan(recording(scores="good"), budget=4, repeats=1)
    found.save(tmp_path / "plan.json")
    strategy = parse(f"plan:{tmp_path / 'plan.json'}")
    evidence = gather(whole, repetitions=1, seed=3)
    sure = strategy.confidence(evidence.streams, strategy.replay(evidence.streams))[0]
    assert np.isfinite(sure).all()
    assert sure == pytest.approx(told(strategy, whole), abs=1e-12)


def told(strategy, whole):
    """The confidence that each live run told last."""
    found = {}

    class Listening(type(strategy)):
        def solve(self, problem, rng):
            gen, reply = super().solve(problem, rng), None
            while True:
                try:
                    request = gen.send(reply)
                except StopIteration as end:
                    return end.value
                if isinstance(request, Emit):
                    found[problem.id] = request.confidence
                reply = yield request

    listening = Listening(file=strategy.file)
    with Ledger(":memory:") as ledger:
        driver = Driver(
            ledger,
            generators={"solver": RecordingGenerator(whole)},
            verifiers={"score": RecordedScores(whole, "score")},
            tasks={"toy": RecordedTask(whole)},
            seed=3,
        )
        problems = problems_of(whole)
        plans = [RunPlan(name=p.id, strategy=listening, problem=p) for p in problems]
        asyncio.run(driver.run(plans))
    return [found[p.id] for p in problems]


def test_a_plan_declines_where_it_is_not_sure_enough(tmp_path):
    sure = Confidence(maps=(VOTES,), at_least=0.7)
    strategy = saved(tmp_path, one("majority:n=5"), sure)
    plain = parse("majority:n=5")
    assert strategy.abstains
    given = []
    for seed in range(40):
        answer, own = (play(s, PROBLEM, ToyWorld(seed)) for s in (strategy, plain))
        assert answer.answer in (None, own.answer)
        given.append(answer.answer is not None)
    assert 0 < sum(given) < 40
    evidence = gather(recording(questions=60), seed=0)
    with_limit, without = (s.replay(evidence.streams) for s in (strategy, plain))
    shares = raw_share(ends_of(one("majority:n=5"), evidence), evidence)
    odds = vote_odds(5 * shares, 5)[..., None]
    assert np.array_equal(with_limit.chosen >= 0, VOTES.apply(odds) >= 0.7)
    assert np.array_equal(with_limit.drawn, without.drawn)


def test_a_plan_that_may_decline_does_so_where_its_budget_ends(tmp_path):
    # The first passes `OutOfBudget` on, the second catches it and gives its best.
    for spec in ("adaptive_consistency:n=9", "verifier_threshold:n=9,threshold=9"):
        answers = []
        for at_least in (None, 0.01):
            sure = Confidence(maps=(VOTES, replace(VOTES, verifier="process")), at_least=at_least)
            strategy = saved(tmp_path, one(spec), sure)
            answers.append(play(strategy, PROBLEM, ToyWorld(0), stop_at=5).answer)
        assert answers[0] is not None
        assert answers[1] is None


def test_a_shorter_plan_is_not_sure_of_anything(tmp_path):
    strategy = saved(tmp_path, one("majority:n=8"), Confidence(maps=(VOTES,), at_least=0.9))
    shorter = make("plan", file=strategy.file, n=4)
    assert not shorter.abstains
    streams = gather(recording(), seed=0).streams
    assert shorter.confidence(streams, shorter.replay(streams)) is None
    assert make("plan", file=strategy.file, n=8).abstains


def test_only_a_threshold_makes_another_strategy(tmp_path):
    policy = one("majority:n=8")
    names = [
        saved(tmp_path, policy, sure).digest
        for sure in (None, Confidence(maps=(VOTES,)), Confidence(maps=(VOTES,), at_least=0.5))
    ]
    assert names[0] == names[1] != names[2]


def test_the_confidence_of_another_policy_is_refused(tmp_path):
    found, path = plan(recording(), budget=4, repeats=1), tmp_path / "plan.json"
    changed = policy_record(one("majority:n=3"))
    path.write_text(json.dumps(found.record | {"policy": changed}))
    for read in (load_plan, lambda path: parse(f"plan:{path}")):
        with pytest.raises(UsageError, match="`confidence` to null"):
            read(path)
    path.write_text(json.dumps(found.record | {"policy": changed, "confidence": None}))
    assert parse(f"plan:{path}") is not None


def test_plans_of_the_first_version_have_no_confidence(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"dwell_plan": 1, "policy": policy_record(one("majority:n=4"))}))
    streams = gather(recording(), seed=0).streams
    old = parse(f"plan:{path}")
    assert old.confidence(streams, old.replay(streams)) is None
    assert (old.replay(streams).chosen >= 0).all()


@pytest.mark.parametrize(
    "record",
    [[], {}, {"maps": [], "at_least": "a"}, {"at_least": None, "maps": [{}]},
     {"at_least": None, "maps": [confidence_record(Confidence(maps=(VOTES,)))["maps"][0]
                                 | {"curve": [[0, 0.9], [1, 0.2]]}]},
     {"at_least": None, "maps": [confidence_record(Confidence(maps=(VOTES,)))["maps"][0]
                                 | {"features": {"mood": {"weight": 1, "low": 0, "high": 1}}}]}],
)  # fmt: skip
def test_a_broken_confidence_is_refused_in_one_line(record):
    with pytest.raises(UsageError, match=r"p\.json") as refused:
        read_confidence(record, "p.json")
    assert "\n" not in str(refused.value)


class TestSurePlan(StrategySuite):
    problem = Problem(id="suite/0", prompt="Q", reference="1")

    @pytest.fixture(params=[None, 0.6])
    def strategy(self, request, tmp_path):
        policy = one("adaptive_consistency:n=6")
        return saved(tmp_path, policy, Confidence(maps=(VOTES,), at_least=request.param))

"""Whole replays: the object that they give, many runs, what is left out, and controls."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

import dwell
import replay_world
from dwell.errors import UsageError
from dwell.recordings import Recorded
from dwell.replays import panels, replay
from dwell.results import analyse, to_json

STRATEGIES = "sample,majority,best_of_n,adaptive_consistency,coverage"


@pytest.fixture(scope="module")
def results():
    return replay(replay_world.random_recording(num=30, draws=16), STRATEGIES, laws=False)


def curve_of(results, name, model=None):
    return next(
        c for c in results["curves"] if c["strategy"] == name and model in (None, c["model"])
    )


def test_a_replay_gives_the_object_that_a_study_gives(results, study_folder):
    study = analyse(study_folder)
    assert study.keys() - results.keys() == set()
    for name in ("curves", "paired", "levels"):
        assert results[name][0].keys() >= study[name][0].keys()
    assert json.loads(to_json(results)) == results


def test_each_curve_says_how_it_was_estimated(results):
    ways = {curve["strategy"]: curve["estimator"] for curve in results["curves"]}
    assert ways == {
        "sample": "exact",
        "majority": "exact",
        "best_of_n": "exact",
        "adaptive_consistency": "orders",
        "coverage": "exact",
    }


def test_points_have_intervals_draws_and_tokens(results):
    for curve in results["curves"]:
        for point in curve["points"]:
            assert 0 <= point["low"] <= point["accuracy"] <= point["high"] <= 1
            assert 0 < point["draws"] <= point["n"]
            assert 5 * point["draws"] <= point["tokens_charged"] <= 50 * point["draws"]
            assert point["problems"] == 30


def test_nothing_is_spent_and_bounds_are_not_charged(results):
    assert results["tokens_spent"] == 0
    labels = {row["label"] for row in results["cost"]["by_strategy"]}
    assert "coverage (pass@k)" not in labels
    assert results["cost"]["draws"] == 30 * 16


def test_bounds_alone_give_no_advice():
    results = replay(replay_world.random_recording(), "coverage,worst", laws=False)
    assert results["advice"].startswith("Only bounds")
    assert results["advices"] == []


def test_laws_are_fitted_where_curves_are_few(results):
    (curve,) = replay(replay_world.random_recording(draws=16), "coverage")["curves"]
    assert curve["law"]["param_intervals"].keys() == {"a", "b"}
    assert curve_of(results, "coverage")["law"] is None


def test_levels_come_from_the_other_half_of_the_draws(results):
    rows = [r for r in results["levels"] if r["strategy"] == "sample" and r["n"] == 1]
    assert sum(row["problems"] for row in rows) == 30
    ordered = [row["accuracy"] for row in rows]
    assert ordered[0] > ordered[-1]
    assert max(r["n"] for r in results["levels"]) == 8


def test_recorded_levels_go_before_made_ones():
    tagged = replay_world.random_recording(num=4)
    tagged = replace(tagged, tags={"level": ("Level 10", "Level 2", "Level 2", "Level 10")})
    found = replay(tagged, "majority", [1], laws=False)["levels"]
    assert [(row["level"], row["problems"]) for row in found] == [("Level 2", 2), ("Level 10", 2)]


def test_a_mean_over_runs_has_levels_too():
    tags = {"level": (1.0, 2.0) * 6}
    runs = [replace(replay_world.random_recording(run=n, model=n), tags=tags) for n in "ab"]
    found = replay(runs, "sample", [1], laws=False)["levels"]
    assert [(row["model"], row["level"]) for row in found[:2]] == [
        ("mean over 2 runs", 1),
        ("mean over 2 runs", 2),
    ]
    assert len(found) == 6


def test_a_mean_over_runs_is_the_mean_of_their_accuracies():
    runs = [replay_world.random_recording(num=10, seed=s, run=f"r{s}", model=f"m{s}")
            for s in range(3)]  # fmt: skip
    results = replay(runs, "majority", [1, 5], laws=False)
    mean = curve_of(results, "majority", "mean over 3 runs")
    each = [curve_of(results, "majority", f"m{s}")["points"] for s in range(3)]
    for place, point in enumerate(mean["points"]):
        accuracies = [points[place]["accuracy"] for points in each]
        assert point["accuracy"] == pytest.approx(np.mean(accuracies))
        assert point["runs"] == 3
        assert point["runs_sd"] == pytest.approx(np.std(accuracies, ddof=1))
        assert point["low"] <= point["accuracy"] <= point["high"]


def test_a_mean_never_mixes_runs_that_differ_in_their_draws():
    runs = [replay_world.random_recording(draws=d, run=f"r{s}", model=f"m{s}", seed=s)
            for s, d in enumerate((4, 4, 4, 8, 8))]  # fmt: skip
    means = [c for c in replay(runs, "sample", laws=False)["curves"] if c.get("mean_over_runs")]
    names = {c["model"]: [(p["n"], p["runs"]) for p in c["points"]] for c in means}
    assert names == {
        "mean over 2 runs with 8 draws or more": [(1, 2), (2, 2), (4, 2), (8, 2)],
        "mean over 5 runs with 4 draws or more": [(1, 5), (2, 5), (4, 5)],
    }


def test_runs_of_one_model_are_told_apart():
    runs = [replay_world.random_recording(run=name, model="m") for name in ("low", "high")]
    results = replay(runs, "sample", laws=False)
    assert {c["model"] for c in results["curves"]} == {"mean over 2 runs", "m (low)", "m (high)"}
    assert [run["name"] for run in results["recording"]["runs"]] == ["m (low)", "m (high)"]


def test_a_run_without_scores_is_left_out_by_name_and_not_silently():
    with_scores = replay_world.random_recording(run="a", model="a")
    without = replace(replay_world.random_recording(run="b", model="b"), columns={})
    results = replay([with_scores, without], "sample,best_of_n", laws=False)
    (left,) = results["left_out"]
    assert (left["model"], left["strategy"].split()[0]) == ("b", "best_of_n")
    assert "needs a score column" in left["why"]
    with pytest.raises(UsageError, match="needs a score column"):
        replay(without, "sample,best_of_n")


def test_skipped_rows_and_mixed_grades_are_told():
    recorded = Recorded(
        path="x.csv", recordings=(replay_world.random_recording(),), skipped=3,
        skipped_by={"a rule": 3}, mixed=2, notes=("A sentence.",),
    )  # fmt: skip
    told = replay(recorded, "sample", laws=False)["recording"]
    assert (told["skipped"], told["skipped_by"], told["mixed"]) == (3, {"a rule": 3}, 2)
    assert told["notes"] == ["A sentence."]


def test_each_takes_all_draws_of_every_question():
    uneven = replay_world.recording([[0, 1, 1], [0]], [0, 0])
    (curve,) = replay(uneven, "coverage", "each", laws=False)["curves"]
    assert curve["points"][0]["accuracy"] == 1.0
    assert curve["points"][0]["problems"] == 2
    assert curve["points"][0]["draws"] == 2.0


def test_what_is_asked_by_default_follows_the_columns():
    whole = replay_world.random_recording()
    bare = replace(whole, codes=None, values=None, texts=(), columns={})
    names = [
        [curve["strategy"] for curve in replay(one, laws=False)["curves"]] for one in (whole, bare)
    ]
    assert names == [
        ["sample", "majority", "adaptive_consistency", "best_of_n", "coverage"],
        ["sample", "coverage"],
    ]


def test_one_question_with_one_draw_is_enough():
    results = replay(replay_world.recording([[0]], [0]), "majority,coverage,ppr", laws=False)
    for curve in results["curves"]:
        assert [(p["n"], p["accuracy"], p["problems"]) for p in curve["points"]] == [(1, 1.0, 1)]


def test_budgets_beyond_the_recording_are_refused():
    with pytest.raises(UsageError, match="at most 9 draws"):
        replay(replay_world.random_recording(), "majority", [64])


def test_everything_through_the_driver_agrees_with_the_exact_estimators():
    recording = replay_world.random_recording(num=20, draws=6)
    (panel,) = panels(recording, "majority,best_of_n", [3], driver=True, repetitions=15)
    (exactly,) = panels(recording, "majority,best_of_n", [3])
    for driven, exact in zip(panel.curves, exactly.curves, strict=True):
        assert (driven.estimator, exact.estimator) == ("driver", "exact")
        error = np.mean(driven.values - exact.values)
        assert abs(error) <= 4 * 0.5 / math.sqrt(20 * 15)


def test_a_study_replays_to_its_own_exact_estimates(study_folder):
    replayed = replay(study_folder, "majority,coverage", [1, 4, 16], laws=False)
    measured = analyse(study_folder)
    for name in ("majority", "coverage"):
        known = {p["n"]: p["accuracy"] for p in curve_of(measured, name)["points"]}
        for point in curve_of(replayed, name)["points"]:
            assert point["accuracy"] == pytest.approx(known[point["n"]])


def test_random_scores_bring_no_gain():
    """Control: a verifier of noise is no better than a draw, and no better than the vote."""
    noise = replay_world.random_recording(num=400, draws=16, skill=0.0, silent=0.0, seed=2)
    (panel,) = panels(noise, "sample,majority,best_of_n", [16])
    sample, majority, best = (curve.values[:, 0] for curve in panel.curves)
    gain = best - sample
    assert abs(gain.mean()) <= 4 * gain.std() / math.sqrt(len(gain))
    lead = best - majority
    assert lead.mean() <= 4 * lead.std() / math.sqrt(len(lead))
    skilled = replay_world.random_recording(num=400, draws=16, silent=0.0, seed=2)
    (panel,) = panels(skilled, "sample,best_of_n", [16])
    assert np.mean(panel.curves[1].values - panel.curves[0].values) > 0.1


def test_progress_rises_to_the_number_of_runs():
    seen = []
    runs = [replay_world.random_recording(run=name, model=name) for name in "ab"]
    replay(runs, "majority,ppr", laws=False, watch=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert (0.5, 2) in seen
    assert seen[-1] == (2, 2)


def test_the_public_name_is_the_function():
    assert dwell.replay is replay

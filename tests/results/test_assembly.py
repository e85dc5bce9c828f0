"""From a ledger to results: curves, intervals, totals, pairs and words."""

import json
import math

import pytest

import study_world
from dwell.results import analyse, to_json
from dwell.study import Study


@pytest.fixture(scope="module")
def results(study_folder):
    return analyse(study_folder)


def curve_of(results, strategy):
    return next(curve for curve in results["curves"] if curve["strategy"] == strategy)


def test_every_strategy_has_a_curve_and_coverage_bounds_them(results):
    names = [curve["strategy"] for curve in results["curves"]]
    assert names == ["sample", "majority", "best_of_n", "adaptive_consistency", "coverage"]
    coverage = {p["n"]: p["accuracy"] for p in curve_of(results, "coverage")["points"]}
    for curve in results["curves"]:
        for point in curve["points"]:
            if point["n"] in coverage:
                assert point["accuracy"] <= coverage[point["n"]] + 1e-9


def test_every_accuracy_has_an_interval_and_its_problems(results):
    for curve in results["curves"]:
        for point in curve["points"]:
            assert 0 <= point["low"] <= point["accuracy"] <= point["high"] <= 1
            assert point["problems"] == 8


def test_a_single_sample_is_right_at_the_model_s_rate(results):
    (point,) = curve_of(results, "sample")["points"]
    assert abs(point["accuracy"] - study_world.RATE) <= 4 * math.sqrt(0.24 / (8 * 1))


def test_tokens_charged_grow_with_n_and_spent_is_what_was_made(results):
    tokens = [point["tokens_charged"] for point in curve_of(results, "majority")["points"]]
    assert tokens == [3.0 * n for n in (1, 2, 4, 8, 16)]
    assert results["tokens_spent"] == 8 * 16 * 3
    assert results["tokens_charged"] > 2 * results["tokens_spent"]
    assert results["cost"]["draws"] == 8 * 16


def test_oracles_are_marked_and_never_recommended(results):
    marked = {curve["strategy"] for curve in results["curves"] if curve["oracle"]}
    assert marked == {"best_of_n", "coverage"}
    assert "best_of_n" not in results["advice"]
    assert "chain" in results["advice"]


def test_results_are_json_without_nan(results):
    assert json.loads(to_json(results)).keys() == results.keys()


def test_analysis_of_the_same_ledger_is_the_same(results, study_folder):
    again = analyse(study_folder)
    assert {**again, "created": 0} == {**results, "created": 0}


def test_an_unfinished_study_shows_what_there_is(tmp_path, scripted_model):
    Study(study_world.spec(), tmp_path).run()
    results = analyse(tmp_path)
    wider = study_world.spec(study_world.TEXT.replace("16]", "16, 32]"))
    from dwell.study_toml import to_toml

    (tmp_path / "study.toml").write_text(to_toml(wider), encoding="utf-8")
    partly = analyse(tmp_path)
    assert [p["n"] for p in curve_of(partly, "majority")["points"]] == [1, 2, 4, 8, 16]
    assert partly["tokens_charged"] == results["tokens_charged"]


def test_a_study_that_never_ran_has_no_results_yet(tmp_path, scripted_model, monkeypatch):
    async def nothing(self, plans):
        list(plans)
        return self.progress

    monkeypatch.setattr("dwell.study.Driver.run", nothing)
    Study(study_world.spec(), tmp_path).run()
    results = analyse(tmp_path)
    assert results["curves"] == []
    assert results["advice"] == "Nothing is finished yet."

"""Paired differences of curves: which pairs, at which budgets, and how sure."""

import numpy as np
import pytest

import replay_world
from dwell.metrics import sign_flip
from dwell.replays import panels
from dwell.results.pairs import compared, pair_records, sign_flips


def test_few_budgets_are_all_compared_and_many_at_powers_of_two():
    assert compared([1, 3, 5]) == [1, 3, 5]
    assert compared(range(1, 21)) == [1, 2, 4, 8, 16, 20]


def test_many_tests_at_once_are_the_tests_one_by_one():
    rng = np.random.default_rng(0)
    table = np.stack(
        [rng.normal(0.3, 1, 40), rng.integers(-1, 2, 40), np.zeros(40), rng.random(40) - 0.5], 1
    )
    found = sign_flips(table)
    one_by_one = [sign_flip(column).p_value for column in table.T]
    # Two Monte-Carlo tests of 20 000 flips each.
    error = 4 * np.sqrt(2 * 0.25 / 20_000)
    assert found == pytest.approx(one_by_one, abs=error)
    assert found[1:3].tolist() == one_by_one[1:3]


def test_a_problem_that_one_side_lacks_is_left_out():
    column = np.array([[0.5], [np.nan], [0.5], [0.5]])
    assert sign_flips(column)[0] == sign_flip([0.5, 0.5, 0.5]).p_value


def test_estimators_of_the_same_thing_do_not_differ():
    (panel,) = panels(replay_world.random_recording(num=50, silent=0.0), "sample,majority", [1, 2])
    for record in pair_records(panel):
        assert record["difference"] == 0.0
        assert record["p_value"] == 1.0


def test_each_strategy_stands_against_the_vote_and_the_two_best_against_each_other():
    (panel,) = panels(
        replay_world.random_recording(num=50), "majority,sample,best_of_n,ppr,coverage", [4]
    )
    pairs = [(record["a"].split()[0], record["b"].split()[0]) for record in pair_records(panel)]
    assert pairs[:3] == [("sample", "majority"), ("best_of_n", "majority"), ("ppr", "majority")]
    assert len(pairs) == 4
    assert not any("coverage" in name for pair in pairs for name in pair)

"""Random orders: the same as the driver on the same orders, and near the exact estimators."""

import math
from dataclasses import replace

import numpy as np
import pytest

import replay_world
from dwell.ledger import Ledger
from dwell.replays.asking import asked
from dwell.replays.driven import driven
from dwell.replays.estimates import CALLS, OUTPUT, exact
from dwell.replays.ordered import over_orders
from dwell.strategies import Majority

RECORDING = replay_world.random_recording(num=8, draws=9, silent=0.15, seed=1)
BUDGETS = (1, 4, 9)
STOPPING = (
    "adaptive_consistency",
    "adaptive_consistency:rule=dirichlet",
    "early_stopping:window=3",
    "ppr",
    "marginal_gain",
    "majority",
    "best_of_n",
    "weighted_majority",
    "abstaining_majority",
    "verifier_threshold:threshold=1",
    "first_accepted:accept=1",
    "pool_vote",
    "pool_allocation",
)


def orders_of(word, recording=RECORDING, repetitions=5, seed=7):
    (one,) = asked(word)
    one = one.on(recording)
    (found,) = over_orders([(one, BUDGETS)], recording, repetitions=repetitions, seed=seed)
    return one, found


@pytest.mark.parametrize("word", STOPPING)
def test_arrays_and_driver_do_the_same(word):
    one, arrays = orders_of(word)
    driver = driven(one, BUDGETS, RECORDING, repetitions=5, seed=7, out=None)
    assert (arrays.estimator, driver.estimator) == ("orders", "driver")
    np.testing.assert_allclose(arrays.values, driver.values, atol=1e-12)
    np.testing.assert_allclose(arrays.abstained, driver.abstained, atol=1e-12)
    for place in (CALLS, OUTPUT):
        np.testing.assert_allclose(
            arrays.charged[..., place], driver.charged[..., place], atol=1e-9
        )


def test_draws_used_never_exceed_the_budget_and_fall_short_of_it():
    _, found = orders_of("adaptive_consistency")
    drawn = found.charged[..., CALLS]
    assert np.all(drawn <= np.array(BUDGETS) + 1e-12)
    assert drawn[:, -1].mean() < 9


def test_orders_of_a_fixed_strategy_agree_with_its_exact_estimator():
    big = replay_world.random_recording(num=200, draws=9, seed=5)
    (one,) = asked("best_of_n")
    one = one.on(big)
    exactly = exact(one, big, BUDGETS).values
    (sampled,) = over_orders([(one, BUDGETS)], big, repetitions=40, seed=0)
    error = (sampled.values - exactly).mean(axis=0)
    # A grade of 0 or 1 has at most 1/2 standard deviation.
    assert np.all(np.abs(error) <= 4 * 0.5 / math.sqrt(200 * 40))


def test_an_abstention_is_wrong_and_is_counted():
    _, found = orders_of("abstaining_majority")
    assert found.abstained[:, -1].mean() > 0
    assert np.all(found.values + found.abstained <= 1 + 1e-12)


def test_small_blocks_give_the_same_as_one(monkeypatch):
    _, whole = orders_of("adaptive_consistency")
    monkeypatch.setattr("dwell.replays.ordered.BLOCK", 10)
    _, parts = orders_of("adaptive_consistency")
    np.testing.assert_allclose(whole.values, parts.values)
    np.testing.assert_allclose(whole.charged, parts.charged)


def test_without_answers_strategies_that_choose_by_score_choose_draws():
    bare = replace(RECORDING, codes=None, values=None, texts=())
    (one,) = asked("verifier_threshold:threshold=99")
    one = one.on(bare)
    (found,) = over_orders([(one, (9,))], bare, repetitions=3, seed=0)
    best = np.nanargmax(bare.columns["score"], axis=1)
    np.testing.assert_allclose(found.values[:, 0], bare.correct[np.arange(8), best])


def test_a_strategy_that_cannot_be_replayed_goes_to_the_driver():
    class Own(Majority):
        """A strategy without arrays."""

        name = "own"
        exchangeable = None

        def replay(self, streams):
            return None

    (one,) = asked([Own(n=4)])
    assert over_orders([(one, (4,))], RECORDING, repetitions=2, seed=0) == [None]


def test_a_pool_spends_its_budget_and_stays_within_what_was_recorded():
    one, found = orders_of("pool_vote")
    assert one.strategy.cap == 9
    assert np.isfinite(found.values).all()
    np.testing.assert_allclose(found.charged[..., CALLS].mean(axis=0), BUDGETS)


def test_runs_of_the_driver_are_kept_in_a_folder_and_draws_are_not(tmp_path):
    (one,) = asked("majority")
    first = driven(one, (3,), RECORDING, repetitions=2, seed=0, out=tmp_path)
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        assert len(list(ledger.answers())) == 8 * 2
        assert ledger.totals().draws == 0
    again = driven(one, (3,), RECORDING, repetitions=2, seed=0, out=tmp_path)
    np.testing.assert_array_equal(first.values, again.values)
    other = replace(RECORDING, values=1 - RECORDING.values, correct=1 - RECORDING.correct)
    changed = driven(one, (3,), other, repetitions=2, seed=0, out=tmp_path)
    assert np.any(changed.values != first.values)

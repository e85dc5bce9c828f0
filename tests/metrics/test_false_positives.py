"""Resampling with an imperfect verifier: printed oracles, enumeration and simulation."""

from itertools import combinations, permutations

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import (
    accuracy_at,
    best_attempts,
    ceiling,
    expected_draws,
    expected_value,
    first_accepted_at_k,
    optimal_attempts,
    verifier_errors,
)

MODEL = {"prior": [0.58, 0.42], "rate": [0.87, 0.13], "completeness": 1.0, "soundness": 0.75}


def test_accuracy_and_ceiling_give_the_printed_values():
    np.testing.assert_allclose(accuracy_at([1, 5], **MODEL), [0.5592, 0.697647], atol=1e-6)
    assert ceiling(**MODEL) == pytest.approx(0.716236, abs=1e-6)
    for prior, expected in (([1, 0], 0.963989), ([0, 1], 0.374101)):
        assert ceiling(**{**MODEL, "prior": prior}) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("penalty", "best", "value", "late"),
    [(0.7, 3, 0.524567, 0.517601), (1, 2, 0.472381, 0.432472), (2, 1, 0.338800, 0.148708)],
)
def test_optimal_attempts_gives_the_printed_values(penalty, best, value, late):
    assert optimal_attempts(*MODEL.values(), penalty) == best
    values = expected_value([best, 60], **MODEL, penalty=penalty)
    np.testing.assert_allclose(values, [value, late], atol=1e-6)


def test_one_type_has_no_optimum_between():
    assert optimal_attempts([1.0], [0.5], 1, 0.75, 0.7) == np.inf
    assert optimal_attempts([1.0], [0.1], 1, 0.75, 2.0) == 0
    assert optimal_attempts([1.0], [0.1], 1, 1.0, 5.0) == np.inf
    assert optimal_attempts([1.0], [1.0], 1, 1.0, 5.0) == 1
    assert optimal_attempts([1.0], [0.0], 1, 1.0, 5.0) == 0
    assert optimal_attempts([1.0], [0.0], 1, 1.0, 5.0, cost=0.1) == 0


def test_optimal_attempts_is_the_best_of_all_budgets():
    rng = np.random.default_rng(0)
    budgets = np.arange(2001)
    for _ in range(300):
        prior = rng.dirichlet(np.ones(rng.integers(1, 4)))
        rate, (c, s) = rng.random(len(prior)), rng.random(2)
        penalty, cost = rng.exponential(1.0), rng.choice([0.0, 0.01])
        model = {"prior": prior, "rate": rate, "completeness": c, "soundness": s}
        values = expected_value(budgets, **model, penalty=penalty, cost=cost)
        best = optimal_attempts(prior, rate, c, s, penalty, cost)
        chosen = values[-1] if best > 2000 else values[int(best)]
        assert chosen == pytest.approx(values.max(), abs=1e-9)


def test_expected_value_equals_simulation():
    rng = np.random.default_rng(1)
    num, limit = 100_000, 4
    rate = np.array(MODEL["rate"])[(rng.random(num) > MODEL["prior"][0]).astype(int)]
    right = rng.random((num, limit)) < rate[:, None]
    accepted = right | (rng.random(right.shape) > MODEL["soundness"])
    first = np.where(accepted.any(axis=1), accepted.argmax(axis=1), limit - 1)
    rows = np.arange(num)
    payoff = np.where(right[rows, first], 1.0, -0.7) * accepted[rows, first]
    payoff -= 0.05 * (first + 1)
    expected = float(expected_value(limit, **MODEL, penalty=0.7, cost=0.05))
    assert abs(payoff.mean() - expected) < 4 * payoff.std() / np.sqrt(num)


def test_recorded_curve_gives_the_printed_values():
    curve = first_accepted_at_k(20, 8, 6, 3)
    assert float(1 - curve.abstained[0, 0]) == pytest.approx(0.807018, abs=1e-6)
    assert float(curve.right[0, 0]) == pytest.approx(0.605263, abs=1e-6)
    assert float(1 - curve.false_positive_share[0]) == 0.75


def test_recorded_curve_equals_enumeration_of_orders():
    accepted, right = [1, 1, 0, 1, 0, 0], [1, 0, 1, 1, 0, 0]
    limit, tally = 3, []
    for order in permutations(range(6)):
        stop = next((i for i in range(limit) if accepted[order[i]]), None)
        found = stop is not None and right[order[stop]]
        tally.append((found, stop is None, limit if stop is None else stop + 1))
    curve = first_accepted_at_k(6, 3, 2, limit)
    values = (curve.right[0, 0], curve.abstained[0, 0], curve.draws[0, 0])
    np.testing.assert_allclose(values, np.mean(tally, axis=0))


def test_recorded_draws_are_those_of_sequential_stopping():
    n, accepted, k = np.array([20, 9]), np.array([3, 0]), np.arange(1, 21)
    curve = first_accepted_at_k(n, accepted, 0, k)
    expected = [expected_draws(n, accepted, limit=int(budget)) for budget in k]
    np.testing.assert_allclose(curve.draws, np.transpose(expected))


def test_a_random_accepted_draw_is_as_good_as_the_first():
    accepted, right = [1, 1, 0, 1, 0, 0], [1, 0, 1, 1, 0, 0]
    values = []
    for part in combinations(range(6), 3):
        passing = [right[i] for i in part if accepted[i]]
        values.append(np.mean(passing) if passing else 0.0)
    assert np.mean(values) == pytest.approx(float(first_accepted_at_k(6, 3, 2, 3).right[0, 0]))


def test_nothing_accepted_is_pure_abstention():
    curve = first_accepted_at_k([5, 5], [0, 5], 0, [2, 6])
    assert curve.right[0, 0] == 0.0
    assert curve.abstained[0, 0] == 1.0
    assert np.isnan(curve.false_positive_share[0])
    assert np.isnan(curve.right[:, 1]).all()


def test_best_attempts_is_found_in_the_record():
    accepted = [18] * 3 + [4] * 2
    right = [18] * 3 + [0] * 2
    found = best_attempts(20, accepted, right, penalty=2.0)
    curve = first_accepted_at_k(20, accepted, right, np.arange(1, 21)).payoff(2.0).mean(axis=0)
    np.testing.assert_allclose(found.payoff, curve)
    assert found.attempts == 1 + int(np.argmax(curve))
    assert best_attempts(20, [4], [0], penalty=1.0).attempts == 0
    assert best_attempts(20, [4], [4], penalty=1.0).attempts == 17


def test_verifier_errors_are_rates_of_the_audited():
    found = verifier_errors([1, 1, 0, 0, 1, np.nan], [1, 0, 0, 1, np.nan, 1])
    assert (found.false_positive_rate, found.false_negative_rate) == (0.5, 0.5)
    assert found.precision == 0.5
    assert np.isnan(verifier_errors([0], [1]).precision)


@pytest.mark.parametrize(
    "call",
    [
        lambda: optimal_attempts([0.5], [0.5], 1, 1, 1),
        lambda: optimal_attempts([1.0], [1.5], 1, 1, 1),
        lambda: optimal_attempts([1.0], [0.5], 1, 1, -1),
        lambda: optimal_attempts([1.0], [np.nan], 1, 1, 1),
        lambda: first_accepted_at_k(5, 2, 3, 1),
        lambda: first_accepted_at_k(5, 6, 3, 1),
        lambda: verifier_errors([0.5], [1]),
        lambda: best_attempts(5, [1], [1], penalty=-1.0),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

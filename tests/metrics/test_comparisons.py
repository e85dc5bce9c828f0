"""Paired comparison, exact tests, power and many comparisons: printed oracles and limits."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import (
    benjamini_hochberg,
    clustered_standard_error,
    holm,
    how_many_questions,
    mcnemar,
    minimum_detectable_effect,
    paired_difference,
    resample_problems,
    sign_flip,
    wilson,
)

A = np.array([1, 1, 0, 1, 1, 0, 1, 1, 0, 1])
B = np.array([1, 0, 0, 1, 0, 0, 1, 1, 1, 0])
POWER = {"between": 1 / 9, "within_a": 1 / 6, "within_b": 1 / 6}


def test_paired_difference_gives_the_printed_values():
    interval = paired_difference(A, B, resample_problems(10, num_resamples=10_000))
    assert float(interval.value) == pytest.approx(0.2)
    assert float(interval.low) == pytest.approx(-0.2, abs=0.101)
    assert float(interval.high) == pytest.approx(0.6, abs=0.101)


def test_pairing_narrows_the_standard_error():
    paired = float(clustered_standard_error(A - B))
    unpaired = np.hypot(clustered_standard_error(A), clustered_standard_error(B))
    assert (paired, float(unpaired)) == (pytest.approx(0.2), pytest.approx(0.226078, abs=1e-6))
    assert np.corrcoef(A, B)[0, 1] == pytest.approx(0.218218, abs=1e-6)


def test_paired_difference_of_equal_strategies_is_not_certain():
    interval = paired_difference(A, A, resample_problems(10))
    missed = float(wilson(0, 10).high)
    assert float(interval.value) == 0.0
    assert (float(interval.low), float(interval.high)) == (
        pytest.approx(-missed),
        pytest.approx(missed),
    )


def test_paired_difference_serves_all_budgets_at_once():
    rng = np.random.default_rng(0)
    a, b = rng.random((50, 3)), rng.random((50, 3))
    resamples = resample_problems(50)
    together = paired_difference(a, b, resamples)
    alone = paired_difference(a[:, 1], b[:, 1], resamples)
    assert together.low[1] == pytest.approx(float(alone.low))
    assert together.high[1] == pytest.approx(float(alone.high))


def test_exact_tests_give_the_printed_values():
    assert mcnemar(3, 1).p_value == pytest.approx(0.625)
    assert sign_flip(A - B).p_value == pytest.approx(0.625)
    assert mcnemar(0, 0).p_value == 1.0
    assert mcnemar(0, 10).p_value == pytest.approx(2 / 2**10)


def test_sign_flip_enumerates_differences_of_unequal_size():
    result = sign_flip([0.5, 0.25, 0.125])
    assert result.exact
    assert result.p_value == pytest.approx(2 / 8)


def test_sign_flip_by_random_patterns_agrees_with_the_exact_test():
    rng = np.random.default_rng(1)
    values = np.round(rng.normal(0.2, 0.5, size=16), 2)
    exact = sign_flip(values)
    sampled = sign_flip(np.append(values, 1e-9))
    assert exact.exact
    assert not sampled.exact
    error = np.sqrt(exact.p_value * (1 - exact.p_value) / 20_000)
    assert abs(sampled.p_value - exact.p_value) < 4 * error + 1e-4


def test_sign_flip_without_differences_shows_nothing():
    assert sign_flip(np.zeros(5)).p_value == 1.0


def test_power_gives_the_printed_values():
    assert how_many_questions(0.03, **POWER) == 3876
    assert how_many_questions(0.03, **POWER, num_samples_a=10, num_samples_b=10) == 1260
    assert how_many_questions(0.03, between=1 / 9) == 969
    assert minimum_detectable_effect(198, **POWER) == pytest.approx(0.1327, abs=1e-4)


def test_power_and_detectable_effect_are_inverse():
    num = how_many_questions(0.05, **POWER, power=0.9)
    assert minimum_detectable_effect(num, **POWER, power=0.9) <= 0.05
    assert minimum_detectable_effect(num - 1, **POWER, power=0.9) > 0.05


def test_many_comparisons_give_the_printed_values():
    p = [0.01, 0.04, 0.03, 0.2]
    np.testing.assert_allclose(holm(p), [0.04, 0.09, 0.09, 0.2])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.04, 0.05333, 0.05333, 0.2], atol=1e-5)
    assert holm([0.9, 0.8]).max() <= 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: paired_difference(A, B[:5], resample_problems(10)),
        lambda: mcnemar(-1, 2),
        lambda: sign_flip([np.nan]),
        lambda: how_many_questions(0, between=0.1),
        lambda: how_many_questions(0.1, between=0.1, power=1.0),
        lambda: minimum_detectable_effect(0, between=0.1),
        lambda: how_many_questions(0.1, between=-0.1),
    ],
)
def test_impossible_comparisons_are_refused(call):
    with pytest.raises(UsageError):
        call()

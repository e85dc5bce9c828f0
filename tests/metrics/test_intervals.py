"""Intervals against printed oracles, and their honesty where nothing varies."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import (
    beta_posterior,
    bootstrap_interval,
    clopper_pearson,
    clustered_standard_error,
    resample_problems,
    variance_split,
    wilson,
)

SCORES = [1, 1, 0, 1, 0, 0, 0, 0, 1, 1]
GROUPS = ["a", "a", "a", "b", "b", "c", "c", "c", "d", "d"]


def test_proportions_give_the_printed_values():
    interval = wilson([8, 0], [10, 10])
    np.testing.assert_allclose(interval.low, [0.490162, 0.0], atol=1e-6)
    np.testing.assert_allclose(interval.high, [0.943318, 0.277533], atol=1e-6)
    interval = clopper_pearson([8, 10], [10, 10])
    np.testing.assert_allclose(interval.low, [0.443905, 0.691503], atol=1e-6)
    np.testing.assert_allclose(interval.high, [0.974789, 1.0], atol=1e-6)


def test_beta_posterior_of_one_problem_gives_the_printed_values():
    interval = beta_posterior(3, 10)
    assert float(interval.value) == pytest.approx(1 / 3)
    assert float(interval.low) == pytest.approx(0.1093, abs=1e-4)
    assert float(interval.high) == pytest.approx(0.6098, abs=1e-4)


def test_no_trials_have_no_interval():
    for rule in (wilson, clopper_pearson):
        interval = rule(0, 0)
        assert np.isnan(interval.value)
        assert np.isnan(interval.low)
        assert np.isnan(interval.high)


def test_standard_errors_give_the_printed_values():
    assert float(clustered_standard_error(SCORES)) == pytest.approx(0.166667, abs=1e-6)
    clustered = clustered_standard_error(SCORES, GROUPS, correction=False)
    assert float(clustered) == pytest.approx(0.187083, abs=1e-6)
    corrected = clustered_standard_error(np.stack([SCORES, SCORES], axis=1), GROUPS)
    np.testing.assert_allclose(corrected, 0.216025, atol=1e-6)
    assert np.isnan(clustered_standard_error(SCORES, ["one"] * 10))


def test_variance_split_gives_the_printed_values():
    table = [[1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0]]
    within, between = variance_split(table)
    assert (within, between) == (pytest.approx(0.1875), pytest.approx(0.09375))
    assert (between + within / 4) / 4 == pytest.approx(0.035156, abs=1e-6)


def test_bootstrap_width_matches_the_standard_error():
    rng = np.random.default_rng(0)
    values = rng.random((200, 3))
    interval = bootstrap_interval(values, resample_problems(200, num_resamples=4000))
    half = (interval.high - interval.low) / 2
    np.testing.assert_allclose(half, 1.96 * clustered_standard_error(values), rtol=0.08)
    np.testing.assert_allclose(interval.value, values.mean(axis=0))


def test_bootstrap_of_clusters_is_as_wide_as_the_clustered_error():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(50), 4)
    values = np.clip(0.5 + 0.2 * rng.normal(size=50)[groups], 0, 1)
    resamples = resample_problems(200, clusters=groups, num_resamples=4000)
    interval = bootstrap_interval(values, resamples)
    half = float(interval.high - interval.low) / 2
    assert half == pytest.approx(1.96 * float(clustered_standard_error(values, groups)), rel=0.1)
    assert half > 1.7 * 1.96 * float(clustered_standard_error(values))


def test_resamples_keep_clusters_whole_and_repeat_with_the_seed():
    resamples = resample_problems(6, clusters=[0, 0, 1, 1, 1, 2], num_resamples=50, seed=3)
    np.testing.assert_array_equal(resamples.weights[:, 0], resamples.weights[:, 1])
    np.testing.assert_array_equal(resamples.weights[:, 2], resamples.weights[:, 4])
    again = resample_problems(6, clusters=[0, 0, 1, 1, 1, 2], num_resamples=50, seed=3)
    np.testing.assert_array_equal(resamples.weights, again.weights)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_gives_wilsons_interval(value):
    interval = bootstrap_interval(np.full(30, value), resample_problems(30))
    expected = wilson(30 * value, 30)
    assert float(interval.low) == pytest.approx(float(expected.low))
    assert float(interval.high) == pytest.approx(float(expected.high))


def test_equal_values_inside_the_range_are_not_certain_either():
    interval = bootstrap_interval(np.full(30, 0.5), resample_problems(30))
    assert float(interval.low) < 0.47
    assert float(interval.high) > 0.53


def test_one_failure_among_many_keeps_room_for_more():
    values = np.ones(100)
    values[0] = 0
    interval = bootstrap_interval(values, resample_problems(100))
    assert float(interval.low) <= float(wilson(99, 100).low) + 1e-12
    assert float(interval.high) == 1.0


def test_few_clusters_count_as_few_problems():
    groups = np.repeat(np.arange(5), 20)
    interval = bootstrap_interval(np.ones(100), resample_problems(100, clusters=groups))
    assert float(interval.low) == pytest.approx(float(wilson(5, 5).low))


def test_a_missing_value_makes_the_budget_missing():
    values = np.array([[0.5, np.nan], [0.7, 1.0], [0.1, 0.0]])
    interval = bootstrap_interval(values, resample_problems(3))
    assert np.isfinite(interval.value[0])
    assert np.isnan([interval.value[1], interval.low[1], interval.high[1]]).all()
    nothing = bootstrap_interval(np.full(3, np.nan), resample_problems(3))
    assert np.isnan(nothing.low)


def test_quantities_without_bounds_are_plain_bootstraps():
    tokens = np.array([100.0, 300.0, 200.0, 500.0])
    interval = bootstrap_interval(tokens, resample_problems(4), bounds=None)
    assert float(interval.low) < 275 < float(interval.high)
    constant = bootstrap_interval(np.full(4, 64.0), resample_problems(4), bounds=None)
    assert float(constant.low) == float(constant.high) == 64.0


@pytest.mark.slow
def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    resamples = resample_problems(100, num_resamples=1000)
    hits = []
    for _ in range(600):
        values = rng.binomial(8, rng.beta(2, 3, size=100)) / 8
        interval = bootstrap_interval(values, resamples)
        hits.append(float(interval.low) <= 0.4 <= float(interval.high))
    error = np.sqrt(0.95 * 0.05 / 600)
    # A percentile bootstrap of 100 values is known to be about a point short.
    assert 0.95 - 0.01 - 4 * error < np.mean(hits) < 0.95 + 4 * error


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson(3, 2),
        lambda: wilson(1, 2, level=95),
        lambda: clustered_standard_error(SCORES, ["a"]),
        lambda: variance_split([[1, 0]]),
        lambda: resample_problems(0),
        lambda: bootstrap_interval([0.5, 2.0], resample_problems(2)),
        lambda: bootstrap_interval([0.5], resample_problems(2)),
    ],
)
def test_impossible_intervals_are_refused(call):
    with pytest.raises(UsageError):
        call()

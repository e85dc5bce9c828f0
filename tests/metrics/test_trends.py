"""Trend, turn and length blow-up: what they find, and how often they cry wolf."""

import numpy as np
import pytest
import statsmodels.api as sm

from dwell.errors import UsageError
from dwell.metrics import length_blow_up, resample_problems, trend, two_lines

BUDGETS = np.array([1, 2, 4, 8, 16, 32])


def curves(shape, num_problems, seed, num_draws=4):
    """Measured accuracies of problems of unequal difficulty around a common shape in log-odds."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, (num_problems, 1)) + np.asarray(shape)
    return rng.binomial(num_draws, 1 / (1 + np.exp(-odds))) / num_draws


def rejections(shape, num_problems=12, num_sets=100):
    """Share of data sets in which a peak is claimed at 5 %, and in which curvature is."""
    resamples = resample_problems(num_problems, num_resamples=2)
    turned, bent = 0, 0
    for seed in range(num_sets):
        data = curves(shape, num_problems, seed)
        turned += two_lines(BUDGETS, data, resamples, seed=seed).p_value < 0.05
        bent += trend(BUDGETS, data, resamples).curvature_p < 0.05
    return turned / num_sets, bent / num_sets


def test_slope_is_the_least_squares_slope_of_the_mean():
    data = curves(np.log(BUDGETS), 30, 0)
    found = trend(BUDGETS, data, resample_problems(30))
    expected = np.polyfit(np.log2(BUDGETS), data.mean(axis=0), 2)
    line = np.polyfit(np.log2(BUDGETS), data.mean(axis=0), 1)
    assert float(found.slope.value) == pytest.approx(line[0])
    assert float(found.curvature.value) == pytest.approx(expected[0])


def test_slope_interval_is_like_that_of_clustered_regression():
    data = curves(np.log(BUDGETS), 60, 1)
    x = sm.add_constant(np.tile(np.log2(BUDGETS), 60))
    groups = np.repeat(np.arange(60), len(BUDGETS))
    fitted = sm.OLS(data.ravel(), x).fit(cov_type="cluster", cov_kwds={"groups": groups})
    found = trend(BUDGETS, data, resample_problems(60))
    width = float(found.slope.high - found.slope.low)
    assert width == pytest.approx(2 * 1.96 * fitted.bse[1], rel=0.1)


def test_order_of_budgets_does_not_matter():
    data, resamples = curves(-np.log(BUDGETS), 20, 2), resample_problems(20)
    mixed = np.random.default_rng(0).permutation(len(BUDGETS))
    assert trend(BUDGETS, data, resamples) == trend(BUDGETS[mixed], data[:, mixed], resamples)


def test_two_budgets_have_a_slope_and_no_curvature():
    found = trend([1, 4], [[0.2, 0.8], [0.4, 0.6]], resample_problems(2))
    assert float(found.slope.value) == pytest.approx(0.2)
    assert np.isnan(found.curvature.value)
    assert np.isnan(found.curvature_p)


def test_inverse_scaling_is_found():
    found = trend(BUDGETS, curves(-np.log(BUDGETS), 40, 3), resample_problems(40))
    assert found.slope.high < 0
    assert found.slope_p < 0.001


def test_clusters_that_move_together_are_one_witness():
    data = np.repeat(curves(0.3 * np.log(BUDGETS), 4, 4), 10, axis=0)
    clusters = np.repeat(np.arange(4), 10)
    alone = trend(BUDGETS, data, resample_problems(40))
    grouped = trend(BUDGETS, data, resample_problems(40, clusters=clusters))
    assert grouped.slope_p >= 2 / 2**4
    assert alone.slope_p < grouped.slope_p


def test_a_saturating_curve_is_bent_but_does_not_turn():
    turned, bent = rejections([0, 1.5, 1.5, 1.5, 1.5, 1.5])
    assert turned <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)
    assert bent > 0.5


def test_no_trend_is_rarely_called_a_turn():
    turned, bent = rejections(np.zeros(6))
    assert turned <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)
    assert bent <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 100)


def test_a_peak_and_a_valley_are_found():
    peak = np.array([0, 1.2, 2.0, 1.8, 1.0, 0])
    resamples = resample_problems(60)
    found = two_lines(BUDGETS, curves(peak, 60, 5), resamples)
    assert found.p_value < 0.01
    assert found.before.low > 0 > found.after.high
    assert set(found.breaks) <= {4.0, 8.0}
    valley = two_lines(BUDGETS, curves(-peak, 60, 5), resamples, shape="valley")
    assert valley.p_value < 0.01
    assert two_lines(BUDGETS, curves(-peak, 60, 5), resamples).p_value > 0.5


def test_length_blow_up_tells_its_cases_apart():
    rng = np.random.default_rng(0)
    num = 400
    base = (rng.random(num) < 0.6).astype(float)
    worse = base * (rng.random(num) > 0.2)
    better = np.maximum(base, rng.random(num) < 0.3)
    tokens = rng.integers(500, 1500, num).astype(float)
    resamples = resample_problems(num)

    def verdict(more, factor, **options):
        return length_blow_up(base, more, tokens, factor * tokens, resamples, **options).verdict

    assert verdict(worse, 3) == "loses"
    assert verdict(better, 3) == "gains"
    assert verdict(base, 3, margin=0.02) == "stagnates"
    assert verdict(base, 3, margin=0.001) == "undecided"
    assert verdict(worse, 1) == "no longer"
    assert verdict(worse, 3, least_growth=4) == "no longer"


def test_growth_is_the_ratio_of_totals():
    found = length_blow_up([1, 0], [1, 0], [100, 300], [200, 1000], resample_problems(2))
    assert float(found.growth.value) == 3.0
    assert float(found.gain.value) == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: trend([1, 1], [[0, 1]], resample_problems(1)),
        lambda: trend([0, 1], [[0, 1]], resample_problems(1)),
        lambda: trend([1, 2], [[0, np.nan]], resample_problems(1)),
        lambda: two_lines([1, 2], [[0, 1]] * 4, resample_problems(4)),
        lambda: two_lines([1, 2, 3], [[0, 1, 0]], resample_problems(1)),
        lambda: length_blow_up([1], [1], [0], [1], resample_problems(1)),
        lambda: length_blow_up([1], [1, 0], [1], [1], resample_problems(1)),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

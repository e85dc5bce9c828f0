"""Stability of scores and rankings, item statistics: oracles and limits."""

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, pointbiserialr

from dwell.errors import UsageError
from dwell.metrics import (
    item_information,
    item_rest_correlation,
    monotonicity,
    point_biserial,
    ranking_agreement,
    seed_variance,
    split_half_agreement,
    success_curve,
)


def test_seed_variance_gives_the_printed_values():
    found = seed_variance([0.421, 0.433, 0.418, 0.440, 0.428])
    assert float(found.mean) == pytest.approx(0.428)
    assert float(found.standard_deviation) == pytest.approx(0.008916, abs=1e-6)
    assert float(found.signal_to_noise) == pytest.approx(48.00, abs=0.005)


def test_equal_runs_have_no_signal_to_noise():
    found = seed_variance([[0.1, 0.2], [0.1, 0.4], [0.1, 0.6]])
    assert float(found.standard_deviation[0]) == 0.0
    assert np.isnan(found.signal_to_noise[0])
    assert float(found.signal_to_noise[1]) == pytest.approx(2.0)
    assert np.isnan(seed_variance([0.5]).standard_deviation)


def test_rank_stability_gives_the_printed_values():
    assert float(monotonicity([0.21, 0.25, 0.24, 0.30, 0.33])) == pytest.approx(0.8)
    base, tuned = [0.30, 0.42, 0.38, 0.55], [0.50, 0.61, 0.64, 0.70]
    found = ranking_agreement(np.transpose([base, tuned]))
    np.testing.assert_allclose(found, [[1, 2 / 3], [2 / 3, 1]])
    assert float(monotonicity([0.1, 0.1, 0.2, 0.3])) == pytest.approx(0.912871, abs=1e-6)


def test_a_constant_score_has_no_order():
    assert np.isnan(monotonicity([0.5, 0.5, 0.5]))
    assert monotonicity([[1, 2, 3], [3, 2, 1]]).tolist() == [1.0, -1.0]


def test_systems_without_a_score_are_left_out_of_that_budget():
    table = np.array([[1, 2], [2, 3], [3, np.nan], [4, 1]])
    found = ranking_agreement(table)
    assert found[0, 1] == pytest.approx(kendalltau([1, 2, 4], [2, 3, 1]).statistic)
    assert found[0, 0] == 1.0


def test_many_questions_rank_alike_and_few_do_not():
    rng = np.random.default_rng(0)
    skill = np.linspace(0.3, 0.7, 6)[:, None]
    many = split_half_agreement(rng.random((6, 4000)) < skill)
    few = split_half_agreement(rng.random((6, 20)) < skill)
    assert float(many.value) > 0.9 > 0.8 > float(few.value)
    assert many.low <= many.value <= many.high


def test_item_curves_give_the_printed_values():
    assert float(success_curve(0.0, 1.2, 0.5)) == pytest.approx(0.354344, abs=1e-6)
    assert float(item_information(0.5, 1.2, 0.5)) == pytest.approx(0.36)


def test_information_is_the_variance_of_the_slope_of_the_likelihood():
    theta, a, b, step = 0.3, 1.7, -0.4, 1e-5
    slope = (success_curve(theta + step, a, b) - success_curve(theta - step, a, b)) / (2 * step)
    p = float(success_curve(theta, a, b))
    assert float(item_information(theta, a, b)) == pytest.approx(slope**2 / (p * (1 - p)))


def test_item_rest_correlation_gives_the_printed_value():
    correct, totals = np.array([1, 0, 1, 1, 0, 0]), np.array([9, 4, 8, 7, 5, 3])
    found = point_biserial(correct, totals - correct)
    assert float(found) == pytest.approx(0.878310, abs=1e-6)
    assert float(found) == pytest.approx(pointbiserialr(correct, totals - correct).statistic)


def test_item_rest_correlation_leaves_the_item_out_of_the_total():
    rng = np.random.default_rng(1)
    table = (rng.random((12, 5)) < rng.random((12, 1))).astype(float)
    table[:, 4] = 1.0
    rest = table.sum(axis=1, keepdims=True) - table
    expected = [pearsonr(table[:, i], rest[:, i]).statistic for i in range(4)]
    found = item_rest_correlation(table)
    np.testing.assert_allclose(found[:4], expected)
    assert np.isnan(found[4])


def test_a_wrong_label_shows_as_a_negative_correlation():
    rng = np.random.default_rng(2)
    skill = np.linspace(0.1, 0.9, 60)[:, None]
    table = (rng.random((60, 30)) < skill).astype(float)
    table[:, 7] = 1 - table[:, 7]
    assert int(np.argmin(item_rest_correlation(table))) == 7
    assert item_rest_correlation(table)[7] < 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: seed_variance([]),
        lambda: ranking_agreement([1, 2]),
        lambda: split_half_agreement([[1, 0]]),
        lambda: split_half_agreement([[1, np.nan], [0, 1]]),
        lambda: item_rest_correlation([[1, np.nan]]),
        lambda: point_biserial([1, 0], [1]),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

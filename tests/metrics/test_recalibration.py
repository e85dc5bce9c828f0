"""Recalibration maps: printed oracles, independent libraries, and leaks that must not happen."""

import calibration as peer
import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import logit
from sklearn.isotonic import IsotonicRegression

from dwell.errors import UsageError
from dwell.metrics import (
    brier_score,
    calibration_error,
    cross_fitted,
    fit_isotonic,
    fit_platt,
    fit_scaling_binning,
    fit_temperature,
)

P = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
Y = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]
FITS = [fit_platt, fit_temperature, fit_scaling_binning, fit_isotonic]


def overconfident(num, seed=0):
    rng = np.random.default_rng(seed)
    odds = rng.normal(0.3, 1.0, num)
    return 1 / (1 + np.exp(-3 * odds)), (rng.random(num) < 1 / (1 + np.exp(-odds))).astype(float)


def test_platt_and_temperature_give_the_printed_values():
    platt = fit_platt(P, Y)
    assert platt.slope == pytest.approx(1.280611, abs=1e-6)
    assert platt.intercept == pytest.approx(0.222744, abs=1e-6)
    np.testing.assert_allclose(platt.apply([0.1, 0.95]), [0.0697, 0.9819], atol=1e-4)
    assert fit_temperature(P, Y).temperature == pytest.approx(0.775614, abs=1e-6)


def test_platt_is_logistic_regression():
    p, y = overconfident(500)
    fitted = sm.Logit(y, sm.add_constant(logit(p))).fit(disp=0)
    found = fit_platt(p, y)
    np.testing.assert_allclose([found.intercept, found.slope], fitted.params, rtol=1e-6)
    through_zero = sm.Logit(y, logit(p)).fit(disp=0)
    assert fit_temperature(p, y).slope == pytest.approx(through_zero.params[0], rel=1e-6)


def test_temperature_of_an_overconfident_source_is_above_one():
    assert fit_temperature(*overconfident(4000)).temperature == pytest.approx(3, rel=0.15)


def test_scaling_binning_gives_the_printed_values():
    found = fit_scaling_binning(P, Y, num_bins=2)
    np.testing.assert_allclose(found.values, [0.3030, 0.8968], atol=1e-3)


def test_scaling_binning_agrees_with_uncertainty_calibration():
    p, y = overconfident(600)
    library = peer.PlattBinnerCalibrator(600, num_bins=10)
    library.train_calibration(p, y.astype(int))
    ours = fit_scaling_binning(p, y, num_bins=10).apply(p)
    np.testing.assert_allclose(ours, library.calibrate(p), atol=2e-3)
    assert len(np.unique(ours)) == 10


def test_isotonic_is_that_of_scikit_learn():
    p, y = overconfident(300)
    expected = IsotonicRegression(out_of_bounds="clip").fit(p, y).predict(np.linspace(0, 1, 51))
    np.testing.assert_allclose(fit_isotonic(p, y).apply(np.linspace(0, 1, 51)), expected)


@pytest.mark.parametrize("fit", FITS)
def test_every_map_mends_an_overconfident_source_on_new_problems(fit):
    p, y = overconfident(3000)
    mapped = cross_fitted(fit, p, y, np.arange(3000) // 3)
    assert calibration_error(mapped, y) < calibration_error(p, y) / 2
    assert brier_score(mapped, y) < brier_score(p, y)


@pytest.mark.parametrize("fit", FITS)
def test_every_map_keeps_missing_missing_and_shape(fit):
    mapped = fit(P, Y).apply([[0.2, np.nan], [0.0, 1.0]])
    assert np.isnan(mapped).tolist() == [[False, True], [False, False]]
    assert np.all((mapped[~np.isnan(mapped)] >= 0) & (mapped[~np.isnan(mapped)] <= 1))


def test_all_right_is_the_smoothed_base_rate_and_says_so():
    for fit in (fit_platt, fit_temperature):
        found = fit([0.2, 0.8, 0.9], [1, 1, 1])
        assert found.status == "constant"
        np.testing.assert_allclose(found.apply([0.1, 0.9]), 4 / 5)


def test_separable_pairs_keep_a_finite_slope_and_say_so():
    found = fit_platt([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert found.status == "separable"
    assert 1 < found.slope < 100
    np.testing.assert_allclose(found.apply([0.1, 0.9]), [0, 1], atol=0.01)


def test_confidence_that_ranks_wrongly_is_flattened_by_temperature():
    found = fit_temperature([0.9, 0.8, 0.2, 0.1, 0.6], [0, 0, 1, 1, 1])
    assert found.temperature == np.inf
    np.testing.assert_allclose(found.apply([0.1, 0.9]), 0.5)


def test_folds_keep_problems_together():
    """Confidence names the problem: only a leak could make it useful."""
    rng = np.random.default_rng(0)
    problems = np.repeat(np.arange(200), 20)
    p = ((problems * 37 + 11) % 200 / 200).astype(float)
    y = np.repeat(rng.integers(0, 2, 200), 20).astype(float)
    honest = brier_score(cross_fitted(fit_isotonic, p, y, problems), y)
    leaking = brier_score(cross_fitted(fit_isotonic, p, y, np.arange(len(p))), y)
    assert honest > 0.24
    assert leaking <= honest


@pytest.mark.parametrize(
    "call",
    [
        lambda: fit_platt([], []),
        lambda: fit_isotonic([np.nan], [1]),
        lambda: fit_scaling_binning(P, Y, num_bins=0),
        lambda: fit_platt(P, Y).apply([2.0]),
        lambda: cross_fitted(fit_platt, P, Y, [0] * 10),
        lambda: cross_fitted(fit_platt, P, Y, [0, 1], num_folds=2),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

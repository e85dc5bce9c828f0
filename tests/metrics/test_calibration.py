"""Calibration errors and proper scores: printed oracles and independent libraries."""

import calibration as peer
import numpy as np
import pytest
from mapie.metrics.calibration import expected_calibration_error
from sklearn import metrics as sk

from dwell.errors import UsageError
from dwell.metrics import (
    brier_parts,
    brier_score,
    brier_skill,
    calibration_error,
    calibration_interval,
    debiased_calibration_error,
    log_loss,
    reliability_bins,
    resample_problems,
)

P = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
Y = [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]


def pairs(num=2000, seed=0):
    """Uniform confidences whose true rate is p^1.5: root mean square error 0.109630."""
    rng = np.random.default_rng(seed)
    p = rng.random(num)
    return p, (rng.random(num) < p**1.5).astype(int)


@pytest.mark.parametrize("scheme", ["mass", "width"])
def test_calibration_error_gives_the_printed_value(scheme):
    assert calibration_error(P, Y, num_bins=5, scheme=scheme) == pytest.approx(0.155)


def test_squared_errors_give_the_printed_values():
    assert calibration_error(P, Y, norm=2, num_bins=5) == pytest.approx(0.161632, abs=1e-6)
    bins = reliability_bins(P, Y, num_bins=5)
    noise = bins.accuracy * (1 - bins.accuracy) / (bins.count - 1)
    square = np.mean((bins.confidence - bins.accuracy) ** 2 - noise)
    assert square == pytest.approx(-0.073875, abs=1e-6)
    assert debiased_calibration_error(P, Y, num_bins=5) == 0.0


def test_largest_error_is_the_worst_bin():
    bins = reliability_bins(P, Y, num_bins=5)
    worst = np.abs(bins.confidence - bins.accuracy).max()
    assert calibration_error(P, Y, norm=np.inf, num_bins=5) == pytest.approx(worst)


@pytest.mark.parametrize("bins", [5, 15])
def test_errors_agree_with_uncertainty_calibration(bins):
    p, y = pairs()
    options = {"num_bins": bins, "binning_scheme": peer.utils.get_equal_bins, "debias": False}
    for norm in (1, 2):
        expected = peer.lower_bound_scaling_ce(p, y, p=norm, **options)
        assert calibration_error(p, y, norm=norm, num_bins=bins) == pytest.approx(expected)
    wide = peer.lower_bound_scaling_ce(
        p, y, p=1, debias=False, num_bins=bins, binning_scheme=peer.utils.get_equal_prob_bins
    )
    assert calibration_error(p, y, num_bins=bins, scheme="width") == pytest.approx(wide)
    debiased = peer.lower_bound_scaling_ce(p, y, p=2, num_bins=bins)
    assert debiased_calibration_error(p, y, num_bins=bins) == pytest.approx(debiased)


def test_equal_width_error_agrees_with_mapie():
    p, y = pairs()
    expected = expected_calibration_error(y, p, num_bins=10, split_strategy="uniform")
    assert calibration_error(p, y, num_bins=10, scheme="width") == pytest.approx(expected)


def test_debiasing_finds_the_true_error_on_average():
    plug_in, debiased, first = [], [], []
    for seed in range(200):
        p, y = pairs(400, seed)
        plug_in.append(calibration_error(p, y, norm=2, num_bins=40) ** 2)
        debiased.append(debiased_calibration_error(p, y, num_bins=40) ** 2)
        first.append(debiased_calibration_error(p, y, norm=1, num_bins=40, num_resamples=50))
    error = 4 * np.std(debiased) / np.sqrt(200)
    assert np.mean(debiased) == pytest.approx(0.109630**2, abs=error)
    assert np.mean(plug_in) > 0.109630**2 + error
    assert np.mean(first) < np.mean(
        [calibration_error(*pairs(400, s), num_bins=40) for s in range(9)]
    )


def test_debiased_error_of_norm_1_agrees_with_uncertainty_calibration():
    p, y = pairs()
    np.random.default_rng(0)
    expected = peer.lower_bound_scaling_ce(p, y, p=1, num_bins=15)
    found = debiased_calibration_error(p, y, norm=1, num_bins=15)
    assert found == pytest.approx(expected, abs=2e-3)


def test_equal_confidences_share_a_bin():
    bins = reliability_bins([0.5] * 10 + [0.9], [1] * 11, num_bins=4)
    assert bins.count.tolist() == [10, 1]


def test_interval_is_reflected_and_covers():
    hits, outside = 0, 0
    for seed in range(60):
        p, y = pairs(600, seed)
        interval = calibration_interval(
            p, y, resample_problems(600, num_resamples=200), num_bins=8
        )
        hits += interval.low <= 0.1 <= interval.high  # mean |p - p^1.5| = 1/2 - 2/5
        outside += not interval.low <= interval.value <= interval.high
    assert hits >= 60 * (0.9 - 4 * np.sqrt(0.09 / 60))
    assert outside <= 6


def test_pairs_without_a_grade_are_left_out():
    assert brier_score([0.5, np.nan, 0.9], [1, 1, np.nan]) == 0.25
    assert np.isnan(brier_score([np.nan], [1]))
    assert np.isnan(calibration_error([], []))
    assert np.isnan(debiased_calibration_error([], []))
    assert np.isnan(brier_parts([], []).reliability)


def test_scores_give_the_printed_values():
    assert brier_score(P, Y) == pytest.approx(0.13725)
    assert brier_skill(P, Y) == pytest.approx(0.428125)
    assert log_loss(P, Y) == pytest.approx(0.420689, abs=1e-6)


def test_scores_agree_with_scikit_learn():
    p, y = pairs()
    assert brier_score(p, y) == pytest.approx(sk.brier_score_loss(y, p))
    assert log_loss(p, y) == pytest.approx(sk.log_loss(y, p))
    assert brier_skill(p, y) == pytest.approx(sk.d2_brier_score(y, p))


def test_a_certain_error_is_infinitely_bad():
    assert log_loss([1.0], [0]) == np.inf
    assert log_loss([1.0, 0.0], [1, 0]) == 0.0


def test_skill_needs_something_to_tell_apart():
    assert np.isnan(brier_skill([0.9, 0.8], [1, 1]))
    assert brier_skill([0.5, 0.5], [1, 0]) == 0.0


def test_decomposition_gives_the_printed_values():
    p, y = [0.2] * 5 + [0.8] * 5, [0, 0, 1, 0, 1, 1, 1, 1, 0, 1]
    parts = brier_parts(p, y)
    values = (parts.reliability, parts.resolution, parts.uncertainty)
    np.testing.assert_allclose(values, [0.02, 0.04, 0.24])
    assert brier_score(p, y) == pytest.approx(0.22)


def test_decomposition_adds_up_for_soft_labels_too():
    rng = np.random.default_rng(0)
    p, y = rng.integers(0, 5, 300) / 4, rng.random(300)
    parts = brier_parts(p, y)
    total = parts.reliability - parts.resolution + parts.uncertainty
    assert total == pytest.approx(brier_score(p, y))


@pytest.mark.parametrize(
    "call",
    [
        lambda: calibration_error([1.2], [1]),
        lambda: calibration_error([0.5], [2]),
        lambda: calibration_error([0.5, 0.5], [1]),
        lambda: calibration_error(P, Y, norm=0.5),
        lambda: calibration_error(P, Y, num_bins=0),
        lambda: reliability_bins(P, Y, scheme="other"),
        lambda: debiased_calibration_error(P, Y, norm=1, num_bins=10),
        lambda: calibration_interval(P, Y, resample_problems(9)),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

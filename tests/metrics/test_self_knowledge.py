"""Probes of a model about its own answers: printed oracles and limits."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import log_loss as sk_log_loss

from dwell.errors import UsageError
from dwell.metrics import (
    asked_often,
    brier_score,
    brier_skill,
    log_loss,
    monitoring_profile,
    p_true,
    score_p_ik,
    type2_sensitivity,
    withdraw_delta,
)


def test_p_true_gives_the_printed_values():
    assert float(p_true(np.log(0.72), np.log(0.18))) == pytest.approx(0.8)
    assert float(asked_often(7, 10)) == pytest.approx(2 / 3)
    assert float(asked_often(0, 0)) == 0.5


def test_p_ik_scores_are_those_of_all_draws():
    rng = np.random.default_rng(0)
    p, c = rng.random(40), rng.integers(0, 6, 40)
    draws = np.concatenate([[1] * k + [0] * (5 - k) for k in c])
    confidence = np.repeat(p, 5)
    found = score_p_ik(p, c, 5)
    assert found.brier == pytest.approx(brier_score(confidence, draws))
    assert found.skill == pytest.approx(brier_skill(confidence, draws))
    assert found.cross_entropy == pytest.approx(log_loss(confidence, draws))
    assert found.cross_entropy == pytest.approx(sk_log_loss(draws, confidence))


def test_p_ik_of_equal_questions_tells_nothing():
    found = score_p_ik([0.5, 0.5], [3, 3], 3)
    assert np.isnan(found.skill)
    assert np.isnan(found.auroc)


def probes():
    return [1] * 45 + [0] * 5 + [1] * 12 + [0] * 18, [1] * 50 + [0] * 30


def test_withdraw_delta_gives_the_printed_values():
    delta = withdraw_delta(*probes())
    values = [float(x) for x in (delta.points.value, delta.points.low, delta.points.high)]
    np.testing.assert_allclose(values, [50, 30.6, 69.4], atol=0.05)
    assert (delta.keep_right, delta.keep_wrong, delta.unparsed) == (0.9, 0.4, 0.0)


def test_unreadable_probes_count_as_not_kept():
    delta = withdraw_delta([1, np.nan, 0, 0], [1, 1, 0, 0])
    assert (delta.keep_right, delta.unparsed) == (0.5, 0.25)


def test_withdraw_delta_needs_both_kinds_of_answers():
    delta = withdraw_delta([1, 0], [1, 1])
    assert np.isnan(delta.points.value)
    assert np.isnan(delta.points.low)


def test_profiles_follow_the_cut_offs():
    cases = [(0.96, 30, "blanket confidence"), (0.1, 30, "blanket withdrawal")]
    cases += [(0.5, 15, "selective"), (0.5, 14, "none")]
    for keep, points, name in cases:
        assert monitoring_profile(keep, points) == name


def test_type2_sensitivity_gives_the_printed_values():
    raw = type2_sensitivity(45, 50, 12, 30, corrected=False)
    assert raw.sensitivity == pytest.approx(1.534899, abs=1e-6)
    found = type2_sensitivity(45, 50, 12, 30)
    assert found.sensitivity == pytest.approx(1.483087, abs=1e-6)
    assert found.criterion == pytest.approx(-0.496537, abs=1e-6)


def test_type2_sensitivity_recovers_that_of_normal_evidence():
    hit, alarm = norm.sf(0.3 - 1.2), norm.sf(0.3)
    found = type2_sensitivity(round(1e6 * hit), 10**6, round(1e6 * alarm), 10**6)
    assert found.sensitivity == pytest.approx(1.2, abs=1e-3)
    assert found.criterion == pytest.approx(0.3 - 0.6, abs=1e-3)


def test_the_correction_keeps_full_cells_finite():
    assert np.isfinite(type2_sensitivity(10, 10, 0, 10).sensitivity)
    assert np.isnan(type2_sensitivity(0, 0, 1, 2, corrected=False).sensitivity)


@pytest.mark.parametrize(
    "call",
    [
        lambda: asked_often(3, 2),
        lambda: score_p_ik([0.5], [3], 2),
        lambda: score_p_ik([np.nan], [1], 2),
        lambda: withdraw_delta([0.5], [1]),
        lambda: withdraw_delta([1], [np.nan]),
        lambda: type2_sensitivity(3, 2, 0, 1),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

"""Each law's formula, derivatives, limits and saturation point."""

import numpy as np
import pytest
from scipy.special import betaln

from dwell.laws import LAWS, fit
from dwell.laws.base import last_gain_above

PARAMS = {
    "best_of": [0.8, 0.4, 0.7, 3.0],
    "coverage": [-1.6, -0.35],
    "overoptimisation": [0.4, 0.3, 0.12],
    "power": [0.8, 0.4, 0.5],
    "ttspm": [0.8, 0.3],
    "vote": [0.9, 0.5, 4.0],
}
K = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])


def curve(name, k=K):
    return LAWS[name].function(np.asarray(k, float), np.array(PARAMS[name]))


def test_every_law_is_tried():
    assert set(PARAMS) == set(LAWS)


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_jacobian_is_the_derivative(name):
    law, params = LAWS[name], np.array(PARAMS[name])
    steps = 1e-6 * np.eye(len(params))
    ahead, behind = law.function(K, params + steps), law.function(K, params - steps)
    slopes = np.moveaxis((ahead - behind) / 2e-6, 0, -1)
    np.testing.assert_allclose(law.jacobian(K, params), slopes, atol=1e-8)


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_laws_serve_many_parameters_at_once(name):
    law, params = LAWS[name], np.array(PARAMS[name])
    many = law.function(K, np.tile(params, (3, 2, 1)))
    assert many.shape == (3, 2, len(K))
    np.testing.assert_allclose(many[2, 1], curve(name))
    own_budgets = law.function(np.stack([K, K + 1]), np.tile(params, (2, 1)))
    np.testing.assert_allclose(own_budgets[1], curve(name, K + 1))


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_noise_free_parameters_are_recovered(name):
    fitted = fit(name, K, curve(name), standard_errors=np.full(len(K), 0.01))
    np.testing.assert_allclose(fitted.params, PARAMS[name], rtol=1e-6)
    assert fitted.holdout.max_error < 1e-9


@pytest.mark.parametrize("name", sorted(set(PARAMS) - {"overoptimisation"}))
def test_asymptote_is_the_limit_of_the_curve(name):
    law, params = LAWS[name], np.array(PARAMS[name])
    far = float(law.function(np.array([1e14]), params)[0])
    assert far == pytest.approx(float(law.asymptote(params)), abs=1e-4)


@pytest.mark.parametrize("name", sorted(PARAMS))
@pytest.mark.parametrize("eps", [0.05, 0.01, 0.0007])
def test_beyond_the_saturation_point_no_draw_adds_more_than_eps(name, eps):
    law, params = LAWS[name], np.array([PARAMS[name]])
    rule = law.saturation or (lambda p, e: last_gain_above(law.function, p, e, law.first_budget))
    point = int(rule(params, eps)[0])
    budgets = np.arange(law.first_budget, 20_000.0)
    gains = np.diff(law.function(budgets, params[0]))
    beyond = gains[point - law.first_budget :]
    assert np.all(beyond <= eps)
    if point > law.first_budget:
        assert gains[point - law.first_budget - 1] > eps


def test_coverage_gives_the_printed_values():
    expected = [0.201897, 0.489342, 0.726700, 0.867101]
    np.testing.assert_allclose(curve("coverage", [1, 10, 100, 1000]), expected, atol=1e-6)


def test_mixed_success_rates_leave_a_power_law_of_misses():
    """Why coverage is not exponential: success rates from Beta(0.4, 1.2)."""
    k = np.array([1.0, 10, 100, 1000])
    miss = np.exp(betaln(0.4, 1.2 + k) - betaln(0.4, 1.2))
    np.testing.assert_allclose(1 - miss, [0.25, 0.625753, 0.846318, 0.938621], atol=1e-6)
    assert np.log10(miss[3] / miss[2]) == pytest.approx(-0.3986, abs=1e-4)


def test_plateau_gives_the_printed_values():
    expected = [0.24, 0.408, 0.60792, 0.753882, 0.797341]
    np.testing.assert_allclose(curve("ttspm", [1, 2, 4, 8, 16]), expected, atol=1e-6)
    gains = np.diff(curve("ttspm", [8, 9, 10]))
    np.testing.assert_allclose(gains, [0.013836, 0.009685], atol=1e-6)
    share = float(curve("ttspm", [8.399])[0])
    assert share == pytest.approx(0.95 * 0.8, abs=1e-4)


def test_plateau_saturates_at_the_printed_budget():
    rule = LAWS["ttspm"].saturation
    assert rule(np.array([[0.8, 0.3]]), 0.01).tolist() == [9.0]
    assert rule(np.array([[0.8, 0.01], [0.0, 0.5]]), 0.01).tolist() == [0.0, 0.0]
    raw = np.log(0.01 / 0.24) / np.log(0.7)
    assert raw == pytest.approx(8.9102, abs=1e-4)


def test_closed_and_searched_saturation_points_agree():
    rng = np.random.default_rng(0)
    params = np.stack([rng.uniform(0.1, 1, 200), rng.uniform(0.002, 0.98, 200)], axis=1)
    law = LAWS["ttspm"]
    searched = last_gain_above(law.function, params, 0.004, 0)
    np.testing.assert_array_equal(law.saturation(params, 0.004), searched)


def test_the_second_vote_adds_nothing():
    first, second, third = curve("vote", [1, 2, 3])
    assert first == second == pytest.approx(0.5)
    assert third > second


def test_overoptimisation_rises_and_falls():
    values = curve("overoptimisation", [1, 4, 64, 4096])
    assert values[1] > values[0]
    assert values[3] < values[2]
    assert np.isnan(LAWS["overoptimisation"].asymptote(np.array(PARAMS["overoptimisation"])))

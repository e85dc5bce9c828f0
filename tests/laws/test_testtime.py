"""Each test-time law's formula, limits and saturation point."""

import numpy as np
import pytest
from scipy.special import betaln

from dwell.laws import LAWS, fit_curve
from dwell.laws.answers import last_gain_above
from dwell.laws.declaration import namespace

PARAMS = {
    "best_of": [0.8, 0.4, 0.7, 3.0],
    "coverage": [-1.6, -0.35],
    "imperfect_verifier": [0.7, 0.2],
    "overoptimisation": [0.4, 0.3, 0.12],
    "power": [0.8, 0.4, 0.5],
    "ttspm": [0.8, 0.3],
    "vote": [0.9, 0.5, 4.0],
    "vote_margin": [0.85, 0.4, 0.4],
}
K = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])


def named(name):
    return dict(zip(LAWS[name].params, PARAMS[name], strict=True))


def curve(name, k=K):
    return LAWS[name].evaluate({"k": np.asarray(k, float)}, named(name))


def many(name):
    """The law as a function of budgets `[K]` and parameters `[R, S]`."""
    law = LAWS[name]

    def function(k, rows):
        p = namespace({n: rows[:, [i]] for i, n in enumerate(law.params)})
        return np.asarray(law.predict(namespace({"k": k}), p)) + np.zeros((len(rows), len(k)))

    return function


def closed(name, params, eps):
    rows = np.atleast_2d(params)
    p = namespace({n: rows[:, i] for i, n in enumerate(LAWS[name].params)})
    return LAWS[name].saturation(p, eps)


def test_every_law_of_draws_is_tried():
    assert set(PARAMS) == {name for name, law in LAWS.items() if law.inputs == ("k",)}


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_noise_free_parameters_are_recovered(name):
    fitted = fit_curve(name, K, curve(name), standard_errors=np.full(len(K), 0.01))
    np.testing.assert_allclose(fitted.fit.values, PARAMS[name], rtol=1e-6)
    assert fitted.holdout.max_error < 1e-9


@pytest.mark.parametrize("name", sorted(set(PARAMS) - {"overoptimisation"}))
def test_asymptote_is_the_limit_of_the_curve(name):
    fitted = fit_curve(name, K, curve(name), standard_errors=np.full(len(K), 0.01))
    far = float(curve(name, [1e14])[0])
    assert far == pytest.approx(fitted.asymptote().value, abs=1e-4)


@pytest.mark.parametrize("name", sorted(PARAMS))
@pytest.mark.parametrize("eps", [0.05, 0.01, 0.0007])
def test_beyond_the_saturation_point_no_draw_adds_more_than_eps(name, eps):
    law, params = LAWS[name], np.array([PARAMS[name]])
    first = int(law.first)
    if law.saturation:
        point = int(closed(name, params, eps)[0])
    else:
        point = int(last_gain_above(many(name), params, eps, first)[0])
    gains = np.diff(curve(name, np.arange(first, 20_000.0)))
    assert np.all(gains[point - first :] <= eps)
    if point > first:
        assert gains[point - first - 1] > eps


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
    assert closed("ttspm", [[0.8, 0.3]], 0.01).tolist() == [9.0]
    assert closed("ttspm", [[0.8, 0.01], [0.0, 0.5]], 0.01).tolist() == [0.0, 0.0]
    raw = np.log(0.01 / 0.24) / np.log(0.7)
    assert raw == pytest.approx(8.9102, abs=1e-4)


def test_closed_and_searched_saturation_points_agree():
    rng = np.random.default_rng(0)
    params = np.stack([rng.uniform(0.1, 1, 200), rng.uniform(0.002, 0.98, 200)], axis=1)
    searched = last_gain_above(many("ttspm"), params, 0.004, 0)
    np.testing.assert_array_equal(closed("ttspm", params, 0.004), searched)


def test_the_second_vote_adds_nothing():
    first, second, third = curve("vote", [1, 2, 3])
    assert first == second == pytest.approx(0.5)
    assert third > second


def test_overoptimisation_rises_and_falls():
    values = curve("overoptimisation", [1, 4, 64, 4096])
    assert values[1] > values[0]
    assert values[3] < values[2]
    fitted = fit_curve("overoptimisation", K, curve("overoptimisation"),
                       standard_errors=np.full(len(K), 0.01))  # fmt: skip
    assert np.isnan(fitted.asymptote().value)

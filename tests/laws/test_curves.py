"""Fits: the solver, bands from resampled problems, held-out checks, verdicts, refusals."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from dwell.errors import UsageError
from dwell.laws import LAWS, choose, fit_curve

K = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
TRUTH = {
    "coverage": [-1.6, -0.35],
    "power": [0.8, 0.4, 0.5],
    "ttspm": [0.8, 0.3],
    "vote": [0.9, 0.5, 4.0],
}


def curve_of(name, params):
    """A law on the budgets for parameters in their order."""
    return LAWS[name].evaluate({"k": K}, dict(zip(LAWS[name].params, params, strict=True)))


def outcomes(name, num_problems, rng, params=None):
    """0/1 values of problems whose mean follows the law exactly, nested over budgets.

    Each problem has its own threshold and is solved once the curve passes it, so budgets are as
    strongly correlated as they are in a study.
    """
    curve = curve_of(name, TRUTH[name] if params is None else params)
    return (rng.random((num_problems, 1)) <= curve).astype(float)


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_solver_finds_the_optimum_of_scipy(name):
    law = LAWS[name]
    values = outcomes(name, 200, np.random.default_rng(1)).mean(axis=0)
    fitted = law.fit({"k": K, "accuracy": values})
    reference = least_squares(
        lambda p: curve_of(name, p) - values,
        TRUTH[name],
        bounds=list(zip(*((p.lower, p.upper) for p in law.params.values()), strict=True)),
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        x_scale="jac",
    )
    assert fitted.objective.value <= reference.cost * (1 + 1e-8)
    np.testing.assert_allclose(fitted.values, reference.x, rtol=1e-3)


def test_fit_uses_the_smaller_budgets_only():
    values = outcomes("coverage", 300, np.random.default_rng(2))
    fitted = fit_curve("coverage", K, values)
    assert fitted.k.tolist() == [1, 2, 4, 8, 16]
    assert fitted.holdout.k.tolist() == [32, 64]
    changed = values.copy()
    changed[:, 5:] = 0
    assert fit_curve("coverage", K, changed).params == fitted.params


def test_holdout_reports_its_error():
    values = outcomes("ttspm", 300, np.random.default_rng(3))
    check = fit_curve("ttspm", K, values, holdout_from=16).holdout
    error = values.mean(axis=0)[4:] - check.predicted
    assert check.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert check.max_error == pytest.approx(np.abs(error).max())
    assert np.all(
        check.in_band == ((check.low <= check.observed) & (check.observed <= check.high))
    )


def test_a_wrong_law_fails_its_check():
    values = outcomes("coverage", 2000, np.random.default_rng(4))
    check = fit_curve("ttspm", K, values).holdout
    assert not check.in_band.any()
    assert not check.explained.any()
    assert check.rmse > 0.05


def test_order_of_budgets_and_problems_does_not_matter():
    values = outcomes("vote", 200, np.random.default_rng(5))
    fitted = fit_curve("vote", K, values)
    turned = fit_curve("vote", K[::-1], values[::-1, ::-1])
    np.testing.assert_allclose(turned.fit.values, fitted.fit.values, rtol=1e-6)


def test_fit_is_a_function_of_its_arguments():
    values = outcomes("power", 100, np.random.default_rng(6))
    first, again = fit_curve("power", K, values, seed=1), fit_curve("power", K, values, seed=1)
    np.testing.assert_array_equal(first.samples, again.samples)
    weights = np.random.default_rng(0).multinomial(100, np.full(100, 0.01), size=30)
    assert fit_curve("power", K, values, resamples=weights).samples.shape == (30, 3)


def test_samples_are_refits_of_resampled_problems():
    values = outcomes("ttspm", 150, np.random.default_rng(7))
    weights = np.zeros((2, 150))
    weights[0], weights[1, :75] = 1, 2
    fitted = fit_curve("ttspm", K, values, resamples=weights)
    np.testing.assert_allclose(fitted.samples[0], fitted.fit.values, rtol=1e-6)
    half = fit_curve("ttspm", K, values[:75])
    # Weights of the budgets differ a little between the two, the targets do not.
    np.testing.assert_allclose(fitted.samples[1], half.fit.values, rtol=0.05)


def test_prediction_band_holds_its_curve_and_widens_with_level():
    values = outcomes("vote", 200, np.random.default_rng(8))
    fitted = fit_curve("vote", K, values)
    wide, narrow = fitted.predict([3, 100], level=0.99), fitted.predict([3, 100], level=0.5)
    assert np.all(wide.low < narrow.low)
    assert np.all(narrow.high < wide.high)
    assert np.all((wide.low <= wide.value) & (wide.value <= wide.high))


def test_saturation_and_asymptote_have_intervals():
    fitted = fit_curve("ttspm", K, outcomes("ttspm", 400, np.random.default_rng(9)))
    point = fitted.saturation(0.01)
    assert point.low <= point.value <= point.high
    assert point.low >= 7
    assert point.high <= 12
    top = fitted.asymptote()
    assert top.low < 0.8 < top.high
    interval = fitted.interval("F_max")
    assert (interval.low, interval.high) == (top.low, top.high)
    assert fitted.params["F_max"] == top.value
    assert fitted.covariance.shape == (2, 2)


def test_means_with_standard_errors_are_enough():
    curve = curve_of("coverage", TRUTH["coverage"])
    narrow = fit_curve("coverage", K, curve, standard_errors=np.full(len(K), 0.001))
    wide = fit_curve("coverage", K, curve, standard_errors=np.full(len(K), 0.02))
    assert narrow.num_problems == 0
    ratio = np.sqrt(np.diag(wide.covariance) / np.diag(narrow.covariance))
    np.testing.assert_allclose(ratio, 20, rtol=0.2)


def test_means_alone_use_the_scatter_about_the_curve():
    curve = curve_of("ttspm", TRUTH["ttspm"])
    noisy = curve + 0.01 * np.array([1, -1, 1, -1, 1, -1, 1])
    fitted = fit_curve("ttspm", K, noisy, holdout_from=np.inf)
    assert fitted.holdout is None
    assert fitted.num_points == 7
    assert 0.005 < fitted.standard_errors[0] < 0.02


def test_choose_prefers_the_true_law():
    values = outcomes("coverage", 1500, np.random.default_rng(10))
    ranked = choose(["ttspm", "coverage"], K, values)
    assert [one.law.name for one in ranked] == ["coverage", "ttspm"]
    values = outcomes("ttspm", 1500, np.random.default_rng(11))
    assert choose(["coverage", "ttspm"], K, values)[0].law.name == "ttspm"


def test_choose_leaves_out_laws_with_too_many_parameters():
    values = outcomes("power", 200, np.random.default_rng(12))[:, :4]
    ranked = choose(["best_of", "power"], K[:4], values)
    assert [one.law.name for one in ranked] == ["power"]
    with pytest.raises(UsageError, match="best_of"):
        choose(["best_of"], K[:4], values)


def test_good_data_identify_the_law():
    fitted = fit_curve("coverage", K, outcomes("coverage", 1000, np.random.default_rng(13)))
    assert fitted.verdict == "identified"
    assert fitted.reasons == ()


def test_as_many_budgets_as_parameters_identify_it_weakly():
    fitted = fit_curve("power", K[:4], outcomes("power", 5000, np.random.default_rng(14))[:, :4])
    assert fitted.num_points == 3
    assert fitted.verdict != "identified"
    assert fitted.aicc == np.inf
    assert any("nothing is left" in reason for reason in fitted.reasons)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("name", ["coverage", "ttspm", "vote", "power", "best_of"])
def test_a_flat_curve_identifies_nothing_and_is_not_certain(name, value):
    fitted = fit_curve(name, K, np.full((25, len(K)), value))
    assert fitted.verdict == "not identified"
    band = fitted.predict([64])
    assert float(band.value[0]) == pytest.approx(value, abs=1e-3)
    assert float(band.high[0] - band.low[0]) > 0.1


def test_a_plateau_from_the_first_draw_has_no_rate():
    values = (np.arange(200) < 120).astype(float)[:, None] * np.ones(len(K))
    fitted = fit_curve("ttspm", K, values)
    assert fitted.verdict == "not identified"
    assert any(reason.startswith("p runs") for reason in fitted.reasons)


def test_few_problems_leave_the_ceiling_open():
    params = [0.9, 0.1, 0.15]
    values = outcomes("power", 20, np.random.default_rng(15), params)
    fitted = fit_curve("power", K, values)
    assert fitted.verdict != "identified"
    assert fitted.reasons


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_curve("nothing", K, np.zeros((3, 7))), "must be one of"),
        (lambda: fit_curve("vote", K[:3], np.zeros((5, 3))), "at least 4"),
        (lambda: fit_curve("vote", [1, 2, 2, 4], np.zeros((5, 4))), "different budgets"),
        (lambda: fit_curve("vote", [0, 1, 2, 4], np.zeros((5, 4))), "at least 1 draw"),
        (lambda: fit_curve("vote", K, np.zeros((5, 6))), "shapes"),
        (lambda: fit_curve("vote", K, np.zeros((1, 7))), "2 problems"),
        (lambda: fit_curve("vote", K, np.full((5, 7), np.nan)), "finite"),
        (lambda: fit_curve("vote", K, np.zeros((5, 7)), holdout_from=4), "holdout_from"),
        (lambda: fit_curve("vote", K, np.zeros((5, 7)), resamples=np.ones((9, 4))), "resamples"),
        (lambda: fit_curve("vote", K[:4], np.zeros(4)), "scatter"),
        (
            lambda: fit_curve("vote", K, np.zeros(7), standard_errors=np.zeros(7)),
            "standard_errors",
        ),
        (lambda: choose([], K, np.zeros((5, 7))), "at least one"),
    ],
)
def test_unusable_input_is_refused_in_words(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_unknown_parameters_and_tolerances_are_refused():
    fitted = fit_curve("ttspm", K, outcomes("ttspm", 50, np.random.default_rng(16)))
    with pytest.raises(UsageError):
        fitted.interval("q")
    with pytest.raises(UsageError):
        fitted.saturation(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TRUTH))
def test_band_covers_the_true_curve_about_as_often_as_it_says(name):
    rng = np.random.default_rng(17)
    true = curve_of(name, TRUTH[name])
    inside = []
    for repetition in range(100):
        fitted = fit_curve(name, K, outcomes(name, 300, rng), seed=repetition)
        band = fitted.predict(K)
        inside.append((band.low <= true) & (true <= band.high))
    covered = np.mean(inside, axis=0)
    # Percentile bands run a few points short where a parameter leans on its bound.
    error = np.sqrt(0.95 * 0.05 / 100)
    assert np.all(covered > 0.95 - 0.02 - 4 * error)

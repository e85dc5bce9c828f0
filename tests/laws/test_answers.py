"""Answers of fits: allocation, limits, inverses, crossings, comparison, the parabola method."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.laws import LAWS, candidates, compare, crossover, isoflop, parabolas
from dwell.laws.isoflop import grid_of_runs

TRUE = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}
EXPONENT = 0.37 / 0.72


def surface(noise=0.0, count=60):
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 10, count), 10 ** rng.uniform(9, 12, count)
    loss = LAWS["chinchilla"].evaluate({"N": n, "D": d}, TRUE)
    data = {"N": n, "D": d, "loss": loss * np.exp(noise * rng.standard_normal(count))}
    return LAWS["chinchilla"].fit(data)


def curve(law, noise=0.0, **params):
    x = np.geomspace(1, 1e6, 25)
    name = LAWS[law].inputs[0]
    y = LAWS[law].evaluate({name: x}, params)
    y = y * np.exp(noise * np.random.default_rng(1).standard_normal(25))
    return LAWS[law].fit({name: x, LAWS[law].target: y})


def test_allocation_is_the_closed_form_under_six_n_d():
    best = surface().allocate(5.76e23)
    scale = (0.35 * 480 / (0.37 * 2000)) ** (1 / 0.72)
    assert best.params.value == pytest.approx(scale * (5.76e23 / 6) ** EXPONENT, rel=1e-5)
    assert best.params.value * best.tokens.value * 6 == pytest.approx(5.76e23)
    assert best.params_exponent.value == pytest.approx(EXPONENT, abs=1e-5)
    assert best.tokens_exponent.value == pytest.approx(1 - EXPONENT, abs=1e-5)
    assert not best.at_bound
    assert not best.in_data


def test_allocation_counts_any_cost_and_its_interval_holds_the_value():
    fit = surface(noise=0.01)
    plain = fit.allocate(1e22)
    served = fit.allocate(1e22, cost=lambda n, d: 6 * n * d + 2 * n * 1e13)
    assert served.params.value < plain.params.value
    n, d = served.params.value, served.tokens.value
    assert 6 * n * d + 2 * n * 1e13 == pytest.approx(1e22, rel=1e-6)
    for nearby in (0.97 * n, 1.03 * n):
        tokens = (1e22 - 2 * nearby * 1e13) / (6 * nearby)
        there = fit.predict({"N": [nearby], "D": [tokens]}).value[0]
        assert there > served.loss.value
    assert plain.params.low < plain.params.value < plain.params.high


def test_allocation_within_bounds_stops_at_them():
    best = surface().allocate(1e22, bounds=(1.0, 1e8))
    assert best.at_bound
    assert best.params.value == pytest.approx(1e8, rel=1e-3)
    with pytest.raises(UsageError, match="law of N and D"):
        curve("m2", eps=1.0, beta=2.0, c=0.5).allocate(1e22)


def test_limits_of_a_surface_are_its_floor_and_what_is_left():
    fit = surface()
    assert fit.asymptote().value == pytest.approx(1.8, rel=1e-6)
    kept = fit.asymptote("N", at={"D": 1e11}).value
    assert kept == pytest.approx(1.8 + 2000 * 1e11**-0.37, rel=1e-6)
    with pytest.raises(UsageError, match="'D'"):
        fit.asymptote("N")


def test_inverse_is_where_the_law_reaches_the_target():
    fit = surface(noise=0.01)
    found = fit.invert(2.2, "D", at={"N": 1e10})
    assert fit.predict({"N": [1e10], "D": [found.value]}).value[0] == pytest.approx(2.2)
    assert found.low < found.value < found.high
    assert fit.invert(1.5, "D", at={"N": 1e10}).value == np.inf


def test_saturation_of_an_input_is_where_doubling_stops_to_pay():
    fit = curve("m2", eps=1.0, beta=2.0, c=0.5)
    point = fit.saturation(0.01, "x").value
    gain = np.diff(fit.predict({"x": [2 * point, point]}).value)[0]
    assert 0.009 < gain <= 0.01


def test_crossings_none_one_and_two():
    steep, flat = curve("m1", beta=8.0, c=0.5), curve("m1", beta=1.0, c=0.1)
    (one,) = crossover(steep, flat, "x")
    assert one.at.value == pytest.approx(8 ** (1 / 0.4), rel=1e-8)
    assert one.in_data
    assert one.first_leads_above
    assert crossover(steep, flat, "x", bounds=(1e4, 1e9)) == ()
    floor = curve("m2", eps=0.5, beta=8.0, c=0.5)
    assert len(crossover(floor, curve("m1", beta=4.0, c=0.15), "x", bounds=(1, 1e9))) == 2


def test_a_crossing_has_an_interval_and_the_share_of_samples_that_cross():
    first = curve("m1", noise=0.05, beta=8.0, c=0.5).bootstrap(100)
    second = curve("m1", noise=0.05, beta=1.0, c=0.1).bootstrap(100, seed=1)
    (one,) = crossover(first, second, "x")
    assert one.at.low < one.at.value < one.at.high
    assert one.share == 1.0


@pytest.mark.parametrize("criterion", ["aicc", "bic", "holdout"])
def test_comparison_puts_the_true_law_first(criterion):
    x = np.geomspace(1, 1e6, 40)
    y = (0.5 + 4 * x**-0.4) * np.exp(0.01 * np.random.default_rng(0).standard_normal(40))
    ranked = compare(["m1", "m2", "kaplan"], {"x": x, "loss": y}, criterion, holdout=x > 1e5)
    assert [fit.law.name for fit in ranked.fits] == ["m2", "m1"]
    assert "no column" in ranked.left_out["kaplan"]
    assert ranked.scores[0] <= ranked.scores[1]


def test_comparison_leaves_out_laws_with_hardly_more_distinct_rows_than_parameters():
    x = np.geomspace(1, 1e6, 4)
    y = 0.5 + 4 * x**-0.4
    twice = {"x": np.tile(x, 2), "loss": np.tile(y, 2) * np.repeat([0.99, 1.01], 4)}
    ranked = compare(["m1", "m2"], twice)  # m2 has 3 parameters: 4 of 5 distinct rows are there
    assert [fit.law.name for fit in ranked.fits] == ["m1"]
    assert "`m2` has 3 free parameters" in ranked.left_out["m2"]
    assert "4 distinct inputs; a comparison needs 5" in ranked.left_out["m2"]
    assert LAWS["m2"].fit(twice).num_free == 3
    fixed = compare(["m2"], twice, fixed={"c": 0.4}).fits[0]
    assert fixed.num_free == 2


def test_rows_held_out_or_without_weight_do_not_count_as_distinct():
    x = np.geomspace(1, 1e6, 8)
    data = {"x": x, "loss": (0.5 + 4 * x**-0.4) * (1 + 0.01 * np.cos(np.arange(8)))}
    assert "m2" not in compare(["m1", "m2"], data).left_out
    assert "m2" in compare(["m1", "m2"], data, holdout=x > x[3]).left_out
    assert "m2" in compare(["m1", "m2"], data, weights=(x <= x[3]).astype(float)).left_out


def test_candidates_use_all_mapped_columns():
    x = np.geomspace(1, 100, 8)
    data = {"params": x, "tokens": 3 * x, "error": 1 / x}
    both = {law.name for law, _ in candidates(data, {"N": "params", "D": "tokens"}, "error")}
    assert "chinchilla" in both
    assert "m1" not in both
    single = {law.name: x for law, x in candidates(data, {"C": "params"}, "error")}
    assert single["m1"] == {"x": "params"}


SURFACES = {
    "symmetric": {**TRUE, "alpha": 0.31, "beta": 0.31},
    "as Chinchilla": {**TRUE, "alpha": 0.34, "beta": 0.28},
    "asymmetric": {**TRUE, "alpha": 0.46, "beta": 0.20},
}


def parabola_errors(surface, width, shift):
    """Errors of the exponent and of ln N* at the middle budget; the surface fitted instead."""
    budgets, (alpha, beta) = np.geomspace(1e18, 1e21, 5), (surface["alpha"], surface["beta"])
    rows = grid_of_runs(surface, budgets, width=width, shift=shift)
    found = parabolas(*(rows.inputs[k] for k in ("N", "D", "C")), rows.target)
    exponent = beta / (alpha + beta)
    scale = (alpha * surface["A"] / (beta * surface["B"])) ** (1 / (alpha + beta))
    best = scale * (budgets[2] / 6) ** exponent
    fit = LAWS["chinchilla"].fit({**rows.inputs, "loss": rows.target})
    assert fit.params == pytest.approx(surface, rel=1e-6)
    return abs(found.params_exponent - exponent), abs(np.log(found.params[2] / best))


@pytest.mark.parametrize("name", ["as Chinchilla", "asymmetric"])
def test_wide_grids_of_an_asymmetric_surface_shift_the_parabolas_optimum(name):
    errors = [parabola_errors(SURFACES[name], width, 1.0) for width in (2.0, 4.0, 8.0, 16.0)]
    places = [place for _, place in errors]
    assert places == sorted(places)
    assert places[-1] > 0.05
    # All budgets are off alike, so the exponent is not.
    assert max(exponent for exponent, _ in errors) < 1e-9


def test_parabolas_are_exact_on_centred_grids_of_a_symmetric_surface():
    assert max(parabola_errors(SURFACES["symmetric"], 16.0, 1.0)) < 1e-9


@pytest.mark.parametrize("name", SURFACES)
def test_grids_that_drift_off_centre_bias_the_exponent_of_parabolas(name):
    drift = np.geomspace(1.0, 4.0, 5)
    for width in (2.0, 16.0):
        still, moved = (parabola_errors(SURFACES[name], width, by)[0] for by in (1.0, drift))
        assert still < 1e-9
        assert moved > 0.002


def test_isoflop_reports_vertices_and_the_bias_of_the_method():
    rows = grid_of_runs(TRUE, np.geomspace(1e18, 1e21, 5), width=6.0, shift=1.5)
    data = {"params": rows.inputs["N"], "tokens": rows.inputs["D"], "budget": rows.inputs["C"]}
    found = isoflop({**data, "loss": rows.target})
    assert found.surface_exponent == pytest.approx(EXPONENT, rel=1e-6)
    assert found.bias == pytest.approx(found.params_exponent - EXPONENT, abs=1e-6)
    assert not found.outside.any()
    with pytest.raises(UsageError, match="two budgets"):
        isoflop({**{k: v[:9] for k, v in data.items()}, "loss": rows.target[:9]})

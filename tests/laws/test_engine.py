"""The engine: objectives, starts, held and tied parameters, intervals, held-out rows."""

import numpy as np
import pytest
from scipy.optimize import minimize

from dwell.errors import UsageError
from dwell.laws import LAWS, Law, Param, by_largest, exponent, scale
from dwell.laws.files import fit_of, record_of
from dwell.laws.projection import non_negative, projected_grid

TRUE = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}
CHINCHILLA = LAWS["chinchilla"]


def table(noise=0.01, count=80, seed=0):
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, count), 10 ** rng.uniform(9, 12, count)
    loss = CHINCHILLA.evaluate({"N": n, "D": d}, TRUE)
    return {"N": n, "D": d, "loss": loss * np.exp(noise * rng.standard_normal(count))}


def huber(residual, delta):
    clipped = np.clip(residual, -delta, delta)
    return np.sum(clipped * (residual - 0.5 * clipped))


def test_objective_is_what_it_says_and_no_other_search_finds_less():
    data, fit = table(), CHINCHILLA.fit(table())
    logs = [np.log(data[name]) for name in ("N", "D", "loss")]

    def objective(u):
        e, a, b, alpha, beta = u
        predicted = np.exp(e) + np.exp(a - alpha * logs[0]) + np.exp(b - beta * logs[1])
        return 1e3 * huber(logs[2] - np.log(predicted), 1e-3)

    p = fit.params
    ours = [np.log(p["E"]), np.log(p["A"]), np.log(p["B"]), p["alpha"], p["beta"]]
    assert objective(ours) / 1e3 == pytest.approx(fit.objective.value, rel=1e-9)
    found = minimize(
        objective, ours, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}
    )
    assert fit.objective.value <= found.fun / 1e3 * (1 + 1e-9)
    assert fit.starts_at_best >= fit.num_starts / 2
    assert fit.objective.mean == pytest.approx(fit.objective.value / 80)


def test_joint_scale_is_least_absolute_deviations():
    data = table()
    fit = CHINCHILLA.fit(data, scale="joint")
    predicted = fit.predict({"N": data["N"], "D": data["D"]}).value
    size = np.abs(np.log(data["loss"] / predicted))
    assert np.sum(size < 1e-7) == 5  # as many rows are met exactly as there are parameters
    assert fit.objective.sigma == pytest.approx(1e-3 * size.mean(), rel=1e-3)
    moved = CHINCHILLA.fit(data)
    other = np.abs(np.log(data["loss"] / moved.predict({"N": data["N"], "D": data["D"]}).value))
    assert size.sum() < other.sum()


def test_fixed_and_tied_parameters_are_held_in_the_callers_units():
    data = table()
    fixed = CHINCHILLA.fit(data, fixed={"A": 480.0, "alpha": 0.35})
    assert fixed.params["A"] == pytest.approx(480.0)
    assert fixed.params["alpha"] == pytest.approx(0.35)
    assert fixed.num_free == 3
    tied = CHINCHILLA.fit(data, tied=[("alpha", "beta")])
    assert tied.params["alpha"] == tied.params["beta"]
    free = CHINCHILLA.fit(data)
    assert free.objective.value < min(tied.objective.value, fixed.objective.value)


def test_random_and_given_starts_reach_the_grids_optimum():
    data = table()
    fit = CHINCHILLA.fit(data)
    for starts in (20, [TRUE]):
        again = CHINCHILLA.fit(data, starts=starts)
        assert again.objective.value == pytest.approx(fit.objective.value, rel=1e-8)


@pytest.mark.parametrize("kind", ["pairs", "residual", "cluster"])
def test_bootstrap_intervals_hold_the_truth_and_their_parameters(kind):
    data = {**table(), "run": np.repeat(np.arange(40), 2)}
    fit = CHINCHILLA.fit(data, cluster="run").bootstrap(200, kind, level=0.99, seed=1)
    assert fit.samples_from == f"{kind} bootstrap"
    for name, value in TRUE.items():
        low, high = fit.intervals[name]
        assert low < value < high
        assert low <= fit.params[name] <= high
    again = CHINCHILLA.fit(data, cluster="run").bootstrap(200, kind, level=0.99, seed=1)
    np.testing.assert_array_equal(again.samples, fit.samples)


def test_standard_errors_of_curvature_and_bootstrap_agree():
    fit = CHINCHILLA.fit(table(count=400), loss="squares")
    boots = fit.bootstrap(400)
    for name in ("E", "alpha", "beta"):
        assert fit.standard_errors[name] == pytest.approx(boots.standard_errors[name], rel=0.3)


def test_resampled_fits_are_fits_of_the_resampled_rows():
    data, rng = table(), np.random.default_rng(3)
    fit = CHINCHILLA.fit(data)
    weights = rng.multinomial(80, np.full(80, 1 / 80), size=3).astype(float)
    samples = fit.refit(weights=weights)
    for row, weight in zip(samples, weights, strict=True):
        alone = CHINCHILLA.fit(data, weights=weight)
        np.testing.assert_allclose(row, alone.values, rtol=1e-5)


def test_held_out_rows_are_not_seen():
    data = table()
    mask = by_largest(6 * data["N"] * data["D"], 0.2)
    fit = CHINCHILLA.fit(data, holdout=mask)
    assert (fit.num_rows, fit.holdout.errors.num_rows) == (64, 16)
    changed = {**data, "loss": np.where(mask, 9.0, data["loss"])}
    assert CHINCHILLA.fit(changed, holdout=mask).params == fit.params
    off = fit.holdout.predicted - data["loss"][mask]
    assert fit.holdout.errors.rmse == pytest.approx(np.sqrt(np.mean(off**2)))


def test_holdout_takes_the_largest_compute():
    data = table()
    fit = CHINCHILLA.holdout(data, "C", 0.25)
    compute = 6 * data["N"] * data["D"]
    assert fit.holdout.errors.num_rows == 20
    held = 6 * fit.holdout.inputs["N"] * fit.holdout.inputs["D"]
    np.testing.assert_allclose(np.sort(held), np.sort(compute)[-20:])


def test_profile_is_least_at_the_fit_and_its_interval_holds_it():
    fit = CHINCHILLA.fit(table())
    profile = fit.profile("alpha")
    assert profile.low < fit.params["alpha"] < profile.high
    assert profile.objective.min() >= fit.objective.value * (1 - 1e-9)
    assert profile.objective[0] > profile.objective.min() < profile.objective[-1]
    with pytest.raises(UsageError):
        fit.profile("gamma")


def test_groups_share_exponents_and_have_their_own_scales():
    x = np.geomspace(1, 1e4, 12)
    law = Law(
        name="grouped", text="b[g] + a x^-c", inputs=("x",), target="y",
        params={"b": scale(grouped=True), "a": scale(), "c": exponent()},
        linear=lambda x, p: (1.0, x.x**-p.c), paper="none", equation="none",
    )  # fmt: skip
    data = {
        "x": np.tile(x, 2),
        "y": np.concatenate([1.0 + 4 * x**-0.5, 2.0 + 4 * x**-0.5]),
        "set": np.repeat(["one", "two"], 12),
    }
    fit = law.fit(data, group="set")
    assert fit.params == pytest.approx({"b[one]": 1.0, "b[two]": 2.0, "a": 4.0, "c": 0.5})
    assert float(fit.predict({"x": [1e4]}, group="two").value[0]) == pytest.approx(2.04)
    with pytest.raises(UsageError, match="group"):
        fit.predict({"x": [1.0]})


def test_a_parameter_without_data_is_called_weak():
    data = table(noise=0.02, count=12)
    data["D"] = data["D"][0] * np.exp(1e-3 * np.arange(12))
    fit = CHINCHILLA.fit(data)
    assert fit.verdict != "identified"
    assert fit.reasons


def test_a_fit_is_read_back_as_it_was_written():
    fit = CHINCHILLA.fit(table(), holdout=by_largest(table()["N"]))
    again = fit_of(record_of(fit, samples=True))
    assert again.params == fit.params
    assert again.intervals == fit.intervals
    ours, theirs = (f.allocate(1e22).params for f in (fit, again))
    assert ours == theirs
    with pytest.raises(UsageError, match="needs the data"):
        again.bootstrap(10)


def test_formulas_with_analytic_complex_and_difference_gradients_agree():
    x = np.geomspace(1, 1e3, 20)
    rng = np.random.default_rng(0)
    y = (0.5 + 2 * np.exp(-x / 50)) * np.exp(0.01 * rng.standard_normal(20))
    words = {"name": "decay", "text": "", "inputs": ("x",), "target": "y", "paper": "",
             "equation": ""}  # fmt: skip
    params = {
        "a": Param(transform="exp", lower=0.0, grid=(0.3, 1.0)),
        "b": Param(transform="exp", lower=0.0, grid=(1.0, 3.0)),
        "t": Param(transform="exp", lower=0.0, grid=(10.0, 100.0)),
    }

    def formula(x, p):
        return p.a + p.b * np.exp(-x.x / p.t)

    def gradient(x, p):
        part = np.exp(-x.x / p.t)
        return 1.0, part, p.b * part * x.x / p.t**2

    fits = [
        Law(**words, params=params, formula=formula, gradient=rule).fit({"x": x, "y": y})
        for rule in ("auto", "difference", gradient)
    ]
    for fit in fits[1:]:
        np.testing.assert_allclose(fit.values, fits[0].values, rtol=1e-5)


def test_non_negative_least_squares_is_exact():
    rng = np.random.default_rng(0)
    for _ in range(50):
        basis, y = rng.standard_normal((12, 4)), rng.standard_normal(12)
        ours = non_negative((basis.T @ basis)[None], (basis.T @ y)[None], np.ones(4, bool))[0]
        best = min(
            (
                np.sum((y - basis @ np.maximum(trial, 0)) ** 2)
                for trial in ours + 1e-3 * rng.standard_normal((200, 4))
            ),
        )
        assert np.all(ours >= 0)
        assert np.sum((y - basis @ ours) ** 2) <= best + 1e-12


def test_projected_grid_has_its_minimum_at_the_truth():
    data = table(noise=0.0)
    steps = np.round(np.arange(0.25, 0.46, 0.01), 2)
    grid = projected_grid(CHINCHILLA, CHINCHILLA.rows(data), (steps, steps))
    best = int(np.argmin(grid.objective))
    np.testing.assert_allclose(grid.points[best], [0.35, 0.37])
    np.testing.assert_allclose(grid.params[best], [1.8, 480, 2000], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cubes"}, "huber"),
        ({"delta": -1.0}, "delta"),
        ({"space": "cube"}, "space"),
        ({"scale": "wild"}, "scale"),
        ({"scale": "joint", "loss": "squares"}, "joint"),
        ({"starts": 0}, "starts"),
        ({"starts": []}, "starts"),
        ({"starts": [{"E": 1.0}]}, "missing"),
        ({"fixed": {"nothing": 1.0}}, "parameters"),
        ({"fixed": {"alpha": -1.0}}, "between"),
        ({"fixed": TRUE}, "free at least one"),
        ({"weights": np.full(80, -1.0)}, "weights"),
        ({"holdout": np.ones(80, bool)}, "holdout"),
        ({"holdout": np.ones(3, bool)}, "holdout"),
        ({"group": "nothing"}, "no column"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        CHINCHILLA.fit(table(), **options)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ninety_percent_intervals_hold_the_truth_about_as_often():
    inside = {name: 0 for name in TRUE}
    for seed in range(200):
        fit = CHINCHILLA.fit(table(seed=seed), seed=seed).bootstrap(200, seed=seed)
        for name, value in TRUE.items():
            low, high = fit.intervals[name]
            inside[name] += low <= value <= high
    for count in inside.values():
        assert 0.85 * 200 <= count <= 0.95 * 200 + 4

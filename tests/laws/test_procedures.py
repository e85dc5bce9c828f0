"""What goes around the laws: shapes, spending of draws, mixtures, limits, batch sizes."""

import itertools

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.laws import LAWS
from dwell.laws.batch_size import critical_batch, minimum_compute, minimum_steps, trade_off
from dwell.laws.best_schedule import best_schedule
from dwell.laws.capability import (
    accelerated,
    benchmark_components,
    predict_from_clusters,
    rank_correlations,
    scaling_shape,
)
from dwell.laws.data_limits import best_pools, data_worth, mixture_error, nested_limits
from dwell.laws.envelope import envelope
from dwell.laws.examples import example_rows
from dwell.laws.interaction import channel_law
from dwell.laws.mixtures import best_mixture, extrapolate, fit_distance_map, onto_simplex
from dwell.laws.practice import after_warmup, borrowed, estimator_curve
from dwell.laws.routing import effective_size, routing_cutoff
from dwell.laws.spending import (
    allocate_votes,
    best_attempts,
    best_axes,
    best_splits,
    break_even,
    can_match,
    margin_rate,
    plateau_rounds,
    resampled_accuracy,
    saturates,
    vote_limit,
    votes_for,
)
from dwell.laws.theory import exponent_regime, pruning_envelope, slope_test
from dwell.laws.transfer import misaligned

RNG = np.random.default_rng(0)
C = np.geomspace(1e18, 1e24, 16)
LOG = np.log10(C)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


SHAPES = {
    "flat": 0.25 + 0 * C,
    "rising": 0.2 + 0.05 * (LOG - 18),
    "falling": 0.8 - 0.06 * (LOG - 18),
    "U-shaped": 0.3 + 0.04 * (LOG - 21) ** 2,
    "hump-shaped": 0.7 - 0.04 * (LOG - 21) ** 2,
    "emergent": 0.25 + 0.5 * sigmoid(4 * (LOG - 22)),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_shapes_are_told_apart(kind):
    noise = 0.004 * np.random.default_rng(1).standard_normal(len(C))
    found = scaling_shape(C, SHAPES[kind] + noise)
    assert found.kind == kind
    if kind in ("U-shaped", "hump-shaped"):
        assert found.turning_point.value == pytest.approx(1e21, rel=0.3)
        assert found.turning_point.low < 1e21 < found.turning_point.high * 1.5
    if kind == "emergent":
        assert found.breakthrough.value == pytest.approx(10**21.45, rel=0.2)


def test_two_rows_have_no_shape():
    with pytest.raises(UsageError, match="at least 5 rows"):
        scaling_shape([1, 2], [0.1, 0.2])


def test_acceleration_is_a_bend_and_a_power_law_has_none():
    size = np.geomspace(1e7, 1e10, 8)
    straight = np.exp(-50 * size**-0.15)
    bent = np.exp(-np.exp(2.0 - 0.03 * np.log(size / 1e7) ** 2))
    noise = np.exp(1e-3 * np.random.default_rng(2).standard_normal(8))
    assert not accelerated(size, straight**noise)[1]
    assert accelerated(size, bent**noise)[1]


def test_correlation_with_compute_falls_where_information_is_lost():
    logit = np.linspace(-2, 2, 12)[:, None] + RNG.normal(size=(12, 200))
    scores = {"probability": sigmoid(logit), "accuracy": logit > 0.5}
    found = rank_correlations(np.arange(12) + 1, scores)
    assert found["probability"] > found["accuracy"] > 0


def test_clusters_predict_a_larger_model_and_drop_what_does_not_scale():
    compute = np.geomspace(1e18, 1e22, 10)
    law = LAWS["difficulty"]

    def curve(a, c=compute):
        return law.evaluate({"C": c}, {"g": 0.25, "a": a, "b": 0.3, "c": 0.05})

    flat = 0.25 + 0.001 * np.random.default_rng(3).standard_normal(10)
    tables, sizes = [curve(3e5), curve(1e6), flat], [50, 30, 20]
    full = (50 * tables[0] + 30 * tables[1] + 20 * 0.25) / 100
    found = predict_from_clusters(compute, tables, sizes, full, [1e23], guess=0.25)
    truth = (50 * curve(3e5, [1e23]) + 30 * curve(1e6, [1e23]) + 20 * 0.25) / 100
    assert found.kept == (True, True, False)
    assert found.value[0] == pytest.approx(truth[0], abs=0.03)


def test_components_find_the_one_capability_that_models_differ_in():
    skill = np.linspace(-2, 2, 30)
    table = skill[:, None] * [1.0, 0.8, 1.2, 0.5] + 0.05 * RNG.normal(size=(30, 4))
    table[3, 1] = np.nan
    places, shares = benchmark_components(table, 2)
    assert np.corrcoef(places[:, 0], skill)[0, 1] > 0.99
    assert shares[0] > 0.95


def test_plateau_rounds_are_those_of_the_paper():
    assert plateau_rounds(0.8, 0.3, 0.01) == 9
    assert plateau_rounds(0.8, 0.3, 0.5) == 0


def test_margin_rate_bounds_the_error_of_a_vote():
    rng = np.random.default_rng(4)
    draws = rng.choice(3, p=[0.5, 0.3, 0.2], size=(20_000, 41))
    counts = (draws[..., None] == np.arange(3)).sum(axis=1)
    missed = np.mean(counts[:, 0] <= counts[:, 1:].max(axis=1))
    assert missed <= 2 * np.exp(-41 * margin_rate(0.5, 0.3))
    assert np.exp(-votes_for(0.5, 0.3, 0.01) * margin_rate(0.5, 0.3)) <= 0.01


def test_unlimited_votes_take_the_mode():
    assert vote_limit([0.6, 0.2, 0.4], [0.3, 0.5, 0.4]) == pytest.approx(0.5)


def test_allocated_votes_beat_every_other_split():
    top, second = np.array([0.7, 0.5, 0.45]), np.array([0.2, 0.3, 0.4])
    given, rate = allocate_votes(top, second, 12), margin_rate(top, second)
    assert given.sum() == 12
    every = np.array([k for k in itertools.product(range(13), repeat=3) if sum(k) == 12])
    assert np.exp(-given * rate).sum() <= np.exp(-every * rate).sum(axis=1).min() + 1e-12


def test_imperfect_verifiers_have_a_ceiling_and_a_finite_best_number():
    easy, hard = (0.6, 0.05), (0.02, 0.10)
    p, q = np.array([easy, hard]).T
    found = best_attempts(p, q, penalty=1.0, cost=0.01)
    assert 1 <= found.best < 10
    assert found.ceiling == pytest.approx(np.mean(p / (p + q)))
    assert resampled_accuracy(p, q, [10_000])[0] == pytest.approx(found.limit)
    assert not can_match(p, q, 0.9)
    assert can_match([0.6], [0.0], 0.9)


def test_resampled_accuracy_is_what_simulation_gives():
    rng = np.random.default_rng(5)
    draws = rng.choice(3, p=[0.2, 0.1, 0.7], size=(40_000, 4))
    first = np.argmax(draws < 2, axis=1)
    taken = draws[np.arange(len(draws)), first]
    share = np.mean(taken == 0)
    error = np.sqrt(share * (1 - share) / len(draws))
    assert resampled_accuracy([0.2], [0.1], 4)[0] == pytest.approx(share, abs=4 * error)


def test_splits_recover_the_exponents_of_a_surface():
    """With accuracy = -S^-0.4 - V^-0.6, C = S V: S ~ C^0.6, V ~ C^0.4."""
    s, v = (
        a.ravel() for a in np.meshgrid(2.0 ** np.arange(0, 13, 0.5), 2.0 ** np.arange(0, 13, 0.5))
    )
    found = best_splits(s, v, -(s**-0.4) - v**-0.6, check_ratio=100.0, num_budgets=14)
    assert found.draws_fit.params["a"] == pytest.approx(0.6, abs=0.06)
    assert found.checks_fit.params["a"] == pytest.approx(0.4, abs=0.06)
    assert 1.2 < found.ratio < 1.9


def test_break_even_is_where_the_curves_cross_for_good():
    cost = np.geomspace(1, 64, 7)
    rival = 0.5 + 0.05 * np.log2(cost)
    ours = 0.35 + 0.1 * np.log2(cost)
    assert break_even(cost, ours, cost, rival) == pytest.approx(8.0, rel=0.01)
    assert break_even(cost, rival - 1, cost, rival) == np.inf


def test_inside_of_the_three_axes_beats_every_single_axis():
    fit = LAWS["context_batch_turn"].fit(example_rows("context_batch_turn"))
    best = best_axes(fit, 60_000.0)
    single = [(60_000.0, 1, 1), (60_000.0 / 64, 64, 1), (60_000.0 / 64, 1, 64)]
    alone = [fit.predict(dict(zip(("context", "batch", "turn"), a, strict=True))).value[0]
             for a in single]  # fmt: skip
    assert best.batch > 1
    assert best.turn > 1
    assert best.accuracy > max(alone)


def test_saturation_along_an_axis():
    assert saturates([0.1, 0.3, 0.4, 0.45])
    assert not saturates([0.1, 0.2, 0.3, 0.4])


def test_extrapolation_in_ln_n_passes_through_both_sizes():
    values = extrapolate(0.5, 0.6, (1e3, 1e4), [1e3, 1e4, 1e5])
    np.testing.assert_allclose(values, [0.5, 0.6, 0.7])
    with pytest.raises(UsageError, match="rise"):
        extrapolate(0.5, 0.6, (10, 1), 5)


def test_best_mixture_is_found_on_the_simplex():
    target = np.array([0.6, 0.3, 0.1])

    def performance(weights):
        near, far = (1 - s * np.sum((weights - target) ** 2) for s in (0.5, 1.0))
        return float(extrapolate(near, far + 0.1, (1e3, 1e4), 1e6))

    weights, value = best_mixture(performance, 3)
    np.testing.assert_allclose(weights, target, atol=1e-4)
    assert value >= performance(np.full(3, 1 / 3))
    np.testing.assert_allclose(onto_simplex([2.0, -1.0, 0.0]), [1, 0, 0])


def test_distance_map_is_a_line():
    found = fit_distance_map([1, 2, 3], [0.9, 0.7, 0.5])
    assert (found.slope, found.intercept) == pytest.approx((-0.2, 1.1))
    assert found(2.5) == pytest.approx(0.6)


def test_exponent_one_is_told_from_a_smaller_one():
    x = np.geomspace(1e2, 1e6, 30)
    noise = np.exp(2e-4 * np.random.default_rng(6).standard_normal(30))
    limited = exponent_regime(x, (1.2 + 30 / x) * noise)
    resolved = exponent_regime(x, (1.2 + 3 * x**-0.25) * noise)
    assert limited.kind == "variance-limited"
    assert resolved.kind == "resolution-limited"
    assert resolved.dimension == pytest.approx(16, rel=0.1)


def test_pruned_data_fall_faster_than_a_power_law_on_the_envelope():
    kept, total = (
        a.ravel() for a in np.meshgrid(np.linspace(0.1, 1, 10), np.geomspace(20, 200, 8))
    )
    size = kept * total
    edge = pruning_envelope(kept, total, 0.02 + np.exp(-size / 12) * (1 + (kept - 0.3) ** 2))
    rivals = [LAWS[n].fit(edge, y="error", loss="squares") for n in ("exponential", "m2")]
    assert rivals[0].aicc < rivals[1].aicc
    assert np.all(np.diff(edge["error"]) < 0)


def test_envelope_keeps_what_nothing_cheaper_beats():
    assert envelope([1, 2, 3, 4], [0.9, 0.5, 0.6, 0.4]).tolist() == [0, 1, 3]
    assert envelope([1, 1.5, 3, 4], [0.9, 0.5, 0.6, 0.4], ratio=2).tolist() == [1, 2, 3][::2]


def test_weight_decay_rule_is_tested_by_its_slope():
    width = 2.0 ** np.arange(7, 13)
    decay = 0.01 * width**0.5 * np.exp(0.02 * np.random.default_rng(7).standard_normal(6))
    slope, holds = slope_test(width, decay, 0.5, level=0.99)
    assert holds
    assert not slope_test(width, decay, 0.75, level=0.99)[1]
    assert slope.low < 0.5 < slope.high


def test_misalignment_is_where_score_and_entropy_fall_together():
    tokens, entropy = [1, 2, 3, 4, 5], [3.0, 2.5, 2.2, 2.0, 1.9]
    assert misaligned(tokens, [10, 12, 11, 10, 13], entropy) == [(2.0, 4.0)]
    assert misaligned(tokens, [10, 12, 13, 14, 15], entropy) == []


def test_pools_cross_as_repetition_wears_the_best_one_out():
    fit = LAWS["data_filtering"].fit(
        example_rows("data_filtering"), group="group",
        starts=[{"a": 1.2, "d": 0.1, "b": 0.1, "tau": 4.0}],
    )  # fmt: skip
    found = best_pools(fit, {"best": 1.28e7, "all": 1.28e8}, [1e6, 1.28e7, 6.4e8])
    assert found.pools[0] == ("best",)
    assert found.pools[-1] != ("best",)
    alone = mixture_error([{"b": 0.12, "tau": 2.0, "U": 1.28e7}], 1.2, 0.1, 1.28e7)
    assert alone[0] == pytest.approx(1.2 * 1.28e7**-0.12 + 0.1)


def test_nested_limits_find_the_double_limit():
    n, k = (a.ravel() for a in np.meshgrid(np.geomspace(1e8, 1e10, 5), [1, 2, 3, 5, 8, 12]))
    loss = 3.17 + 400 * n**-0.4 + 0.2 * (n / 1e8) ** -0.1 * k**-0.9
    found = nested_limits(n, k, loss)
    assert found.limit.value == pytest.approx(3.17, abs=1e-3)
    assert found.limit.low - 1e-3 <= 3.17 <= found.limit.high + 1e-3


def test_data_worth_inverts_the_baseline():
    tokens = np.geomspace(1e7, 1e10, 12)
    baseline = LAWS["m2"].fit({"x": tokens, "loss": 3 + 500 * tokens**-0.35})
    better = 3 + 500 * (5.17 * 2e8) ** -0.35
    assert data_worth(baseline, better, 2e8, over="x").value == pytest.approx(5.17, rel=1e-6)


def test_batch_trade_off_is_the_hyperbola():
    found = trade_off(2500.0, 240.0, [24.0, 240.0, 2400.0])
    least = 2500.0 * 240.0
    np.testing.assert_allclose((found.steps / 2500 - 1) * (found.examples / least - 1), 1.0)
    assert minimum_steps(5000.0, 240.0, 240.0) == 2500.0
    assert minimum_compute(10.0, 240.0, 240.0) == 5.0
    assert float(critical_batch(2.0, 2e8, 0.21)) == pytest.approx(2e8 / 2 ** (1 / 0.21))


def test_a_channel_of_ones_own_is_a_law_like_any_other():
    own = channel_law("own", "D/d", lambda x, p: x.D / p.d,
                      {"d": LAWS["noisy_channel"].params["d"]}, ("N", "D"))  # fmt: skip
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e8, 1e10, 5), np.geomspace(1e8, 1e11, 6)))
    truth = {"E": 1.7, "A": 20.0, "a": 0.12, "d": 3e9}
    fit = own.fit({"N": n, "D": d, "loss": own.evaluate({"N": n, "D": d}, truth)})
    assert fit.params == pytest.approx(truth, rel=1e-6)


def surface_rows(drift, seed=0):
    """Noisy losses of a surface whose data exponent drifts with size by `drift` per decade."""
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e8, 1e10, 6), np.geomspace(2e9, 5e11, 9)))
    rate = 0.37 + drift * np.log10(n / 1e9)
    loss = 1.8 + 482 * n**-0.35 + 1.7 * (d / 2e9) ** -rate * 0.6
    noise = np.exp(1e-3 * np.random.default_rng(seed).standard_normal(len(n)))
    return {"N": n, "D": d, "loss": loss * noise}


@pytest.mark.slow
@pytest.mark.parametrize(("drift", "wanted"), [(0.0, "chinchilla"), (0.08, "farseer")])
def test_the_interaction_is_preferred_only_where_there_is_one(drift, wanted):
    rows = surface_rows(drift)
    held = rows["D"] > 1e11
    fits = {n: LAWS[n].fit(rows, loss="squares") for n in ("chinchilla", "farseer")}
    assert min(fits, key=lambda name: fits[name].aicc) == wanted
    out = {n: LAWS[n].fit(rows, loss="squares", holdout=held).holdout.errors.mape for n in fits}
    if wanted == "farseer":
        assert out["farseer"] < 0.6 * out["chinchilla"]


@pytest.mark.parametrize("name", ["annealing", "multipower"])
def test_the_best_schedule_beats_constant_and_linear_ones(name):
    fit = LAWS[name].fit(example_rows(name))
    found = best_schedule(fit, 6000, 3e-4, warmup=500, floor=3e-5, pieces=12)
    assert found.loss < min(found.linear_loss, found.constant_loss)
    assert np.all(np.diff(found.rate) <= 1e-12)
    assert found.rate.min() >= 3e-5 - 1e-12
    assert found.rate[0] <= 3e-4 + 1e-12


@pytest.mark.parametrize("name", ["annealing", "multipower"])
def test_the_predicted_end_of_a_schedule_is_that_of_the_law(name):
    rows = example_rows(name)
    fit = LAWS[name].fit(rows)
    found = best_schedule(fit, 6000, 3e-4, warmup=500, floor=3e-5, pieces=12)
    end = rows["loss"][(rows["schedule"] == 0) & (rows["step"] == 5900.0)]
    assert found.constant_loss == pytest.approx(end[0], abs=0.01)


def test_routed_models_are_worth_larger_dense_ones_up_to_the_cutoff():
    fit = LAWS["routed"].fit(example_rows("routed"))
    small, large = (effective_size(fit, size, 64).value / size for size in (1e7, 1e10))
    assert small > large > 1
    assert effective_size(fit, 1e9, 1).value == pytest.approx(1e9, rel=1e-9)
    cutoff = routing_cutoff(fit).value
    assert cutoff == pytest.approx(1e12, rel=1e-6)
    assert effective_size(fit, cutoff, 64).value == pytest.approx(cutoff, rel=1e-6)


def test_larger_runs_predict_the_target_better():
    rows = example_rows("chinchilla")
    noise = np.exp(2e-3 * np.random.default_rng(8).standard_normal(len(rows["loss"])))
    rows = {**rows, "loss": rows["loss"] * noise}
    points = estimator_curve(LAWS["chinchilla"], rows, "N", rows["N"] > 3e10)
    errors = [p.error for p in points]
    assert np.isnan(errors[0])
    assert errors[-1] < 0.01 < np.nanmax(errors)


def test_a_borrowed_exponent_makes_few_runs_enough():
    rows = example_rows("chinchilla")
    few = {k: v[:6] for k, v in rows.items()}
    fixed = borrowed(LAWS["chinchilla"].fit(rows), ["alpha", "beta"])
    fit = LAWS["chinchilla"].fit(few, fixed=fixed)
    assert fit.params["E"] == pytest.approx(1.817, rel=1e-6)
    with pytest.raises(UsageError, match="parameters"):
        borrowed(fit, ["gamma"])


def test_checkpoints_of_the_warm_up_are_left_out():
    mask = after_warmup([1, 5, 10, 2, 50, 100], ["a", "a", "a", "b", "b", "b"])
    assert mask.tolist() == [False, True, True, False, True, True]

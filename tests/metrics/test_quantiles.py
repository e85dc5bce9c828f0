"""Quantile forecasts and conformal intervals: oracles, peers, and the promised coverage."""

import numpy as np
import pytest
from mapie.regression import ConformalizedQuantileRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import mean_pinball_loss

from dwell.errors import UsageError
from dwell.metrics import (
    combine_quantiles,
    conformal_margin,
    coverage_share,
    fit_weights,
    interval_score,
    pinball_loss,
    uncross,
    weighted_interval_score,
    widen,
)

LEVELS = [0.1, 0.4, 0.6, 0.9]
CROSSED = [[5, 9, 8, 12]]
LOW, HIGH = [1, 2, 3, 2, 4, 1, 2, 3, 5], [4, 6, 5, 7, 9, 3, 6, 8, 9]
SEEN = [2, 7, 4, 6, 3, 2, 8, 5, 7]


@pytest.mark.parametrize(("how", "loss"), [(None, 0.575), ("sort", 0.525), ("isotonic", 0.55)])
def test_pinball_gives_the_printed_values(how, loss):
    forecast = CROSSED if how is None else uncross(CROSSED, how)
    assert float(pinball_loss([10], forecast, LEVELS).mean()) == pytest.approx(loss)


def test_pinball_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    y, q = rng.normal(size=50), rng.normal(size=(50, 4))
    expected = [mean_pinball_loss(y, q[:, i], alpha=t) for i, t in enumerate(LEVELS)]
    np.testing.assert_allclose(pinball_loss(y, q, LEVELS).mean(axis=0), expected)


def test_interval_score_gives_the_printed_values():
    assert interval_score([10, 14], [5, 5], [12, 12], 0.2).tolist() == [7, 27]
    ends = pinball_loss([14], [[5, 12]], [0.1, 0.9]).sum() * 2 / 0.2
    assert float(ends) == pytest.approx(27)


def test_weighted_interval_score_is_the_mean_over_its_intervals():
    rng = np.random.default_rng(1)
    y, q = rng.normal(size=20), np.sort(rng.normal(size=(20, 5)), axis=1)
    whole = np.abs(y - q[:, 2]) / 2
    for alpha, (i, j) in ((0.2, (0, 4)), (0.5, (1, 3))):
        whole += alpha / 2 * interval_score(y, q[:, i], q[:, j], alpha)
    found = weighted_interval_score(y, q, [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(found, whole / 2.5)


def test_repairs_rise_and_never_cost_when_they_must_not():
    rng = np.random.default_rng(2)
    y, q = rng.normal(size=200), rng.normal(size=(200, 4))
    raw = pinball_loss(y, q, LEVELS).sum(axis=1)
    for how in ("sort", "isotonic", "outward"):
        mended = uncross(q, how)
        assert np.all(np.diff(mended, axis=1) >= 0)
        if how != "outward":
            assert np.all(pinball_loss(y, mended, LEVELS).sum(axis=1) <= raw + 1e-12)
    straight = np.sort(q, axis=1)
    for how in ("sort", "isotonic", "outward"):
        np.testing.assert_allclose(uncross(straight, how), straight)


def test_outward_repair_keeps_the_median():
    assert uncross([[5, 1, 3, 2, 4]], "outward").tolist() == [[1, 1, 3, 3, 4]]


def test_combination_is_a_weighted_mean_of_quantiles():
    rng = np.random.default_rng(3)
    members = np.sort(rng.normal(size=(3, 10, 4)), axis=2)
    np.testing.assert_allclose(combine_quantiles(members, [2, 2, 2]), members.mean(axis=0))
    np.testing.assert_allclose(combine_quantiles(members, [0, 5, 0]), members[1])
    each = np.zeros((3, 10, 1))
    each[2] = 1
    np.testing.assert_allclose(combine_quantiles(members, each), members[2])


def test_fitted_weights_are_the_best_on_a_grid():
    rng = np.random.default_rng(4)
    y = rng.normal(5, 2, 60)
    spread = np.array([-2.0, 0.0, 2.0])
    members = np.stack(
        [(a * y + s * rng.normal(size=60) + b)[:, None] + spread for a, s, b in
         ((0.5, 1, 2), (0.9, 2, 0), (0, 1, 5))]
    )  # fmt: skip

    def loss(w):
        return pinball_loss(y, np.einsum("e,epq->pq", w, members), [0.1, 0.5, 0.9]).mean()

    found = fit_weights(members, y, [0.1, 0.5, 0.9])
    grid = [(i / 25, j / 25, 1 - (i + j) / 25) for i in range(26) for j in range(26 - i)]
    assert found.sum() == pytest.approx(1)
    assert loss(found) <= min(loss(np.array(w)) for w in grid) + 1e-12


def test_weights_by_level_use_each_member_where_it_is_good():
    rng = np.random.default_rng(5)
    y = rng.normal(size=400)
    right = np.quantile(y, [0.1, 0.9])
    members = np.stack([np.tile([right[0], 9.0], (400, 1)), np.tile([-9.0, right[1]], (400, 1))])
    found = fit_weights(members, y, [0.1, 0.9], per_level=True)
    np.testing.assert_allclose(found, [[1, 0], [0, 1]], atol=1e-6)


def test_conformal_margin_gives_the_printed_value():
    assert conformal_margin(LOW, HIGH, SEEN, 0.2) == 1.0
    assert conformal_margin(LOW, HIGH, SEEN, 0.05) == np.inf


class Shifted(RegressorMixin, BaseEstimator):
    """A quantile 'regressor' that was fitted elsewhere: x plus a constant."""

    def __init__(self, shift):
        self.shift = shift

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X[:, 0] + self.shift


def test_conformal_interval_agrees_with_mapie():
    rng = np.random.default_rng(6)
    x, new = rng.normal(size=(99, 1)), rng.normal(size=(7, 1))
    y = x[:, 0] + rng.normal(size=99)
    models = [Shifted(shift).fit(None, None) for shift in (-0.5, 0.7, 0.0)]
    peer = ConformalizedQuantileRegressor(models, confidence_level=0.8, prefit=True)
    peer.conformalize(x, y)
    _, ends = peer.predict_interval(new, symmetric_correction=True)
    margin = conformal_margin(x[:, 0] - 0.5, x[:, 0] + 0.7, y, 0.2)
    low, high = widen(new[:, 0] - 0.5, new[:, 0] + 0.7, margin)
    np.testing.assert_allclose(ends[:, 0, 0], low)
    np.testing.assert_allclose(ends[:, 1, 0], high)


def test_conformal_intervals_cover_as_promised():
    rng = np.random.default_rng(7)
    inside = []
    for _ in range(2000):
        y = rng.exponential(size=20)
        margin = conformal_margin(np.full(19, 0.4), np.full(19, 0.9), y[:19], 0.2)
        low, high = widen([0.4], [0.9], margin)
        inside.append(coverage_share(low, high, y[19:]))
    assert np.mean(inside) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 2000))


def test_shrinking_never_turns_an_interval_inside_out():
    low, high = widen([0.0, 0.0], [1.0, 4.0], -1.0)
    assert (low.tolist(), high.tolist()) == ([0.5, 1.0], [0.5, 3.0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: pinball_loss([1], [[1, 2]], [0.5, 0.5]),
        lambda: pinball_loss([1], [[1, 2]], [0.0, 0.5]),
        lambda: pinball_loss([1, 2], [[1, 2]], [0.1, 0.5]),
        lambda: interval_score([1], [0], [2], 1.0),
        lambda: uncross([1, 2]),
        lambda: uncross([[1, 2]], "other"),
        lambda: combine_quantiles([[[1, 2]]], [0]),
        lambda: fit_weights([[1, 2]], [1], [0.5]),
        lambda: conformal_margin([1], [2], [np.nan], 0.1),
        lambda: conformal_margin([1], [2], [1], 1.0),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

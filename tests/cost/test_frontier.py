"""The frontier of model, number and length: the toy oracle and what chance makes of it."""

import numpy as np
import pytest

from dwell.cost.frontier import Configurations, coverage_configurations, frontier
from dwell.errors import UsageError


def model(name, costs, accuracies, halves=None):
    accuracy = np.array(accuracies, float)
    cost = np.broadcast_to(np.array(costs, float), accuracy.shape)
    labels = [f"{name}{i}" for i in range(accuracy.shape[1])]
    return Configurations(
        model=name, labels=labels, cost=cost, accuracy=accuracy,
        halves=None if halves is None else np.array(halves, float),
    )  # fmt: skip


SMALL = model("S", [1, 4], [[0.5, 0.9], [0.0, 0.2]])
LARGE = model("L", [3, 9], [[0.8, 1.0], [0.6, 0.9]])


def test_toy_oracle():
    found = frontier([SMALL, LARGE], [1, 3, 4, 9])
    for line in (found.per_query, found.fixed):
        np.testing.assert_allclose(line.accuracy.value, [0.25, 0.7, 0.7, 0.95])
        assert line.models == ("S", "L", "L", "L")
        np.testing.assert_allclose(line.cost, [1, 3, 3, 9])
    assert found.fixed.labels == ("S0", "L0", "L0", "L1")
    assert found.per_query.reading == "per query (optimistic)"
    assert found.cross_fitted is None


def test_every_accuracy_has_its_interval():
    line = frontier([SMALL, LARGE], [1, 9]).fixed
    assert np.all(line.accuracy.low <= line.accuracy.value)
    assert np.all(line.accuracy.high >= line.accuracy.value)


def test_a_budget_below_everything_has_no_answer():
    found = frontier([SMALL, LARGE], [0.5, 1])
    for line in (found.per_query, found.fixed):
        assert np.isnan(line.accuracy.value).tolist() == [True, False]
        assert line.models == ("", "S")
        assert np.isnan(line.cost[0])


def test_smoothing_is_a_running_mean_of_each_model():
    found = frontier([SMALL], [1, 4, 9], smooth=3)
    np.testing.assert_allclose(
        found.per_query.accuracy.value, [(0.25 + 0.25 + 0.55) / 3, (0.25 + 0.55 + 0.55) / 3, 0.55]
    )


def test_cross_fitting_takes_the_luck_out_of_the_choice():
    rng = np.random.default_rng(0)
    # Eight equal configurations: what one half prefers is chance.
    halves = rng.binomial(8, 0.5, (2, 400, 8)) / 8
    one = model("M", np.ones(8), halves.mean(axis=0), halves)
    found = frontier([one], [1])
    assert found.per_query.accuracy.value[0] > 0.65
    error = 0.5 / np.sqrt(400 * 8 * 2)
    assert abs(found.cross_fitted.accuracy.value[0] - 0.5) < 4 * error
    assert found.cross_fitted.accuracy.value[0] < found.per_query.accuracy.value[0]


def test_cross_fitting_keeps_what_is_real():
    halves = np.tile([[0.2, 0.9], [0.9, 0.2]], (2, 5, 1))
    found = frontier([model("M", [1, 1], halves.mean(axis=0), halves)], [1])
    assert found.cross_fitted.accuracy.value[0] == pytest.approx(0.9)
    assert found.fixed.accuracy.value[0] == pytest.approx(0.55)
    assert found.cross_fitted.models == ("M",)


def test_budgets_span_the_costs_when_none_are_given():
    found = frontier([SMALL, LARGE])
    assert len(found.budgets) == 100
    assert (found.budgets[0], found.budgets[-1]) == pytest.approx((1, 9))


def test_models_on_other_questions_are_refused():
    with pytest.raises(UsageError, match="same questions"):
        frontier([SMALL, model("L", [1], [[0.5]])], [1])
    with pytest.raises(UsageError, match="odd"):
        frontier([SMALL], [1], smooth=2)
    with pytest.raises(UsageError, match="labels"):
        Configurations(model="x", labels=[], cost=np.ones((2, 1)), accuracy=np.ones((2, 1)))


def linear(lengths, n):
    return n * lengths


def test_configurations_of_recorded_samples():
    correct, tokens = [[1, 0, 0, 1], [0, 0, 0, 0]], [[10, 20, 30, 40], [10, 10, 10, 10]]
    found = coverage_configurations("M", correct, tokens, linear, numbers=[1, 2])
    np.testing.assert_allclose(found.accuracy, [[0.5, 1 - 1 / 6], [0, 0]])
    np.testing.assert_allclose(found.cost, [[25, 50], [10, 20]])
    assert found.labels == ["N=1", "N=2"]
    np.testing.assert_allclose(found.halves[:, :, 0].mean(axis=0), [0.5, 0])


def test_a_cap_cuts_answers_and_their_cost():
    correct, tokens = [[1, 0, 0, 1]], [[10, 20, 30, 40]]
    found = coverage_configurations("M", correct, tokens, linear, numbers=[1], caps=[20, 100])
    np.testing.assert_allclose(found.accuracy, [[0.25, 0.5]])
    np.testing.assert_allclose(found.cost, [[(10 + 20 + 20 + 20) / 4, 25]])
    assert found.labels[0] == "N=1, at most 20 tokens"


def test_halves_are_left_out_where_they_are_too_small():
    found = coverage_configurations("M", [[1, 0]], [[1, 1]], linear, numbers=[1, 2])
    assert found.halves is None
    with pytest.raises(UsageError, match="2 samples recorded"):
        coverage_configurations("M", [[1, 0]], [[1, 1]], linear, numbers=[3])

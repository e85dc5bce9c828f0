"""Abilities, honest difficulty bins and clusters of success curves: oracles and simulation."""

import numpy as np
import pytest
import statsmodels.api as sm

from dwell.errors import UsageError
from dwell.metrics import ability, difficulty_bins, difficulty_clusters, success_profile

LEVELS, SOLVED = np.arange(6), np.array([20, 19, 16, 10, 4, 1])


def test_ability_gives_the_printed_values():
    found = ability(LEVELS, SOLVED, [20] * 6)
    assert found.slope == pytest.approx(-1.483019, abs=1e-6)
    assert found.level == pytest.approx(3.011877, abs=1e-6)


def test_ability_is_binomial_regression():
    fitted = sm.GLM(
        np.transpose([SOLVED, 20 - SOLVED]), sm.add_constant(LEVELS), family=sm.families.Binomial()
    ).fit()
    found = ability(LEVELS, SOLVED, [20] * 6)
    assert found.slope == pytest.approx(fitted.params[1], rel=1e-6)
    assert found.level == pytest.approx(-fitted.params[0] / fitted.params[1], rel=1e-6)


def test_all_right_or_all_wrong_is_a_bound():
    assert ability(LEVELS, [20] * 6, [20] * 6).level == np.inf
    assert ability(LEVELS, [0] * 6, [20] * 6).level == -np.inf


def test_an_abrupt_end_is_marked():
    found = ability(LEVELS, [20, 20, 20, 0, 0, 0], [20] * 6)
    assert found.status == "separable"
    assert found.level == pytest.approx(2.5, abs=0.01)


def test_demands_that_help_give_no_ability():
    assert np.isnan(ability(LEVELS, SOLVED[::-1], [20] * 6).level)


def test_bins_are_equal_and_ordered():
    rates = np.random.default_rng(0).random((500, 1))
    bins = difficulty_bins(np.random.default_rng(1).random((500, 16)) < rates)
    assert np.bincount(bins.bin).tolist() == [100] * 5
    assert np.all(np.diff(bins.accuracy) > 0)
    assert np.all(bins.seen.sum(axis=1) == 8)


def test_equal_problems_differ_only_on_the_half_that_made_the_bins():
    correct = np.random.default_rng(2).random((2000, 8)) < 0.5
    bins = difficulty_bins(correct)
    error = 4 * np.sqrt(0.25 / (400 * 4))
    np.testing.assert_allclose(bins.accuracy, 0.5, atol=error)
    assert bins.flattered[0] < 0.25
    assert bins.flattered[4] > 0.75


def ladder(seed=0):
    """Three kinds of success curves over five models, and a few that are like none."""
    rng = np.random.default_rng(seed)
    kinds = np.array([[0.1, 0.3, 0.5, 0.7, 0.9], [0.0, 0.0, 0.1, 0.4, 0.8], [0.9] * 5])
    points = np.repeat(kinds, [40, 25, 15], axis=0)
    points = rng.binomial(100, points) / 100
    odd = np.array([[1.0, 0, 1, 0, 1], [0, 1, 0, 1, 0], [0.9, 0, 0, 0.9, 0]])
    return np.concatenate([points, odd])


def test_clusters_find_the_kinds_and_the_odd_ones():
    labels = difficulty_clusters(ladder(), max_diameter=0.6)
    assert labels.tolist() == [0] * 40 + [1] * 25 + [2] * 15 + [-1] * 3


def test_no_cluster_is_wider_than_the_cap_or_smaller_than_the_size():
    points = np.random.default_rng(3).random((60, 3))
    labels = difficulty_clusters(points, max_diameter=0.7, min_size=3, bandwidth=1.0)
    assert labels.max() >= 1
    for label in range(labels.max() + 1):
        group = points[labels == label]
        width = np.sqrt(((group[:, None] - group) ** 2).sum(axis=2)).max()
        assert width <= 0.7
        assert len(group) >= 3


def test_equal_problems_are_one_cluster():
    assert difficulty_clusters(np.full((12, 3), 0.5)).tolist() == [0] * 12
    assert difficulty_clusters(np.zeros((0, 3))).tolist() == []


def test_profiles_are_success_rates():
    found = success_profile([[1, 5], [0, 0]], [[10, 10], [10, 0]])
    np.testing.assert_allclose(found, [[0.1, 0.5], [0.0, np.nan]])


@pytest.mark.parametrize(
    "call",
    [
        lambda: ability([0, 1], [1, 2], [1, 1]),
        lambda: ability([0, 1], [1], [1, 1]),
        lambda: difficulty_bins([[1], [0]]),
        lambda: difficulty_bins([[1, 0]], num_bins=2),
        lambda: difficulty_bins([[1, np.nan]], num_bins=1),
        lambda: difficulty_clusters([1, 2]),
        lambda: difficulty_clusters([[np.nan]]),
        lambda: difficulty_clusters([[0.5]], max_diameter=0),
        lambda: success_profile([3], 2),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

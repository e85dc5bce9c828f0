"""Diversity of answers and fronts of settings: printed oracles, enumeration, limits."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import entropy

from dwell.errors import UsageError
from dwell.metrics import (
    answer_entropy,
    distinct_correct_share,
    effective_answers,
    hypervolume,
    pareto_front,
    simpson_diversity,
    vendi_score,
)

POINTS = [[0.9, 0.2], [0.8, 0.5], [0.6, 0.6], [0.7, 0.4], [0.3, 0.9]]


def test_diversity_gives_the_printed_values():
    counts = [4, 3, 2, 1]
    assert float(answer_entropy(counts)) == pytest.approx(1.279854, abs=1e-6)
    assert float(effective_answers(counts)) == pytest.approx(3.596115, abs=1e-6)
    assert float(simpson_diversity(counts)) == pytest.approx(0.777778, abs=1e-6)
    similarity = [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]
    assert float(vendi_score(similarity)) == pytest.approx(2.749459, abs=1e-6)


def test_entropy_agrees_with_scipy_over_padded_rows():
    counts = np.array([[3, 0, 0], [1, 1, 2], [0, 0, 0]])
    found = answer_entropy(counts)
    np.testing.assert_allclose(found[:2], [0.0, entropy([1, 1, 2])])
    assert np.isnan(found[2])
    assert float(answer_entropy([5])) == 0.0


def test_simpson_is_the_share_of_pairs_that_differ():
    answers = "aaaabbbccd"
    differ = [x != y for x, y in combinations(answers, 2)]
    assert float(simpson_diversity([4, 3, 2, 1])) == pytest.approx(np.mean(differ))
    assert np.isnan(simpson_diversity([1, 0]))


def test_vendi_of_equal_or_not_is_the_effective_number_of_answers():
    answers = np.array(list("aaaabbbccd"))
    same = (answers[:, None] == answers).astype(float)
    assert float(vendi_score(same)) == pytest.approx(float(effective_answers([4, 3, 2, 1])))
    np.testing.assert_allclose(vendi_score([np.eye(3), np.ones((3, 3))]), [3, 1])


def test_distinct_correct_counts_classes_and_not_draws():
    found = distinct_correct_share([[2, 1], [0, 0], [5, 5]], 10)
    np.testing.assert_allclose(found, [0.2, 0.0, 0.2])
    assert np.isnan(distinct_correct_share([[0]], 0)[0])


def test_front_and_hypervolume_give_the_printed_values():
    assert pareto_front(POINTS).tolist() == [True, True, True, False, True]
    assert hypervolume(POINTS, [0, 0]) == pytest.approx(0.57)


def test_front_equals_enumeration_in_three_measures():
    points = np.random.default_rng(0).integers(0, 4, (40, 3))
    expected = [not any(np.all(b >= a) and np.any(b > a) for b in points) for a in points]
    assert pareto_front(points).tolist() == expected


def test_hypervolume_equals_a_grid_count():
    points = np.random.default_rng(1).integers(0, 30, (12, 2))
    x, y = np.meshgrid(np.arange(3, 30) + 0.5, np.arange(2, 30) + 0.5)
    covered = np.any([(x < a) & (y < b) for a, b in points], axis=0)
    assert hypervolume(points, [3, 2]) == pytest.approx(covered.sum())


def test_nothing_above_the_reference_has_no_volume():
    assert hypervolume([[0.5, 0.5]], [0.5, 0.0]) == 0.0
    assert pareto_front([[np.nan, 9], [1, 1]]).tolist() == [False, True]


@pytest.mark.parametrize(
    "call",
    [
        lambda: answer_entropy([-1, 2]),
        lambda: answer_entropy(3),
        lambda: vendi_score([[1, 0.5], [0.2, 1]]),
        lambda: vendi_score([[2.0]]),
        lambda: distinct_correct_share([[5]], 4),
        lambda: pareto_front([1, 2]),
        lambda: hypervolume([[1, 2, 3]], [0, 0]),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

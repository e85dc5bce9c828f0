"""Consistency of reward models: printed oracles and limits."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from dwell.errors import UsageError
from dwell.metrics import (
    contrast_consistency,
    extremes_agree,
    implicit_reward,
    preference_agreement,
    rank_consistency,
    smoothed_preference_loss,
)


def test_rank_consistency_gives_the_printed_value():
    found = rank_consistency([[0.9, 0.2, 0.5, 0.7]], [[0.8, 0.3, 0.6, 0.4]])
    assert float(found[0]) == pytest.approx(0.833333, abs=1e-6)
    assert rank_consistency([[1, 2, 3]], [[3, 2, 1]]).tolist() == [0.0]


def test_prompts_without_all_scores_are_missing():
    assert np.isnan(rank_consistency([[0.9, np.nan]], [[0.1, 0.2]])[0])
    assert np.isnan(extremes_agree([[0.9, np.nan]], [[0.1, 0.2]])[0])
    assert np.isnan(rank_consistency([[1, 1]], [[1, 2]])[0])


def test_extremes_need_best_and_worst():
    first = [[0.9, 0.2, 0.5], [0.9, 0.2, 0.5]]
    second = [[0.8, 0.3, 0.6], [0.8, 0.4, 0.3]]
    assert extremes_agree(first, second).tolist() == [1.0, 0.0]


def test_preference_loss_mixes_both_directions():
    margin = np.array([-1.0, 0.5, 3.0])
    plain, reversed_ = (
        smoothed_preference_loss(margin, 1.0),
        smoothed_preference_loss(-margin, 1.0),
    )
    np.testing.assert_allclose(plain, -np.log(1 / (1 + np.exp(-margin))))
    mixed = smoothed_preference_loss(margin, 0.7)
    np.testing.assert_allclose(mixed, 0.7 * plain + 0.3 * reversed_)


def test_agreement_gives_the_printed_values():
    found = preference_agreement([0.8], [0.6])
    assert float(found.symmetric_kl[0]) == pytest.approx(0.196166, abs=1e-6)
    assert float(found.jensen_shannon[0]) == pytest.approx(0.024157, abs=1e-6)
    one_way = entropy([0.8, 0.2], [0.6, 0.4])
    assert one_way == pytest.approx(0.091516, abs=1e-6)
    assert float(found.jensen_shannon[0]) == pytest.approx(
        jensenshannon([0.8, 0.2], [0.6, 0.4]) ** 2
    )


def test_agreement_counts_undecided_pairs_half():
    found = preference_agreement([0.8, 0.3, 0.5, 0.9], [0.6, 0.7, 0.9, 0.5])
    assert found.same_side == 0.5
    certain = preference_agreement([1.0, 1.0], [1.0, 0.0])
    assert certain.symmetric_kl.tolist() == [0.0, np.inf]
    assert float(certain.jensen_shannon[1]) == pytest.approx(np.log(2))


def test_implicit_reward_is_even_without_a_difference():
    assert implicit_reward([0.0, 1e9], 0.1).tolist() == [0.5, 1.0]


def test_contrast_gives_the_printed_values():
    found = contrast_consistency([2.0], [1.5], [2.3], [2.6])
    assert (found.response.tolist(), found.instruction.tolist()) == ([1.0], [0.5])


def test_contrast_of_random_scores_is_chance_and_ties_are_half():
    scores = np.random.default_rng(0).random((4, 5000))
    found = contrast_consistency(*scores)
    error = 4 * np.sqrt(0.25 / 2 / 5000)
    assert found.response.mean() == pytest.approx(0.5, abs=2 * error)
    assert contrast_consistency([1], [1], [1], [1]).response.tolist() == [0.5]
    assert np.isnan(contrast_consistency([np.nan], [1], [1], [1]).response[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: rank_consistency([[1, 2]], [[1]]),
        lambda: preference_agreement([1.5], [0.5]),
        lambda: preference_agreement([np.nan], [0.5]),
        lambda: smoothed_preference_loss(1.0, 2.0),
        lambda: contrast_consistency([1], [1], [1], [1, 2]),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

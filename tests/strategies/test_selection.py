import math
from itertools import permutations

import numpy as np
import pytest

from dwell.strategies.selection import (
    argmax,
    best_answer,
    choose_answer,
    majority,
    top_two,
    vote_weights,
    weighted_leader,
    weighted_majority,
)

NAN = math.nan


def test_majority_breaks_ties_by_the_first_seen():
    assert majority(["b", "a", "a", "b"]) == "b"
    assert majority([None, "a", "b", "b", "a"]) == "a"


def test_majority_never_elects_none():
    assert majority([None, None, None, "a"]) == "a"
    assert majority([None, None]) is None
    assert majority([]) is None


def test_top_two_counts_the_leader_and_the_runner_up():
    assert top_two(["a", "b", "a", "c", None, "b", "a"]) == ("a", 3, 2)
    assert top_two(["a"]) == ("a", 1, 0)


def test_weighted_majority_with_equal_weights_is_the_majority():
    rng = np.random.default_rng(3)
    for _ in range(300):
        answers = [[None, "a", "b", "c"][i] for i in rng.integers(0, 4, size=7)]
        assert weighted_majority(answers, np.full(7, 0.1)) == majority(answers)


def test_weighted_majority_sums_weights_of_equal_answers():
    assert weighted_majority(["a", "b", "b"], [0.9, 0.5, 0.5]) == "b"
    assert weighted_majority(["a", "b", "b", None], [0.9, 0.3, NAN, 5.0]) == "a"


def test_weighted_majority_without_any_weight_falls_back_to_the_vote():
    assert weighted_majority(["a", "b", "b"], [0.0, 0.0, 0.0]) == "b"
    assert weighted_majority(["a", "b", "b"], [NAN, NAN, NAN]) == "b"


def test_weights_that_add_up_equally_in_any_order_tie():
    for order in permutations([0.1, 0.2, 0.3]):
        assert weighted_majority(["a", "b", "b", "b"], [0.6, *order]) == "a"


def test_negative_scores_are_read_as_log_weights():
    assert vote_weights([-1.0, -1.0 - math.log(4), NAN]) == pytest.approx([1.0, 0.25, 0.0])
    assert vote_weights([-math.inf, -math.inf]).tolist() == [0.0, 0.0]
    # Summed as they stand, minus 3 would beat minus 4, the rarer answer would win.
    assert choose_answer("weighted", ["a", "b", "b"], [-3.0, -2.0, -2.0]) == "b"


def test_argmax_ranks_nan_below_every_number():
    assert argmax([NAN, -math.inf, NAN]) == 1
    assert argmax([NAN, NAN]) == 0
    assert argmax([0.5, 0.9, 0.9]) == 1
    assert argmax([]) is None


def test_best_answer_passes_over_missing_answers():
    assert best_answer([None, "a", "b"], [0.99, 0.2, NAN]) == "a"
    assert best_answer([None, None], [0.9, 0.8]) is None


def test_choose_follows_the_named_rule():
    answers, scores = ["a", "b", "b", "c", "c"], [0.9, 0.2, 0.2, 0.5, 0.6]
    assert choose_answer("majority", answers, scores) == "b"
    assert choose_answer("weighted", answers, scores) == "c"
    assert choose_answer("best", answers, scores) == "a"


def test_weights_of_many_votes_are_those_of_each():
    scores = np.random.default_rng(5).normal(size=(40, 6)).round(1)
    scores[::2] = np.abs(scores[::2])
    scores[scores > 1] = NAN
    scores[7], scores[8, 0] = -np.inf, np.inf
    assert np.array_equal(vote_weights(scores), [vote_weights(row) for row in scores])


def test_weighted_leaders_of_many_votes_are_those_of_each():
    rng = np.random.default_rng(6)
    codes = rng.integers(-1, 4, (600, 9))
    # Tenths: sums that are equal on paper and differ by rounding must stay ties.
    scores = rng.integers(0, 10, (600, 9)) / 10
    scores[rng.random(scores.shape) < 0.2] = NAN
    scores[::5] = -scores[::5]
    scores[1::50] = 0.0
    wanted = [
        weighted_majority([None if c < 0 else str(c) for c in row], vote_weights(
            np.where(row >= 0, known, NAN)))
        for row, known in zip(codes, scores, strict=True)
    ]  # fmt: skip
    found = weighted_leader(codes, scores)
    assert [None if c < 0 else str(c) for c in found] == wanted

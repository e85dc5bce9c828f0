"""Weighted votes: the printed oracle, enumeration against permutations, abstentions."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import answer_codes, answer_counts, vote_at_k, weighted_vote_at_k

CODES = [[0, 0, 1, 1, 1, 2]]
WEIGHTS = [[0.9, 0.6, 0.5, 0.4, 0.3, 0.8]]
RIGHT = [[1, 1, 0, 0, 0, 0]]


def random_votes(num_problems, size, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 4, (num_problems, size))
    return codes, rng.random(codes.shape), codes == 0


def test_weighted_vote_gives_the_printed_values():
    vote = weighted_vote_at_k(CODES, WEIGHTS, RIGHT, [3, 5])
    np.testing.assert_allclose(vote.values[0], [19 / 40, 2 / 3])
    assert vote.exact.all()
    assert not vote.standard_error.any()


def test_equal_weights_are_the_plain_vote():
    codes, _, right = random_votes(10, 9)
    answers = [[None if code < 0 else int(code) for code in row] for row in codes]
    plain = vote_at_k(*answer_counts(answers, right.astype(float).tolist()), [1, 3, 4, 9])
    vote = weighted_vote_at_k(codes, np.full(codes.shape, 0.1), right, [1, 3, 4, 9])
    np.testing.assert_allclose(vote.values, plain, atol=1e-12)


def test_permutations_agree_with_enumeration():
    codes, weights, right = random_votes(40, 10)
    exact = weighted_vote_at_k(codes, weights, right, [2, 5, 8])
    sampled = weighted_vote_at_k(codes, weights, right, [2, 5, 8], max_subsets=0)
    assert exact.exact.all()
    assert not sampled.exact.any()
    error = np.sqrt((sampled.standard_error**2).sum(axis=0)) / 40
    assert np.all(np.abs((sampled.values - exact.values).mean(axis=0)) < 4 * error)
    assert np.all(sampled.standard_error <= 0.5 / np.sqrt(256) + 1e-12)


def test_permutations_depend_on_the_seed_alone():
    votes = random_votes(5, 30)
    first = weighted_vote_at_k(*votes, [8], seed=3)
    again = weighted_vote_at_k(*votes, [8], seed=3)
    np.testing.assert_array_equal(first.values, again.values)
    assert np.any(first.values != weighted_vote_at_k(*votes, [8], seed=4).values)


def test_all_draws_are_enumerated_however_many_there_are():
    votes = random_votes(3, 40)
    vote = weighted_vote_at_k(*votes, [1, 20, 40, 41])
    assert vote.exact.tolist() == [True, False, True, False]
    assert np.isnan(vote.values[:, 3]).all()
    assert np.all((vote.values[:, 2] == 0) | (vote.values[:, 2] == 1))


def test_nobody_voting_is_wrong():
    vote = weighted_vote_at_k([[-1, 0]], [[1.0, 0.0]], [[1, 1]], [1, 2])
    assert vote.values.tolist() == [[0.0, 0.0]]


def test_answer_codes_number_answers_by_appearance():
    assert answer_codes([["b", None, "a", "b"], [None] * 4]).tolist() == [
        [0, -1, 1, 0],
        [-1, -1, -1, -1],
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda: weighted_vote_at_k(CODES, [[-1, 0, 0, 0, 0, 0]], RIGHT, 2),
        lambda: weighted_vote_at_k(CODES, [[np.nan, 0, 0, 0, 0, 0]], RIGHT, 2),
        lambda: weighted_vote_at_k(CODES, [[1.0]], RIGHT, 2),
        lambda: answer_codes([["a"], ["a", "b"]]),
    ],
)
def test_bad_ballots_are_refused(call):
    with pytest.raises(UsageError):
        call()

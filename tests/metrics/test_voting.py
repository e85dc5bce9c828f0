"""Votes against printed oracles, brute-force enumeration and simulation."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwell.errors import UsageError
from dwell.metrics import answer_counts, vote_at_k
from dwell.metrics import voting as voting_module

COUNTS = [[4, 3, 2, 1]]


def vote_payoff(subset, right):
    """Payoff of a vote with ties split evenly; None abstains."""
    tally = Counter(answer for answer in subset if answer is not None)
    if not tally:
        return 0.0
    top = max(tally.values())
    return np.mean([right[answer] for answer, count in tally.items() if count == top])


def test_vote_gives_the_printed_values():
    expected = [2 / 5, 2 / 5, 41 / 90, 109 / 210, 47 / 84, 2 / 3, 1]
    values = vote_at_k(COUNTS, [[1, 0, 0, 0]], 10, [1, 2, 3, 4, 5, 7, 10])
    np.testing.assert_allclose(values[0], expected, atol=1e-12)
    values = vote_at_k(COUNTS, [[0, 1, 0, 0]], 10, [3, 5])
    np.testing.assert_allclose(values[0], [3 / 10, 53 / 168], atol=1e-12)


def test_vote_with_replacement_gives_the_printed_values():
    values = vote_at_k(COUNTS, [[1, 0, 0, 0]], 10, [3, 5], with_replacement=True)
    np.testing.assert_allclose(values[0], [0.44, 0.49024], atol=1e-5)


def test_a_three_way_tie_is_split_evenly():
    values = vote_at_k([[2, 2, 1], [1, 1, 1]], [[1, 0, 0], [1, 0, 0]], [5, 3], [3])
    assert float(vote_at_k([[2, 2, 1]], [[1, 0, 0]], 5, 4)[0]) == pytest.approx(0.5)
    assert values[1, 0] == pytest.approx(1 / 3)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=8),
    st.sets(st.sampled_from("abcd")),
    st.data(),
)
def test_vote_equals_enumeration_with_abstentions(answers, winners, data):
    right = {answer: float(answer in winners) for answer in "abcd"}
    k = data.draw(st.integers(1, len(answers)))
    expected = np.mean([vote_payoff(part, right) for part in combinations(answers, k)])
    marks = [[right.get(answer, 0.0) for answer in answers]]
    value = vote_at_k(*answer_counts([answers], marks), k)
    assert float(value[0]) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=4), st.integers(1, 5))
def test_vote_with_replacement_equals_enumeration(answers, k):
    right = {"a": 1.0, "b": 0.0, "c": 0.25}
    draws = product(answers, repeat=k)
    expected = np.mean([vote_payoff(part, right) for part in draws])
    marks = [[right.get(answer, 0.0) for answer in answers]]
    value = vote_at_k(*answer_counts([answers], marks), k, with_replacement=True)
    assert float(value[0]) == pytest.approx(expected, abs=1e-12)


def test_win_probabilities_of_all_answers_sum_to_one():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(64, rng.dirichlet(np.full(20, 0.5), size=50))
    values = vote_at_k(counts, np.ones(counts.shape), 64, [1, 2, 3, 8, 31, 64])
    np.testing.assert_allclose(values, 1.0, atol=1e-11)


def test_first_and_second_vote_equal_one_draw_and_all_votes_the_observed_vote():
    rng = np.random.default_rng(1)
    counts = rng.multinomial(32, rng.dirichlet(np.ones(6), size=30))
    correct = np.zeros(counts.shape)
    correct[:, 0] = 1
    values = vote_at_k(counts, correct, 32, [1, 2, 32])
    np.testing.assert_allclose(values[:, 0], counts[:, 0] / 32, atol=1e-12)
    np.testing.assert_allclose(values[:, 1], counts[:, 0] / 32, atol=1e-12)
    top = counts == counts.max(axis=1, keepdims=True)
    np.testing.assert_allclose(values[:, 2], top[:, 0] / top.sum(axis=1), atol=1e-12)


def test_vote_over_many_draws_agrees_with_its_shared_scale(monkeypatch):
    rng = np.random.default_rng(2)
    counts = rng.multinomial(120, rng.dirichlet(np.full(8, 0.7), size=10))
    correct = (np.arange(8) < 2) * np.ones((10, 1))
    shared = vote_at_k(counts, correct, 120, [1, 5, 40, 120])
    monkeypatch.setattr(voting_module, "_SHARED_SCALE_LIMIT", 10)
    np.testing.assert_allclose(vote_at_k(counts, correct, 120, [1, 5, 40, 120]), shared, rtol=1e-9)


def test_vote_over_two_thousand_draws_stays_finite():
    values = vote_at_k([[1100, 900]], [[1, 0]], 2000, [1, 200, 2000])
    assert values[0, 0] == pytest.approx(0.55, abs=1e-9)
    assert 0.9 < values[0, 1] < 1.0
    assert values[0, 2] == pytest.approx(1.0)


def test_vote_matches_simulated_subsets():
    rng = np.random.default_rng(3)
    counts = np.array([14, 10, 6, 5, 3, 2])
    answers = np.repeat(np.arange(6), counts)
    shuffled = rng.permuted(np.tile(answers, (20_000, 1)), axis=1)[:, :16]
    tally = (shuffled[:, :, None] == np.arange(6)).sum(axis=1)
    top = tally == tally.max(axis=1, keepdims=True)
    simulated = top[:, 0] / top.sum(axis=1)
    value = float(vote_at_k([counts], [[1, 0, 0, 0, 0, 0]], 40, 16)[0])
    assert abs(value - simulated.mean()) < 4 * simulated.std() / np.sqrt(20_000)


def test_problems_may_differ_in_draws_and_answers():
    counts, payoff, num = answer_counts(
        [["a", "a", "b"], ["x"], [], [None, None]], [[1, 1, 0], [1], [], [0, 0]]
    )
    values = vote_at_k(counts, payoff, num, [1, 2, 3])
    np.testing.assert_allclose(values[0], [2 / 3, 2 / 3, 1])
    np.testing.assert_array_equal(values[1], [1, np.nan, np.nan])
    assert np.isnan(values[2]).all()
    np.testing.assert_array_equal(values[3], [0, 0, np.nan])


def test_answer_counts_average_the_payoff_of_an_answer():
    counts, payoff, num = answer_counts([["a", "b", "b", None]], [[1, 0, 1, 0]])
    assert counts.tolist() == [[2, 1]]
    assert payoff.tolist() == [[0.5, 1.0]]
    assert num.tolist() == [4]


@pytest.mark.parametrize(
    "call",
    [
        lambda: vote_at_k([[2, 1]], [[1, 0]], 2, 1),
        lambda: vote_at_k([[2, 1]], [[1]], 3, 1),
        lambda: vote_at_k([[2, 1]], [[1, 0]], 3, 0),
        lambda: vote_at_k([[20_000]], [[1]], 20_000, 10_000),
        lambda: answer_counts([["a"]], [[1, 0]]),
    ],
)
def test_impossible_votes_are_refused(call):
    with pytest.raises(UsageError):
        call()

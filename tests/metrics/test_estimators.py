"""Estimators against printed oracles, brute-force enumeration and fresh draws."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwell.errors import UsageError
from dwell.metrics import (
    all_at_k,
    at_least_at_k,
    best_of_k,
    distinct_pass_at_k,
    expected_draws,
    pass_at_k,
    selection_efficiency,
    vote_at_k,
)

marks = st.lists(st.integers(0, 1), min_size=1, max_size=8)


def over_subsets(n, k, value):
    """Mean of `value(subset of draw indices)` over all subsets of k of n draws."""
    return np.mean([value(subset) for subset in combinations(range(n), k)])


def test_pass_at_k_gives_the_printed_values():
    expected = [0.3, 0.533333, 0.916667, 1.0]
    np.testing.assert_allclose(pass_at_k(10, 3, [1, 2, 5, 8]), expected, atol=1e-6)
    plug_in = [0.3, 0.51, 0.83193, 0.942352]
    values = pass_at_k(10, 3, [1, 2, 5, 8], with_replacement=True)
    np.testing.assert_allclose(values, plug_in, atol=1e-6)


def test_pass_at_k_is_right_for_many_draws():
    assert float(pass_at_k(10_000, 3, 1000)) == pytest.approx(0.271024, abs=1e-6)
    assert float(pass_at_k(10_000, 1, 1)) == pytest.approx(1e-4, rel=1e-6)


def test_pass_at_k_of_a_data_set_with_its_standard_error():
    values = pass_at_k([10, 10, 10, 10], [3, 0, 10, 1], [1, 4, 10])
    np.testing.assert_allclose(values.mean(axis=0), [0.35, 0.558333, 0.75], atol=1e-6)
    errors = values.std(axis=0, ddof=1) / 2
    np.testing.assert_allclose(errors, [0.22546, 0.225, 0.25], atol=1e-5)


def test_pass_at_k_is_unbiased_and_the_plug_in_is_not():
    n, k, p = 10, 4, 0.2
    c = np.arange(n + 1)
    weight = np.array([comb(n, int(i)) for i in c]) * p**c * (1 - p) ** (n - c)
    exact = pass_at_k(n, c, k)
    assert weight @ exact == pytest.approx(1 - (1 - p) ** k, abs=1e-12)
    assert weight @ pass_at_k(n, c, k, with_replacement=True) == pytest.approx(0.531258, abs=1e-6)
    spread = np.sqrt(weight @ exact**2 - (weight @ exact) ** 2)
    assert spread == pytest.approx(0.2754, abs=1e-4)


def test_pass_at_k_is_missing_beyond_the_recorded_draws():
    values = pass_at_k([4, 0], [1, 0], [0, 1, 4, 5])
    np.testing.assert_allclose(values[0], [0.0, 0.25, 1.0, np.nan], rtol=1e-12)
    assert np.isnan(values[1]).all()


def test_pass_at_k_is_exact_at_the_ends():
    assert pass_at_k(8, 0, [1, 3, 8]).tolist() == [0.0, 0.0, 0.0]
    assert pass_at_k(8, 8, [1, 3, 8]).tolist() == [1.0, 1.0, 1.0]
    assert float(pass_at_k(8, 3, 6)) == 1.0


@settings(deadline=None, max_examples=40)
@given(marks, st.data())
def test_counting_estimators_equal_enumeration(y, data):
    n, c = len(y), sum(y)
    k = data.draw(st.integers(1, n))
    least = data.draw(st.integers(1, k))
    hits = [sum(y[i] for i in subset) for subset in combinations(range(n), k)]
    assert float(pass_at_k(n, c, k)) == pytest.approx(np.mean([h >= 1 for h in hits]))
    assert float(all_at_k(n, c, k)) == pytest.approx(np.mean([h == k for h in hits]))
    expected = np.mean([h >= least for h in hits])
    assert float(at_least_at_k(n, c, k, least)) == pytest.approx(expected)


def test_reliability_and_at_least_give_the_printed_values():
    assert float(all_at_k(10, 7, 3)) == pytest.approx(0.291667, abs=1e-6)
    assert float(at_least_at_k(10, 3, 5, 2)) == pytest.approx(0.5)
    assert np.isnan(at_least_at_k(4, 2, [2, 5], 1)[1])


def test_best_of_k_gives_the_printed_values():
    scores, correct = [0.9, 0.8, 0.8, 0.5, 0.4, 0.1], [0, 1, 0, 1, 1, 0]
    expected = [1 / 2, 13 / 30, 11 / 40, 0]
    np.testing.assert_allclose(best_of_k(scores, correct, [1, 2, 3, 6]), expected, atol=1e-12)
    value = best_of_k(scores, correct, 2, with_replacement=True)
    assert float(value) == pytest.approx(0.444444, abs=1e-6)


def test_best_of_k_serves_other_keys_and_payoffs():
    quality = np.array([0.2, 0.5, 0.9, 0.4])
    assert float(best_of_k(quality, quality, 2)) == pytest.approx(0.683333, abs=1e-6)
    assert float(best_of_k(-quality, quality, 2)) == pytest.approx(0.316667, abs=1e-6)
    tokens = [100, 200, 300, 400, 1000]
    assert float(best_of_k(tokens, tokens, 2)) == pytest.approx(600)


def test_best_of_k_with_a_yes_no_verifier():
    accepted = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    right = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert float(best_of_k(accepted, right, 4)) == pytest.approx(62 / 105)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([np.nan, 0.0, 0.5, 1.0]), st.integers(0, 1)),
        min_size=1,
        max_size=7,
    ),
    st.data(),
)
def test_best_of_k_equals_enumeration_with_ties_and_missing_scores(draws, data):
    scores = [score for score, _ in draws]
    y = [mark for _, mark in draws]
    k = data.draw(st.integers(1, len(y)))
    ranks = [-1.0 if np.isnan(score) else score for score in scores]

    def chosen(subset):
        top = max(ranks[i] for i in subset)
        return np.mean([y[i] for i in subset if ranks[i] == top])

    assert float(best_of_k(scores, y, k)) == pytest.approx(over_subsets(len(y), k, chosen))


def test_best_of_k_handles_each_problem_by_itself():
    rng = np.random.default_rng(0)
    scores, correct = rng.integers(0, 4, (20, 9)).astype(float), rng.integers(0, 2, (20, 9))
    scores[rng.random(scores.shape) < 0.2] = np.nan
    together = best_of_k(scores, correct, [1, 3, 9, 10])
    alone = [best_of_k(s, y, [1, 3, 9, 10]) for s, y in zip(scores, correct, strict=True)]
    np.testing.assert_allclose(together, alone)
    assert np.isnan(together[:, 3]).all()


def test_best_of_one_is_the_mean_and_equal_scores_choose_at_random():
    correct = np.array([[1, 0, 0, 1, 0, 0]])
    np.testing.assert_allclose(best_of_k(np.zeros((1, 6)), correct, [1, 2, 6]), 1 / 3)
    np.testing.assert_allclose(best_of_k(np.full((1, 6), np.nan), correct, [1, 2, 6]), 1 / 3)


def test_all_right_is_exactly_one_for_every_selection():
    rng = np.random.default_rng(2)
    for n in (7, 24, 39):
        k = np.arange(1, n + 1)
        assert np.all(best_of_k(rng.random((3, n)), np.ones((3, n)), k) == 1.0)
        assert np.all(vote_at_k([[n]], [[1.0]], n, k) <= 1.0)
        assert np.all(distinct_pass_at_k([[1] * n], n, k, least=1) <= 1.0)


def test_best_of_k_is_unbiased_for_fresh_draws():
    rng = np.random.default_rng(1)

    def draws(num, size):
        right = rng.random((num, size)) < 0.4
        return rng.normal(size=right.shape) + 0.8 * right, right

    scores, right = draws(40_000, 12)
    estimated = best_of_k(scores, right, 4)
    fresh_scores, fresh = draws(40_000, 4)
    measured = np.take_along_axis(fresh, fresh_scores.argmax(1)[:, None], axis=1)[:, 0]
    error = np.hypot(estimated.std(), measured.std()) / 200
    assert abs(estimated.mean() - measured.mean()) < 4 * error


def test_expected_draws_gives_the_printed_values():
    assert float(expected_draws(10, 3, limit=5)) == pytest.approx(2.625)
    assert float(expected_draws(10, 3)) == pytest.approx(2.75)
    np.testing.assert_array_equal(expected_draws([4, 4], [0, 4], limit=4), [4.0, 1.0])


def test_expected_draws_is_missing_where_it_is_unknown():
    assert np.isnan(expected_draws(10, 0))
    assert np.isnan(expected_draws(4, 1, limit=5))


def test_selection_efficiency_needs_something_to_gain():
    assert float(selection_efficiency(0.56, 0.35, 0.75)) == pytest.approx(0.525)
    assert np.isnan(selection_efficiency(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: pass_at_k(3, 4, 1),
        lambda: pass_at_k(3, -1, 1),
        lambda: pass_at_k(3, 1, 1.5),
        lambda: pass_at_k(3, 1, []),
        lambda: best_of_k([0.1, 0.2], [1], 1),
        lambda: best_of_k([0.1], [1], 0),
        lambda: expected_draws(3, 1, limit=0),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

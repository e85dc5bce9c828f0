"""Distinct and top-S coverage and balance against printed oracles and enumeration."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dwell.errors import UsageError
from dwell.metrics import (
    balance_score,
    best_of_k,
    distinct_pass_at_k,
    pass_at_k,
    top_correct_at_k,
)


def test_distinct_solutions_give_the_printed_value():
    values = distinct_pass_at_k([[2, 1], [3, 0]], 10, [5, 11], least=2)
    assert values[0, 0] == pytest.approx(13 / 36)
    assert values[1, 0] == 0.0
    assert np.isnan(values[:, 1]).all()


def test_one_distinct_solution_is_coverage():
    values = distinct_pass_at_k([[2, 1, 4]], 12, [1, 3, 8], least=1)
    np.testing.assert_allclose(values[0], pass_at_k(12, 7, [1, 3, 8]))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 3), st.data())
def test_distinct_solutions_equal_enumeration(labels, least, data):
    """Label 0 is wrong, the others are classes of correct solutions."""
    k = data.draw(st.integers(1, len(labels)))
    hits = [len(set(part) - {0}) >= least for part in combinations(labels, k)]
    counts = [[labels.count(label) for label in (1, 2, 3)]]
    value = distinct_pass_at_k(counts, len(labels), k, least)
    assert float(value[0]) == pytest.approx(np.mean(hits))


def test_top_correct_gives_the_printed_value():
    scores = [[0.9, 0.8, 0.7, 0.5, 0.4, 0.1]]
    values = top_correct_at_k(scores, [[1, 1, 0, 1, 0, 1]], [1, 4, 7], top=2)
    assert values[0, 1] == pytest.approx(8 / 15)
    assert values[0, 0] == 0.0
    assert np.isnan(values[0, 2])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([np.nan, 0.0, 1.0, 2.0]), st.integers(0, 1)),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
def test_top_one_correct_is_best_of_k_with_ties(draws, data):
    scores, correct = [[s for s, _ in draws]], [[y for _, y in draws]]
    k = data.draw(st.integers(1, len(draws)))
    value = top_correct_at_k(scores, correct, k, top=1)
    assert value == pytest.approx(best_of_k(scores, correct, k))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=2, max_size=6), st.data()
)
def test_top_two_correct_equals_enumeration_with_ties(draws, data):
    k = data.draw(st.integers(2, len(draws)))

    def value(part):
        cut = sorted((s for s, _ in part), reverse=True)[1]
        sure = [y for s, y in part if s > cut]
        level = [y for s, y in part if s == cut]
        pairs = list(combinations(level, 2 - len(sure)))
        return np.mean([all(sure) and all(pair) for pair in pairs])

    expected = np.mean([value(part) for part in combinations(draws, k)])
    scores, correct = [[float(s) for s, _ in draws]], [[y for _, y in draws]]
    assert float(top_correct_at_k(scores, correct, k, top=2)[0]) == pytest.approx(expected)


def test_balance_gives_the_printed_values():
    values = balance_score([10, 2, 64, 16, 0], [6, 2, 16, 12, 0], 8)
    np.testing.assert_allclose(values, [0.45, 0.25, 0.25, 0.75, 0.0])


def test_bad_classes_are_refused():
    with pytest.raises(UsageError):
        distinct_pass_at_k([[3, 3]], 5, 2, least=1)
    with pytest.raises(UsageError):
        top_correct_at_k([[1.0]], [[1]], 1, top=0)
    with pytest.raises(UsageError):
        balance_score(2, 3, 8)
    with pytest.raises(UsageError):
        balance_score(2, 1, 0)

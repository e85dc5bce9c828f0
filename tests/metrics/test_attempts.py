"""The protocol of a few whole attempts: printed oracles and agreement with the estimators."""

import numpy as np
import pytest

from dwell.errors import UsageError
from dwell.metrics import all_at_k, pass_at_k, relative_spread, solved_within, summarise_attempts

OUTCOMES = [[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0]]
ANSWERS = ["abaac", "xxyxw", "mmmmm", "uutvw"]


def test_the_summary_gives_the_printed_values():
    found = summarise_attempts(OUTCOMES, ANSWERS)
    means = [x.mean() for x in (found.average, found.best, found.worst, found.majority)]
    np.testing.assert_allclose(means, [0.45, 0.75, 0.25, 0.5])


def test_best_and_worst_are_coverage_and_reliability_at_n():
    found = summarise_attempts(OUTCOMES)
    right = np.sum(OUTCOMES, axis=1)
    np.testing.assert_allclose(found.best, pass_at_k(5, right, 5))
    np.testing.assert_allclose(found.worst, all_at_k(5, right, 5))
    assert np.isnan(found.majority).all()


def test_attempts_without_an_answer_do_not_vote():
    found = summarise_attempts([[1, 0, 0]], [["a", None, None]])
    assert found.majority.tolist() == pytest.approx([1.0])


def test_the_sequential_curve_gives_the_printed_values():
    solved = solved_within([1, np.nan, 1, 3], [1, 2, 3])
    np.testing.assert_allclose(solved.mean(axis=0), [0.5, 0.5, 0.75])
    assert solved_within([2.0], 1).tolist() == [0.0]


def test_token_spread_gives_the_printed_values():
    spread = relative_spread([[1000, 1200, 900], [4000, 8000, 6000], [5, np.nan, np.nan]])
    np.testing.assert_allclose(spread[:2], [0.1478, 0.3333], atol=1e-4)
    assert np.isnan(spread[2])


@pytest.mark.parametrize(
    "call",
    [
        lambda: summarise_attempts([1, 0]),
        lambda: summarise_attempts([[]]),
        lambda: summarise_attempts([[1, 0]], [["a"]]),
        lambda: solved_within([0.0], 1),
    ],
)
def test_impossible_input_is_refused(call):
    with pytest.raises(UsageError):
        call()

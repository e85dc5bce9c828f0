"""The examples in the docstrings are run."""

import doctest

import pytest

from dwell.metrics import comparisons, estimators, exploration, intervals, voting, weighted_voting


@pytest.mark.parametrize(
    "module", [comparisons, estimators, exploration, intervals, voting, weighted_voting]
)
def test_examples_print_what_they_say(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0

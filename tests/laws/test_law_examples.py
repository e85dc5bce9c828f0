"""The examples in the docstrings are run."""

import doctest

from dwell.laws import fitting


def test_examples_print_what_they_say():
    result = doctest.testmod(fitting)
    assert result.attempted > 0
    assert result.failed == 0

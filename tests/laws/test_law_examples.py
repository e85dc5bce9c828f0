"""The examples in the docstrings are run."""

import doctest

import pytest

from dwell.laws import curves, declaration, envelope, law, mixtures, rows, spending

MODULES = [curves, declaration, envelope, law, mixtures, rows, spending]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_examples_print_what_they_say(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0

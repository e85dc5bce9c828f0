"""Every public name is shown at work: examples in docstrings run, the rest have tests."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import dwell.metrics

FAMILIES = sorted(
    path.stem
    for path in Path(dwell.metrics.__file__).parent.glob("*.py")
    if path.stem not in ("__init__", "arrays", "logistic")
)


@pytest.mark.parametrize("family", FAMILIES)
def test_examples_print_what_they_say(family):
    result = doctest.testmod(import_module(f"dwell.metrics.{family}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_every_public_name_is_tested():
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    functions = [name for name in dwell.metrics.__all__ if name[0].islower()]
    assert [name for name in functions if not re.search(rf"\b{name}\(", text)] == []


def test_every_public_function_has_an_example():
    without = []
    for name in dwell.metrics.__all__:
        found = doctest.DocTestFinder(recurse=False).find(getattr(dwell.metrics, name), name)
        if name[0].islower() and not any(test.examples for test in found):
            without.append(name)
    assert without == []


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dwell.metrics.nothing

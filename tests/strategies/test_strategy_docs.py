"""What the pages and docstrings about strategies show is run."""

import doctest
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from dwell.strategies import STRATEGIES, make

DOCS = Path(__file__).parents[2] / "docs"
MODULES = ("dwell.strategies", "dwell.strategies.selection", "dwell.strategies.adaptive",
           "dwell.strategies.gains", "dwell.streams",
           "dwell.testing.player")  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", ["strategies.md", "adding_a_strategy.md"])
def test_page_examples_run(page, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    module = ModuleType("page_under_test")
    # Dataclasses look up their module by name.
    monkeypatch.setitem(sys.modules, "page_under_test", module)
    for block in blocks:
        exec(compile(block, page, "exec"), module.__dict__)
    if page == "adding_a_strategy.md":
        strategy = module.__dict__["Race"](n=6, votes=2)
        suite = module.__dict__["TestRace"]()
        for check in [name for name in dir(suite) if name.startswith("test_")]:
            getattr(suite, check)(strategy)


def test_every_strategy_has_its_section_with_every_knob():
    text = (DOCS / "strategies.md").read_text()
    for name in STRATEGIES:
        section = re.search(rf"^## {name}\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
        assert section is not None, name
        for knob in make(name).params():
            assert f"`{knob}" in section[1], f"{name}: {knob}"
        for part in ("*Idea.*", "*Formula.*", "*Paper.*", "*Knobs.*", "*Cost.*", "*Helps", "urts"):
            assert part in section[1], f"{name}: {part}"

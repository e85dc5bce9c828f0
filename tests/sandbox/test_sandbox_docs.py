"""What the pages about problems and programs show is run."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from dwell.sandbox.bubblewrap import why_not

DOCS = Path(__file__).parents[2] / "docs"
MODULES = ("dwell.sandbox.judging", "dwell.tasks.answers", "dwell.tasks.files")


@pytest.mark.skipif(bool(why_not()), reason=f"no sandbox here: {why_not()}")
@pytest.mark.parametrize("page", ["problems.md", "sandbox.md"])
def test_page_examples_run(page):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_page_says_the_default_limits():
    from dwell.sandbox import Limits

    page, limits = (DOCS / "sandbox.md").read_text(), Limits()
    assert f"{limits.cpu_seconds:.0f} s a process, {limits.wall_seconds:.0f} s from" in page
    assert f"{limits.memory_bytes >> 20} MiB a process, and all" in page
    assert f"`/tmp`, empty, {limits.disk_bytes >> 20} MiB" in page
    assert f"| {limits.processes} | **not limited**" in page

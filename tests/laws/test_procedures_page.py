"""`docs/law_procedures.md` names what exists, and its example prints its result."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dwell.laws import LAWS

PAGE = (Path(__file__).parents[2] / "docs/law_procedures.md").read_text("utf-8")
ROWS = [line.split("|")[2:4] for line in PAGE.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize(("functions", "laws"), ROWS, ids=[row[0].strip() for row in ROWS])
def test_functions_and_laws_of_the_table_exist(functions, laws):
    names = re.findall(r"`([\w.]+)`", functions)
    module = importlib.import_module(f"dwell.laws.{names[0].split('.')[0]}")
    assert all(callable(getattr(module, name.split(".")[-1])) for name in names)
    assert set(re.findall(r"`(\w+)`", laws)) <= set(LAWS)


def test_the_example_prints_what_the_page_says():
    code, printed = re.search(r"```python\n(.*?)```\n\n    (.*?)\n", PAGE, re.DOTALL).groups()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed

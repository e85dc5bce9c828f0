"""The page on exports says what its example prints, and names options that exist."""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from dwell.commands.export import export
from dwell.exports.rows import Format

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], check=True, capture_output=True, text=True
    )
    assert len(done.stdout.splitlines()) == 2
    assert "".join(f"    {line}\n" for line in done.stdout.splitlines()) in PAGE


def test_every_option_of_the_page_exists():
    known = {name for option in export.params for name in option.opts}
    named = set(re.findall(r"(--[a-z][a-z-]+)", PAGE)) - {"--ledger", "--record", "--log-dir"}
    assert len(named) > 15
    assert named <= known


def test_every_format_has_a_row_in_the_page():
    assert all(f"| `{kind}` |" in PAGE for kind in [*get_args(Format), "inspect"])

"""The examples, and the Python in README and quickstart, run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "docs" / "quickstart.md", ROOT / "docs" / "concepts.md"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_something(path, tmp_path):
    if "inspect" in path.stem:
        pytest.importorskip("inspect_ai")
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 1
    assert len(path.read_text().splitlines()) < 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        script = tmp_path / "block.py"
        script.write_text(block)
        subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, timeout=100)


def test_the_study_file_of_the_quickstart_is_one():
    from dwell.study_file import parse_study

    text = (ROOT / "docs" / "quickstart.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    assert [len(parse_study(blocks[0]).strategies)] == [3]

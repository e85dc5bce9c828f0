"""The page on replays says what its example prints."""

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from dwell.cli import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")


def test_the_page_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maker = ROOT / "examples" / "05_make_a_recording.py"
    subprocess.run([sys.executable, str(maker)], check=True, capture_output=True)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], check=True, capture_output=True, text=True
    )
    for line in done.stdout.splitlines():
        assert f"    {line}\n" in PAGE
    words = "sample,majority,best_of_n,weighted_majority,adaptive_consistency,coverage"
    shown = CliRunner().invoke(
        cli, ["replay", "samples.csv", "--no-laws", "--strategies", words], catch_exceptions=False
    )
    cells = re.findall(r"\d+ \[\d+, \d+\]", shown.stdout)
    assert len(cells) >= 6 * 6
    table = PAGE.partition("prints")[2].partition("Half of the samples")[0]
    assert cells == re.findall(r"\d+ \[\d+, \d+\]", table)

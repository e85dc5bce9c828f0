"""The tutorial and the docstrings say what is printed."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dwell.cli import cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/from_a_log_to_a_decision.md").read_text(encoding="utf-8")


def flat(text):
    return " ".join(text.split())


@pytest.mark.slow
def test_the_tutorial_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maker = ROOT / "examples/05_make_a_recording.py"
    made = subprocess.run([sys.executable, maker, "samples.csv"], capture_output=True, text=True)
    assert made.stdout.strip() in PAGE
    done = CliRunner().invoke(cli, ["plan", "samples.csv", "--budget", "8"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if re.match(r"[ A-Zs]", line)]
    said = [line for line in lines if line.strip() and "Frontier" not in line]
    assert len(said) >= 8
    assert all(flat(line) in flat(PAGE) for line in said)


@pytest.mark.parametrize("name", ["dwell.plans.options", "dwell.strategies.policy"])
def test_docstring_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0

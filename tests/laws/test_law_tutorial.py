"""The tutorial's commands print what it says they print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from dwell.cli import cli

PAGE = Path(__file__).parents[2] / "docs/tutorials/plan_a_training_run.md"
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")


def blocks():
    """Indented blocks in order, without their indent."""
    found = re.findall(r"(?:^    .*\n)+", PAGE.read_text("utf-8"), re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip("\n") for block in found]


def same(printed, said):
    """The same words, and numbers within 5 %: other machines round otherwise."""
    words = [NUMBER.sub("#", t).split() for t in (printed, said)]
    ours, theirs = (np.array([float(n) for n in NUMBER.findall(t)]) for t in (printed, said))
    assert words[0] == words[1]
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


def run_python(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_command_prints_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "COLUMNS", "100")
    every, commands = blocks(), 0
    for block, following in zip(every, [*every[1:], ""], strict=True):
        if block.startswith("dwell "):
            result = CliRunner().invoke(cli, shlex.split(block)[1:], catch_exceptions=False)
            same(result.output, following)
            commands += 1
        elif block.startswith(("import ", "from ")):
            printed = run_python(block, tmp_path)
            if printed:
                same(printed, following)
    assert commands == 6

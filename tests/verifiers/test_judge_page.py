"""The page on judges: its example runs, and its names are those of the code."""

import re
from pathlib import Path
from typing import get_args

from dwell.study_file import check_study, parse_study
from dwell.verifiers.judge_prompts import PLACES, Kind

PAGE = (Path(__file__).parents[2] / "docs" / "judges.md").read_text()


def block(language):
    """The first block of a language."""
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.S)[1]


def test_the_example_prints_what_it_says(capsys):
    code = block("python")
    exec(compile(code, "judges.md", "exec"), {})  # the documented example is the code under test
    assert capsys.readouterr().out == re.search(r"print.*# (.*)\n", code)[1] + "\n"


def test_the_study_is_valid():
    least = '[[models]]\nname = "coin:0.5"\n[[tasks]]\nname = "chain"\n'
    spec = parse_study(least + block("toml"))
    assert check_study(spec.model_dump()).judges[0].name == "strict"


def test_all_kinds_and_places_are_told():
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == set(get_args(Kind))
    assert {place for places in PLACES.values() for place in places} <= set(
        re.findall(r"`\{(\w+)\}`", PAGE)
    )

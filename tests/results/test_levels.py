"""Levels: which tag is used, and in which order levels stand."""

from dataclasses import replace

import pytest

import replay_world
from dwell.replays import panels
from dwell.results.levels import level_records


def records(**tags):
    recording = replace(replay_world.random_recording(num=6, silent=0.0), tags=tags)
    (panel,) = panels(recording, "sample", [1])
    return level_records(panel), panel


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((3.0, 1.0, 2.0, 3.0, 1.0, 2.0), [1, 2, 3]),
        (("Level 10", "Level 9") * 3, ["Level 9", "Level 10"]),
    ],
)
def test_levels_stand_in_the_order_of_their_numbers(levels, expected):
    found, _ = records(level=levels)
    assert [record["level"] for record in found] == expected


def test_words_stand_from_the_easiest_on():
    found, panel = records(difficulty=("x", "y", "z") * 2)
    accuracy = [record["accuracy"] for record in found]
    assert accuracy == sorted(accuracy, reverse=True)
    assert found[0]["level_of"] == "difficulty"
    assert sum(record["problems"] for record in found) == len(panel.problems)


def test_one_level_is_none():
    assert records(level=(1.0,) * 6)[0] == []


def test_a_tag_that_is_no_difficulty_makes_no_levels():
    assert records(platform=("x", "y") * 3)[0] == []

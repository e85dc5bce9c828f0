"""Whole runs of every strategy are what they were.

A deliberate change: `python tests/golden/regenerate.py`, then read `git diff tests/golden`.
"""

import json

from golden_world import HOME, lines, strategies


def test_every_run_is_what_it_was():
    recorded = HOME.read_text(encoding="utf-8").splitlines()
    now = lines()
    assert len(now) == len(recorded)
    for was, found in zip(recorded, now, strict=True):
        assert json.loads(found) == json.loads(was)


def test_every_strategy_has_golden_runs_that_end_well_and_at_the_budget():
    records = [json.loads(line) for line in HOME.read_text(encoding="utf-8").splitlines()]
    names = {record["strategy"].split("(")[0] for record in records}
    assert names == set(strategies())
    assert {record["status"] for record in records} == {"done", "out_of_budget"}

"""A study killed at random moments and resumed equals one that was left in peace."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_HOME = Path(__file__).parents[2] / "benchmarks" / "kill.py"


@pytest.fixture(scope="module")
def kill():
    """The machinery of `benchmarks/kill.py`, which does 50 kills."""
    spec = importlib.util.spec_from_file_location("kill_benchmark", _HOME)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_killed_study_resumes_to_the_same_ledger(kill, tmp_path):
    world, whole = kill.scripted_world(problems=1), tmp_path / "whole.db"
    turns = kill.uninterrupted(world, whole, "issued")
    for path in kill.torture(world, tmp_path, "issued", 5, turns, np.random.default_rng(1)):
        kill.compare(path, whole)
        kill.recheck(world, path, "issued")


def test_recorded_deliveries_survive_kills(kill, tmp_path):
    world = kill.scripted_world(problems=1)
    for path in kill.torture(world, tmp_path, "finished", 5, 60, np.random.default_rng(2)):
        assert len(kill.rows(path, kill.EVENTS)) > 20
        kill.recheck(world, path, "finished")


def test_the_comparison_sees_a_difference(kill, tmp_path):
    world = kill.scripted_world(problems=1, size=2)
    kill.uninterrupted(world, tmp_path / "a.db", "issued")
    kill.uninterrupted(world, tmp_path / "b.db", "issued")
    kill.compare(tmp_path / "a.db", tmp_path / "b.db")
    with kill.Ledger(tmp_path / "b.db") as ledger:
        ledger._db.execute("UPDATE draw SET text = 'other' WHERE id = 3")
    with pytest.raises(AssertionError, match="draws differ"):
        kill.compare(tmp_path / "a.db", tmp_path / "b.db")

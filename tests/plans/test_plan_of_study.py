import numpy as np
import pytest

import dwell.study
import study_world
from dwell.generators import Scripted
from dwell.plans import plan
from dwell.plans.measured import measured_points
from dwell.plans.pooling import pooled
from dwell.results import analyse
from dwell.study import Study
from dwell.study_file import parse_study
from dwell.study_recording import recordings_of

TEXT = """
title = "revisions among votes"
seed = 3
budgets = [4, 8]
[[models]]
name = "coin:0.6"
[[tasks]]
name = "chain"
problems = 16
levels = [3]
[[strategies]]
name = "majority"
[[strategies]]
name = "revision"
budgets = [2]
"""


def answers(context, index, rng):
    """As in `study_world`, whatever was said after the question."""
    return study_world.answers(type(context)(messages=context.messages[:1]), index, rng)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(
        dwell.study, "make_generator", lambda *_, **__: Scripted.from_function(answers, name="c")
    )
    Study(parse_study(TEXT), tmp_path).run()
    return tmp_path


def test_searches_of_a_study_are_fixed_choices_at_their_measured_cost(folder):
    recording = pooled(recordings_of(folder).recordings)
    (point,) = measured_points(folder, recording, "tokens")
    assert (point.strategy.name, point.strategy.n) == ("revision", 2)
    assert set(np.unique(point.right)) <= {0.0, 1.0}
    assert np.all(point.cost > 0)
    assert measured_points(folder, recording, "draws") == []
    found = plan(folder, budget=1000, unit="tokens", repeats=1, folds=2)
    assert found.record["measured_on"]["questions"] == 16


def test_a_plan_runs_live_and_again_from_its_ledger(folder, tmp_path):
    path = tmp_path / "plan.json"
    plan(folder, budget=4, repeats=1, folds=2).save(path)
    text = TEXT.replace('name = "revision"', f'name = "plan"\nfile = "{path}"')
    study = Study(parse_study(text), folder)
    first = study.run()
    assert first.runs_failed == 0
    assert study.run().runs_done == 0


def test_a_study_says_whether_a_plans_confidence_held(folder, tmp_path):
    path = tmp_path / "plan.json"
    plan(folder, budget=4, repeats=1, folds=2).save(path)
    text = TEXT.replace('name = "revision"', f'name = "plan"\nfile = "{path}"')
    Study(parse_study(text), folder).run()
    found = analyse(folder)["confidence"]
    assert found
    for one in found:
        assert 0 <= one["stated"] <= 1
        assert f"says that {100 * one['stated']:.1f} % of its answers are right" in one["text"]

"""Pooled strategies in a study: one run on all problems of a task, like any other run."""

import sqlite3

import numpy as np
import pytest
from click.testing import CliRunner

from dwell.cli import cli
from dwell.curves import panels
from dwell.errors import SpendLimitReached
from dwell.generators import Scripted
from dwell.generators.scripted import Latency
from dwell.records import USAGE_KINDS, Problem
from dwell.results import analyse
from dwell.strategies import make
from dwell.study import Study, solve
from dwell.study_file import check_study, parse_study

TEXT = """
seed = 3
budgets = [2, 4]
[[models]]
name = "coin:0.6"
[[tasks]]
name = "chain"
problems = 16
levels = [3, 5]
[[strategies]]
name = "majority"
[[strategies]]
name = "pool_vote"
[[strategies]]
name = "pool_allocation"
objective = "coverage"
verifier = "exact"
probe = 1
"""


def study(folder, **changes):
    return Study(check_study({**parse_study(TEXT).model_dump(), **changes}), folder)


def rows(folder, query):
    with sqlite3.connect(folder / "ledger.db") as db:
        found = db.execute(query).fetchall()
    db.close()
    return found


ANSWERS = ("SELECT r.name, a.problem, a.value, a.charged FROM answer a JOIN run r ON r.id = a.run "
           "ORDER BY r.name, a.problem")  # fmt: skip


def test_a_pool_is_one_run_with_an_answer_and_a_charge_for_each_problem(tmp_path, scripted_model):
    counts = study(tmp_path).run()
    planned = list(study(tmp_path).plans(study(tmp_path).spec.models[0]))
    assert counts.runs_done == len(planned) == 16 * 2 + 2 + 2
    pools = [plan for plan in planned if plan.problem.members]
    assert len({plan.problem.id for plan in pools}) == 1
    assert len(rows(tmp_path, ANSWERS)) == 16 * 2 + 16 * 4


def test_curves_of_pools_are_charged_by_member(tmp_path, scripted_model):
    study(tmp_path).run()
    curves = {curve.name: curve for curve in panels(tmp_path)[0].curves}
    calls = curves["pool_vote"].charged[..., 0]
    assert calls.sum(axis=0).tolist() == [2 * 16, 4 * 16]
    assert calls.min() < calls.max()
    assert np.isfinite(curves["pool_vote"].values).all()
    solved = curves["pool_allocation"]
    assert solved.oracle
    assert solved.values.mean(axis=0)[1] >= solved.values.mean(axis=0)[0]


def test_the_problems_of_a_pool_wait_as_long_as_the_pool(tmp_path, monkeypatch):
    slow = Scripted.coin(0.6, latency=Latency(base_seconds=1.0))
    monkeypatch.setattr("dwell.study.make_generator", lambda *words, **options: slow)
    study(tmp_path).run()
    curves = {curve.name: curve for curve in panels(tmp_path)[0].curves}
    waited = curves["pool_vote"].charged[..., USAGE_KINDS.index("seconds")]
    # 2 or 4 draws of a second for each of 16 problems, two of them at once.
    assert waited.tolist() == [[16.0, 32.0]] * 16


def test_the_command_line_runs_pools(tmp_path):
    words = "run --model coin:0.6 --task chain:8 --strategy pool_vote --budgets 1,2 --out"
    done = CliRunner().invoke(cli, [*words.split(), str(tmp_path)], catch_exceptions=False)
    assert "2 runs" in done.stderr
    assert (done.exit_code, len(rows(tmp_path, ANSWERS))) == (0, 16)


def test_pools_share_draws_with_everything_else(tmp_path, scripted_model):
    study(tmp_path, strategies=[{"name": "majority", "budgets": [40]}]).run()
    counts = study(tmp_path).run()
    assert (counts.draws_new, counts.runs_failed) == (0, 0)


def test_results_of_pools_add_up(tmp_path, scripted_model):
    study(tmp_path).run()
    by_label = {
        one["label"]: one["tokens_charged"] for one in analyse(tmp_path)["cost"]["by_strategy"]
    }
    assert by_label["pool_vote"] == (2 + 4) * 16 * 3


@pytest.mark.parametrize("order", ["issued", "finished"])
def test_a_paused_pool_goes_on_to_the_same_answers(tmp_path, scripted_model, order):
    whole, paused = tmp_path / "whole", tmp_path / "paused"
    pools = {"strategies": [{"name": "pool_vote"}], "order": order}
    study(whole, **pools).run()
    with pytest.raises(SpendLimitReached):
        study(paused, **pools, spend_limits={"calls": 23}).run()
    assert 0 < rows(paused, "SELECT count(*) FROM draw")[0][0] <= 23
    study(paused, **pools).run()
    if order == "issued":
        assert rows(paused, ANSWERS) == rows(whole, ANSWERS)
    counts = study(paused, **pools).run(check=True)
    assert (counts.runs_done, counts.runs_failed, counts.draws_new) == (2, 0, 0)


def test_limits_are_those_of_all_problems_together(tmp_path, scripted_model):
    pools = {"strategies": [{"name": "pool_vote", "budgets": [8]}], "limits": {"calls": 3}}
    study(tmp_path, **pools).run()
    calls = panels(tmp_path)[0].curves[0].charged[..., 0]
    assert calls.sum() == 3 * 16
    assert calls.max() > 3


def test_a_limit_of_seconds_is_a_deadline_for_the_pool_as_for_a_problem(tmp_path, scripted_model):
    both = {"strategies": [{"name": "pool_vote", "budgets": [8]}, {"name": "majority"}]}
    limited = study(tmp_path, **both, limits={"calls": 3, "seconds": 5.0})
    limits = {
        len(plan.problem.members): plan.limits for plan in limited.plans(limited.spec.models[0])
    }
    assert limits == {0: {"calls": 3, "seconds": 5.0}, 16: {"calls": 3 * 16, "seconds": 5.0}}


def test_other_problems_make_another_pool(tmp_path, scripted_model):
    few = [{"name": "chain", "problems": 8, "levels": [3, 5]}]
    pools = {"strategies": [{"name": "pool_vote", "budgets": [2]}]}
    assert study(tmp_path, **pools, tasks=few).run().runs_done == 1
    assert study(tmp_path, **pools).run().runs_done == 1


def test_a_pool_is_solved_without_a_folder():
    members = tuple(Problem(id=f"m{k}", prompt=str(k)) for k in range(3))
    model = Scripted.from_function(lambda context, index, rng: context.messages[-1][1] + "\n")
    solved = solve(
        Problem(id="pool", prompt="", members=members), make("pool_vote", n=2), model, tasks={}
    )
    assert set(solved.answer) == {"m0", "m1", "m2"}
    assert (solved.correct, solved.charged.calls, solved.status) == (None, 6, "done")

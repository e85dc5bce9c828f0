"""A study: its folder, resuming, sharing draws, and one strategy without a folder."""

import json
import sqlite3

import pytest

import study_world
from dwell.driver.session import Session
from dwell.errors import SpendLimitReached, UsageError
from dwell.generators import Scripted
from dwell.ledger import Ledger
from dwell.records import Problem
from dwell.strategies import make
from dwell.study import Study, Watch, run_name, solve
from dwell.study_file import check_study


def table_of(text=study_world.TEXT, **changes):
    return check_study({**study_world.spec(text).model_dump(), **changes})


def rows(folder, query):
    with sqlite3.connect(folder / "ledger.db") as db:
        found = db.execute(query).fetchall()
    db.close()
    return found


def test_a_folder_holds_files_that_a_person_can_open(study_folder):
    assert {"study.toml", "problems.jsonl", "ledger.db"} <= {
        p.name for p in study_folder.iterdir()
    }
    problems = [
        json.loads(line) for line in (study_folder / "problems.jsonl").read_text().splitlines()
    ]
    assert [problem["task"] for problem in problems] == ["chain"] * 8
    assert all(problem["reference"] and problem["tags"]["level"] in (3, 5) for problem in problems)
    assert Study.load(study_folder).spec == study_world.spec()


def test_a_study_makes_all_its_runs(study_folder):
    spec = study_world.spec()
    assert len(rows(study_folder, "SELECT 1 FROM answer")) == 8 * len(spec.strategies_at())
    assert {row[0] for row in rows(study_folder, "SELECT status FROM run")} == {"done"}


def test_whole_answers_are_shared_by_all_strategies(study_folder):
    query = (
        "SELECT max(i) + 1, count(*) FROM draw d JOIN key k ON k.id = d.key "
        "WHERE k.op = 'generate' GROUP BY k.id"
    )
    drawn = rows(study_folder, query)
    assert drawn == [(16, 16)] * 8


def test_a_finished_study_does_nothing_when_run_again(tmp_path, scripted_model):
    first = Study(study_world.spec(), tmp_path).run()
    assert first.draws_new == 8 * 16
    again = Study(study_world.spec(), tmp_path).run()
    assert (again.runs_done, again.draws_new) == (0, 0)


def test_another_study_in_the_folder_shares_its_draws(tmp_path, scripted_model):
    Study(study_world.spec(), tmp_path).run()
    other = table_of(
        strategies=[{"name": "weighted_majority", "verifier": "exact", "budgets": [16]}]
    )
    counts = Study(other, tmp_path).run()
    assert (counts.runs_done, counts.draws_new, counts.draws_hit) == (8, 0, 8 * 16)


def test_a_check_repeats_everything_from_the_ledger(tmp_path, scripted_model):
    Study(study_world.spec(), tmp_path).run()
    counts = Study(study_world.spec(), tmp_path).run(check=True)
    assert counts.runs_done == 8 * len(study_world.spec().strategies_at())
    assert counts.draws_new == 0


def test_repetitions_are_independent_streams(tmp_path, scripted_model):
    spec = table_of(streams=2, strategies=[{"name": "sample", "budgets": [4]}])
    Study(spec, tmp_path).run()
    streams = rows(tmp_path, "SELECT stream, count(*) FROM key GROUP BY stream")
    assert [count for _, count in streams] == [8, 8]
    texts = dict(rows(tmp_path, "SELECT k.stream, group_concat(d.text) FROM draw d JOIN key k "
                      "ON k.id = d.key GROUP BY k.stream"))  # fmt: skip
    assert len(set(texts.values())) == 2


def test_a_paused_study_goes_on_to_the_same_answers(tmp_path, scripted_model, study_folder):
    with pytest.raises(SpendLimitReached):
        Study(table_of(spend_limits={"calls": 40}), tmp_path).run()
    assert 0 < len(rows(tmp_path, "SELECT 1 FROM draw d JOIN key k ON k.id = d.key "
                        "WHERE k.op = 'generate'")) <= 40  # fmt: skip
    Study(study_world.spec(), tmp_path).run()
    query = ("SELECT r.name, a.value, a.charged FROM answer a JOIN run r ON r.id = a.run "
             "ORDER BY r.name")  # fmt: skip
    assert rows(tmp_path, query) == rows(study_folder, query)


def test_a_watcher_sees_plans_progress_and_ends(tmp_path, scripted_model):
    planned, seen, ended = [], [], []
    watch = Watch(planned.append, lambda progress: seen.append(progress.runs_done), ended.append)
    counts = Study(study_world.spec(), tmp_path).run(watch=watch)
    assert planned == [counts.runs_done] == [len(ended)]
    assert seen == sorted(seen)
    assert all(isinstance(session, Session) for session in ended)


def test_limits_bind_every_run(tmp_path, scripted_model):
    Study(table_of(limits={"calls": 3}), tmp_path).run()
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        charged = [row.charged.calls for row in ledger.answers()]
    assert max(charged) == 3


def test_a_strategy_that_the_model_cannot_serve_is_refused_by_name(tmp_path, monkeypatch):
    plain = Scripted.from_list(["A1\n"], provides=frozenset())
    monkeypatch.setattr("dwell.study.make_generator", lambda *_, **__: plain)
    spec = table_of(strategies=[{"name": "particle", "verifier": "exact"}])
    with pytest.raises(UsageError, match="particle needs partial, step and coin:0.6 does not"):
        Study(spec, tmp_path).run()


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"must hold study.toml"):
        Study.load(tmp_path)


def test_run_names_tell_model_strategy_problem_and_repetition():
    name = run_name("m", make("majority", n=4), "chain/test/0/3-1", 2)
    assert name == "m|majority(max_tokens=None,n=4,temperature=None)|chain/test/0/3-1|2"


# ---- one strategy, one problem ---------------------------------------------------------------

PROBLEM = Problem(id="p", prompt="Q", reference="1")


def test_solve_runs_a_strategy_without_a_folder():
    solved = solve(PROBLEM, make("majority", n=9), Scripted.coin(0.9))
    assert (solved.answer, solved.correct, solved.status) == ("1", None, "done")
    assert solved.charged.calls == 9


def test_solve_checks_with_the_problem_s_task():
    (problem,) = study_world.get_task("chain").problems(1, seed=0, levels=[3])
    solved = solve(problem, make("majority", n=33), study_world.model())
    assert solved.correct is True
    assert solved.answer == problem.reference


def test_solve_keeps_to_its_budget():
    solved = solve(PROBLEM, make("majority", n=9), Scripted.coin(0.9), {"calls": 4})
    assert (solved.status, solved.charged.calls, solved.answer) == ("out_of_budget", 4, "1")


def test_solve_is_decided_by_its_seed():
    one = [
        solve(PROBLEM, make("sample"), Scripted.coin(0.5), seed=seed).answer for seed in range(20)
    ]
    two = [
        solve(PROBLEM, make("sample"), Scripted.coin(0.5), seed=seed).answer for seed in range(20)
    ]
    assert one == two
    assert set(one) == {"0", "1"}


def test_solve_makes_the_verifiers_that_a_strategy_asks_for():
    solved = solve(PROBLEM, make("best_of_n", n=4, verifier="agreement"), Scripted.coin(0.9))
    assert solved.answer == "1"

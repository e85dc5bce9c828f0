"""Logs of Inspect: its own reader opens them, and they say what the study says."""

import asyncio

import pytest

from dwell.exports import Guard, open_source
from dwell.exports.inspect_logs import export_logs
from dwell.exports.traces import ReadingLedger, num_unnamed, traces
from dwell.generators.scripted import Scripted
from dwell.hosted_study import HostedStudy, HostedTask
from dwell.recordings import read_recordings
from dwell.records import Problem
from dwell.results import analyse
from dwell.strategies import parse
from dwell.study import Study
from dwell.study_recording import recordings_of
from dwell.verifiers import make_verifier


def all_traces(folder):
    study = Study.load(folder)
    with ReadingLedger(study.ledger_path) as ledger:
        return dict(traces(study, study.spec.models[0], ledger))


def test_traces_hold_what_every_strategy_was_given(searched):
    found = all_traces(searched)
    assert {"majority-n16", "beam-n4", "best_of_n-n4-process_weak"} <= set(found)
    for label, runs in found.items():
        assert len(runs) == 8
        for trace in runs:
            assert trace.status == "done"
            assert trace.charged.calls == len(trace.draws)
            if trace.answer is not None:
                assert trace.chosen.answer == trace.answer
            elif label.startswith("majority"):
                assert all(c.answer is None for c in trace.draws)


def test_a_best_text_is_the_one_of_best_score(searched):
    for trace in all_traces(searched)["best_of_n-n16-process"]:
        scores = [one.score for one in trace.told if hasattr(one, "score")]
        mine = [one.score for one in trace.told
                if hasattr(one, "score") and one.text == trace.chosen.text]  # fmt: skip
        assert max(mine) == max(scores)


def test_repeating_needs_the_recorded_draws(searched, tmp_path):
    import shutil
    import sqlite3

    from dwell.errors import UsageError

    folder = tmp_path / "copy"
    shutil.copytree(searched, folder)
    with sqlite3.connect(folder / "ledger.db") as db:
        db.execute("DELETE FROM draw WHERE i = 3")
    with pytest.raises(UsageError, match="lacks draws"):
        all_traces(folder)


@pytest.fixture(scope="module")
def logs(searched, tmp_path_factory):
    pytest.importorskip("inspect_ai")
    out = tmp_path_factory.mktemp("logs") / "logs"
    return export_logs(searched, open_source(searched), out, Guard())


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_there_is_one_log_a_task_and_strategy(logs):
    from inspect_ai.log import list_eval_logs, read_eval_log

    assert len(logs.card["logs"]) == 2 * 7
    assert len(list_eval_logs(str(logs.path))) == 14
    log = read_eval_log(str(logs.path / "chain_tiny-0.8m_majority-n16.eval"))
    assert (log.status, log.eval.task, log.eval.model) == ("success", "chain", "tiny-0.8m")
    assert (log.eval.solver, log.eval.solver_args["n"]) == ("majority", 16)
    assert len(log.samples) == log.results.total_samples == 4


def test_a_sample_shows_its_draws_and_its_account(logs):
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(logs.path / "countdown_tiny-0.8m_majority-n16.eval"))
    for sample in log.samples:
        calls = [event for event in sample.events if event.event == "model"]
        account = sample.metadata["dwell"]
        assert len(calls) == account["draws"] == 16
        assert sample.input.startswith("G")
        assert sample.messages[-1].text == sample.output.completion
        assert sum(c.output.usage.output_tokens for c in calls) == (
            sample.output.usage.output_tokens
        )
        score = sample.scores["dwell"]
        if score.answer is not None:
            assert max(account["votes"].values()) == account["votes"][score.answer]
            assert score.value in ("C", "I")


def test_accuracy_is_the_study_s(logs, searched):
    from inspect_ai.log import read_eval_log

    results = analyse(searched)
    curve = next(c for c in results["curves"] if (c["strategy"], c["task"]) == ("beam", "chain"))
    log = read_eval_log(
        str(logs.path / "chain_tiny-0.8m_beam-n4.eval"), header_only=True
    )  # fmt: skip
    found = log.results.scores[0].metrics["accuracy"].value
    assert found == curve["points"][0]["accuracy"]


def test_scores_of_searches_are_events(logs):
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(logs.path / "chain_tiny-0.8m_beam-n4.eval"))
    kinds = {event.event for sample in log.samples for event in sample.events}
    assert kinds == {"model", "info"}
    verifiers = {e.data["verifier"] for s in log.samples for e in s.events if e.event == "info"}
    assert verifiers == {"process"}


def test_a_log_of_draws_is_a_recording_again(searched, tmp_path):
    pytest.importorskip("inspect_ai")
    made = export_logs(searched, open_source(searched), tmp_path / "logs", Guard(), draws=True)
    assert len(made.card["logs"]) == 2
    for recording in recordings_of(searched).recordings:
        log = tmp_path / "logs" / f"{recording.dataset}_tiny-0.8m_draws.eval"
        (again,) = read_recordings(log).recordings
        order = [again.questions.index(question) for question in recording.questions]
        assert (again.correct[order] == recording.correct).all()
        assert (again.tokens[order] == recording.tokens).all()


def test_logs_are_written_from_the_command_line(dwell, searched, tmp_path):
    pytest.importorskip("inspect_ai")
    out = tmp_path / "logs"
    args = ("export", searched, "--to", "inspect", "--out", out, "--questions", "task=chain")
    code, said, err = dwell(*args)
    assert code == 0, err
    assert f"inspect view --log-dir {out}" in said
    assert len(list(out.glob("*.eval"))) == 7
    code, _, err = dwell(*args)
    assert code == 2
    assert "--force" in err


def test_a_table_becomes_a_log_of_draws(dwell, tmp_path):
    pytest.importorskip("inspect_ai")
    path, out = tmp_path / "t.csv", tmp_path / "logs"
    rows = ["a,a?,yes,1,true", "a,a?,no,2,false", "b,b?,yes,1,true"]
    path.write_text("\n".join(["question_id,prompt,text,answer,correct", *rows]) + "\n")
    code, _, err = dwell("export", path, "--to", "inspect", "--out", out)
    assert code == 0, err
    (again,) = read_recordings(out / "recorded_recorded_draws.eval").recordings
    assert again.questions == ("a", "b")
    assert again.correct[0].tolist() == [1.0, 0.0]


def test_no_folder_is_made_where_nothing_is_to_be_written(dwell, searched, tmp_path):
    pytest.importorskip("inspect_ai")
    out = tmp_path / "logs"
    args = ("--to", "inspect", "--out", out, "--questions", "task=none")
    code, _, err = dwell("export", searched, *args)
    assert code == 2
    assert "no finished run" in err
    assert not out.exists()


def test_without_inspect_the_command_says_how_to_install_it(
    dwell, searched, tmp_path, monkeypatch
):
    import sys

    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    code, _, err = dwell("export", searched, "--to", "inspect", "--out", tmp_path / "logs")
    assert code == 2
    assert "pip install 'dwell[inspect]'" in err


async def test_runs_of_a_hosted_study_with_limits_have_logs_of_their_own(tmp_path):
    model = Scripted.from_function(lambda c, i, rng: f"{i}\nAnswer: 7", name="m")
    model.info = {"name": "m"}
    hosted, task = HostedStudy(tmp_path), HostedTask("mine")
    problem = Problem(id="mine/0", prompt="what", task="mine", reference="7")
    judged, plain = parse("best_of_n:n=2,verifier=mine,mode=group"), parse("majority:n=8")
    verifiers = {"mine": make_verifier("agreement")}
    await hosted.solve(problem, judged, model, task, verifiers=verifiers)
    for limits in ({}, {"calls": 3, "output_tokens": 1234567}):
        await hosted.solve(problem, plain, model, task, verifiers={}, limits=limits)
    study = Study.load(tmp_path)
    with ReadingLedger(study.ledger_path) as ledger:
        found = await asyncio.to_thread(lambda: dict(traces(study, study.spec.models[0], ledger)))
        assert num_unnamed(study, study.spec.models[0], ledger) == 1
    draws = {label: len(runs[0].draws) for label, runs in found.items() if "majority" in label}
    assert draws == {"majority-n8": 8, "majority-n8-calls=3-output_tokens=1234567": 3}

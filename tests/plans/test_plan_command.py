import csv
import json

import pytest
from click.testing import CliRunner
from plan_world import recording

from dwell.cli import cli


@pytest.fixture
def table(tmp_path):
    whole, path = recording(questions=60, draws=8, scores="good"), tmp_path / "samples.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question_id", "answer", "correct", "tokens", "score"])
        for p, question in enumerate(whole.questions):
            for i in range(8):
                writer.writerow([question, whole.codes[p, i], int(whole.correct[p, i]), 20,
                                 whole.columns["score"][p, i]])  # fmt: skip
    return path


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


def test_a_plan_is_printed_written_and_replayed(table, tmp_path):
    out = tmp_path / "plan.json"
    made = run("plan", table, "--budget", 4, "--repeats", 1, "--out", out)
    assert made.exit_code == 0, made.output
    for part in ("Promise:", "Frontier", "Paired", "Knee:", "Next doubling", "60 questions x 8"):
        assert part in made.output
    replayed = run("replay", table, "--strategies", f"plan:{out}", "--budgets", "8", "--json")
    point = json.loads(replayed.output)["curves"][0]["points"][0]
    promise = json.loads(out.read_text())["promise"]
    assert point["accuracy"] == pytest.approx(promise["accuracy"], abs=0.15)


def test_json_is_the_plan_file(table, tmp_path):
    out, page = tmp_path / "plan.json", tmp_path / "page.html"
    made = run("plan", table, "--usd-per-question", 1e-4, "--usd-per-mtok", 2, "--repeats", 1,
               "--json", "--out", out, "--report", page)  # fmt: skip
    assert json.loads(made.stdout) == json.loads(out.read_text())
    assert "Promise" in page.read_text()


def test_a_replay_says_whether_the_confidence_holds(table, tmp_path):
    out = tmp_path / "plan.json"
    run("plan", table, "--budget", 4, "--repeats", 1, "--out", out)
    shown = run("replay", table, "--strategies", f"plan:{out},majority", "--budgets", "8")
    assert "% of its answers are right;" in shown.output
    words = ("replay", table, "--strategies", f"plan:{out}", "--budgets", "8", "--json")
    (found,) = json.loads(run(*words).output)["confidence"]
    # These are the questions that the map was fitted to.
    assert found["stated"] == pytest.approx(found["right"], abs=0.05)
    assert found["answered"] == 1


def test_a_threshold_is_asked_for_and_printed(table, tmp_path):
    out = tmp_path / "plan.json"
    made = run("plan", table, "--budget", 4, "--repeats", 1, "--abstain-risk", 0.4,
               "--abstain-delta", 0.2, "--out", out)  # fmt: skip
    assert "Of the answers given to questions like these, at most 40 % are wrong" in made.output
    assert json.loads(out.read_text())["confidence"]["certified"]["delta"] == 0.2
    replayed = run("replay", table, "--strategies", f"plan:{out}", "--budgets", "8", "--json")
    assert json.loads(replayed.output)["curves"][0]["points"][0]["abstained"] > 0


def test_the_list_of_strategies_tells_how_a_plan_is_named(monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    listed = run("strategies")
    assert "plan:FILE" in listed.output
    assert "MISSING" not in listed.output

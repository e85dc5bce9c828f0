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

"""`dwell replay`: tables, JSON, refusals in one line, what is skipped, the page."""

import json

import pytest
from click.testing import CliRunner

from dwell.cli import cli
from dwell.errors import UsageError

ROWS = """question_id,sample_index,answer,correct,tokens,judge
a,0,7,1,10,0.9
a,1,7,1,12,0.8
a,2,4,0,14,0.1
b,0,3,0,10,0.7
b,1,5,1,20,0.2
b,2,3,0,30,0.6
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "samples.csv"
    path.write_text(ROWS)
    return path


def run(*words):
    done = CliRunner().invoke(cli, ["replay", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_json_has_the_curves_of_a_table(table):
    results = json.loads(run(table, "--strategies", "sample,majority,coverage", "--json"))
    accuracy = {c["strategy"]: [p["accuracy"] for p in c["points"]] for c in results["curves"]}
    assert accuracy["sample"] == pytest.approx([0.5] * 3)
    assert accuracy["majority"][-1] == pytest.approx(0.5)
    assert accuracy["coverage"][-1] == pytest.approx(1.0)
    assert results["recording"]["rows"] == 6


def test_words_and_lines_may_be_mixed(table):
    text = run(table, "--strategies", "sample best_of_n:verifier=judge", "--strategy", "ppr")
    for label in ("sample", "best_of_n (verifier=judge)", "ppr"):
        assert label in text
    assert "6 rows" in text
    assert "Mean of 25 random orders: ppr." in text


def test_skipped_rows_are_in_table_json_and_page(table, tmp_path):
    table.write_text(ROWS + "b,3,1,maybe,1,0.5\n")
    with pytest.raises(UsageError, match="row 7"):
        run(table)
    page = tmp_path / "page.html"
    text = run(table, "--skip-bad", "--strategies", "sample", "--report", page)
    assert "1 skipped" in text
    assert '"skipped":1' in page.read_text()
    assert json.loads(run(table, "--skip-bad", "--json"))["recording"]["skipped"] == 1


def test_what_was_not_recorded_is_refused_in_one_line(table):
    with pytest.raises(UsageError) as refused:
        run(table, "--strategies", "beam")
    assert "step prefixes" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_other_columns_and_filters_are_read(table):
    words = ("--map", "answer=judge", "--where", "question_id=a", "--budgets", "each", "--json")
    results = json.loads(run(table, "--strategies", "majority", *words))
    (curve,) = results["curves"]
    assert [(p["n"], p["problems"]) for p in curve["points"]] == [(3, 1)]
    assert curve["points"][0]["accuracy"] == pytest.approx(2 / 3)


def test_many_runs_are_one_line_each_under_their_mean(tmp_path):
    path = tmp_path / "runs.csv"
    lines = [
        f"r{r},{q},{s},{(r + q + s) % 2}" for r in range(6) for q in range(3) for s in range(2)
    ]
    path.write_text("\n".join(["run_id,question_id,sample_index,correct", *lines]) + "\n")
    text = run(path, "--strategies", "sample,coverage")
    assert "mean over 6 runs" in text
    assert "r5: sample@2 50.0, coverage (pass@k)@2 100.0" in text
    assert "6 runs, from 50.0 to 50.0 % (standard deviation 0.0)" in text


def test_turns_are_a_line_and_not_an_empty_table(tmp_path):
    path = tmp_path / "turns.csv"
    rows = ["a,0,0,0", "a,0,1,1", "b,0,0,1"]
    path.write_text("\n".join(["question_id,sample_index,turn,correct", *rows]) + "\n")
    text = run(path)
    assert "right within t turns: turns=1: 50" in text
    assert "┃" not in text

"""Questions with samples, and small studies to export."""

import json

import pytest

import study_world
from dwell.cli import main
from dwell.exports import Question, Sample
from dwell.study import Study

SEARCHES = """
seed = 1
budgets = [1, 16]
[[models]]
name = "tiny-0.8m"
[[tasks]]
name = "chain"
problems = 4
levels = [2, 3]
[[tasks]]
name = "countdown"
problems = 4
levels = [3]
[[strategies]]
name = "majority"
[[strategies]]
name = "best_of_n"
verifier = "process"
[[strategies]]
name = "best_of_n"
verifier = "process_weak"
budgets = [4]
[[strategies]]
name = "beam"
budgets = [4]
[[strategies]]
name = "budget_forcing"
budgets = [1]
"""


@pytest.fixture
def question():
    """Makes a question; samples are given as keywords of each."""

    def make(*samples, id="q", prompt="What is it?", **fields):
        asked = [{"role": "user", "content": prompt}]
        given = {"prompt": prompt, "messages": asked, "chat": False} | fields
        return Question(id=id, samples=[Sample(**one) for one in samples], **given)

    return make


@pytest.fixture(scope="session")
def searched(tmp_path_factory):
    """The folder of a study of an embedded model, with searches."""
    folder = tmp_path_factory.mktemp("searched") / "runs"
    Study(study_world.spec(SEARCHES), folder).run()
    return folder


@pytest.fixture
def dwell(capsys):
    """Runs the command line; (exit code, stdout, stderr)."""

    def run(*args):
        with pytest.raises(SystemExit) as stopped:
            main([str(arg) for arg in args])
        return stopped.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def exported(dwell, tmp_path):
    """Exports to a file; (rows, card)."""

    def run(source, kind, *args, name="rows.jsonl"):
        out = tmp_path / name
        code, _, err = dwell("export", source, "--to", kind, "--out", out, *args)
        assert code == 0, err
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        return rows, json.loads((tmp_path / f"{name}.card.json").read_text(encoding="utf-8"))

    return run

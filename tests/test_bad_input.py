"""Bad input at the command line: one clear line, exit code 2, no traceback, nothing lost."""

import sqlite3
import subprocess
import sys

import pytest

import study_world
from dwell.cli import main
from dwell.ledger import Ledger
from dwell.study import Study


@pytest.fixture
def said(capsys):
    """Runs the command line; (exit code, what it said on stderr)."""

    def run(*args):
        with pytest.raises(SystemExit) as stopped:
            main([str(arg) for arg in args])
        return stopped.value.code, capsys.readouterr().err

    return run


def refused(result, *rules):
    """Assert exit code 2 and one line that holds the rules."""
    code, text = result
    lines = text.strip().splitlines()
    assert code == 2, text
    assert len(lines) == 1, text
    assert lines[0].startswith("dwell: ")
    for rule in rules:
        assert rule in lines[0]


FLAGS = ("--model", "coin:0.6", "--task", "chain:4")


@pytest.mark.parametrize(
    ("flags", "rules"),
    [
        (("--strategy", "majorty"), ("majorty", "Did you mean majority")),
        (("--strategy", "majority:n=0"), ("`n` must be", "n=0")),
        (("--strategy", "majority:n=many"), ("n",)),
        (("--strategy", "majority:width=3"), ("width",)),
        (("--strategy", "majority", "--budgets", "0,4"), ("at least 1",)),
        (("--strategy", "majority", "--budgets", "1,x"), ("whole numbers", "'1,x'")),
        (("--strategy", "best_of_n:verifier=nobody"), ("nobody",)),
        (("--strategy", "majority", "--task", "chess:4"), ("chess", "chain")),
        (("--strategy", "majority", "--model", "gpt-none"), ("gpt-none",)),
        (("--strategy", "majority", "--model", "coin:much"), ("coin:much",)),
        (("--strategy", "majority", "--model", "openai:x"), ("--base-url",)),
        ((), ("strategies",)),
    ],
)
def test_words_that_mean_nothing_are_refused(said, tmp_path, flags, rules):
    refused(said("run", *FLAGS, *flags, "--out", tmp_path / "runs"), *rules)


def test_a_missing_study_file_is_named(said, tmp_path):
    refused(said("run", tmp_path / "none.toml", "--out", tmp_path), "none.toml", "No such file")


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("seed = 0\nbudgets = [1,\n[[models]]", ("must be TOML", "line 3")),
        ("seed = 0\n", ("models",)),
        (study_world.TEXT + "[limits]\noutput_tokens = 0\n", ("one draw", "output_tokens=0")),
        (study_world.TEXT + "[limits]\ncalls = 0.5\n", ("one draw", "calls=0.5")),
        (study_world.TEXT + "[limits]\nwords = 5\n", ("words",)),
        (study_world.TEXT + "[spend_limits]\nflops = 5\n", ("calls or output_tokens",)),
        (study_world.TEXT.replace("levels = [3, 5]", "levels = [99]"), ("levels",)),
        (study_world.TEXT.replace('"majority"', '"majorty"'), ("majority",)),
    ],
)
def test_a_broken_study_file_is_refused(said, tmp_path, text, rules):
    path = tmp_path / "study.toml"
    path.write_text(text)
    refused(said("run", path, "--out", tmp_path / "runs"), *rules)


def test_a_study_is_a_file_or_flags_not_both(said, tmp_path):
    refused(said("run", "--out", tmp_path), "neither")
    refused(said("run", "x.toml", *FLAGS, "--out", tmp_path), "both")


def test_a_folder_that_cannot_be_written_is_refused(said, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "runs"
    refused(said("run", *FLAGS, "--strategy", "majority", "--out", out), "writable", "--out")


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_folder_without_a_study_is_refused(said, tmp_path, command):
    refused(said(command, tmp_path), "study.toml")


@pytest.fixture
def study(tmp_path, scripted_model):
    """A small study's folder and its file, of its own for every test."""
    path = tmp_path / "study.toml"
    path.write_text(study_world.TEXT.replace("problems = 8", "problems = 2"))
    folder = tmp_path / "runs"
    Study(study_world.spec(path.read_text()), folder).run()
    return path, folder


def draws(folder):
    with sqlite3.connect(folder / "ledger.db") as db:
        found = db.execute("SELECT key, i, text FROM draw").fetchall()
    db.close()
    return found


@pytest.mark.parametrize("command", ["run", "show", "report"])
def test_a_ledger_from_a_newer_version_is_refused(said, study, command):
    path, folder = study
    with sqlite3.connect(folder / "ledger.db") as db:
        db.execute("PRAGMA user_version=9")
    db.close()
    args = (path, "--out", folder) if command == "run" else (folder,)
    refused(said(command, *args), "version 9", "Upgrade")


@pytest.mark.parametrize("command", ["run", "show", "report"])
def test_a_corrupted_ledger_is_refused_and_left_alone(said, study, command):
    path, folder = study
    with (folder / "ledger.db").open("r+b") as file:
        file.write(b"\xa5" * 64)
    before = (folder / "ledger.db").read_bytes()
    args = (path, "--out", folder) if command == "run" else (folder,)
    refused(said(command, *args), "ledger.db", "recover")
    assert (folder / "ledger.db").read_bytes() == before


def test_a_second_process_on_a_study_is_told_so(said, study):
    path, folder = study
    code = (
        "import sys; from dwell.ledger import Ledger\n"
        f"with Ledger({str(folder / 'ledger.db')!r}): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        other.stdout.readline()
        refused(said("run", path, "--out", folder), "another one is writing", "--out")
        code, _ = said("show", folder)
        assert code == 0
        other.stdin.close()


def test_a_full_disk_is_one_line_and_nothing_is_lost(said, study, monkeypatch):
    path, folder = study
    path.write_text(path.read_text().replace("budgets = [1, 2, 4, 8, 16]", "budgets = [600]"))
    before = draws(folder)
    open_schema = Ledger._open_schema

    def small(self, read_only):
        open_schema(self, read_only)
        pages = self._db.execute("PRAGMA page_count").fetchone()[0]
        self._db.execute(f"PRAGMA max_page_count={pages + 3}")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_open_schema", small)
        refused(said("run", path, "--out", folder), "full", "Free some space", "nothing is lost")
    assert draws(folder)[: len(before)] == before
    code, _ = said("run", path, "--out", folder)
    assert code == 0
    assert len(draws(folder)) > len(before)


def test_a_limit_on_spending_pauses_with_its_own_exit_code(said, study):
    path, folder = study
    text = path.read_text().replace("budgets = [1, 2, 4, 8, 16]", "budgets = [64]")
    path.write_text("spend_limits = { calls = 40 }\n" + text)
    code, text = said("run", path, "--out", folder)
    assert code == 3
    assert "paused at its limit on spending (calls=40)" in text
    assert "Traceback" not in text

"""The command line, in one process: what it prints, and with which exit code."""

import json

import pytest

import study_world
from dwell.cli import COMMANDS, main
from dwell.strategies import STRATEGIES
from dwell.tasks import TASKS


@pytest.fixture
def called(capsys):
    """Runs the command line; (exit code, stdout, stderr)."""

    def run(*args):
        with pytest.raises(SystemExit) as stopped:
            main([str(arg) for arg in args])
        return stopped.value.code, *capsys.readouterr()

    return run


def test_help_lists_every_command(called):
    code, out, _ = called("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(called, name):
    code, out, _ = called(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: dwell {name}")


def test_the_version_is_the_package_s(called):
    import dwell

    code, out, _ = called("--version")
    assert (code, out.strip()) == (0, f"dwell, version {dwell.__version__}")


@pytest.mark.parametrize("args", [("nothing",), ("run",), ("show",), ("--colour",)])
def test_unknown_commands_and_missing_arguments_exit_with_2(called, args):
    code, _, err = called(*args)
    assert code == 2
    assert "Traceback" not in err


def test_strategies_and_tasks_are_listed(called):
    _, out, _ = called("strategies")
    assert all(name in out for name in STRATEGIES)
    _, out, _ = called("tasks")
    assert all(name in out for name in TASKS)


def test_a_study_is_run_shown_and_reported(called, tmp_path, scripted_model):
    path, folder = tmp_path / "study.toml", tmp_path / "runs"
    path.write_text(study_world.TEXT)
    code, out, err = called("run", path, "--out", folder)
    assert code == 0
    assert f"dwell show {folder}" in out
    assert "128 draws made" in err
    code, out, err = called("run", path, "--out", folder)
    assert (code, err.splitlines()[0].startswith("0 runs")) == (0, True)
    code, out, _ = called("show", folder)
    assert code == 0
    assert "majority" in out
    assert "95 % interval" in out
    code, out, _ = called("report", folder)
    assert code == 0
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!")


def test_json_has_the_documented_form(called, study_folder):
    code, out, _ = called("show", study_folder, "--json")
    assert code == 0
    results = json.loads(out)
    assert {"curves", "tokens_charged", "tokens_spent"} <= set(results)
    for curve in results["curves"]:
        assert {"strategy", "params", "model", "task", "points", "law"} <= set(curve)
        for point in curve["points"]:
            assert {
                "n", "accuracy", "low", "high", "tokens_charged", "flops", "seconds", "problems"
            } <= set(point)  # fmt: skip
            assert point["low"] <= point["accuracy"] <= point["high"]


def test_a_study_can_be_given_as_flags(called, tmp_path, scripted_model):
    folder = tmp_path / "runs"
    code, _, err = called(
        "run", "--model", "coin:0.6", "--task", "chain:4", "--strategy", "majority",
        "--strategy", "best_of_n:verifier=exact", "--budgets", "1,4", "--out", folder,
    )  # fmt: skip
    assert code == 0
    assert err.startswith("16 runs")


def test_ctrl_c_says_that_nothing_is_lost(called, tmp_path, monkeypatch, scripted_model):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dwell.study.Driver.run", stop)
    path = tmp_path / "study.toml"
    path.write_text(study_world.TEXT)
    code, _, err = called("run", path, "--out", tmp_path / "runs")
    assert code == 130
    assert "run the same again" in err


def test_a_check_from_the_command_line(called, tmp_path, scripted_model):
    path, folder = tmp_path / "study.toml", tmp_path / "runs"
    path.write_text(study_world.TEXT.replace("problems = 8", "problems = 2"))
    assert called("run", path, "--out", folder)[0] == 0
    code, _, err = called("run", path, "--out", folder, "--check")
    assert code == 0
    assert "0 draws made" in err

"""What a program may use, said in a study file: other limits are other verdicts."""

import json

import pytest

from dwell.errors import UsageError
from dwell.records import Problem
from dwell.sandbox import Limits
from dwell.study import VERDICTS, Study
from dwell.study_file import check_study, parse_study
from dwell.study_toml import to_toml
from dwell.tasks import FileTask

ROW = {"id": "a", "prompt": "f", "checker": "code", "tests": ["assert f() > 0"]}
#: Holds 300 MiB for a moment.
PROGRAM = "def f():\n    return len(bytearray(300 * 2**20))"


def spec_of(folder, sandbox=None):
    (folder / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    task = {"name": "mine", "file": str(folder / "rows.jsonl")}
    return check_study(
        {
            "models": [{"name": "coin:0.5"}],
            "tasks": [task if sandbox is None else {**task, "sandbox": sandbox}],
            "strategies": [{"name": "majority"}],
        }
    )


def test_limits_of_a_task_are_read_and_written_back(tmp_path):
    spec = spec_of(tmp_path, {"memory_mb": 1024, "cpu_seconds": 20})
    found = spec.tasks[0].sandbox.limits()
    assert found == Limits(memory_bytes=2**30, cpu_seconds=20, wall_seconds=40)
    assert parse_study(to_toml(spec)) == spec
    assert spec_of(tmp_path).tasks[0].sandbox.limits() == Limits()


@pytest.mark.parametrize(
    "task",
    [
        {"name": "mine", "file": "x.jsonl", "sandbox": {"memory_mb": 8}},
        {"name": "mine", "file": "x.jsonl", "sandbox": {"colour": 1}},
        {"name": "chain", "sandbox": {"memory_mb": 1024}},
    ],
)
def test_limits_that_mean_nothing_are_refused(task):
    table = {"models": [{"name": "m"}], "strategies": [{"name": "majority"}], "tasks": [task]}
    with pytest.raises(UsageError, match="sandbox"):
        check_study(table)


def test_a_program_passes_or_fails_by_its_tasks_limits(tmp_path):
    found = []
    for memory_mb in (128, 1024):
        spec = spec_of(tmp_path, {"memory_mb": memory_mb})
        study = Study(spec, tmp_path / "study", unsafe_local=True)
        (problem,) = study.problems
        assert isinstance(problem, Problem)
        task = study.tasks["mine"]
        assert isinstance(task, FileTask)
        assert not task.known(problem, PROGRAM)  # what other limits found is no verdict here
        found.append(task.check(problem, PROGRAM))
    assert found == [False, True]
    assert len((tmp_path / "study" / VERDICTS).read_text().splitlines()) == 2

"""Worker processes of the embedded model: no draw depends on them, none outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dwell
from dwell.errors import UsageError
from dwell.generators.tiny_engine import Engine
from dwell.generators.tiny_pool import EnginePool
from tiny_world import random_jobs, same


def test_worker_processes_change_no_draw(folder, model):
    jobs = random_jobs(40, seed=7)
    alone = Engine(model).generate(jobs)
    texts = [(j.prompt + r.tokens, len(j.prompt)) for j, r in zip(jobs, alone, strict=True)]
    with EnginePool(folder, jobs=2, slots=16) as pool:
        assert all(map(same, alone, pool.generate(jobs)))
        scores = pool.score(texts)
    for result, score in zip(alone, scores, strict=True):
        np.testing.assert_array_equal(score.surprisals, result.surprisals)
    assert not multiprocessing.active_children()


def test_a_pool_recovers_from_a_refused_job_and_a_killed_worker(folder, model):
    jobs = random_jobs(40, seed=8)
    with EnginePool(folder, jobs=2) as pool:
        with pytest.raises(UsageError, match="prompt"):
            pool.generate([*jobs, replace(jobs[0], prompt=())])
        before = pool.generate(jobs)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(dwell.errors.GeneratorError, match="worker process"):
            pool.generate(jobs)
        assert all(map(same, before, pool.generate(jobs)))


def test_workers_end_when_their_parent_is_killed(folder, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, sys, time\n"
        "from dwell.generators.tiny_engine import Job\n"
        "from dwell.generators.tiny_pool import EnginePool\n"
        "if __name__ == '__main__':\n"
        "    pool = EnginePool(sys.argv[1], jobs=2)\n"
        "    pool.generate([Job(prompt=(4,), key=k, max_tokens=1) for k in range(40)])\n"
        "    print(*[p.pid for p in multiprocessing.active_children()], flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(dwell.__file__).parents[1])}
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, workers))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"

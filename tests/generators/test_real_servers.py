"""The embedded checkpoint behind servers that others wrote, against the embedded engine.

Each test needs the Python of an environment that has the server, named by a variable:
`DWELL_LLAMA_PYTHON` (llama-cpp-python[server] and gguf) and `DWELL_TRANSFORMERS_PYTHON`
(transformers[serving]). The draws are others, so accuracies are compared question by question.
"""

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dwell.curves import panels
from dwell.generators.tiny_models import MODELS
from dwell.study import Study
from dwell.study_file import parse_study

MODEL = "tiny-0.8m"
EXPORT = Path(__file__).parents[2] / "training" / "export_gguf.py"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

STUDY = """
title = "one model, two engines"
[[models]]
name = "openai:{name}"
base_url = "{url}"
api = "completions"
temperature = 1.0
max_tokens = 160
concurrency = 2
{more}
[[models]]
name = "tiny-0.8m"
[[tasks]]
name = "chain"
problems = {problems}
"""
WHOLE = """
[[strategies]]
name = "majority"
budgets = [8]
[[strategies]]
name = "best_of_n"
verifier = "{verifier}"
budgets = [8]
"""
IN_STEPS = """
[[strategies]]
name = "beam"
verifier = "worst_surprisal"
m = 2
budgets = [4]
"""


def python_of(variable):
    """The environment's Python, or a skip that says what to set."""
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} names no Python of an environment with the server")
    return path


@contextmanager
def serving(command, port, log, **environment):
    """A server in a process of its own, once it takes connections."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        try:
            for _ in range(240):
                assert process.poll() is None, log.read_text()[-2000:]
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def compare(folder, text):
    """The largest z of a strategy's paired difference, server minus embedded engine.

    Prints each strategy's accuracies; coverage, from all draws, is among them.
    """
    study = Study(parse_study(text), folder)
    progress = study.run()
    assert progress.runs_failed == 0
    theirs, ours = panels(folder)
    largest = 0.0
    for a, b in zip(theirs.curves, ours.curves, strict=True):
        assert a.label == b.label
        difference = a.values[:, -1] - b.values[:, -1]
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        z = difference.mean() / error if error else 0.0
        print(
            f"{a.label} at n={a.budgets[-1]}: {a.values[:, -1].mean():.3f} server, "
            f"{b.values[:, -1].mean():.3f} embedded, z={z:+.2f}"
        )
        largest = max(largest, abs(z))
    return largest


def test_llama_cpp_server_gives_the_embedded_engine_s_accuracies(tmp_path):
    python = python_of("DWELL_LLAMA_PYTHON")
    file, port = tmp_path / "tiny.gguf", free_port()
    subprocess.run([python, str(EXPORT), str(MODELS[MODEL].path), str(file)], check=True)
    command = [python, "-m", "llama_cpp.server", "--model", str(file), "--host", "127.0.0.1",
               "--port", str(port), "--n_ctx", "256", "--logits_all", "true",
               "--n_threads", "1", "--n_threads_batch", "1"]  # fmt: skip
    with serving(command, port, tmp_path / "log") as url:
        # what llama.cpp leaves out by default is left in
        more = "extra_body = { top_k = 0, top_p = 1.0, min_p = 0.0 }"
        text = STUDY.format(name="tiny", url=url, more=more, problems=100)
        text += WHOLE.format(verifier="worst_surprisal") + IN_STEPS
        assert compare(tmp_path / "study", text) <= 4


def test_transformers_serve_gives_the_embedded_engine_s_accuracies(tmp_path):
    python = python_of("DWELL_TRANSFORMERS_PYTHON")
    folder, port = str(MODELS[MODEL].path), free_port()
    command = [str(Path(python).with_name("transformers")), "serve", folder, "--device", "cpu",
               "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    with serving(command, port, tmp_path / "log", **offline) as url:
        # it gives no log-probabilities, and cannot stop at a text that its tokenizer lacks
        text = STUDY.format(name=folder, url=url, more="", problems=40)
        text += WHOLE.format(verifier="process_weak")
        assert compare(tmp_path / "study", text) <= 4

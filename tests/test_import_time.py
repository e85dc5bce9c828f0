"""`import dwell` and `dwell --help` are light."""

import subprocess
import sys

import pytest

HEAVY = ("scipy", "pydantic", "aiohttp", "plotly", "rich", "torch", "transformers", "ray")

#: Prints the CPU seconds of a statement and which heavy packages it loaded.
PROBE = """
import sys, time, io, contextlib
cpu = time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    try:
        {statement}
    except SystemExit:
        pass
print(time.process_time() - cpu, *(name for name in {heavy!r} if name in sys.modules))
"""


def probe(statement):
    """(CPU seconds, heavy packages) of a statement in a fresh process, start-up left out."""
    code = PROBE.format(statement=statement, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *heavy = done.stdout.split()
    return float(seconds), heavy


@pytest.mark.parametrize(
    ("statement", "limit"),
    [
        ("import dwell", 0.3),
        ("from dwell.cli import main; main(['--help'])", 0.5),
        ("import dwell.driver; from dwell.generators import Endpoint", 0.6),
    ],
)
def test_importing_is_light(statement, limit):
    best = float("inf")
    for _ in range(3):
        seconds, heavy = probe(statement)
        assert heavy == []
        best = min(best, seconds)
        if best <= limit / 2:
            break
    assert best <= limit

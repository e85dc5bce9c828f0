"""`import dwell` and `dwell --help` are light, and no command loads more than its help needs.

scipy loads its parts when they are first used: the package says `import scipy` and, in functions,
`scipy.special.ndtri`, never `from scipy.special import ndtri`.
"""

import subprocess
import sys

import pytest

from dwell.cli import COMMANDS

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


#: Takes from half a second to many, and is needed by the work of a command alone.
OF_WORK = (
    "scipy.special", "scipy.stats", "scipy.optimize", "sklearn", "plotly", "torch", "transformers",
    "inspect_ai", "lm_eval", "matplotlib", "pandas",
)  # fmt: skip
EVERY_HELP = """
import sys, io, contextlib
from dwell.cli import COMMANDS, main
for name in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([name, '--help'])
    print(name, *(one for one in {heavy!r} if one in sys.modules))
"""


def test_the_help_of_no_command_loads_what_only_its_work_needs():
    code = EVERY_HELP.format(heavy=OF_WORK)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == [*COMMANDS, ""]

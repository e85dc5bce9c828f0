"""Ordinary programs: what passes, what fails and why, and that the event loop goes on."""

import asyncio
import time

import pytest

from dwell.errors import UsageError, VerifierError
from dwell.requests import Run
from dwell.sandbox import CallTest, CodeTest, Limits, PrintTest, Sandbox, bubblewrap
from dwell.sandbox.bubblewrap import why_not
from dwell.sandbox.environment import TestsEnvironment
from dwell.sandbox.seccomp import MACHINES, filter_program

contained = pytest.mark.skipif(bool(why_not()), reason=f"no sandbox here: {why_not()}")
PLACES = [pytest.param(False, marks=contained, id="sandbox"), pytest.param(True, id="local")]
BOTH = pytest.mark.parametrize("local", PLACES)

PROGRAM = """
import math
from collections import Counter, namedtuple
LIMIT = 3
def add(a, b=1): return a + b
def pair(x): return x, [x], {x: "one"}
def sort(items): items.sort()
def counted(text): return Counter(text)
def whole(x): return math.floor(x)
def broken(x): raise KeyError(x)
class Box:
    def get(self): return 1
"""


def run(code, *tests, local=False, **limits):
    """The results of one program."""
    return asyncio.run(Sandbox(Limits(**limits), unsafe_local=local).run(code, tests)).results


@BOTH
def test_print_tests_compare_lines(local):
    code = "for _ in range(2): print(int(input()) + 1, end='  \\n')\nprint()"
    good, bad = run(
        code,
        PrintTest(stdin="1\n2\n", stdout="2\n3"),
        PrintTest(stdin="1\n2\n", stdout="2\n4"),
        local=local,
    )
    assert (good.verdict, bad.verdict) == ("passed", "failed")
    assert bad.message == "line 2 is '3', not '4'"


@BOTH
def test_call_tests_compare_values(local):
    tests = [
        CallTest(call="add", args=(1,), kwargs={"b": 0.1 + 0.2}, returns=1.3),
        CallTest(call="pair", args=(1,), returns=[1, [1], {1: "one"}]),
        CallTest(call="counted", args=("aab",), returns={"a": 2, "b": 1}),
        CallTest(call="add", args=(1,), returns=3),
        CallTest(call="broken", args=("k",), returns=3),
        CallTest(call="missing", returns=3),
        CallTest(call="Box", returns=1),
    ]
    results = run(PROGRAM, *tests, local=local)
    assert [r.verdict for r in results] == ["passed"] * 3 + ["failed"] + ["error"] * 3
    assert results[3].message == "returned 2, not 3"
    assert "KeyError" in results[4].message
    assert "Box cannot be passed" in results[6].message


@BOTH
def test_code_tests_call_the_program_from_outside_its_process(local):
    code = """
assert add(1) == 2 and add(1, b=2) == LIMIT and whole(math.pi) == 3
items = [3, 1, 2]
sort(items)
assert items == [1, 2, 3]
try:
    broken("k")
except KeyError:
    pass
else:
    raise AssertionError
"""
    tests = [
        CodeTest(code=code),
        CodeTest(code="assert add(1) == 3, 'too small'"),
        CodeTest(code="("),
    ]
    good, bad, no_test = run(PROGRAM, *tests, local=local)
    assert (good.verdict, good.message) == ("passed", "")
    assert (bad.verdict, bad.message) == ("failed", "AssertionError: too small")
    assert no_test.verdict == "error"


def test_a_function_named_like_a_built_in_needs_a_test_in_the_same_process():
    apart, together = run(
        "def sum(a, b): return a + b",
        CodeTest(code="assert sum(1, 2) == 3"),
        CodeTest(code="assert sum(1, 2) == 3", together=True),
        local=True,
    )
    assert apart.verdict == "error"
    assert "`sum` is Python's own here: mark the test `together`" in apart.message
    assert together.verdict == "passed"


def test_a_class_needs_a_test_in_the_same_process():
    apart, together = run(
        PROGRAM,
        CodeTest(code="assert Box().get() == 1"),
        CodeTest(code="assert Box().get() == 1", together=True),
        local=True,
    )
    assert apart.verdict == "error"
    assert "mark the test `together`" in apart.message
    assert together.verdict == "passed"


def test_a_program_that_ends_badly_says_how():
    messages = [
        run(code, PrintTest(stdout=""), local=True)[0].message
        for code in ("import sys; sys.exit(3)", "1 / 0", "x = = 1", "import os; os.abort()")
    ]
    assert messages[0] == "ended with exit 3"
    assert messages[1] == "ZeroDivisionError: division by zero"
    assert messages[2].startswith("SyntaxError")
    assert messages[3] == "ended with signal 6"


@BOTH
def test_a_program_gets_no_further_than_its_limits(local):
    slow = Limits(wall_seconds=0.5)
    (asleep,) = run(
        "import time; time.sleep(9)", PrintTest(stdout=""), local=local, wall_seconds=0.5
    )
    (large,) = run("x = bytes(1 << 30)", PrintTest(stdout=""), local=local)
    assert (asleep.verdict, large.verdict) == ("timeout", "memory")
    assert asleep.seconds < slow.wall_seconds + 3


def test_long_input_and_output_pass_whole():
    line = "x" * 99_999
    code = "import sys\nfor line in sys.stdin: print(line, end='')"
    (result,) = run(code, PrintTest(stdin=f"{line}\n" * 9, stdout=f"{line}\n" * 9), local=True)
    assert result.verdict == "passed"


def test_programs_run_at_once_while_the_event_loop_goes_on():
    async def work():
        sandbox = Sandbox(unsafe_local=True, concurrency=4)
        code = "import time\ntime.sleep(0.5)"
        runs = asyncio.gather(*(sandbox.run(code, [PrintTest(stdout="")]) for _ in range(4)))
        gaps, last = [], time.perf_counter()
        while not runs.done():
            await asyncio.sleep(0.01)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
        return await runs, max(gaps), sum(gaps)

    reports, longest, total = asyncio.run(work())
    assert all(report.passed for report in reports)
    assert longest < 0.5 < total < 8


def test_blocking_runs_work_inside_a_running_loop():
    async def inside():
        sandbox = Sandbox(unsafe_local=True)
        return sandbox.run_blocking(
            [(f"print({k})", [PrintTest(stdout=str(k))]) for k in range(3)]
        )

    assert [report.passed for report in asyncio.run(inside())] == [True] * 3


def test_no_tests_are_no_pass():
    report = asyncio.run(Sandbox(unsafe_local=True).run("pass", []))
    assert not report.passed


def test_the_environment_of_a_strategy_gives_the_share_of_tests():
    environment = TestsEnvironment(Sandbox(unsafe_local=True))
    request = Run(PROGRAM, '["assert add(1) == 2", {"call": "add", "args": [1], "returns": 5}]')
    draw = asyncio.run(environment.run(request, 0))
    assert draw.value == 0.5
    assert '"verdict": "failed"' in draw.text


def test_without_bubblewrap_it_refuses_and_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: None)
    bubblewrap.why_not.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"apt install bubblewrap.*--unsafe-local"):
            Sandbox()
    finally:
        bubblewrap.why_not.cache_clear()
    assert Sandbox(unsafe_local=True)


def test_a_sandbox_that_does_not_start_is_no_verdict(monkeypatch):
    monkeypatch.setattr(bubblewrap, "python_command", lambda script: ["/bin/false"])
    with pytest.raises(VerifierError, match="did not start"):
        asyncio.run(Sandbox(unsafe_local=True).run("pass", [PrintTest(stdout="")]))


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        ({"memory_bytes": 1}, "memory_bytes"),
        ({"wall_seconds": 0}, "wall"),
        ({"open_files": 3}, "16"),
    ],
)
def test_impossible_limits_are_refused(limits, rule):
    with pytest.raises(UsageError, match=rule):
        Limits(**limits)


def test_filters_exist_for_known_machines_only():
    for machine in MACHINES:
        assert len(filter_program(machine)) % 8 == 0
    assert filter_program("pdp11") is None

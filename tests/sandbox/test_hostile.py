"""Hostile programs are contained: what they try is refused, and what they exhaust is theirs."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time

import hostile_programs as hostile
import pytest

from dwell.sandbox import CallTest, CodeTest, Limits, PrintTest, Sandbox
from dwell.sandbox.bubblewrap import why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=f"no sandbox here: {why_not()}")

LIMITS = Limits(cpu_seconds=1, wall_seconds=3, memory_bytes=256 << 20, disk_bytes=32 << 20)
RIGHT = "def f(x): return x + 1"


def run(code, *tests, limits=LIMITS):
    """The report of one program."""
    tests = tests or (PrintTest(stdout="contained"),)
    return asyncio.run(Sandbox(limits).run(code, tests))


def attempt(body):
    """The message of a program's attempts; empty if all were refused."""
    (result,) = run(hostile.PRELUDE + body + hostile.END).results
    return "" if result.verdict == "passed" else f"{result.verdict} {result.message}"


@pytest.mark.parametrize("name", hostile.ATTEMPTS)
def test_attempts_are_refused(name, monkeypatch):
    monkeypatch.setenv("DWELL_SECRET", "SECRET")
    assert attempt(hostile.ATTEMPTS[name]) == ""


#: Those that run into a limit on time, but for one of each; the others are quick.
SLOW = {
    "shell_fork_bomb", "stops_itself", "waits_for_input", "backtracking", "huge_constant",
    "spins_deaf_to_signals", "deep_recursion", "memory_bomb_of_many",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in hostile.BOMBS],
)
def test_bombs_are_ended_by_a_limit(name):
    code, verdicts = hostile.BOMBS[name]
    report = run(code, PrintTest(stdout="never"))
    assert report.results[0].verdict in verdicts
    assert report.seconds < LIMITS.wall_seconds + 10


@pytest.mark.parametrize("name", hostile.CHEATS)
def test_a_wrong_program_cannot_pass(name):
    tests = (CallTest(call="f", args=(1,), returns=2), CodeTest(code="assert f(1) == 2"))
    verdicts = [result.verdict for result in run(hostile.CHEATS[name], *tests).results]
    assert "passed" not in verdicts


@pytest.mark.parametrize(
    "trick",
    ["def abs(x): return 0", "def all(x): return True", "isinstance = abs = lambda *a: 0",
     "import cmath as math\nmath.isclose = lambda *a: True",
     "import types\nmath = types.ModuleType('math')\nmath.isclose = lambda *a: True",
     "class math:\n    isclose = staticmethod(lambda *a: True)"],
)  # fmt: skip
def test_a_program_cannot_replace_what_a_test_compares_with(trick):
    tests = [
        "assert abs(f(1) - 2) < 1e-9",
        "assert math.isclose(f(1), 2)",
        "import math\nassert math.isclose(f(1), 2)",
        "assert all(f(k) == k + 1 for k in (1, 2))",
    ]
    report = run(trick + "\ndef f(x): return 0", *[CodeTest(code=test) for test in tests])
    assert "passed" not in [result.verdict for result in report.results]


@pytest.mark.parametrize("name", ["exits_early", "exits_by_exception", "prints_a_pass"])
def test_simple_cheats_fail_even_in_the_test_s_own_process(name):
    (result,) = run(hostile.CHEATS[name], CodeTest(code="assert f(1) == 2", together=True)).results
    assert result.verdict in ("error", "failed")


def test_files_of_this_machine_are_not_there(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("known only outside")
    assert attempt(f"attempt('secret', lambda: open({str(secret)!r}).read())") == ""
    assert attempt(f"attempt('folder', os.listdir, {str(tmp_path.parent)!r})") == ""
    assert attempt(f"attempt('here', os.listdir, {os.getcwd()!r})") == ""


def test_local_services_are_out_of_reach(tmp_path):
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "socket"))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0dwell-{os.getpid()}")
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    for server in (unix, abstract):
        server.listen()
    with unix, abstract, tcp, udp:
        body = f"""
import socket
attempt("tcp", socket.create_connection, ("127.0.0.1", {tcp.getsockname()[1]}), 1)
for name in ({str(tmp_path / "socket")!r}, "\\0dwell-{os.getpid()}"):
    attempt(name, lambda: socket.socket(socket.AF_UNIX).connect(name))
try:
    socket.socket(2, 2).sendto(b"out", ("127.0.0.1", {udp.getsockname()[1]}))
except OSError: pass
"""
        assert attempt(body) == ""
        with pytest.raises(BlockingIOError):
            udp.recv(10)


def test_expected_values_are_nowhere_in_the_program_s_memory():
    secret = "SECRET-" + os.urandom(8).hex()
    body = """
import ctypes, re
found = []
for line in open("/proc/self/maps"):
    span, kind, *rest = line.split()
    first, last = (int(part, 16) for part in span.split("-"))
    if kind.startswith("rw") and (len(rest) < 4 or rest[3] in ("[heap]", "[stack]")):
        data = ctypes.string_at(first, last - first)
        found += re.findall(b"SECRET-[0-9a-f]{16}", data)
print(found or "nothing")
def f(x): return repr(found)
"""
    report = run(
        body,
        CallTest(call="f", args=(1,), returns=secret),
        CodeTest(code=f"assert f(1) == '[]', '{secret}'"),
        CodeTest(code=f"assert f(2) == '[]', '{secret}'"),
        PrintTest(stdout="nothing"),
        PrintTest(stdout=secret),
        limits=Limits(wall_seconds=20),
    )
    verdicts = [result.verdict for result in report.results]
    assert verdicts == ["failed", "passed", "passed", "passed", "failed"]
    assert "[]" in report.results[0].message


def test_runs_do_not_see_each_other():
    wait = "\nimport os, time\nopen('/tmp/mark', 'x').write('1')\ntime.sleep(1)\n"
    look = (
        "print(sorted(os.listdir('/tmp')), len([n for n in os.listdir('/proc') if n.isdigit()]))"
    )

    async def both():
        sandbox = Sandbox(LIMITS, concurrency=2)
        test = [PrintTest(stdout="['0', 'mark'] 2")]
        return await asyncio.gather(*(sandbox.run(wait + look, test) for _ in range(2)))

    assert all(report.passed for report in asyncio.run(both()))


def test_what_a_test_leaves_running_is_gone_at_the_next():
    daemon = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "    time.sleep(60)\n    os._exit(0)\n"
        "print(len([n for n in os.listdir('/proc') if n.isdigit()]) < 5)"
    )
    report = run(daemon, *[PrintTest(stdout="True")] * 6)
    assert report.passed
    assert report.seconds < 20


def test_nothing_outlives_the_sandbox():
    mark = f"dwell-mark-{os.getpid()}"
    code = f"import os\nos.execv('/bin/sh', ['sh', '-c', 'sleep 50; : {mark}'])"
    report = run(code, PrintTest(stdout=""), limits=Limits(wall_seconds=0.5))
    assert report.results[0].verdict == "timeout"
    within(5, lambda: mark not in all_commands())


def test_a_cancelled_run_ends_its_sandbox():
    mark = f"dwell-cancelled-{os.getpid()}"
    code = f"import os\nos.execv('/bin/sh', ['sh', '-c', 'sleep 50; : {mark}'])"

    async def cancel():
        task = asyncio.create_task(Sandbox(LIMITS).run(code, [PrintTest(stdout="")]))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    within(5, lambda: mark not in all_commands())
    assert threading.active_count() < 20


def test_a_killed_runner_takes_its_sandbox_along():
    mark = f"dwell-orphan-{os.getpid()}"
    code = f"import os\nos.execv('/bin/sh', ['sh', '-c', 'sleep 50; : {mark}'])"
    runner = (
        "import asyncio; from dwell.sandbox import *\n"
        f"asyncio.run(Sandbox(Limits(wall_seconds=40)).run({code!r}, [PrintTest(stdout='')]))"
    )
    process = subprocess.Popen([sys.executable, "-c", runner])
    within(20, lambda: all_commands().count(mark) >= 2)  # the runner's own, and the program's
    process.kill()
    process.wait()
    within(5, lambda: mark not in all_commands())


def within(seconds, holds):
    """Wait until something holds; fail where it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def all_commands():
    """The command lines of all processes of this machine."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                found.append(file.read().decode("utf-8", "replace"))
        except OSError:
            continue
    return " ".join(found)


def test_a_right_program_passes_among_them():
    report = run(
        RIGHT, CallTest(call="f", args=(1,), returns=2), CodeTest(code="assert f(1) == 2")
    )
    assert report.passed

"""The sandbox: programs a second, and what hostile programs achieve.

    python benchmarks/sandbox.py [--programs 200] [--concurrency 2]

Prints the rate on ordinary programs with each kind of test, then a line for each hostile program
of `tests/sandbox/hostile_programs.py`: its name and the verdict.
"""

import argparse
import asyncio
import os
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sandbox"))

import hostile_programs as hostile

from dwell.sandbox import CallTest, CodeTest, Limits, PrintTest, Sandbox

PROGRAM = """
def f(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
"""
KINDS = {
    "print": (PROGRAM + "print(f(int(input())))", [PrintTest(stdin="30\n", stdout="832040")]),
    "call": (PROGRAM, [CallTest(call="f", args=(30,), returns=832040)]),
    "asserts": (PROGRAM, [CodeTest(code="assert f(30) == 832040\nassert f(1) == 1")]),
    "5 calls": (PROGRAM, [CallTest(call="f", args=(k,), returns=k) for k in (0, 1, 1, 1, 5)]),
}
LIMITS = Limits(cpu_seconds=1, wall_seconds=4, memory_bytes=256 << 20, disk_bytes=32 << 20)


def cpu_seconds():
    """Processor time of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def rate(sandbox, code, tests, count):
    """Programs a second, and milliseconds of processor time a program."""
    begin, cpu = time.perf_counter(), cpu_seconds()
    reports = await asyncio.gather(*(sandbox.run(code, tests) for _ in range(count)))
    assert all(report.passed for report in reports)
    return count / (time.perf_counter() - begin), 1e3 * (cpu_seconds() - cpu) / count


async def contained():
    """(name, verdict, message, whether that is what containment means) of hostile programs."""
    sandbox = Sandbox(LIMITS)
    for name, body in hostile.ATTEMPTS.items():
        code = hostile.PRELUDE + body + hostile.END
        (result,) = (await sandbox.run(code, [PrintTest(stdout="contained")])).results
        refused = result.verdict == "passed"
        yield name, "all refused" if refused else result.verdict, result.message, refused
    for name, (code, verdicts) in hostile.BOMBS.items():
        (result,) = (await sandbox.run(code, [PrintTest(stdout="never")])).results
        yield name, result.verdict, result.message, result.verdict in verdicts
    for name, code in hostile.CHEATS.items():
        tests = [CallTest(call="f", args=(1,), returns=2), CodeTest(code="assert f(1) == 2")]
        results = (await sandbox.run(code, tests)).results
        said = " ".join(result.verdict for result in results)
        yield name, said, results[0].message, "passed" not in said


async def main(count, concurrency):
    """Both parts."""
    print(f"user {os.geteuid()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    sandbox = Sandbox(concurrency=concurrency)
    for kind, (code, tests) in KINDS.items():
        per_second, milliseconds = await rate(sandbox, code, tests, count)
        print(
            f"{kind:8} {per_second:6.1f} programs/s, {milliseconds:5.1f} ms of processor time each"
        )
    bad = 0
    async for name, verdict, message, good in contained():
        bad += not good
        print(f"{'ok ' if good else 'BAD'} {name:32} {verdict:18} {message[:60]}", flush=True)
    print(f"{bad} not contained")
    return int(bad > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=2)
    chosen = parser.parse_args()
    sys.exit(asyncio.run(main(chosen.programs, chosen.concurrency)))

"""Programs run on tests in the sandbox, many at once, without blocking the event loop.

One sandbox a program, one process of the program a test. What the sandbox writes is read up to a
bound; a sandbox that does not end in time is killed with all that is in it.
"""

from __future__ import annotations

import asyncio
import marshal
import math
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from dwell.errors import UsageError, VerifierError
from dwell.sandbox import bubblewrap
from dwell.sandbox.judging import Ended, judged
from dwell.sandbox.records import (
    CallTest,
    CodeTest,
    Limits,
    PrintTest,
    Report,
    Test,
    TestResult,
)

#: Seconds that the sandbox itself may take to start and to end, on a busy machine.
GRACE = 15.0
#: Bytes of one report's first line.
HEAD_BYTES = 200


class Sandbox:
    """Runs programs that nobody has read.

    Args:
        limits: what one program may use.
        unsafe_local: run without bubblewrap, with resource limits only: programs may then read
            and write all that the user may, and use the network.
        concurrency: programs at once; None = the number of processors.

    Raises:
        UsageError: bubblewrap cannot be used here and `unsafe_local` is not given, or this is not
            Linux.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        unsafe_local: bool = False,
        concurrency: int | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.unsafe_local = unsafe_local
        self.concurrency = concurrency or os.cpu_count() or 1
        self._slots: WeakKeyDictionary[Any, asyncio.Semaphore] = WeakKeyDictionary()
        if not unsafe_local:
            bubblewrap.check_available()
        elif not sys.platform.startswith("linux"):
            raise UsageError(
                f"Programs are run on Linux only, but this is {sys.platform}. Use a container or "
                "a virtual machine."
            )

    async def run(self, code: str, tests: Sequence[Test]) -> Report:
        """Run a program on tests, each in a fresh process.

        Args:
            code: Python source.
            tests: in the order of the report's results.

        Raises:
            VerifierError: the sandbox itself failed; that says nothing of the program.
        """
        loop = asyncio.get_running_loop()
        slots = self._slots.setdefault(loop, asyncio.Semaphore(self.concurrency))
        tokens = [secrets.token_hex(16).encode() for _ in tests]
        async with slots:
            begin = time.perf_counter()
            said, problems = await self._talk(code, tests, tokens)
            ended = _reports(said, tokens)
        if not ended and tests:
            words = problems.decode("utf-8", "replace").strip()
            raise VerifierError(f"the sandbox did not start: {words or 'it ended at once'}")
        results = [judged(test, one) for test, one in zip(tests, ended, strict=False)]
        lost = TestResult(verdict="error", message="the sandbox was ended before this test")
        results += [lost] * (len(tests) - len(results))
        return Report(results=tuple(results), seconds=time.perf_counter() - begin)

    async def run_many(
        self, programs: Sequence[tuple[str, Sequence[Test]]]
    ) -> AsyncIterator[tuple[int, Report]]:
        """(place, report) of programs run at once, as they are done.

        Raises:
            VerifierError: as `run`.
        """

        async def one(place: int) -> tuple[int, Report]:
            return place, await self.run(*programs[place])

        tasks = [asyncio.create_task(one(place)) for place in range(len(programs))]
        try:
            for done in asyncio.as_completed(tasks):
                yield await done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def run_blocking(self, programs: Sequence[tuple[str, Sequence[Test]]]) -> list[Report]:
        """Run programs at once and wait; also where an event loop is running already.

        Raises:
            VerifierError: as `run`.
        """
        done: list[Report] = []
        failed: list[BaseException] = []

        async def together() -> None:
            reports = [found async for found in self.run_many(programs)]
            done.extend(report for _, report in sorted(reports, key=lambda found: found[0]))

        def work() -> None:
            try:
                asyncio.run(together())
            except BaseException as error:  # raised again by the caller's thread
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return done

    async def _talk(
        self, code: str, tests: Sequence[Test], tokens: Sequence[bytes]
    ) -> tuple[bytes, bytes]:
        """What the harness reports, and what bubblewrap complained about."""
        limits = self.limits
        allowed = GRACE + len(tests) * (limits.wall_seconds + 1)
        most = len(tests) * (3 * limits.output_bytes + HEAD_BYTES)
        async with self._process() as (process, folder):
            sent = _messages(self._job(code, len(tests), folder), tests, tokens)
            feeding = asyncio.create_task(_feed(process.stdin, sent))
            complaints = asyncio.create_task(_read(process.stderr, 4096))
            said = b""
            try:
                async with asyncio.timeout(allowed):
                    said = await _read(process.stdout, most)
            except TimeoutError:
                pass  # what is missing is reported as such
            finally:
                feeding.cancel()
                _kill(process)
            return said, await complaints

    def _job(self, code: str, num_tests: int, folder: str) -> dict[str, Any]:
        limits = self.limits
        held = {
            "RLIMIT_CPU": math.ceil(limits.cpu_seconds),
            "RLIMIT_AS": limits.memory_bytes,
            "RLIMIT_FSIZE": limits.file_bytes,
            "RLIMIT_NOFILE": limits.open_files,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
        }
        if not self.unsafe_local:  # elsewhere it counts all that the user runs
            held["RLIMIT_NPROC"] = limits.processes
        return {
            "code": code,
            "tests": num_tests,
            "uid": 0 if self.unsafe_local else bubblewrap.inner_uid(),
            "contained": not self.unsafe_local,
            "folder": folder,
            "limits": held,
            "wall_seconds": limits.wall_seconds,
            "memory_bytes": limits.memory_bytes,
            "output_bytes": limits.output_bytes,
        }

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
        """A harness that waits for its job, and the folder it may work in; ended on leaving."""
        passed: tuple[int, ...] = ()
        if self.unsafe_local:
            folder = tempfile.mkdtemp(prefix="dwell-")
            command = bubblewrap.python_command(bubblewrap.harness())
        else:
            folder, passed = "/tmp", _filter_fd()
            command = bubblewrap.command_line(self.limits, passed[0] if passed else None)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={},
                cwd=folder,
                pass_fds=passed,
                start_new_session=True,
            )
        finally:
            for fd in passed:
                os.close(fd)
        try:
            yield process, folder
        finally:
            _kill(process)
            await process.wait()
            if self.unsafe_local:
                shutil.rmtree(folder, ignore_errors=True)


def _filter_fd() -> tuple[int, ...]:
    """A pipe from which bubblewrap reads the filter of system calls, if there is one."""
    program = bubblewrap.filter_bytes()
    if program is None:
        return ()
    read_end, write_end = os.pipe()
    os.write(write_end, program)  # shorter than a pipe's buffer
    os.close(write_end)
    return (read_end,)


def _kill(process: asyncio.subprocess.Process) -> None:
    """End the harness or bubblewrap, with which all inside ends."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()


async def _read(stream: asyncio.StreamReader | None, most: int) -> bytes:
    """What a stream holds, up to a bound."""
    assert stream is not None
    pieces, size = [], 0
    while size < most and (piece := await stream.read(min(1 << 16, most - size))):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _messages(job: dict[str, Any], tests: Sequence[Test], tokens: Sequence[bytes]) -> bytes:
    """All that the harness is told, in the order in which it reads."""
    told: list[Any] = [job]
    for test, token in zip(tests, tokens, strict=True):
        match test:
            case PrintTest():
                told.append({"kind": "io", "stdin": test.stdin.encode()})
            case CallTest():
                call = {"call": test.call, "args": test.args, "kwargs": dict(test.kwargs)}
                told.append({"kind": "call", **call})
            case CodeTest(together=True):
                told += [{"kind": "together"}, {"code": test.code, "token": token}]
            case CodeTest():
                told += [{"kind": "code"}, test.code]
    packed = (marshal.dumps(message) for message in told)
    return b"".join(len(data).to_bytes(4, "big") + data for data in packed)


def _reports(said: bytes, tokens: Sequence[bytes]) -> list[Ended]:
    """The whole reports among what the harness wrote, one a test."""
    found = []
    for token in tokens:
        head, newline, rest = said.partition(b"\n")
        if not newline:
            break
        status, seconds, sizes = head.decode().split("|")
        held, start = [], 0
        for size in map(int, sizes.split()):
            held.append(rest[start : start + size])
            start += size
        if len(rest) < start:
            break
        out, err, value = held
        found.append(
            Ended(
                status=status, seconds=float(seconds),
                stdout=out, stderr=err, said=value, token=token,
            )
        )  # fmt: skip
        said = rest[start:]
    return found

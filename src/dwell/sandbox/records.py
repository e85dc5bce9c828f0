"""What the sandbox is asked and what it says: tests, limits, results.

Plain records. Tests have a form as JSON, in which task files and problems carry them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dwell.errors import UsageError

MIB = 1 << 20

Verdict = Literal["passed", "failed", "error", "timeout", "memory", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use; every limit holds for each of its tests anew.

    Attributes:
        cpu_seconds: processor time of one process.
        wall_seconds: time from start to end; longer than `cpu_seconds`, since a busy machine
            makes a program wait through no fault of its own.
        memory_bytes: address space of one process, and memory of all processes together.
        processes: processes and threads at once (not held in unsafe local runs).
        file_bytes: size of one file.
        disk_bytes: all files together, in memory (not held in unsafe local runs).
        output_bytes: what is read of standard output, of standard error, and of a result.
        open_files: file descriptors of one process.
    """

    cpu_seconds: float = 5.0
    wall_seconds: float = 10.0
    memory_bytes: int = 512 * MIB
    processes: int = 32
    file_bytes: int = 16 * MIB
    disk_bytes: int = 64 * MIB
    output_bytes: int = MIB
    open_files: int = 64

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "wall_seconds", "processes", "output_bytes"):
            if getattr(self, name) <= 0:
                raise UsageError(
                    f"`{name}` must be greater than 0, but got {name}={getattr(self, name)}. "
                    "Raise it."
                )
        if self.memory_bytes < 64 * MIB:
            raise UsageError(
                "`memory_bytes` must leave room for an interpreter (64 MiB), but got "
                f"memory_bytes={self.memory_bytes}. Raise it."
            )
        if self.open_files < 16:
            raise UsageError(
                f"`open_files` must be at least 16, but got open_files={self.open_files}. "
                "Raise it."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintTest:
    """The program reads `stdin` and must print `stdout`.

    Outputs are compared line by line without trailing blanks; empty lines at the end do not count.
    """

    stdin: str = ""
    stdout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTest:
    """A function of the program must return a value.

    Attributes:
        call: its name.
        args: plain data.
        kwargs: plain data by name.
        returns: what it must return; equal as Python compares, a list may be a tuple, and
            floats need only agree to 9 digits.
    """

    call: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    returns: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTest:
    """Python statements that raise if the program is wrong: asserts.

    Attributes:
        code: the statements; they see the program's functions and values by name.
        together: run in the program's own process. Needed where a test uses classes, callbacks
            or generators of the program; a program that is out to deceive can then do so.
    """

    code: str
    together: bool = False


Test = PrintTest | CallTest | CodeTest


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What came of one test.

    Attributes:
        verdict: "passed"; "failed" (a wrong value or output, a false assert); "error" (the
            program ended otherwise than it should); "timeout", "memory", "output" (a limit).
        message: why, in one line.
        seconds: from start to end.
    """

    __test__ = False  # not a class of pytest

    verdict: Verdict
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one program.

    Attributes:
        results: one a test, in order.
        seconds: with the sandbox's own start and end.
    """

    results: tuple[TestResult, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether there are tests and all passed."""
        return bool(self.results) and all(one.verdict == "passed" for one in self.results)

    @property
    def share(self) -> float:
        """Share of tests that passed, in `[0, 1]`."""
        right = sum(one.verdict == "passed" for one in self.results)
        return right / max(1, len(self.results))


def read_test(value: Any) -> Test:
    """A test in its JSON form: a text of asserts, or an object.

    Raises:
        UsageError: it is none of the forms.
    """
    if isinstance(value, str):
        return CodeTest(code=value)
    kinds = {"stdout": PrintTest, "call": CallTest, "code": CodeTest}
    kind = next((kinds[key] for key in kinds if isinstance(value, Mapping) and key in value), None)
    if kind is not None:
        given = {
            k: tuple(v) if k == "args" and isinstance(v, list) else v for k, v in value.items()
        }
        try:
            test: Test = kind(**given)
            _check_types(test)
            return test
        except TypeError as error:
            reason = str(error).partition(" ")[2]
    else:
        reason = f"got {json.dumps(value, default=str)[:80]}"
    raise UsageError(
        "A test must be a text of asserts, or an object with `stdin` and `stdout`, with `call`, "
        f"`args` and `returns`, or with `code`, but {reason}. Write it in one of these forms."
    )


def _check_types(test: Test) -> None:
    """Raise a `TypeError` where a field is not of its type."""
    texts = {PrintTest: ("stdin", "stdout"), CallTest: ("call",), CodeTest: ("code",)}[type(test)]
    for name in texts:
        if not isinstance(getattr(test, name), str):
            raise TypeError(f"field `{name}` is no text")
    if isinstance(test, CallTest) and not isinstance(test.args, tuple):
        raise TypeError("field `args` is no list")
    if isinstance(test, CallTest) and not isinstance(test.kwargs, Mapping):
        raise TypeError("field `kwargs` is no object")


def read_tests(text: str) -> tuple[Test, ...]:
    """The tests in a JSON list.

    Raises:
        UsageError: it is no list of tests.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(f"Tests must be a JSON list, but got {text[:80]!r}. Mend it.") from error
    if not isinstance(values, list) or not values:
        raise UsageError(f"Tests must be a JSON list of at least one, but got {text[:80]!r}.")
    return tuple(read_test(value) for value in values)

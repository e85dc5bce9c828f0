"""From what a program printed or returned to a verdict: outside, where it cannot reach.

The sandbox hands over bytes. They are compared here with what was expected, which the program's
process never held.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dwell.sandbox.records import CallTest, CodeTest, PrintTest, Test, TestResult, Verdict

#: How far floats may differ, relatively or (near zero) absolutely.
TOLERANCE = 1e-9
#: Characters of a value or a line that a message shows.
SHOWN = 80
#: The tester's words for a program that does not answer.
ENDED_EARLY = "the program ended before it answered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one test's processes ended, as the harness says it.

    Attributes:
        status: "exit 0", "signal 9", "timeout", "memory" or "output".
        seconds: from start to end.
        stdout: what the program printed.
        stderr: likewise; the harness adds what ended the program.
        said: the value returned, the tester's words, or the token of a `together` test.
        token: the token that was sent with a `together` test.
    """

    status: str
    seconds: float
    stdout: bytes
    stderr: bytes
    said: bytes
    token: bytes = b""


def judged(test: Test, ended: Ended) -> TestResult:
    """The result of one test."""
    verdict, message = _judged(test, ended)
    return TestResult(verdict=verdict, message=message, seconds=ended.seconds)


def _judged(test: Test, ended: Ended) -> tuple[Verdict, str]:
    match ended.status:
        case "timeout":
            return "timeout", "no end within the limit"
        case "memory":
            return "memory", "its processes together took more memory than the limit"
        case "output":
            return "output", "more output than the limit"
        case "signal 24":  # SIGXCPU
            return "timeout", "the limit on processor time"
    if isinstance(test, CodeTest) and not test.together:
        return _tester_said(ended)
    if ended.status != "exit 0":
        return _error(ended)
    if isinstance(test, PrintTest):
        return _compare_output(test.stdout, ended.stdout)
    if isinstance(test, CallTest):
        return _compare_value(test.returns, ended)
    if ended.token and ended.said == b"+" + ended.token:
        return "passed", ""
    return "error", "the program ended before its test"


def _error(ended: Ended) -> tuple[Verdict, str]:
    before, mark, words = ended.stderr.rpartition(b"\n\0")
    message = words.decode("utf-8", "replace").splitlines()[0] if words else ""
    kind = message.partition(":")[0]
    if kind == "MemoryError":
        return "memory", message
    if kind == "AssertionError":
        return "failed", message
    return "error", message if mark and message else f"ended with {ended.status}"


def _tester_said(ended: Ended) -> tuple[Verdict, str]:
    words = ended.said.decode("utf-8", "replace").removeprefix("read ")
    kind, _, message = words.partition(" ")
    if kind == "passed" and not message:
        return "passed", ""
    if kind == "failed":
        return "failed", message
    if not message or ENDED_EARLY in message:
        return _error(ended)
    return "error", message


def _compare_output(expected: str, given: bytes) -> tuple[Verdict, str]:
    wanted, got = _lines(expected), _lines(given.decode("utf-8", "replace"))
    if wanted == got:
        return "passed", ""
    for number, (want, have) in enumerate(zip(wanted, got, strict=False), 1):
        if want != have:
            return "failed", f"line {number} is {have[:SHOWN]!r}, not {want[:SHOWN]!r}"
    return "failed", f"{len(got)} lines, not {len(wanted)}"


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _compare_value(expected: Any, ended: Ended) -> tuple[Verdict, str]:
    try:
        held = ended.said[4:]
        if len(held) != int.from_bytes(ended.said[:4], "big") or not held:
            return "error", "the program ended before it returned"
        value = value_from(json.loads(held))
    except (ValueError, TypeError, KeyError, RecursionError):
        return "error", "the program returned what cannot be read"
    if same(expected, value):
        return "passed", ""
    return "failed", f"returned {_short(value)}, not {_short(expected)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def value_from(tagged: Any) -> Any:
    """Plain data from the harness's tagged form.

    Raises:
        ValueError, TypeError, KeyError: it is not of that form.
    """
    if not isinstance(tagged, dict):
        if tagged is None or isinstance(tagged, bool | int | float | str):
            return tagged
        raise ValueError("not a tagged value")
    ((tag, held),) = tagged.items()
    match tag:
        case "l" | "t" | "s" | "z":
            items = [value_from(item) for item in held]
            return {"l": list, "t": tuple, "s": set, "z": frozenset}[tag](items)
        case "d":
            return {value_from(key): value_from(item) for key, item in held}
        case "b":
            return bytes.fromhex(held)
    return {"i": int, "f": float, "c": complex, "r": str}[tag](held)


def same(expected: Any, value: Any) -> bool:
    """Whether a value is the expected one: Python's equality, floats to 9 digits.

    A list and a tuple of the same items are the same, since JSON has no tuples. A whole number
    and an equal float are the same; a truth value and a number are not.

    Examples:
        >>> same([1, 2.0], (1, 2))
        True
        >>> same(True, 1)
        False
    """
    if isinstance(expected, bool) or isinstance(value, bool):
        return isinstance(expected, bool) and isinstance(value, bool) and expected == value
    if isinstance(expected, int) and isinstance(value, int):
        return expected == value
    if isinstance(expected, int | float) and isinstance(value, int | float):
        return _close(expected, value)
    if isinstance(expected, list | tuple) and isinstance(value, list | tuple):
        return _same_items(expected, value)
    if isinstance(expected, Mapping) and isinstance(value, dict):
        if expected.keys() != value.keys():
            return False
        return all(same(item, value[key]) for key, item in expected.items())
    return bool(type(expected) is type(value) and expected == value)


def _same_items(expected: Sequence[Any], value: Sequence[Any]) -> bool:
    return len(expected) == len(value) and all(map(same, expected, value))


def _close(expected: float, value: float) -> bool:
    try:
        if math.isnan(expected) or math.isnan(value):
            return math.isnan(expected) and math.isnan(value)
        return math.isclose(expected, value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except OverflowError:  # a whole number beyond all floats
        return expected == value

"""Running programs that nobody has read: limits, tests, results, and an environment.

It knows programs and tests. It does not know problems, strategies or ledgers.
"""

from __future__ import annotations

from dwell.sandbox.records import (
    CallTest,
    CodeTest,
    Limits,
    PrintTest,
    Report,
    Test,
    TestResult,
    read_test,
    read_tests,
)
from dwell.sandbox.running import Sandbox

__all__ = [
    "CallTest",
    "CodeTest",
    "Limits",
    "PrintTest",
    "Report",
    "Sandbox",
    "Test",
    "TestResult",
    "read_test",
    "read_tests",
]

"""Tests of a program as an environment: what a strategy that may run code acts on.

The state is the tests as a JSON list, so that a recorded outcome can be replayed by itself.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from dwell.records import Draw
from dwell.requests import Run
from dwell.sandbox.records import read_tests
from dwell.sandbox.running import Sandbox


class TestsEnvironment:
    """Runs the action, a program, on the tests in the state.

    Args:
        sandbox: where.
    """

    __test__ = False  # not a class of pytest

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.fingerprint = f"tests:1:{sandbox.limits}"

    async def run(self, request: Run, seed: int) -> Draw:
        """The share of tests passed as value; verdicts and messages as text.

        Raises:
            UsageError: the state holds no tests.
            VerifierError: the sandbox itself failed.
        """
        report = await self._sandbox.run(request.action, read_tests(request.state))
        outcome = [
            {key: value for key, value in asdict(one).items() if key != "seconds"}
            for one in report.results
        ]
        return Draw(text=json.dumps(outcome), value=report.share, seconds=report.seconds)

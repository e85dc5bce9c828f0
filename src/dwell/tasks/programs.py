"""The checker `code`: an answer is a program, right if it passes all tests of its problem.

Verdicts are kept in a file of the study, because a program is run once: analysing a study again
runs nothing, and a machine without a sandbox can read what one with it has found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from dwell.errors import UsageError
from dwell.sandbox import Sandbox, read_tests
from dwell.tasks import answers

Pair = tuple[str, str]
"""A problem's tests as JSON, and a program."""


class ProgramTests:
    """Checks programs in the sandbox, once each.

    Args:
        make_sandbox: called when the first program is to be run, and not before.
        path: the file of verdicts, one JSON object a line; None keeps them in memory.
        limits: what a program may use, as text: verdicts under other limits are other verdicts.
            "" = the usual ones.
    """

    def __init__(
        self, make_sandbox: Callable[[], Sandbox], path: Path | None = None, *, limits: str = ""
    ) -> None:
        self._make_sandbox, self._path, self._limits = make_sandbox, path, limits
        self._waiting: dict[str, Pair] = {}

    @cached_property
    def sandbox(self) -> Sandbox:
        """Where programs are run.

        Raises:
            UsageError: there is no sandbox on this machine.
        """
        return self._make_sandbox()

    @cached_property
    def _verdicts(self) -> dict[str, bool]:
        found = {}
        if self._path is not None and self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                    found[record["program"]] = bool(record["passed"])
                except (ValueError, KeyError, TypeError):
                    continue  # a line cut short by a crash: that program is run again
        return found

    def reference(self, text: str) -> str:
        """The tests themselves, checked.

        Raises:
            UsageError: they are no tests.
        """
        read_tests(text)
        return text

    def extract(self, text: str) -> str | None:
        """The last fenced program of a text, without layout; None where there is none."""
        return answers.program(text)

    def expect(self, reference: str, answer: str) -> None:
        """Note a program that will have to be checked."""
        key = self._key(reference, answer)
        if key not in self._verdicts:
            self._waiting[key] = (reference, answer)

    def check(self, reference: str, answer: str) -> bool:
        """Whether a program passes all tests; runs it if that is not known. Blocks until then.

        Raises:
            UsageError: it must be run, and there is no sandbox on this machine.
            VerifierError: the sandbox itself failed.
        """
        key = self._key(reference, answer)
        if key not in self._verdicts:
            (report,) = self.sandbox.run_blocking([(answer, read_tests(reference))])
            self._keep(key, report.passed)
        return self._verdicts[key]

    def known(self, reference: str, answer: str) -> bool:
        """Whether a verdict is at hand."""
        return self._key(reference, answer) in self._verdicts

    async def check_expected(self) -> None:
        """Run all programs noted by `expect` whose verdict is not known, several at once.

        Raises:
            UsageError, VerifierError: as `check`.
        """
        waiting, self._waiting = self._waiting, {}
        await self.check_all(list(waiting.values()))

    async def check_all(self, pairs: Sequence[Pair]) -> None:
        """Make the verdicts of these programs known without blocking the event loop."""
        unknown = {key: pair for pair in pairs if (key := self._key(*pair)) not in self._verdicts}
        if unknown:
            programs = [(code, read_tests(tests)) for tests, code in unknown.values()]
            async for place, report in self.sandbox.run_many(programs):
                self._keep(list(unknown)[place], report.passed)

    def _key(self, reference: str, answer: str) -> str:
        text = f"{reference}\0{answer}" + (f"\0{self._limits}" if self._limits else "")
        return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()

    def _keep(self, key: str, passed: bool) -> None:
        self._verdicts[key] = passed
        self._waiting.pop(key, None)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"program": key, "passed": passed}) + "\n")


def tests_text(value: object) -> str:
    """The tests of a row as JSON text, checked.

    Raises:
        UsageError: they are none.
    """
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = [value]
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if value is None:
        raise UsageError(
            "a problem of the checker `code` must have `tests`, but has none. Add the column, as "
            'a list such as ["assert f(1) == 2"].'
        )
    read_tests(text)
    return text

r"""How answers of a task file are found in a text, made comparable and checked, by name.

`exact`, `number`, `maths` (needs the extra), `choice`, `vote` (what `dwell serve` votes on),
`regex:PATTERN`, `code` (runs programs in the sandbox).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from dwell.errors import UsageError
from dwell.tasks import algebra, answers
from dwell.tasks.programs import ProgramTests

#: Characters of a text that a pattern of the user's is held against.
MAX_SEARCHED = 100_000


class Checker(Protocol):
    """Finds, canonicalises and checks answers."""

    def reference(self, text: str) -> str:
        """The canonical form of a reference.

        Raises:
            UsageError: it is none.
        """
        ...

    def extract(self, text: str) -> str | None:
        """The canonical answer in a complete text; None where there is none."""
        ...

    def check(self, reference: str, answer: str) -> bool:
        """Whether a canonical answer is right."""
        ...


class Compared:
    """Answers that are right if they are the same as the reference.

    Args:
        name: of the checker.
        find: the answer in a text.
        canonical: the same text for the same answer; None for what is no answer.
        same: whether two canonical answers are the same.
        form: what a reference must be, for an error's message.
    """

    def __init__(
        self,
        name: str,
        find: Callable[[str], str | None],
        canonical: Callable[[str], str | None],
        form: str,
        same: Callable[[str, str], bool] = str.__eq__,
    ) -> None:
        self.name, self._find, self._canonical = name, find, canonical
        self._form, self._same = form, same

    def reference(self, text: str) -> str:
        """The canonical form of a reference, which may itself be boxed.

        Raises:
            UsageError: it is none.
        """
        found = self._canonical(answers.boxed(text) or text)
        if found is None:
            raise UsageError(
                f"a reference of the checker `{self.name}` must be {self._form}, but got "
                f"{text[:60]!r}. Mend it, or choose another checker."
            )
        return found

    def extract(self, text: str) -> str | None:
        """The canonical answer in a complete text; None where there is none."""
        found = self._find(text)
        return None if found is None else self._canonical(found)

    def check(self, reference: str, answer: str) -> bool:
        """Whether a canonical answer is right."""
        return self._same(reference, answer)


def _pattern(source: str) -> Compared:
    """A checker that takes the last match of a pattern: its first group, if it has one.

    Raises:
        UsageError: the pattern is missing or broken.
    """
    try:
        pattern = re.compile(source, re.MULTILINE)
    except re.error as error:
        raise UsageError(
            f"A checker `regex:PATTERN` must hold a regular expression, but {source!r} is none "
            f"({error}). Mend it."
        ) from error
    if not source:
        raise UsageError(
            "A checker `regex` must say its pattern, but got none. Write it as in "
            r"checker = 'regex:Result: (\w+)'."
        )

    def find(text: str) -> str | None:
        found = None
        for match in pattern.finditer(text[-MAX_SEARCHED:]):
            found = match.group(1) if pattern.groups else match.group()
        return found

    return Compared("regex", find, answers.plain_text, "a text")


SIMPLE: Mapping[str, Compared] = MappingProxyType(
    {
        "exact": Compared("exact", answers.stated, answers.plain_text, "a text"),
        "number": Compared("number", answers.stated, answers.number, "a rational number"),
        "maths": Compared(
            "maths", answers.stated, algebra.expression, "a number or an expression",
            algebra.same_expression,
        ),
        "choice": Compared("choice", answers.last_letter, answers.letter, "a letter from A to Z"),
        "vote": Compared("vote", answers.vote_key, answers.normal_form, "a text"),
    }
)  # fmt: skip
NAMES = (*SIMPLE, "regex:PATTERN", "code")


def make_checker(name: str, programs: ProgramTests | None = None) -> Checker:
    """The checker of a name.

    Args:
        name: one of `NAMES`.
        programs: runs the tests of `code`.

    Raises:
        UsageError: no checker has this name.
        MissingExtraError: `maths` without math-verify.
    """
    if name == "maths":
        algebra.math_verify()  # refused now and not at the first answer
    if name in SIMPLE:
        return SIMPLE[name]
    if name == "code" and programs is not None:
        return programs
    kind, _, pattern = name.partition(":")
    if kind == "regex":
        return _pattern(pattern)
    raise UsageError(
        f"A checker must be one of {', '.join(NAMES)}, but got {name!r}. Name one of those."
    )

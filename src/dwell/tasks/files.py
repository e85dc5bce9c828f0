"""Problems of the user's own: JSON-lines or parquet, one row a problem.

Columns: `prompt` (or `messages`, or any others with a template), `reference` (or `tests` for the
checker `code`), and optionally `id`, `checker`, `choices`, `tags`.

A problem's id ends with a digest of its content, so a row that was changed is another problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast, get_args

from dwell.errors import UsageError
from dwell.records import Problem, Role
from dwell.tasks.checkers import Checker, make_checker
from dwell.tasks.programs import ProgramTests, tests_text
from dwell.tasks.rows import rows

#: Under what name a problem carries a checker of its own.
CHECKER = "checker"
_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")
_PROMPTS = "`prompt`, `messages` or a template"


class FileTask:
    """Problems read from a file, and the checkers of their answers.

    Args:
        name: what the study calls it.
        problems: from `read_problems` or `recorded_problems`.
        checker: of the problems that name none.
        programs: runs programs, for the checker `code`.

    Attributes:
        costly: whether a check may take seconds, as running programs does.

    Raises:
        UsageError: an unknown checker.
    """

    def __init__(
        self, name: str, problems: Sequence[Problem], checker: str, programs: ProgramTests
    ) -> None:
        self.name, self._problems, self._programs = name, list(problems), programs
        self._default = checker
        names = {problem.markers.get(CHECKER, checker) for problem in self._problems}
        self._checkers: dict[str, Checker] = {
            name: make_checker(name, programs) for name in sorted(names)
        }
        self.costly = "code" in names

    def problems(self, count: int | None = None, **_: object) -> list[Problem]:
        """The first `count` problems; None = all."""
        return self._problems[:count]

    def extract(self, problem: Problem, text: str) -> str | None:
        """The canonical answer in a complete text, None where there is none."""
        answer = self._checker(problem).extract(text)
        if answer is not None and not self.known(problem, answer):
            self._programs.expect(str(problem.reference), answer)
        return answer

    def check(self, problem: Problem, answer: str) -> bool:
        """Whether an answer is right; of a program, this may run it and block until it is done."""
        if problem.reference is None:
            return False
        return self._checker(problem).check(problem.reference, answer)

    def known(self, problem: Problem, answer: str | None) -> bool:
        """Whether `check` would answer at once."""
        programs = self._checker(problem) is self._programs
        if not programs or answer is None or problem.reference is None:
            return True
        return self._programs.known(problem.reference, answer)

    async def check_all(self, pairs: Sequence[tuple[Problem, str | None]]) -> None:
        """Have programs run, several at once and off the event loop, so that `check` knows them.

        Raises:
            UsageError: there is no sandbox on this machine.
            VerifierError: the sandbox itself failed.
        """
        unknown = [
            (str(problem.reference), str(answer))
            for problem, answer in pairs
            if not self.known(problem, answer)
        ]
        if unknown:
            await self._programs.check_all(unknown)

    def _checker(self, problem: Problem) -> Checker:
        return self._checkers[problem.markers.get(CHECKER, self._default)]


def read_problems(
    path: str | Path, name: str, *, checker: str | None = None, template: str | None = None
) -> list[Problem]:
    r"""The problems in a file.

    Args:
        path: `.jsonl`, `.ndjson` or `.parquet`.
        name: the task's.
        checker: of rows that name none; None = `exact`.
        template: the prompt, with columns in braces, as in ``"{question}\\nAnswer:"``.

    Raises:
        UsageError: the file cannot be read, or a row breaks a rule; the message says which.
    """
    found: list[Problem] = []
    seen: dict[str, int] = {}
    checkers: dict[str, Checker] = {}
    programs = ProgramTests(_no_sandbox)
    for number, row in rows(Path(path)):
        try:
            kind = str(row.get(CHECKER) or checker or "exact")
            if kind not in checkers:
                checkers[kind] = make_checker(kind, programs)
            problem = _problem(row, name, str(row.get("id") or number), kind, template)
            problem = _with_reference(problem, row, kind, checkers[kind])
        except UsageError as error:
            raise UsageError(f"{path} row {number}: {error}") from error
        own = str(row.get("id") or number)
        if own in seen:
            raise UsageError(
                f"{path} row {number}: an `id` must be there once, but {own!r} is in row "
                f"{seen[own]} too. Change one of them."
            )
        seen[own] = number
        found.append(problem)
    if not found:
        raise UsageError(f"A task file must have at least one row, but {path} has none. Add some.")
    return found


def _no_sandbox() -> Any:
    raise UsageError("reading problems runs no programs")


def _problem(
    row: Mapping[str, Any], name: str, own: str, checker: str, template: str | None
) -> Problem:
    """A row as a problem, still without its reference."""
    messages = () if template is not None else _messages(row.get("messages"))
    prompt: Any = row.get("prompt")
    if template is not None:
        prompt = filled(template, {**row, **_lettered(row)})
    elif messages:
        prompt = next((text for role, text in reversed(messages) if role == "user"), "")
    if not isinstance(prompt, str) or not prompt.strip():
        has = ", ".join(f"`{column}`" for column in row) or "no column"
        raise UsageError(
            f"a problem must have a text as {_PROMPTS}, but this row has {has}. Add a column "
            '`prompt`, or a template such as template = "{question}".'
        )
    tags = row.get("tags") or {}
    if not isinstance(tags, Mapping):
        raise UsageError(
            f'`tags` must be an object such as {{"level": 3}}, but got {tags!r}. Mend it.'
        )
    plain = {str(k): v for k, v in tags.items() if isinstance(v, str | int | float)}
    markers = {CHECKER: checker} if row.get(CHECKER) else {}
    digest = blake2b(repr((prompt, messages)).encode("utf-8", "surrogatepass"), digest_size=4)
    return Problem(
        id=f"{name}/{own}-{digest.hexdigest()}", prompt=prompt, task=name, markers=markers,
        tags=plain, messages=messages,
    )  # fmt: skip


def _messages(value: Any) -> tuple[tuple[Role, str], ...]:
    """(role, text) pairs of a column of chat messages.

    Raises:
        UsageError: it is no list of messages that ends with the user's.
    """
    if value is None:
        return ()
    found: list[tuple[Role, str]] = []
    for item in value if isinstance(value, list) else [value]:
        record = item if isinstance(item, dict) else {}
        role, text = record.get("role"), record.get("content")
        if role not in get_args(Role) or not isinstance(text, str):
            raise UsageError(
                f"a message must have a role ({', '.join(get_args(Role))}) and a text as "
                f"`content`, but got {json.dumps(item, default=str)[:80]}. Mend it."
            )
        found.append((cast(Role, role), text))
    if not found or found[-1][0] != "user":
        raise UsageError(
            "`messages` must end with one of the user, but they "
            f"{'end with the ' + found[-1][0] if found else 'are empty'}. Mend them."
        )
    return tuple(found)


def _lettered(row: Mapping[str, Any]) -> dict[str, str]:
    """The column `choices` as lines with letters, for templates."""
    choices = row.get("choices")
    if not isinstance(choices, list):
        return {}
    return {"choices": "\n".join(f"{chr(65 + k)}) {text}" for k, text in enumerate(choices))}


def filled(template: str, row: Mapping[str, Any]) -> str:
    r"""A template with the row's columns in the place of their names in braces.

    Other braces stay as they are, and what a column holds is not looked through again; so LaTeX
    needs no escapes.

    Raises:
        UsageError: it names none of the columns.

    Examples:
        >>> filled(r"{question} Put it in \boxed{}.", {"question": "What is {x}?"})
        'What is {x}? Put it in \\boxed{}.'
    """
    used = []

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if row.get(name) is None:
            return match.group()
        used.append(name)
        return str(row[name])

    text = _FIELD.sub(value, template)
    if not used:
        has = ", ".join(f"`{column}`" for column in row)
        raise UsageError(
            "a template must name at least one column in braces that the row has, but "
            f"{template[:60]!r} names none of {has}. Write for example {{{next(iter(row), 'x')}}}."
        )
    return text


def _with_reference(
    problem: Problem, row: Mapping[str, Any], kind: str, checker: Checker
) -> Problem:
    """The problem with its reference in canonical form."""
    if kind == "code":
        text = checker.reference(tests_text(row.get("tests")))
    else:
        given = row.get("reference")
        if given is None or isinstance(given, list | dict):
            raise UsageError(
                "a problem must have a `reference`, a text or a number, but this row has "
                f"{'none' if given is None else 'a list or an object'}. Add the column."
            )
        text = checker.reference(_choice(given, row) if kind == "choice" else str(given))
    digest = blake2b(f"{kind}\0{text}".encode("utf-8", "surrogatepass"), digest_size=4)
    return replace(problem, id=f"{problem.id}{digest.hexdigest()}", reference=text)


def _choice(given: Any, row: Mapping[str, Any]) -> str:
    """A reference that is the place (from 0) or the text of a choice, as its letter."""
    choices = row.get("choices")
    if not isinstance(choices, list):
        return str(given)
    if isinstance(given, int) and not isinstance(given, bool):
        if 0 <= given < len(choices):
            return chr(65 + given)
        raise UsageError(
            f"a `reference` that is a number must be a place among the choices, 0 to "
            f"{len(choices) - 1}, but got {given}. Mend it."
        )
    return chr(65 + choices.index(given)) if given in choices else str(given)


def recorded_problems(path: str | Path, name: str) -> list[Problem]:
    """The problems of a task in a study's file of problems.

    Args:
        path: JSON-lines, one problem a line, all its fields by name.
        name: the task's.

    Raises:
        UsageError: the file cannot be read, or has no problem of the task.
    """
    found = []
    for number, record in rows(Path(path)):
        if record.get("task") != name:
            continue
        messages = tuple((role, text) for role, text in record.pop("messages", ()))
        try:
            found.append(Problem(**record, messages=messages))
        except TypeError as error:
            raise UsageError(
                f"{path} row {number}: a recorded problem must have the fields of one, but "
                f"{error}. Run the study again."
            ) from error
    if not found:
        raise UsageError(
            f"{path} must hold the problems of the task {name!r}, but has none. Run the study "
            "again with its task file."
        )
    return found

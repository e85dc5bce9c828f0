"""Chain: left-to-right arithmetic modulo 100, one short line a step, one right answer.

    C47+38*3-29
    47+38=85
    85*3=55
    55-29=26
    A26

Operators apply strictly from left to right; `+` and `-` take a two-digit operand, `*` a
digit from 2 to 9. The level is the number of operations. Because the answer is unique, votes
over samples mean something.
"""

from __future__ import annotations

import re

import numpy as np

from dwell.records import Problem
from dwell.tasks.base import Task

MODULUS = 100

_TERM = re.compile(r"([+\-*])(\d+)")
_ANSWER = re.compile(r"^A(\d{1,4})$", re.MULTILINE)


def apply_operator(left: int, operator: str, right: int) -> int:
    """Returns `left operator right` modulo 100.

    Examples:
        >>> apply_operator(12, "-", 47)
        65
    """
    if operator == "+":
        return (left + right) % MODULUS
    if operator == "-":
        return (left - right) % MODULUS
    return (left * right) % MODULUS


def parse_chain(prompt: str) -> tuple[int, list[tuple[str, int]]]:
    """Returns the first number and the (operator, operand) pairs of a chain prompt."""
    body = prompt.strip().removeprefix("C")
    first = re.match(r"\d+", body)
    assert first is not None, f"not a chain prompt: {prompt!r}"
    terms = [(sign, int(number)) for sign, number in _TERM.findall(body[first.end() :])]
    return int(first.group()), terms


class ChainTask(Task):
    """Left-to-right arithmetic modulo 100 with 1 to 14 operations."""

    name = "chain"
    levels = tuple(range(1, 15))
    default_levels = (3, 4, 5, 6, 7, 8)

    def generate(self, rng: np.random.Generator, level: int) -> str:
        """Returns a random expression with `level` operations, as `C47+38*3-29` and a newline."""
        operators = rng.integers(0, 3, size=level).tolist()
        operands = rng.integers(10, 100, size=level + 1).tolist()
        factors = rng.integers(2, 10, size=level).tolist()
        parts = [f"C{operands[0]}"]
        for k, operator in enumerate(operators):
            parts.append("+-*"[operator] + str(factors[k] if operator == 2 else operands[k + 1]))
        return "".join(parts) + "\n"

    def canonical(self, prompt: str) -> str:
        """Returns the expression itself: every surface form is another problem."""
        return "chain " + prompt.strip().removeprefix("C")

    def reference(self, prompt: str) -> str:
        """Returns the result, 0 to 99, by exact arithmetic."""
        value, terms = parse_chain(prompt)
        for operator, operand in terms:
            value = apply_operator(value, operator, operand)
        return str(value)

    def extract(self, problem: Problem, text: str) -> str | None:
        """Returns the number on the last `A` line of a text, without leading zeros."""
        found = _ANSWER.findall(text)
        return str(int(found[-1])) if found else None

    def check(self, problem: Problem, answer: str) -> bool:
        """Whether the answer equals the result of the prompt's expression."""
        return answer == self.reference(problem.prompt)

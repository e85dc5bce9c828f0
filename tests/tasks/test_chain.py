"""Chain: exact left-to-right arithmetic, and the number behind the last A as answer key."""

from __future__ import annotations

import pytest

from dwell.records import Problem
from dwell.tasks import get_task

CHAIN = get_task("chain")
PROBLEM = Problem(id="x", prompt="C47+38*3-29\n", task="chain")


def test_reference_is_left_to_right_modulo_100() -> None:
    assert CHAIN.reference("C47+38*3-29\n") == "26"
    assert CHAIN.reference("C12-47\n") == "65"
    assert CHAIN.reference("C50*2\n") == "0"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("47+38=85\n85*3=55\n55-29=26\nA26\n", "26"),
        ("A07\n", "7"),
        ("A11\nW\n47+38=85\nA26\n", "26"),
        ("A11\nW\n47+38=85\n", "11"),
        ("47+38=85\n", None),
        ("A\n", None),
        ("", None),
    ],
)
def test_extract_takes_the_last_answer(text: str, key: str | None) -> None:
    assert CHAIN.extract(PROBLEM, text) == key


def test_check_accepts_the_right_number_alone() -> None:
    assert CHAIN.check(PROBLEM, "26")
    assert not CHAIN.check(PROBLEM, "27")
    assert not CHAIN.check(PROBLEM, "26 ")


@pytest.mark.parametrize("level", CHAIN.levels)
def test_prompts_have_level_operations_in_range(level: int) -> None:
    for problem in CHAIN.problems(5, seed=1, levels=[level]):
        body = problem.prompt[1:-1]
        operators = [c for c in body if c in "+-*"]
        operands = body.replace("-", "+").replace("*", "+").split("+")
        assert len(operators) == level
        assert all(
            2 <= int(operand) <= 9 if operator == "*" else 10 <= int(operand) <= 99
            for operator, operand in zip(operators, operands[1:], strict=True)
        )
        assert CHAIN.check(problem, str(problem.reference))

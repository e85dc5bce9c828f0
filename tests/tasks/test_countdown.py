"""Countdown: any right solution passes, every kind of wrong one fails, equal sets are one key."""

from __future__ import annotations

import numpy as np
import pytest

from dwell.records import Problem
from dwell.tasks import get_task
from dwell.tasks.countdown import solve_at_random

COUNTDOWN = get_task("countdown")
PROBLEM = Problem(id="x", prompt="G3 7 25 4>72\n", task="countdown")
RIGHT = "25*3=75,7 4 75\n75+4=79,7 79\n79-7=72\n"


def judged(text: str) -> bool | None:
    key = COUNTDOWN.extract(PROBLEM, text)
    return None if key is None else COUNTDOWN.check(PROBLEM, key)


def test_a_right_solution_passes() -> None:
    assert judged(RIGHT) is True
    assert COUNTDOWN.extract(PROBLEM, RIGHT) == "3*25=75 4+75=79 79-7=72"


@pytest.mark.parametrize(
    "text",
    [
        "25*3=75,7 4 75\n75-7=68,4 68\n68+5=73\n",  # a number that is not there
        "25*3=74,7 4 74\n74+4=79,7 79\n79-7=72\n",  # false arithmetic, twice
        "25*3=75,7 4 75\n75-3=72\n",  # a number used twice, two left over
        "25*3=75,7 5 75\n75+5=80,7 80\n80-8=72\n",  # a remaining list that does not follow
        "25*3=75,7 75\n75+4=79,7 79\n79-7=72\n",  # a number dropped from the list
        "25*3=75,7 4 75\n75+4=79,7 79\n79+7=86\n",  # another end
        "25*3=75,7 4 75\n75+4=79,7 79\n79-4=72\n",  # false arithmetic that hits the target
        "79-7=72,3 25 4 72\n25*3=75,4 75\n75+4=79\n",  # a result used before it exists
    ],
)
def test_a_wrong_solution_fails(text: str) -> None:
    assert judged(text) is False


@pytest.mark.parametrize("text", ["", "hello", "25*3=75,7 4 75\n", "W\n"])
def test_no_finished_pass_is_no_answer(text: str) -> None:
    assert judged(text) is None


def test_texts_that_differ_in_order_alone_share_a_key() -> None:
    problem = Problem(id="x", prompt="G2 3 4 5>26\n")
    one = "2*3=6,4 5 6\n4*5=20,6 20\n6+20=26\n"
    other = "5*4=20,2 3 20\n3*2=6,20 6\n20+6=26\n"
    assert COUNTDOWN.extract(problem, one) == COUNTDOWN.extract(problem, other)
    assert COUNTDOWN.check(problem, str(COUNTDOWN.extract(problem, one)))


def test_the_last_finished_pass_counts() -> None:
    assert judged("25+3=28,7 4 28\n28+4=32,7 32\n32+7=39\nW\n" + RIGHT) is True
    assert judged(RIGHT + "W\n25+3=28,7 4 28\n28+4=32,7 32\n32+7=39\n") is False
    assert judged(RIGHT + "W\n25+3=28,7 4 28\n") is True


@pytest.mark.parametrize("level", COUNTDOWN.levels)
def test_generated_solutions_pass_their_own_check(level: int) -> None:
    rng = np.random.default_rng(level)
    for _ in range(50):
        numbers, steps, remains = solve_at_random(rng, level)
        lines = []
        for (left, operator, right, result), rest in zip(steps, remains, strict=True):
            behind = "," + " ".join(map(str, rest)) if len(rest) > 1 else ""
            lines.append(f"{left}{operator}{right}={result}{behind}\n")
        prompt = f"G{' '.join(map(str, numbers))}>{remains[-1][0]}\n"
        problem = Problem(id="x", prompt=prompt)
        key = COUNTDOWN.extract(problem, "".join(lines))
        assert key is not None
        assert COUNTDOWN.check(problem, key)


@pytest.mark.parametrize("answer", ["", "72", "3*25=75", "3*25=75 4+75=79 79-7=72 1+1=2"])
def test_check_refuses_what_is_no_set_of_steps(answer: str) -> None:
    assert not COUNTDOWN.check(PROBLEM, answer)

"""Countdown: combine the given numbers to a target; many right answers, an exact check.

    G3 7 25 4>72
    25*3=75,7 4 75
    75+4=79,7 79
    79-7=72

Each line takes two of the numbers at hand, and after the comma names those that remain, the
result last. The level is how many numbers are given. Numbers are 1 to 25 and no value exceeds
99. Every problem is solvable because it is made by combining its numbers at random. There
are many right answers, so coverage and verifiers matter more than votes; the answer key is the
*set* of steps of the last finished pass, so that votes join texts that differ in order alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from dwell.records import Problem
from dwell.tasks.base import Task

MAX_NUMBER = 25
MAX_VALUE = 99
MAX_STEPS = 6

Step = tuple[int, str, int, int]
"""Left operand, operator, right operand, result."""

_STEP = re.compile(r"(\d{1,3})([+\-*])(\d{1,3})=(\d{1,3})(?:,(\d{1,3}(?: \d{1,3})*))?")


def parse_countdown(prompt: str) -> tuple[list[int], int]:
    """Returns the numbers, in the order given, and the target of a countdown prompt."""
    numbers, target = prompt.strip().removeprefix("G").split(">")
    return [int(number) for number in numbers.split(" ")], int(target)


def exact_result(left: int, operator: str, right: int) -> int:
    """Returns `left operator right` over the integers."""
    if operator == "+":
        return left + right
    return left - right if operator == "-" else left * right


def random_solution(
    rng: np.random.Generator, numbers: Sequence[int]
) -> tuple[list[Step], list[list[int]]] | None:
    """Combines numbers at random; returns the steps and what remains after each, or None.

    Every value stays in 1..99; None means that this try left that range. The last remaining
    list holds the one number reached. Products with 1 are left out: they change nothing.
    """
    at_hand = list(numbers)
    steps: list[Step] = []
    remains: list[list[int]] = []
    picks = rng.random((len(at_hand) - 1, 3)).tolist()
    for first, second, kind in picks:
        left = at_hand.pop(int(first * len(at_hand)))
        right = at_hand.pop(int(second * len(at_hand)))
        operator = "+" if kind < 0.38 else "-" if kind < 0.70 else "*"
        if operator == "-" and left < right:
            left, right = right, left
        result = exact_result(left, operator, right)
        if not 1 <= result <= MAX_VALUE or (operator == "*" and min(left, right) == 1):
            return None
        at_hand.append(result)
        steps.append((left, operator, right, result))
        remains.append(list(at_hand))
    return steps, remains


def solve_at_random(
    rng: np.random.Generator, level: int
) -> tuple[list[int], list[Step], list[list[int]]]:
    """Returns random numbers with a random combination of them that stays in range."""
    while True:
        numbers = rng.integers(1, MAX_NUMBER + 1, size=level).tolist()
        solution = random_solution(rng, numbers)
        if solution is not None:
            return numbers, *solution


def _step_key(step: Step) -> str:
    left, operator, right, result = step
    if operator != "-" and left > right:
        left, right = right, left
    return f"{left}{operator}{right}={result}"


class CountdownTask(Task):
    """Reach the target with all of 2 to 5 numbers and `+`, `-`, `*`."""

    name = "countdown"
    levels = (2, 3, 4, 5)
    default_levels = (3, 4)

    def generate(self, rng: np.random.Generator, level: int) -> str:
        """Returns a random solvable problem of `level` numbers, as `G3 7 25 4>72`, newline."""
        numbers, _, remains = solve_at_random(rng, level)
        return f"G{' '.join(map(str, numbers))}>{remains[-1][0]}\n"

    def canonical(self, prompt: str) -> str:
        """Returns sorted numbers and target: the order of the numbers makes no new problem."""
        numbers, target = parse_countdown(prompt)
        return f"countdown {' '.join(map(str, sorted(numbers)))}>{target}"

    def reference(self, prompt: str) -> None:
        """Returns None: there are many right answers, and `check` decides."""
        return

    def extract(self, problem: Problem, text: str) -> str | None:
        r"""Returns the set of steps of the last finished pass, sorted, or None.

        A pass is finished by a step without a comma; passes are divided by lines that are
        no steps, such as the marker `W`. A step whose operands are not at hand, or whose
        remaining list does not follow, gets a comma in the key, so that it fails the check.

        Examples:
            >>> problem = Problem(id="x", prompt="G3 7 25 4>72\n")
            >>> text = "25*3=75,7 4 75\n75+4=79,7 79\n79-7=72\n"
            >>> CountdownTask().extract(problem, text)
            '3*25=75 4+75=79 79-7=72'
        """
        numbers, _ = parse_countdown(problem.prompt)
        at_hand, keys, finished = Counter(numbers), list[str](), None
        for line in text.split("\n"):
            match = _STEP.fullmatch(line)
            if match is None:
                at_hand, keys = Counter(numbers), []
                continue
            step = (int(match[1]), match[2], int(match[3]), int(match[4]))
            key = _step_key(step)
            taken = Counter([step[0], step[2]])
            if not taken <= at_hand:
                key += ",?"
            expected = at_hand - taken + Counter([step[3]])
            if match[5] is None:
                keys.append(key)
                finished = " ".join(sorted(keys))
                at_hand, keys = Counter(numbers), []
                continue
            written = Counter(map(int, match[5].split(" ")))
            if written != expected:
                key += "," + "_".join(map(str, sorted(written.elements())))
            keys.append(key)
            at_hand = written
        return finished

    def check(self, problem: Problem, answer: str) -> bool:
        """Whether the steps, in some order, lead from the numbers to the target exactly.

        Each number is used once, every result is right and the last one is the target.
        """
        numbers, target = parse_countdown(problem.prompt)
        steps: list[Step] = []
        for key in answer.split(" "):
            match = _STEP.fullmatch(key)
            if match is None or match[5] is not None:
                return False
            steps.append((int(match[1]), match[2], int(match[3]), int(match[4])))
        if len(steps) != len(numbers) - 1 or len(steps) > MAX_STEPS:
            return False
        if any(exact_result(left, op, right) != result for left, op, right, result in steps):
            return False
        return any(_leads_to(order, numbers, target) for order in permutations(steps))


def _leads_to(steps: Sequence[Step], numbers: Sequence[int], target: int) -> bool:
    """Whether each step finds its operands at hand and only the target is left."""
    at_hand = Counter(numbers)
    for left, _, right, result in steps:
        taken = Counter([left, right])
        if any(at_hand[number] < times for number, times in taken.items()):
            return False
        at_hand = at_hand - taken + Counter([result])
    return at_hand == Counter([target])

"""A strategy of one's own: test it with canned replies, then run it on a model.

Two answers; if they disagree, a third decides (best of three with early agreement).

python examples/02_write_a_strategy.py
"""

from dataclasses import dataclass

import numpy as np

from dwell import Emit, Generate, Problem, Strategy, solve
from dwell.generators import TinyGenerator
from dwell.requests import Solution
from dwell.strategies.selection import majority
from dwell.tasks import get_task


@dataclass(frozen=True, kw_only=True)
class TwoThenThree(Strategy):
    """Ask twice; ask again only where the two answers differ."""

    name = "two_then_three"
    n: int = 3

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Draw two answers, and up to n - 2 more while they disagree."""
        answers = [c.answer for c in (yield Generate(problem.context(), n=2))]
        while len(set(answers)) > 1 and len(answers) < self.n:
            yield Emit(majority(answers))
            (candidate,) = yield Generate(problem.context())
            answers.append(candidate.answer)
        return majority(answers)


def main() -> None:
    generator = TinyGenerator("tiny-0.8m")
    problems = get_task("chain").problems(20, seed=3, levels=[4])
    solved = [solve(problem, TwoThenThree(), generator) for problem in problems]
    right = sum(bool(one.correct) for one in solved)
    draws = sum(one.charged.calls for one in solved) / len(solved)
    print(f"{right} of {len(solved)} right with {draws:.2f} draws a problem")


if __name__ == "__main__":
    main()

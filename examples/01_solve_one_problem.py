"""One problem, several strategies, one embedded model: what each answers and what it is charged.

python examples/01_solve_one_problem.py
"""

from dwell import solve
from dwell.generators import TinyGenerator
from dwell.strategies import parse
from dwell.tasks import get_task

STRATEGIES = ("sample:n=1", "majority:n=16", "best_of_n:n=16", "particle:n=4", "beam:n=4")


def main() -> None:
    (problem,) = get_task("chain").problems(1, seed=5, levels=[8])
    print(f"problem: {problem.prompt.strip()}   (right answer: {problem.reference})")
    for line in STRATEGIES:
        solved = solve(problem, parse(line), TinyGenerator("tiny-0.8m"))
        verdict = "right" if solved.correct else "wrong"
        print(f"{line:16s} {solved.answer!s:>4s} {verdict}  {solved.charged.tokens:5.0f} tokens")


if __name__ == "__main__":
    main()

"""A small study on a scripted model that answers chains: right with a known rate."""

from dwell.generators import Scripted
from dwell.study_file import parse_study
from dwell.tasks import get_task

RATE = 0.6

TEXT = """
title = "a \\"small\\" study"
seed = 3
budgets = [1, 2, 4, 8, 16]
[[models]]
name = "coin:0.6"
[[tasks]]
name = "chain"
problems = 8
levels = [3, 5]
[[strategies]]
name = "sample"
budgets = [1]
[[strategies]]
name = "majority"
[[strategies]]
name = "best_of_n"
verifier = "exact"
[[strategies]]
name = "adaptive_consistency"
budgets = [8]
"""


def answers(context, index, rng):
    """The right answer with the known rate, else some other number."""
    right = int(get_task("chain").reference(context.messages[-1][1]))
    given = right if rng.random() < RATE else (right + int(rng.integers(1, 9))) % 100
    return f"some work\nA{given}\n"


def model(*_, **__):
    """What stands in for the study's model."""
    return Scripted.from_function(answers, name="chains", flops_per_token=10.0)


def spec(text=TEXT):
    """The study's description."""
    return parse_study(text)

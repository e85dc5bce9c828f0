"""Tasks generate, key and check their problems; splits never overlap."""

from __future__ import annotations

import pytest

from dwell.errors import UsageError
from dwell.tasks import TASKS, get_task, split_of


@pytest.mark.parametrize("name", sorted(TASKS))
def test_splits_are_disjoint_by_hash(name: str) -> None:
    task = get_task(name)
    found = {
        split: {task.canonical(p.prompt) for p in task.problems(150, seed=3, split=split)}
        for split in ("train", "validation", "test")
    }
    for split, keys in found.items():
        assert {split_of(key) for key in keys} == {split}
    assert not found["train"] & found["test"]
    assert not found["validation"] & (found["train"] | found["test"])


@pytest.mark.parametrize("name", sorted(TASKS))
def test_problems_interleave_levels_without_duplicates(name: str) -> None:
    task = get_task(name)
    problems = task.problems(60, seed=0)
    levels = [problem.tags["level"] for problem in problems]
    width = len(task.default_levels)
    assert levels == [task.default_levels[i % width] for i in range(60)]
    assert len({task.canonical(problem.prompt) for problem in problems}) == 60
    assert len({problem.id for problem in problems}) == 60


@pytest.mark.parametrize("name", sorted(TASKS))
def test_an_id_names_one_problem_whatever_was_asked_with_it(name: str) -> None:
    task = get_task(name)
    many = {p.id: p.prompt for p in task.problems(40, seed=5)}
    one_level = task.problems(6, seed=5, levels=[task.default_levels[-1]])
    assert all(many[problem.id] == problem.prompt for problem in one_level)
    assert one_level[0].id == f"{name}/test/5/{task.default_levels[-1]}-0"


def test_split_shares_are_as_stated() -> None:
    splits = [split_of(f"problem {k}") for k in range(20_000)]
    for split, share in (("test", 0.10), ("validation", 0.05), ("train", 0.85)):
        error = (share * (1 - share) / len(splits)) ** 0.5
        assert abs(splits.count(split) / len(splits) - share) < 4 * error


def test_get_task_names_the_known_tasks() -> None:
    with pytest.raises(UsageError, match="chain, countdown"):
        get_task("sudoku")


@pytest.mark.parametrize(
    "arguments",
    [{"count": 0}, {"levels": [99]}, {"levels": []}, {"levels": [3, 3]}, {"seed": -1},
     {"split": "dev"}],
)  # fmt: skip
def test_problems_refuse_values_outside_their_range(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        get_task("chain").problems(**{"count": 3, "seed": 0, **arguments})  # type: ignore[arg-type]


def test_a_level_that_is_used_up_says_so() -> None:
    with pytest.raises(UsageError, match="countdown level 2 must have enough"):
        get_task("countdown").problems(5000, seed=0, levels=[2])

"""Built-in puzzle families with exact checkers, found by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dwell.errors import UsageError
from dwell.tasks.base import Split, Task, split_of
from dwell.tasks.chain import ChainTask
from dwell.tasks.countdown import CountdownTask
from dwell.tasks.files import FileTask, read_problems, recorded_problems

__all__ = [
    "TASKS",
    "ChainTask",
    "CountdownTask",
    "FileTask",
    "Split",
    "Task",
    "get_task",
    "read_problems",
    "recorded_problems",
    "split_of",
]

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (ChainTask(), CountdownTask())}
)


def get_task(name: str) -> Task:
    """Returns the built-in task of this name.

    Raises:
        UsageError: No task has this name; the message names those that exist.
    """
    if name not in TASKS:
        known = ", ".join(sorted(TASKS))
        raise UsageError(f"`task` must be one of {known}, but got {name!r}.")
    return TASKS[name]

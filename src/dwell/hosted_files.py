"""The files of a study that grows with what it is asked, but for its ledger.

    FOLDER/study.toml       the models, tasks and strategies asked for so far
    FOLDER/problems.jsonl   the questions asked so far that have a known right answer

They have the form of any study's, so that its folder can be shown, replayed and planned on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dwell.errors import UsageError
from dwell.ledger import storable
from dwell.protocols import Generator, Strategy
from dwell.records import Problem
from dwell.study import PROBLEMS, STUDY
from dwell.study_file import ModelSpec, StrategySpec, StudySpec, TaskSpec, parse_study
from dwell.study_toml import to_toml
from dwell.tables import json_lines
from dwell.verifiers import VERIFIERS


class HostedFiles:
    """The study file and the problems of a folder, which grow.

    Args:
        folder: where they are.
        seed: the study's.
        sources: what the ledger knows of each source, by fingerprint.

    Raises:
        UsageError: the folder was begun with another seed.
    """

    def __init__(self, folder: Path, seed: int, sources: Mapping[str, Mapping[str, Any]]) -> None:
        self._study, self._problems, self._seed = folder / STUDY, folder / PROBLEMS, seed
        self._spec: StudySpec | None = None
        self._known: set[str] = set()
        self._models = {
            str(source["model"]): fingerprint
            for fingerprint, source in sources.items()
            if "model" in source
        }
        if self._study.exists():
            self._spec = parse_study(self._study.read_text(encoding="utf-8"), str(self._study))
        if self._problems.exists():
            self._known = {record["id"] for _, record in json_lines(self._problems)}
        if self._spec is not None and self._spec.seed != seed:
            raise UsageError(
                f"A folder has one seed, but {folder} was begun with {self._spec.seed}, and now "
                f"it is {seed}. Name another folder, or that seed."
            )

    def note(
        self,
        strategy: Strategy,
        generator: Generator,
        problem: Problem,
        checker: str,
        repetition: int,
    ) -> None:
        """Add to the files what they do not have yet of a run.

        Args:
            strategy: what is run.
            generator: on which model.
            problem: on which question.
            checker: reads the answers of the question's task.
            repetition: in which stream.

        Raises:
            UsageError: the folder samples that model, or reads that task, in another way.
        """
        self._check_model(generator)
        old = self._spec
        if old is None:
            old = StudySpec.model_construct(
                title="hosted", seed=self._seed, streams=1, budgets=(1,), order="issued",
                limits={}, spend_limits={}, models=(), tasks=(), strategies=(), judges=(),
            )  # fmt: skip
        new = old.model_copy(
            update={
                "streams": max(old.streams, repetition + 1),
                "models": _with(old.models, ModelSpec(name=generator.info["name"])),
                "tasks": self._tasks_with(old.tasks, problem.task, checker),
                "strategies": _strategies_with(old.strategies, strategy),
            }
        )
        if new != old:
            _write(self._study, to_toml(new))
        self._spec = new
        if problem.reference is not None and problem.id not in self._known:
            self._known.add(problem.id)
            with self._problems.open("a", encoding="utf-8") as file:
                file.write(storable(json.dumps(_record(problem), ensure_ascii=False)) + "\n")

    def _check_model(self, generator: Generator) -> None:
        name = generator.info["name"]
        if self._models.setdefault(name, generator.fingerprint) != generator.fingerprint:
            raise UsageError(
                f"A folder holds one way to sample a model, but {self._study.parent} holds draws "
                f"of {name} with other settings. Name another folder."
            )

    def _tasks_with(
        self, tasks: tuple[TaskSpec, ...], name: str, checker: str
    ) -> tuple[TaskSpec, ...]:
        spec = TaskSpec(name=name, file=PROBLEMS, checker=checker)
        for known in tasks:
            if known.name == name and known != spec:
                raise UsageError(
                    f"A task's answers are read in one way, but {self._study.parent} reads those "
                    f"of {name} with the checker {known.checker}, and now it is "
                    f"{checker}. Name another folder or another task."
                )
        return _with(tasks, spec)


def _with(items: tuple[Any, ...], item: Any) -> tuple[Any, ...]:
    return items if item in items else (*items, item)


def _strategies_with(
    specs: tuple[StrategySpec, ...], strategy: Strategy
) -> tuple[StrategySpec, ...]:
    """The study's strategies with this one, as far as a study file can name it.

    One draw, which every whole answer gives for nothing, stands in where it can name none.
    """
    params = {key: value for key, value in strategy.params().items() if value is not None}
    budget = params.pop(type(strategy).scale, None)
    unknown = strategy.verifiers() - set(VERIFIERS)  # a judge of the host's: not in the file
    if not isinstance(budget, int) or unknown:
        return specs or (StrategySpec(name="sample", budgets=(1,)),)
    for place, spec in enumerate(specs):
        if spec.name == strategy.name and spec.model_extra == params:
            budgets = tuple(sorted({*(spec.budgets or ()), budget}))
            grown = spec.model_copy(update={"budgets": budgets})
            return (*specs[:place], grown, *specs[place + 1 :])
    return (*specs, StrategySpec(name=strategy.name, budgets=(budget,), **params))


def _record(problem: Problem) -> dict[str, Any]:
    """A problem as a study's file of problems has it."""
    return {
        "id": problem.id,
        "prompt": problem.prompt,
        "task": problem.task,
        "reference": problem.reference,
        **({"tags": dict(problem.tags)} if problem.tags else {}),
        **({"messages": problem.messages} if problem.messages else {}),
    }


def _write(path: Path, text: str) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    whole = path.with_suffix(".part")
    whole.write_text(text, encoding="utf-8")
    os.replace(whole, path)

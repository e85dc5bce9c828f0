"""A study: problems x models x strategies x budgets, in a folder that remembers everything.

    FOLDER/study.toml       what was asked
    FOLDER/problems.jsonl   the problems, with references
    FOLDER/verdicts.jsonl   what came of programs, where a task's answers are programs
    FOLDER/ledger.db        every draw, score and answer
    FOLDER/report.html      written by `dwell report`

Running the same study in the same folder again goes on where it stopped; running another study
there shares the draws that both ask for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from dwell.driver import Driver, Progress, RunPlan
from dwell.driver.session import Session
from dwell.errors import UsageError
from dwell.generators.registry import make_generator, weak_scorer
from dwell.ledger import Ledger
from dwell.protocols import Continues, Generator, Strategy, Task, Verifier, is_right
from dwell.records import Answer, Problem, Usage
from dwell.sandbox import Limits, Sandbox
from dwell.study_file import JudgeSpec, ModelSpec, StudySpec, parse_study
from dwell.study_toml import to_toml
from dwell.tasks import TASKS, FileTask, get_task, read_problems, recorded_problems
from dwell.tasks.programs import ProgramTests
from dwell.verifiers import Judge, make_verifier

LEDGER, STUDY, PROBLEMS, REPORT = "ledger.db", "study.toml", "problems.jsonl", "report.html"
VERDICTS = "verdicts.jsonl"

#: Problems of a built-in task, where a study does not say how many.
NUM_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Watch:
    """What a caller may want to see of a study in progress.

    Attributes:
        on_plan: called once with the number of runs, before the first.
        on_progress: called once a turn of the engine.
        on_done: called with each run that ends.
    """

    on_plan: Callable[[int], None] = lambda count: None
    on_progress: Callable[[Progress], None] = lambda progress: None
    on_done: Callable[[Session], None] = lambda session: None


class Study:
    """A study and its folder.

    Args:
        spec: what to run.
        folder: where its ledger is.
        unsafe_local: run programs without a sandbox, where a task's answers are programs.
        recorded: take the problems of task files from the folder, as they were when it was run.

    Raises:
        UsageError: an unknown task, level, model, strategy or verifier.
    """

    def __init__(
        self,
        spec: StudySpec,
        folder: Path | str,
        *,
        unsafe_local: bool = False,
        recorded: bool = False,
    ) -> None:
        self.spec, self.folder = spec, Path(folder)
        self._programs = {
            limits: _programs(limits, self.folder / VERDICTS, unsafe_local)
            for limits in {task.sandbox.limits() for task in spec.tasks}
        }
        self.tasks: dict[str, Task] = _tasks(
            spec, self._programs, self.folder / PROBLEMS if recorded else None
        )
        self.problems = _problems(spec, self.tasks)

    @classmethod
    def load(cls, folder: Path | str) -> Study:
        """The study that a folder holds.

        Raises:
            UsageError: the folder holds none.
        """
        path = Path(folder) / STUDY
        if not path.exists():
            raise UsageError(
                f"A study's folder must hold {STUDY}, but {folder} does not. "
                "Name the folder that was given to `dwell run --out`."
            )
        spec = parse_study(path.read_text(encoding="utf-8"), str(path))
        return cls(spec, folder, recorded=True)

    @property
    def ledger_path(self) -> Path:
        """The ledger's file."""
        return self.folder / LEDGER

    def run(
        self,
        *,
        jobs: int = 1,
        watch: Watch | None = None,
        check: bool = False,
        window: int = 512,
    ) -> Progress:
        """Make all runs that the folder does not hold yet.

        Args:
            jobs: worker processes of embedded models.
            watch: what to call on the way.
            check: repeat finished runs from the ledger and compare them.
            window: runs in progress at once.

        Returns:
            What was done this time.

        Raises:
            UsageError: a strategy needs what its model does not provide, or another process is
                writing to this folder.
            SpendLimitReached: the study is paused at its limit on spending.
        """
        watch = watch or Watch()
        if any(isinstance(task, FileTask) and task.costly for task in self.tasks.values()):
            for programs in self._programs.values():
                _ = programs.sandbox  # refused before anything is paid for
        with Ledger(self.ledger_path) as ledger:
            self._write_files()
            return asyncio.run(self._run(ledger, jobs, watch, check, window))

    async def _run(
        self, ledger: Ledger, jobs: int, watch: Watch, check: bool, window: int
    ) -> Progress:
        total = Progress()
        watch.on_plan(sum(1 for model in self.spec.models for _ in self.plans(model)))
        for model in self.spec.models:
            generator = _generator(model, jobs)
            try:
                if isinstance(generator, Continues) and self._continues:
                    await generator.find_continuation()
                driver = self._driver(
                    ledger, generator, model, watch, total, check=check, window=window
                )
                await driver.run(self.plans(model))
            finally:
                await generator.close()
                await _close_judges(self.verifiers)
            total = total + driver.progress
        await self._check_programs(ledger)
        return total

    async def _check_programs(self, ledger: Ledger) -> None:
        """Run the programs among the answers and draws, once, so that analysis runs none."""
        for programs in self._programs.values():
            await programs.check_expected()
        problems = {problem.id: problem for problem in self.problems}
        for task in self.tasks.values():
            if isinstance(task, FileTask) and task.costly:
                answers = [(problems.get(row.problem), row.value) for row in ledger.answers()]
                own = [(p, a) for p, a in answers if p is not None and p.task == task.name]
                await task.check_all(own)

    def _driver(
        self,
        ledger: Ledger,
        generator: Generator,
        model: ModelSpec,
        watch: Watch,
        before: Progress,
        *,
        check: bool,
        window: int,
    ) -> Driver:
        verifiers = self.verifiers
        self._check_needs(generator, model)
        ledger.put_source(generator.fingerprint, {**generator.info, "model": model.name})
        return Driver(
            ledger,
            generators={"solver": generator},
            verifiers=verifiers,
            tasks=self.tasks,
            seed=self.spec.seed,
            wants=frozenset().union(*(v.wants for v in verifiers.values())),
            order=self.spec.order,
            window=window,
            spend_limits=self.spec.spend_limits,
            check=check,
            on_progress=lambda progress: watch.on_progress(before + progress),
            on_done=watch.on_done,
        )

    @cached_property
    def verifiers(self) -> dict[str, Verifier]:
        """The verifiers that the study's strategies ask for, by name."""
        names = sorted(
            {name for _, _, strategy in self.spec.strategies_at() for name in strategy.verifiers()}
        )
        judges = {judge.name: judge for judge in self.spec.judges}
        local = {verifier.name: verifier for verifier in self.spec.verifiers}
        return {
            name: _judge(judges[name])
            if name in judges
            else make_verifier(local[name].model, **local[name].options())
            if name in local
            else make_verifier(name, tasks=self.tasks, scorer=weak_scorer)
            for name in names
        }

    def plans(self, model: ModelSpec) -> Iterator[RunPlan]:
        """All runs on one model, problem by problem, so that draws in memory are shared.

        A pooled strategy makes one run a task and repetition, on the pool of the task's problems,
        with the limits of all of them together; but a limit of seconds is a deadline, and the
        pool's is that of each problem. These come last: most of their draws are there.
        """
        points = [strategy for _, _, strategy in self.spec.strategies_at()]
        for problem in (*self.problems, *self.pools.values()):
            together = max(1, len(problem.members))
            limits = {
                kind: limit if kind == "seconds" else limit * together
                for kind, limit in self.spec.limits.items()
            }
            for repetition in range(self.spec.streams):
                for strategy in points:
                    if strategy.pooled != bool(problem.members):
                        continue
                    yield RunPlan(
                        name=run_name(model.name, strategy, problem.id, repetition),
                        strategy=strategy,
                        problem=problem,
                        repetition=repetition,
                        limits=limits,
                    )

    @cached_property
    def pools(self) -> dict[str, Problem]:
        """All problems of each task as one, which pooled strategies solve together."""
        return {
            task: _pool(task, [problem for problem in self.problems if problem.task == task])
            for task in self.tasks
        }

    def subject(self, strategy: Strategy, problem: Problem) -> Problem:
        """What a strategy's run on a problem is named after: the problem, or its pool."""
        return self.pools[problem.task] if strategy.pooled else problem

    @property
    def _continues(self) -> bool:
        """Whether a strategy continues unfinished texts."""
        return any("partial" in strategy.needs for _, _, strategy in self.spec.strategies_at())

    def _check_needs(self, generator: Generator, model: ModelSpec) -> None:
        for _, _, strategy in self.spec.strategies_at():
            if missing := strategy.needs - generator.provides:
                raise UsageError(
                    f"A strategy runs on models that provide what it needs, but {strategy.name} "
                    f"needs {', '.join(sorted(missing))} and {model.name} does not provide that. "
                    "Leave the strategy out or choose another model."
                )

    def _write_files(self) -> None:
        """The study and its problems, as files a person can open."""
        (self.folder / STUDY).write_text(to_toml(self.spec), encoding="utf-8")
        lines = [json.dumps(_plain(problem), ensure_ascii=False) for problem in self.problems]
        (self.folder / PROBLEMS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _generator(model: ModelSpec, jobs: int) -> Generator:
    return make_generator(model.name, jobs=jobs, base_url=model.base_url, **model.model_options())


def _judge(spec: JudgeSpec) -> Judge:
    return Judge(_generator(spec.as_model(), 1), **spec.options())


async def _close_judges(verifiers: Mapping[str, Verifier]) -> None:
    """Close the generators of judges; one that is asked again opens anew."""
    for verifier in verifiers.values():
        if isinstance(verifier, Judge):
            await verifier.close()


def run_name(model: str, strategy: Strategy, problem: str, repetition: int) -> str:
    """The name of a run in the ledger."""
    return f"{model}|{strategy.spec()}|{problem}|{repetition}"


def _pool(task: str, problems: Sequence[Problem]) -> Problem:
    """A pool, named after its members: other members make another run."""
    members = "\n".join(problem.id for problem in problems).encode()
    name = f"{task}/pool/{blake2b(members, digest_size=6).hexdigest()}"
    return Problem(id=name, prompt="", task=task, members=tuple(problems))


def _programs(limits: Limits, path: Path, unsafe_local: bool) -> ProgramTests:
    """Where programs are run under these limits."""
    return ProgramTests(
        lambda: Sandbox(limits, unsafe_local=unsafe_local),
        path,
        limits="" if limits == Limits() else repr(limits),
    )


def _tasks(
    spec: StudySpec, programs: Mapping[Limits, ProgramTests], recorded: Path | None
) -> dict[str, Task]:
    """The study's tasks by name; those of files from the study's own record of them, if given."""
    found: dict[str, Task] = {}
    for task in spec.tasks:
        if task.file is None:
            found[task.name] = get_task(task.name)
            continue
        if task.name in found or task.name in TASKS:
            raise UsageError(
                f"A task file must have a name of its own, but {task.name!r} is taken. "
                "Give another `name`."
            )
        if recorded is not None:
            problems = recorded_problems(recorded, task.name)
        else:
            problems = read_problems(
                task.file, task.name, checker=task.checker, template=task.template
            )
        own = programs[task.sandbox.limits()]
        found[task.name] = FileTask(task.name, problems, task.checker or "exact", own)
    return found


def _problems(spec: StudySpec, tasks: Mapping[str, Task]) -> list[Problem]:
    found: dict[str, Problem] = {}
    for task in spec.tasks:
        family: Any = tasks[task.name]
        count = task.problems if task.file is not None else task.problems or NUM_PROBLEMS
        for problem in family.problems(
            count, seed=task.seed, split=task.split, levels=task.levels
        ):
            found.setdefault(problem.id, problem)
    return list(found.values())


def _plain(problem: Problem) -> dict[str, Any]:
    record = {f.name: getattr(problem, f.name) for f in fields(problem)}
    plain = {key: dict(v) if isinstance(v, Mapping) else v for key, v in record.items()}
    return {key: value for key, value in plain.items() if value not in (None, (), {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What one strategy made of one problem.

    Attributes:
        answer: the answer, or the best so far where the budget ended the run; of a pool a mapping
            from member to answer.
        correct: whether the task's checker accepts it; None without a task, and for pools.
        charged: what the run used.
        status: "done", "out_of_budget" or "failed: why".
    """

    answer: Answer | Mapping[str, Answer]
    correct: bool | None
    charged: Usage
    status: str


def solve(
    problem: Problem,
    strategy: Strategy,
    generator: Generator,
    budget: Mapping[str, float] | None = None,
    *,
    tasks: Mapping[str, Task] | None = None,
    verifiers: Mapping[str, Verifier] | None = None,
    seed: int = 0,
) -> Solved:
    """Run one strategy on one problem, without a folder.

    Args:
        problem: what to solve.
        strategy: how.
        generator: the model.
        budget: limits by kind of usage, such as ``{"output_tokens": 500}``.
        tasks: by name, to extract and check answers; None takes the built-in one of the problem.
        verifiers: by name; None makes those that the strategy asks for.
        seed: decides all randomness.

    Raises:
        UsageError: the strategy needs what the generator does not provide.
    """
    if tasks is None:
        names = {one.task for one in problem.members or (problem,)}
        tasks = {name: get_task(name) for name in sorted(names) if name}
    if verifiers is None:
        verifiers = {
            name: make_verifier(name, tasks=tasks, scorer=weak_scorer)
            for name in strategy.verifiers()
        }
    plan = RunPlan(name="solve", strategy=strategy, problem=problem, limits=dict(budget or {}))
    sessions: list[Session] = []
    with Ledger(":memory:") as ledger:
        driver = Driver(
            ledger,
            generators={"solver": generator},
            verifiers=verifiers,
            tasks=tasks,
            seed=seed,
            wants=frozenset().union(*(v.wants for v in verifiers.values())),
            on_done=sessions.append,
        )
        asyncio.run(_solve(driver, plan, generator, verifiers))
    (session,) = sessions
    task = None if problem.members else tasks.get(problem.task)
    return Solved(
        answer=session.answer,
        correct=None if task is None else is_right(task, problem, session.answer),
        charged=session.meter.charged(),
        status=session.status,
    )


async def _solve(
    driver: Driver, plan: RunPlan, generator: Generator, verifiers: Mapping[str, Verifier]
) -> None:
    try:
        await driver.run([plan])
    finally:
        await generator.close()
        await _close_judges(verifiers)

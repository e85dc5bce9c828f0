"""A study that another tool hosts: it asks a question at a time, and nobody knows all of them.

    FOLDER/study.toml       the models, tasks and strategies asked for so far
    FOLDER/problems.jsonl   the questions asked so far that have a known right answer
    FOLDER/ledger.db        every draw, score and answer

The folder is that of any study, so `dwell show`, `report`, `replay` and `plan` read it. The same
question asked again, by a resumed evaluation or by another strategy, takes its draws from the
ledger. Used by the adapters to evaluation tools, which know nothing of each other.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from dwell.accounts import SHOWN, confidence_shown, scores_shown, votes_shown
from dwell.driver import Driver, RunPlan
from dwell.driver.session import Session
from dwell.errors import GeneratorError, StrategyError, UsageError
from dwell.hosted_files import HostedFiles
from dwell.ledger import Ledger
from dwell.protocols import Generator, Strategy, Verifier
from dwell.records import Answer, Candidate, Problem, Usage
from dwell.requests import Generate, Request, Verify
from dwell.study import LEDGER, run_name
from dwell.tasks import TASKS
from dwell.tasks.checkers import make_checker


class HostedTask:
    """How answers to a host's questions are found in texts and made comparable.

    Args:
        name: the task's in the study.
        checker: as of a task file, except `code`: "vote", "exact", "number", "maths", "choice" or
            "regex:PATTERN".

    Raises:
        UsageError: an unknown checker, or the name of a built-in task.
    """

    def __init__(self, name: str, checker: str = "vote") -> None:
        if checker == "code":
            raise UsageError(
                "A checker must read an answer in a text, but `code` runs programs. Choose vote, "
                "exact, number, maths, choice or regex:PATTERN; or use `dwell run` on a task file."
            )
        if name in TASKS:
            raise UsageError(
                f"A task must have a name of its own, but {name!r} is built in. Choose another."
            )
        self.name, self.checker = name, checker
        self._checker = make_checker(checker)

    def reference(self, text: str) -> str:
        """The canonical form of a right answer.

        Raises:
            UsageError: it is none.
        """
        return self._checker.reference(text)

    def extract(self, problem: Problem, text: str) -> Answer:
        """The canonical answer in a complete text, None where there is none."""
        return self._checker.extract(text)

    def check(self, problem: Problem, answer: str) -> bool:
        """Whether an answer is right."""
        return problem.reference is not None and self._checker.check(problem.reference, answer)


@dataclass(slots=True, kw_only=True)
class Ran:
    """What a strategy made of one question.

    Attributes:
        strategy: the strategy.
        answer: the canonical answer; None = it declined, or had none.
        status: "done" or "out_of_budget".
        candidates: what was delivered, in order.
        scores: (answer, score) of every candidate that a verifier scored.
        score_of: the last score of each text.
        chosen: the candidate that carries the answer; there once the run has ended.
        confidence: probability that the answer is right, where the strategy says so.
        charged: what the strategy used.
        new_draws: how many draws the ledger did not hold.
    """

    strategy: Strategy
    answer: Answer = None
    status: str = ""
    candidates: list[Candidate] = field(default_factory=list)
    scores: list[tuple[Answer, float]] = field(default_factory=list)
    score_of: dict[str, float] = field(default_factory=dict)
    chosen: Candidate = field(init=False, repr=False)
    confidence: float | None = None
    charged: Usage = field(default_factory=Usage)
    new_draws: int = 0

    @property
    def votes(self) -> Counter[str]:
        """How many of the candidates say what."""
        return Counter(c.answer for c in self.candidates if c.answer is not None)

    @property
    def abstained(self) -> bool:
        """Whether the strategy declined to answer."""
        return self.strategy.abstains and self.answer is None

    def account(self) -> dict[str, Any]:
        """The same as plain values for the host's log, in the form in which servers reply."""
        return {
            "strategy": self.strategy.spec(),
            "status": self.status,
            "draws": len(self.candidates),
            "new_draws": self.new_draws,
            "failed_draws": sum(c.status == "failed" for c in self.candidates),
            "answer": None if self.answer is None else self.answer[:SHOWN],
            "votes": votes_shown(self.votes),
            "scores": scores_shown(self.scores),
            "confidence": confidence_shown(self.confidence, self.answer, self.votes),
            "abstained": self.abstained,
            "charged": {kind: round(value, 9) for kind, value in self.charged.items() if value},
        }


class HostedStudy:
    """A study that grows with the questions it is asked.

    Its folder is open while a question is at work, and may be read by others in between.

    Args:
        folder: where it is kept; None = nowhere.
        seed: decides streams and all randomness.
    """

    def __init__(self, folder: Path | str | None, *, seed: int = 0) -> None:
        self.folder = None if folder is None else Path(folder)
        self.seed = seed
        self._ledger: Ledger | None = None
        self._users = 0
        self._files: HostedFiles | None = None
        self._locks: WeakValueDictionary[Any, asyncio.Lock] = WeakValueDictionary()

    async def solve(
        self,
        problem: Problem,
        strategy: Strategy,
        generator: Generator,
        task: HostedTask,
        *,
        verifiers: Mapping[str, Verifier],
        limits: Mapping[str, float] | None = None,
        repetition: int = 0,
    ) -> Ran:
        """Run a strategy on a question; what the folder holds of it is not asked again.

        Args:
            problem: the question, of that task.
            strategy: how to solve it.
            generator: the model; its `info` has its name, which nothing else in the folder has.
            task: reads answers.
            verifiers: by the names that the strategy asks for.
            limits: the budget by kind of usage, such as ``{"calls": 8}``.
            repetition: which independent stream of draws to use.

        Raises:
            UsageError: the strategy cannot be run on this model, or the folder holds another
                study, or another process is writing to it.
            GeneratorError: no draw could be made.
            StrategyError: the strategy failed.
        """
        _check(strategy, generator)
        limits = dict(limits or {})
        # Draws are named by what was asked, and a judge's by what it read, whoever wrote that:
        # who asks the same at the same time takes turns.
        key = (problem.context().messages, repetition)
        async with self._locks.setdefault(key, asyncio.Lock()):
            with self._open() as ledger:
                if self._files is not None:
                    self._files.note(strategy, generator, problem, task.checker, repetition)
                plan, ran = self._plan(problem, strategy, generator, limits, repetition, verifiers)
                state = ledger.run_state(plan.name)
                finished = state is not None and state.status in ("done", "out_of_budget")
                name = generator.info["name"]
                ledger.put_source(generator.fingerprint, {**generator.info, "model": name})
                sessions: list[Session] = []
                driver = Driver(
                    ledger,
                    generators={"solver": generator},
                    verifiers=verifiers,
                    tasks={task.name: task},
                    seed=self.seed,
                    wants=frozenset().union(*(v.wants for v in verifiers.values())),
                    check=finished,  # a finished run is repeated from its draws
                    on_done=sessions.append,
                )
                await _recorded(driver.run([plan]))
        return _ended(ran, sessions[0], driver.progress.draws_new)

    def _plan(
        self,
        problem: Problem,
        strategy: Strategy,
        generator: Generator,
        limits: Mapping[str, float],
        repetition: int,
        verifiers: Mapping[str, Verifier],
    ) -> tuple[RunPlan, Ran]:
        """A run, and where what is delivered to it is collected."""
        ran = Ran(strategy=strategy)

        def collect(request: Request, reply: Any) -> None:
            if isinstance(request, Generate):
                ran.candidates.extend(reply)
            elif isinstance(request, Verify):
                pairs = zip(request.candidates, reply, strict=False)
                known = [(candidate, s) for candidate, s in pairs if s == s]
                ran.scores.extend((candidate.answer, s) for candidate, s in known)
                ran.score_of.update((candidate.text, s) for candidate, s in known)

        name = run_name(generator.info["name"], strategy, problem.id, repetition)
        name += "".join(f"|{kind}<={limit:.15g}" for kind, limit in sorted(limits.items()))
        plan = RunPlan(
            name=name, strategy=strategy, problem=problem, repetition=repetition,
            limits=limits, on_reply=collect,
        )  # fmt: skip
        return plan, ran

    @contextmanager
    def _open(self) -> Iterator[Ledger]:
        """The ledger, open as long as anybody uses it."""
        if self._ledger is None:
            self._ledger, self._files = self._opened()
        self._users += 1
        try:
            yield self._ledger
        finally:
            self._users -= 1
            if not self._users:
                self._ledger.close()
                self._ledger = self._files = None

    def _opened(self) -> tuple[Ledger, HostedFiles | None]:
        if self.folder is None:
            return Ledger(":memory:"), None
        ledger = Ledger(self.folder / LEDGER)
        try:
            return ledger, HostedFiles(self.folder, self.seed, ledger.sources())
        except BaseException:
            ledger.close()
            raise


def limits_of(
    *, samples: float | None = None, tokens: float | None = None, usd: float | None = None
) -> dict[str, float]:
    """The budget of a question by kind of usage, from what a host was told.

    Raises:
        UsageError: one is no number above 0.
    """
    found = {}
    for name, kind, limit in (
        ("samples", "calls", samples), ("tokens", "output_tokens", tokens), ("usd", "usd", usd)
    ):  # fmt: skip
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
            raise UsageError(f"`{name}` must be a number above 0, but got {limit!r}. Mend it.")
        found[kind] = float(limit)
    return found


async def _recorded(work: Coroutine[Any, Any, Any]) -> None:
    """Await a run; if the host cancels it, end only when what arrived is on disk.

    Hosts on anyio cancel again and again until they are obeyed, which would also stop the run
    from recording what was paid for.
    """
    task = asyncio.ensure_future(work)
    stopped: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if stopped is None:
                stopped = error
                task.cancel()
    if stopped is None:
        task.result()  # or its error
        return
    if not task.cancelled():
        task.exception()  # it is known; the host asked to stop
    raise stopped


def _check(strategy: Strategy, generator: Generator) -> None:
    """Refuse what cannot answer one question, or not honestly.

    Raises:
        UsageError: as its name says.
    """
    name = generator.info["name"]
    if strategy.pooled:
        raise UsageError(
            f"An evaluation asks one question at a time, but {strategy.name} solves a pool of "
            "them. Choose another strategy."
        )
    if "exact" in strategy.verifiers():
        raise UsageError(
            f"A method must not read the right answer, but {strategy.name} asks the verifier "
            "`exact`. Choose another verifier."
        )
    if missing := strategy.needs - generator.provides:
        raise UsageError(
            f"A strategy runs on models that provide what it needs, but {strategy.name} needs "
            f"{', '.join(sorted(missing))} and {name} does not provide that. Choose a strategy "
            "that draws whole answers, or another model."
        )


def _ended(ran: Ran, session: Session, new_draws: int) -> Ran:
    """The run with its answer and the candidate that carries it.

    Raises:
        GeneratorError: nothing whole was drawn, and why.
        StrategyError: the strategy failed.
    """
    if session.status.startswith("failed: "):
        raise StrategyError(f"{session.strategy.name} {session.status}")
    ran.status, ran.answer, ran.new_draws = session.status, session.answer, new_draws
    ran.charged, ran.confidence = session.meter.charged(), session.confidence
    able = [c for c in ran.candidates if c.status not in ("failed", "step")]
    if not able:
        raise GeneratorError(
            f"A question needs at least one whole answer, but none of {len(ran.candidates)} draws "
            "is one. The ledger has what went wrong; raise the limits if they allow no draw."
        )
    ran.chosen = _carrier(ran, able)
    return ran


def _carrier(ran: Ran, able: list[Candidate]) -> Candidate:
    """The best scored of the candidates that say the answer, else the first of them."""
    same = [c for c in able if c.answer == ran.answer and ran.answer is not None]
    if not same:  # it declined, or made an answer of its own: the first completion stands
        return able[0]
    return max(same, key=lambda candidate: ran.score_of.get(candidate.text, -math.inf))

"""What a study's runs asked and got, told again from the ledger: no model is called.

A ledger keeps draws, not who used them. So each finished run is repeated by the driver, as `dwell
run --check` does, with a model that has nothing but its records; the digest of what it asks must
be the recorded one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dwell.driver import Driver, RunPlan
from dwell.driver.session import Session
from dwell.errors import UsageError
from dwell.ledger import Ledger
from dwell.protocols import GenerateWork, Outcome, Strategy
from dwell.records import Answer, Candidate, Problem, Usage
from dwell.requests import Generate, Request, Verify
from dwell.study import Study
from dwell.study_file import ModelSpec

#: Limits of one question, as hosted studies put them at the end of a run's name.
_LIMITS = re.compile(r"(\|[a-z_]+<=[0-9.e+-]+)+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One text that a run was given.

    Attributes:
        candidate: the text.
        request: what asked for it.
    """

    candidate: Candidate
    request: Generate


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One score that a run was given: by whom, of which whole text, and how much (NaN = none)."""

    verifier: str
    text: str
    score: float


@dataclass(slots=True, kw_only=True)
class Trace:
    """What one strategy did about one problem.

    Attributes:
        strategy: the strategy.
        problem: the problem, with its reference.
        repetition: which one of the study.
        answer: what it answered.
        status: "done" or "out_of_budget".
        limits: its budget.
        charged: as recorded.
        told: what it was given, in order.
    """

    strategy: Strategy
    problem: Problem
    repetition: int
    answer: Answer = None
    status: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    charged: Usage = field(default_factory=Usage)
    told: list[Drawn | Scored] = field(default_factory=list)

    @property
    def draws(self) -> list[Candidate]:
        """The texts that it was given, in order."""
        return [one.candidate for one in self.told if isinstance(one, Drawn)]

    @property
    def chosen(self) -> Candidate | None:
        """The text that carries its answer: the best scored one, the first of equals."""
        bearing = [c for c in self.draws if c.answer == self.answer and c.finished]
        scores = {s.text: s.score for s in self.told if isinstance(s, Scored)}
        ranked = [-scores.get(c.text, float("-inf")) for c in bearing]
        # NaN is not below anything: such texts stay where they are, at the end.
        order = sorted(range(len(bearing)), key=lambda i: (ranked[i] != ranked[i], ranked[i], i))
        return bearing[order[0]] if bearing and self.answer is not None else None


def traces(study: Study, model: ModelSpec, ledger: Ledger) -> Iterator[tuple[str, list[Trace]]]:
    """The finished runs of each strategy of a study: (label, traces), by problem and repetition.

    Raises:
        UsageError: the ledger lacks what a run used.
        StrategyError: a repeated run differs from the recorded one.
    """
    source = next((s for s in ledger.sources().values() if s.get("model") == model.name), None)
    if source is None:
        return
    groups: dict[tuple[str, str], list[RunPlan]] = {}
    for plan, limits in _finished(study, model, ledger):
        groups.setdefault((plan.strategy.spec(), limits), []).append(plan)
    for spec, budget, strategy in study.spec.strategies_at():
        label = f"{spec.name}-{type(strategy).scale}{budget}" + "".join(
            f"-{value}" for value in (spec.model_extra or {}).values()
        )
        for (name, limits), plans in groups.items():
            if name == strategy.spec():
                yield (
                    label + limits.replace("|", "-").replace("<=", "="),
                    _repeated(study, ledger, source, plans),
                )


def num_unnamed(study: Study, model: ModelSpec, ledger: Ledger) -> int:
    """How many finished runs of a model are of strategies or questions that its study omits."""
    named = {plan.name for plan, _ in _finished(study, model, ledger)}
    return sum(name.startswith(f"{model.name}|") for name in ledger.finished_runs() - named)


def _finished(study: Study, model: ModelSpec, ledger: Ledger) -> Iterator[tuple[RunPlan, str]]:
    """Each finished run that the study knows, and the limits of its own that its name ends on."""
    known: dict[str, list[str]] = {}
    for name in sorted(ledger.finished_runs()):
        own = _LIMITS.search(name)
        limits = own[0] if own is not None else ""
        known.setdefault(name.removesuffix(limits), []).append(limits)
    for plan in study.plans(model):
        for limits in known.get(plan.name, ()):
            pairs = (pair.split("<=") for pair in limits.split("|")[1:])
            own_limits = {kind: float(limit) for kind, limit in pairs}
            name = plan.name + limits
            yield replace(plan, name=name, limits=own_limits or plan.limits), limits


def _repeated(
    study: Study, ledger: Ledger, source: Mapping[str, Any], plans: Sequence[RunPlan]
) -> list[Trace]:
    """Runs repeated, each with what it was given."""
    found = {
        plan.name: {
            problem.id: Trace(
                strategy=plan.strategy,
                problem=problem,
                repetition=plan.repetition,
                limits=plan.limits,
            )
            for problem in plan.problem.members or (plan.problem,)
        }
        for plan in plans
    }
    watched = [replace(plan, on_reply=_collector(found[plan.name])) for plan in plans]

    def done(session: Session) -> None:
        for trace in found[session.name].values():
            trace.status = session.status

    verifiers = study.verifiers
    driver = Driver(
        ledger,
        generators={"solver": _Recorded(source)},
        verifiers=verifiers,
        tasks=study.tasks,
        seed=study.spec.seed,
        wants=frozenset().union(*(v.wants for v in verifiers.values())),
        order=study.spec.order,
        check=True,
        on_done=done,
    )
    asyncio.run(driver.run(watched))
    for row in ledger.answers():
        trace = found.get(row.run, {}).get(row.problem)
        if trace is not None:
            trace.answer, trace.charged = row.value, row.charged
    return [trace for traces in found.values() for trace in traces.values()]


def _collector(traces: Mapping[str, Trace]) -> Any:
    only = next(iter(traces.values())) if len(traces) == 1 else None

    def collect(request: Request, reply: Any) -> None:
        trace = only or traces.get(str(getattr(request, "problem", None)))
        if trace is None:
            return
        if isinstance(request, Generate):
            trace.told += [Drawn(candidate=c, request=request) for c in reply]
        elif isinstance(request, Verify):
            pairs = zip(request.candidates, reply, strict=False)
            trace.told += [
                Scored(verifier=request.verifier, text=c.text, score=float(score))
                for c, score in pairs
            ]

    return collect


class _Recorded:
    """A model that has nothing but its records in the ledger."""

    # Whatever a recorded run asked for was provided.
    provides = frozenset(
        {"partial", "step", "forbid_end", "shared_prefix", "step_value", "surprisal",
         "surprisals", "logprobs", "self_certainty"}
    )  # fmt: skip
    max_batch = concurrency = slots = 64
    default_max_tokens = 1

    def __init__(self, source: Mapping[str, Any]) -> None:
        self.fingerprint: str = source["fingerprint"]
        self.info: Mapping[str, Any] = source

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """Nothing.

        Raises:
            UsageError: always: the ledger lacks a draw.
        """
        raise UsageError(
            f"A run is repeated from its records, but the ledger lacks draws of "
            f"{work[0].problem.id!r}. Run the study again first: dwell run"
        )

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """Nothing: what runs were charged is recorded."""
        return Usage()

    async def close(self) -> None:
        """Nothing to release."""


class ReadingLedger(Ledger):
    """A ledger for repeating runs: it commits nothing, and there must be nothing to commit."""

    def __init__(self, path: Any) -> None:
        super().__init__(path, read_only=True)

    def commit(self) -> None:
        """Check that repeating wrote nothing.

        Raises:
            UsageError: something was drawn or scored anew.
        """
        if self.num_buffered:
            raise UsageError(
                f"A run is repeated from its records, but {self.path} lacks some of its scores. "
                "Run the study again first: dwell run"
            )

"""What a strategy, a generator, a verifier and a task must be.

Protocols and light bases only: no implementation is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from dwell.records import Answer, Candidate, Context, Draw, Problem, Usage
from dwell.requests import Generate, Mode, Perturb, Run, Solution
from dwell.streams import Replayed, Streams


class Strategy:
    """A test-time-compute strategy: a frozen dataclass of hyper-parameters and one function.

    Attributes:
        name: the field's name, in lower case, for files and the command line.
        scale: the parameter that budgets sweep (its value is the curve's N).
        needs: capabilities that the generator must provide: "partial" (continue an unfinished
            text), "step" (halt at step delimiters), "forbid_end".
        exchangeable: name of the exact estimator that holds for this strategy when its draws are
            exchangeable ("pass", "vote", "best"), else None.
        paper: where it comes from.
        pooled: whether it solves a pool: one budget over `problem.members`, `scale` draws for each
            on average; it returns a mapping from member to answer.
        abstains: whether it may decline to answer although there are answers.
    """

    name: ClassVar[str] = ""
    scale: ClassVar[str] = "n"
    needs: ClassVar[frozenset[str]] = frozenset()
    exchangeable: ClassVar[str | None] = None
    paper: ClassVar[str] = ""
    pooled: ClassVar[bool] = False
    abstains: ClassVar[bool] = False

    def solve(self, problem: Problem, rng: np.random.Generator) -> Solution:
        """Yield requests, be sent their replies, return the answer.

        Args:
            problem: what to solve, without its reference answer.
            rng: the only source of randomness; consumed in a fixed order.
        """
        raise NotImplementedError

    def replay(self, streams: Streams) -> Replayed | None:
        """What `solve` would do on streams of recorded whole answers, all at once.

        Args:
            streams: any leading axes; for a pooled strategy the last of them, `[..., P]`, are the
                questions of a pool.

        Returns:
            None if that cannot be said from whole answers alone (a search, a revision); then the
            driver runs `solve` on the recording instead.
        """
        return None

    def params(self) -> dict[str, Any]:
        """The hyper-parameters by name, JSON-able."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    def verifiers(self) -> frozenset[str]:
        """Names of the verifiers that this strategy asks for."""
        chosen = getattr(self, "verifier", None)
        return frozenset({chosen}) if chosen else frozenset()

    def spec(self) -> str:
        """A stable text that names the strategy and all its parameters."""
        inner = ",".join(f"{k}={v}" for k, v in sorted(self.params().items()))
        return f"{self.name}({inner})"


@dataclass(slots=True, kw_only=True)
class GenerateWork:
    """Missing draws of one key, for a generator to make.

    Attributes:
        request: what was asked; `request.n` is not to be read here.
        seeds: one unsigned 64-bit seed per draw, a function of the key and the draw's index.
        indices: the draws' indices within their key.
        problem: the problem charged (its reference is private to checkers).
        stream: which independent sequence of draws is asked for; a recording deals its draws in
            an order of each stream's own.
        early: hands over draws, by their places in `seeds`, and attempts that are there before
            the rest, so that they are recorded at once. The outcome has all draws all the same;
            attempts are told once. None = nobody takes them.
    """

    request: Generate
    seeds: Sequence[int]
    indices: Sequence[int]
    problem: Problem
    stream: str = ""
    early: Callable[[Sequence[int], Outcome], None] | None = None


@dataclass(slots=True, kw_only=True)
class VerifyWork:
    """Candidates to score together, `samples` seeds each.

    Attributes:
        candidates: one for "outcome" and "prefix" modes, all of them for "group".
        problem: the problem with its reference (only an exact verifier may read that).
    """

    candidates: tuple[Candidate, ...]
    problem: Problem
    mode: Mode
    seeds: Sequence[int]


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A call that failed or was cancelled, and what it cost."""

    outcome: str
    usage: Usage
    estimated: bool = False
    index: int = 0


@dataclass(slots=True)
class Outcome:
    """What a source made of one work item: one draw per seed, and the failed attempts."""

    draws: Sequence[Draw]
    attempts: Sequence[Attempt] = ()


@runtime_checkable
class Generator(Protocol):
    """The only thing that touches a model.

    Attributes:
        fingerprint: names the distribution that draws come from; part of every key.
        info: what a reader of the ledger wants to know (name, parameters, base address).
        provides: capabilities ("partial", "step", "forbid_end", "shared_prefix") and the
            names of statistics it can return.
        max_batch: draws that one `generate` call takes; 1 = one work item a call.
        concurrency: `generate` calls that may be in flight.
        slots: draws that one run may have made at once; modelled seconds assume this.
        default_max_tokens: the cap used where a request names none.

    A generator with an attribute `derived = True` deals draws that are kept elsewhere (a
    recording): they are made again when needed, and not copied into the ledger.
    """

    fingerprint: str
    info: Mapping[str, Any]
    provides: frozenset[str]
    max_batch: int
    concurrency: int
    slots: int
    default_max_tokens: int

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item, in order. A failure is a draw with status "failed".

        Raises:
            GeneratorError: nothing of the batch could be served.
        """
        ...

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """FLOPs, seconds and dollars of reading a prompt: charged once per `Generate`."""
        ...

    async def close(self) -> None:
        """Release connections and worker processes."""
        ...


@runtime_checkable
class Perturbs(Protocol):
    """A generator that can change latent states."""

    async def perturb(self, request: Perturb, seed: int) -> Draw:
        """The changed candidate as a draw."""
        ...


@runtime_checkable
class Priced(Protocol):
    """A generator whose draws cost dollars."""

    def most_usd(self, request: Generate) -> float:
        """The most that one draw of a request can cost."""
        ...


@runtime_checkable
class PricedScores(Protocol):
    """A verifier whose scores cost dollars."""

    def most_usd_of(self, work: VerifyWork) -> float:
        """The most that one work item can cost."""
        ...


@runtime_checkable
class Continues(Protocol):
    """A generator that has to find out how, and whether, it can continue a partial text."""

    async def find_continuation(self) -> bool:
        """Whether it can; it then provides "partial"."""
        ...


@runtime_checkable
class Annotates(Protocol):
    """A generator that can compute statistics of text recorded without them."""

    async def annotate(
        self, work: Sequence[tuple[Context, str]], want: frozenset[str]
    ) -> Sequence[Mapping[str, Any]]:
        """Statistics of each (context, added text), as `generate` would have returned them."""
        ...


@runtime_checkable
class Environment(Protocol):
    """Something that can be acted on and replayed: tests, tools."""

    fingerprint: str

    async def run(self, request: Run, seed: int) -> Draw:
        """The outcome of one action."""
        ...


@runtime_checkable
class Verifier(Protocol):
    """Gives scores.

    Attributes:
        fingerprint: names the scoring function; part of every key.
        wants: statistics that candidates must carry.
        derived: True for a cheap pure function of what the ledger holds: such scores are
            computed when needed and not stored.
        oracle: True if it reads the reference answer: an upper bound, not a method.
        max_batch: work items per `score` call.
        concurrency: `score` calls that may be in flight.
    """

    fingerprint: str
    wants: frozenset[str]
    derived: bool
    oracle: bool
    max_batch: int
    concurrency: int

    @property
    def name(self) -> str:
        """The name under which strategies ask for it."""
        ...

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; ``draw.value`` is the score, NaN = not verified.

        In "group" mode an outcome has one draw per candidate; else one draw per seed.

        Raises:
            VerifierError: the batch could not be scored.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """A family of problems with an exact checker.

    Attributes:
        name: what studies call it.
    """

    name: str

    def extract(self, problem: Problem, text: str) -> Answer:
        """The canonical answer in an assistant's text, None where there is none."""
        ...

    def check(self, problem: Problem, answer: str) -> bool:
        """Whether an extracted answer is right; no answer never is, and is not asked about."""
        ...


def is_right(task: Task, problem: Problem, answer: Answer) -> bool:
    """Whether an answer is right; no answer never is."""
    return answer is not None and task.check(problem, answer)

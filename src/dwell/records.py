"""The nouns of dwell: problems, contexts, candidates, draws and usage.

Plain immutable records. They know nothing of models, files or clocks.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
#: How an output halted: the generator ended it, a step delimiter, a length cap, or it failed.
Status = Literal["end", "step", "cap", "failed"]
Answer = str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    r"""One item to solve.

    Attributes:
        id: unique within a study; seeds the strategy's random numbers.
        prompt: what the generator is shown.
        task: name of the task family, which extracts and checks answers.
        reference: the private answer; strategies are handed a copy without it.
        markers: texts with a meaning in this prompt format, such as ``{"wait": "W\\n"}``.
        tags: what reports group by, such as ``{"level": 5}``.
        members: the problems of a pool that shares one budget; a strategy for pools names the
            one that is charged in its requests and returns a mapping of answers.
        messages: (role, text) pairs that ask for the answer, where a chat is more than its prompt;
            the last is the user's.
    """

    id: str
    prompt: str
    task: str = ""
    reference: str | None = None
    markers: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str | int | float] = field(default_factory=dict)
    members: tuple[Problem, ...] = ()
    messages: tuple[tuple[Role, str], ...] = ()

    def public(self) -> Problem:
        """The same problem without reference answers: what a strategy may see."""
        if self.reference is None and not self.members:
            return self
        members = tuple(member.public() for member in self.members)
        return replace(self, reference=None, members=members)

    def context(self) -> Context:
        """The context that asks for a fresh answer to this problem."""
        return Context(messages=self.messages or (("user", self.prompt),))


@dataclass(frozen=True, slots=True)
class Context:
    """What a continuation is conditioned on.

    Attributes:
        messages: (role, text) pairs, oldest first.
        partial: an unfinished assistant text that the generator continues.
        state: a generator's own state instead of text (latents); must be hashable.
    """

    messages: tuple[tuple[Role, str], ...]
    partial: str = ""
    state: Hashable = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A vector of resources. Budgets, charges and remainders all have this form.

    Attributes:
        calls: draws delivered.
        prompt_tokens: prompt tokens read; if the generator shares prefixes, once per `Generate`,
            and not again for a text that the run has seen written.
        cached_tokens: prompt tokens that a shared prefix saved.
        output_tokens: tokens generated.
        verifier_tokens: tokens read or written by verifiers.
        steps: continuations that halted at a step delimiter.
        runs: environment runs.
        flops: floating-point operations.
        seconds: modelled seconds on the critical path.
        usd: United States dollars.
    """

    calls: float = 0
    prompt_tokens: float = 0
    cached_tokens: float = 0
    output_tokens: float = 0
    verifier_tokens: float = 0
    steps: float = 0
    runs: float = 0
    flops: float = 0.0
    seconds: float = 0.0
    usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{k: getattr(self, k) + getattr(other, k) for k in USAGE_KINDS})

    def __sub__(self, other: Usage) -> Usage:
        return Usage(**{k: getattr(self, k) - getattr(other, k) for k in USAGE_KINDS})

    def items(self) -> Iterator[tuple[str, float]]:
        """(kind, amount) of every kind, in declaration order."""
        return ((k, getattr(self, k)) for k in USAGE_KINDS)

    @property
    def tokens(self) -> float:
        """Output plus verifier tokens: the usual axis of a scaling curve."""
        return self.output_tokens + self.verifier_tokens


USAGE_KINDS: tuple[str, ...] = tuple(f.name for f in fields(Usage))


@dataclass(slots=True, kw_only=True)
class Draw:
    """One output of a generator, verifier or environment, as the ledger keeps it.

    Attributes:
        status: how it halted; "failed" draws carry the reason in `text`.
        text: the text added to the context (empty for scores).
        value: the score, for verifiers; the outcome, for environments.
        state: a generator's own new state, as bytes (latents).
        prompt_tokens: prompt tokens that this draw alone would read.
        cached_tokens: how many of those were not read anew this time.
        output_tokens: tokens generated, or read and written by a verifier.
        flops, seconds, usd: what this draw alone costs, its prompt included.
        stats: per-token statistics by name, where wanted.
    """

    status: Status = "end"
    text: str = ""
    value: float | None = None
    state: bytes | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    usd: float = 0.0
    stats: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A partial or complete output, as a strategy sees it.

    Attributes:
        context: what it continued.
        added: the text that this draw added.
        status: how it halted.
        answer: the answer extracted from `text`, None where there is none.
        index: which draw of its key it is.
        output_tokens: tokens that this draw added.
        stats: statistics by name, where wanted.
        parents: candidates it was made from, beyond its own prefix.
    """

    context: Context
    added: str
    status: Status
    answer: Answer = None
    index: int = 0
    output_tokens: int = 0
    stats: Mapping[str, Any] = field(default_factory=dict, compare=False)
    parents: tuple[Candidate, ...] = field(default=(), compare=False)

    @property
    def text(self) -> str:
        """The whole assistant text: the partial text it continued, and what it added."""
        return self.context.partial + self.added

    @property
    def finished(self) -> bool:
        """Whether nothing more can be generated after it: it did not halt at a step."""
        return self.status != "step"

    def continued(self, extra: str = "") -> Context:
        """The context that continues this text, after appending `extra`."""
        return replace(self.context, partial=self.text + extra)

"""All that a strategy may yield.

A strategy is a generator function. What it yields is a request, a list of requests or of
sub-strategies (served concurrently; the reply is the list of replies), or one of the control
requests at the end of this file. It performs no input or output itself.
"""

from __future__ import annotations

from collections.abc import Generator as PyGenerator
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

from dwell.records import Answer, Candidate, Context

Until = Literal["end", "step"]
Mode = Literal["outcome", "prefix", "group"]


@dataclass(frozen=True, slots=True)
class Generate:
    """Draw `n` continuations of a context; the reply is a tuple of `n` candidates.

    Attributes:
        context: what to continue.
        n: how many draws, at least 1.
        until: "end" for complete outputs, "step" to halt at the next step delimiter.
        role: which of the study's generators: "solver", "judge" and so on.
        problem: id of the problem that is charged, for pools; None = the run's own.
        max_tokens: cap on the tokens added; None = the generator's default.
        stop: further texts that halt the output.
        forbid_end: forbid ending for the first token (budget forcing).
        temperature: sampling temperature; None = the generator's default.
        want: names of statistics to return, such as "surprisal".
        final: the text may be streamed to a client before it is recorded.
    """

    context: Context
    n: int = 1
    until: Until = "end"
    role: str = "solver"
    problem: str | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    forbid_end: bool = False
    temperature: float | None = None
    want: frozenset[str] = frozenset()
    final: bool = False


@dataclass(frozen=True, slots=True)
class Verify:
    """Score candidates; the reply is a tuple of floats, NaN where not verified.

    Attributes:
        candidates: what to score.
        verifier: its name in the study, such as "process" or "exact".
        mode: "outcome" (complete answers), "prefix" (partial ones), "group" (all together).
        samples: how often a stochastic verifier is asked; the score is the mean.
        problem: id of the problem that is charged, for pools; None = the run's own.
    """

    candidates: tuple[Candidate, ...]
    verifier: str = "process"
    mode: Mode = "outcome"
    samples: int = 1
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Perturb:
    """Change a candidate's latent state; the reply is a candidate.

    Attributes:
        candidate: what to change.
        kind: the name of the change, as the generator knows it.
        size: how large a change.
        role: which of the study's generators.
    """

    candidate: Candidate
    kind: str
    size: float
    role: str = "solver"


@dataclass(frozen=True, slots=True)
class Run:
    """Act on an environment; the reply is a `Draw`: text, value and new state.

    Attributes:
        action: what to do, such as code to test.
        state: the environment's state as text; environments are replayable.
        environment: its name in the study.
    """

    action: str
    state: str = ""
    environment: str = "tests"


Request = Generate | Verify | Perturb | Run
Solution = PyGenerator[Any, Any, Answer]


@dataclass(frozen=True, slots=True)
class Start:
    """Begin a piece of work and go on at once; `Next` delivers its reply with the tag."""

    work: Any
    tag: Hashable = None


@dataclass(frozen=True, slots=True)
class Next:
    """Wait for one started piece of work; the reply is ``(tag, reply)``."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Give up a started piece of work; nothing more is asked on its behalf."""

    tag: Hashable


@dataclass(frozen=True, slots=True)
class Emit:
    """The best answer so far: what a deadline, a stream or a progress view shows. Free.

    Attributes:
        answer: of the whole question, or by member of a pool.
        confidence: probability that it is right, for strategies that can say; None = not said.
    """

    answer: Answer
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Remaining:
    """Ask what is left of the budget; the reply is a `Usage`, infinite where unlimited."""

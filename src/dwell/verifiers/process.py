"""Process verifiers: the probability, after each step, that a text will end right.

The good one reads what the policy itself knew while it wrote: the generator's value head has
left a logit at every newline, so a score costs nothing. The weak one is another network that
reads the text again: its tokens are charged, and choosing the best of very many by it does harm.
Both have the same interface, so over-optimisation is one argument away.

References:
    Lightman and others, "Let's Verify Step by Step" (2023): process supervision. Wang and
    others, "Math-Shepherd" (2023): labels from outcomes. The value of a text is the value after
    its last step, ``r_T``, not their minimum or product over steps: the labels are outcomes, so
    every ``r_t`` already estimates P(end right | steps 1..t).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from dwell.protocols import Outcome, VerifyWork
from dwell.records import Candidate, Context, Draw, Problem
from dwell.verifiers.base import (
    NOT_VERIFIED,
    CandidateVerifier,
    outcomes_of,
    short_hash,
    statistic,
)


def sigmoid(logit: float) -> float:
    """``1 / (1 + exp(-logit))`` without overflow, in `[0, 1]`."""
    e = math.exp(-abs(logit))
    return 1.0 / (1.0 + e) if logit >= 0 else e / (1.0 + e)


def last_step_probability(logits: Sequence[float]) -> float:
    """The probability after the last step; NaN where no step is finished."""
    return sigmoid(float(logits[-1])) if len(logits) else NOT_VERIFIED


class Process(CandidateVerifier):
    """The good process verifier: the generator's own value head, at the last newline.

    Scores are probabilities in `[0, 1]`; a text without a newline is not verified (NaN).
    Outcomes and prefixes are scored alike.
    """

    name = "process"
    wants = frozenset({"step_value"})

    def value(self, candidate: Candidate, problem: Problem, *, prefix: bool) -> float:
        """The head's probability at the last newline of the whole text.

        Raises:
            VerifierError: the candidate lacks `step_value`.
        """
        logits: list[float] = np.asarray(statistic(candidate, "step_value", self.name)).tolist()
        return last_step_probability(logits)


class TextScorer(Protocol):
    """A network that reads texts, handed in by whoever makes the verifier.

    Attributes:
        fingerprint: names its weights.
    """

    fingerprint: str

    def logits(self, texts: Sequence[tuple[Context, str]]) -> list[tuple[Sequence[float], int]]:
        """Logits at the newlines of each (context, whole assistant text), and tokens read."""
        ...

    def flops(self, tokens: int) -> float:
        """FLOPs of reading this many tokens."""
        ...

    def seconds(self, tokens: int) -> float:
        """Modelled seconds of reading this many tokens."""
        ...


class ProcessWeak:
    """The weak process verifier: a separate network, at the last newline.

    Scores are probabilities in `[0, 1]`, NaN for a text without a newline. They are recorded,
    and the tokens read are charged as verifier tokens.

    Args:
        scorer: the network.
    """

    name = "process_weak"
    wants: frozenset[str] = frozenset()
    derived = False
    oracle = False
    max_batch = 256
    concurrency = 2

    def __init__(self, scorer: TextScorer) -> None:
        self._scorer = scorer
        self.fingerprint = f"process_weak:{short_hash(scorer.fingerprint)}"

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; all texts of a call are read in one batch, in a thread.

        Deterministic: seeds are not consumed. Asked several times, it reads several times.
        """
        candidates = [c for item in work for c in item.candidates if c.status != "failed"]
        texts = [(candidate.context, candidate.text) for candidate in candidates]
        found = await asyncio.to_thread(self._scorer.logits, texts)
        return outcomes_of(work, (self._draw(*read) for read in found))

    def _draw(self, logits: Sequence[float], tokens: int) -> Draw:
        return Draw(
            value=last_step_probability(logits),
            output_tokens=tokens,
            flops=self._scorer.flops(tokens),
            seconds=self._scorer.seconds(tokens),
        )

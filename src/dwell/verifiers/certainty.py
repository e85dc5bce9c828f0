"""Verifiers that need no training: how sure the policy was, and how much its samples agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dwell.errors import VerifierError
from dwell.protocols import Outcome, VerifyWork
from dwell.records import Candidate, Draw, Problem
from dwell.verifiers.base import NOT_VERIFIED, CandidateVerifier, repeated, statistic

_RESULT = re.compile(r"[=A]([^,\n]*[,\n]?)")


class SelfCertainty(CandidateVerifier):
    """How far the policy's next-token distributions were from uniform, higher is surer.

    ``1/n sum_i KL(U || p_i) = 1/n sum_i (-log V - 1/V sum_j log p_i(j))`` over the n tokens of the
    text, in nats, at least 0. The generator returns the mean: the whole distributions are needed,
    so truncated log-probabilities (the top 20 of a hosted model) cannot give it.

    References:
        Kang, Zhao and Song, "Scalable Best-of-N Selection for Large Language Models via
        Self-Certainty" (2025).
    """

    name = "self_certainty"
    wants = frozenset({"self_certainty"})

    def value(self, candidate: Candidate, problem: Problem, *, prefix: bool) -> float:
        """The recorded self-certainty; NaN for an empty text.

        Raises:
            VerifierError: the candidate lacks it.
        """
        return float(statistic(candidate, "self_certainty", self.name))


class WorstSurprisal(CandidateVerifier):
    """Minus the largest surprisal among result tokens, in nats; at most 0, higher is better.

    A wrong result that was forced to fit is written against the policy's own odds, and one such
    token is enough. Result tokens are those after `=` or `A`, up to and including the comma or
    newline that closes them. Where a statistic has not one entry per character (another
    tokenizer), or a text has no result token, the largest surprisal of all tokens counts.
    """

    name = "worst_surprisal"
    wants = frozenset({"surprisal"})

    def value(self, candidate: Candidate, problem: Problem, *, prefix: bool) -> float:
        """Minus the worst surprisal; NaN where there is no token at all.

        Raises:
            VerifierError: the candidate lacks `surprisal`.
        """
        nats = np.asarray(statistic(candidate, "surprisal", self.name), dtype=np.float64)
        if not nats.size:
            return NOT_VERIFIED
        for text in (candidate.text, candidate.added):
            # one entry per character; some generators add one for the end token
            if text and len(nats) - len(text) in (0, 1):
                chosen = nats[: len(text)][result_tokens(text)]
                return -float(chosen.max() if chosen.size else nats.max())
        return -float(nats.max())


def result_tokens(text: str) -> npt.NDArray[np.bool_]:
    """Which characters of a text are results: `[T]` bool.

    Examples:
        >>> "".join("^" if flag else "." for flag in result_tokens("4+5=9,3 9"))
        '....^^...'
    """
    flags = np.zeros(len(text), dtype=np.bool_)
    for match in _RESULT.finditer(text):
        flags[match.start(1) : match.end(1)] = True
    return flags


class Agreement:
    """The share of the other candidates that have the same answer, in `[0, 1]`.

    It compares candidates, so it is asked in mode "group" only. A candidate without an answer,
    or without others, is not verified (NaN).
    """

    name = "agreement"
    fingerprint = "agreement:1"
    wants: frozenset[str] = frozenset()
    derived = True
    oracle = False
    max_batch = 4096
    concurrency = 1

    def __repr__(self) -> str:
        return "Agreement()"

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per group, one draw per candidate (per sample asked for).

        Raises:
            VerifierError: asked about single candidates.
        """
        outcomes = []
        for item in work:
            if item.mode != "group":
                raise VerifierError(
                    "the verifier agreement compares candidates, so it needs mode='group', but "
                    f"got mode={item.mode!r}. Ask for the group, or use another verifier."
                )
            shares = repeated(shares_of_others(item.candidates), item)
            outcomes.append(Outcome([Draw(value=share) for share in shares]))
        return outcomes


def shares_of_others(candidates: Sequence[Candidate]) -> list[float]:
    """For each candidate, the share of the others that have its answer; NaN without either."""
    votes = Counter(c.answer for c in candidates if c.answer is not None)
    others = len(candidates) - 1
    return [
        NOT_VERIFIED if c.answer is None or not others else (votes[c.answer] - 1) / others
        for c in candidates
    ]

"""What every verifier must do, as a class of tests to inherit."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from dwell.protocols import Outcome, Verifier, VerifyWork
from dwell.records import Candidate, Problem
from dwell.requests import Mode
from dwell.testing.draws import check_charges, same_draws
from dwell.testing.player import PROBLEM


class VerifierSuite:
    """What every verifier must do. Subclasses give a fixture `verifier`.

    Attributes:
        problem: the problem, with its reference.
        candidates: at least two that the verifier can score, with the statistics it wants.
        mode: how it is asked.
        samples: seeds per candidate.
    """

    problem: ClassVar[Problem] = PROBLEM
    candidates: ClassVar[tuple[Candidate, ...]] = (
        Candidate(PROBLEM.context(), "1", "end", "1", 0, 1),
        Candidate(PROBLEM.context(), "2", "end", "2", 1, 1),
    )
    mode: ClassVar[Mode] = "outcome"
    samples: ClassVar[int] = 2

    def work(self) -> list[VerifyWork]:
        """One item per candidate, or one for all in "group" mode."""
        groups = [self.candidates] if self.mode == "group" else [(c,) for c in self.candidates]
        num_seeds = 1 if self.mode == "group" else self.samples
        return [
            VerifyWork(
                candidates=group,
                problem=self.problem,
                mode=self.mode,
                seeds=[2000 + 10 * place + i for i in range(num_seeds)],
            )
            for place, group in enumerate(groups)
        ]

    def ask(self, verifier: Verifier, *batches: Sequence[VerifyWork]) -> list[list[Outcome]]:
        """The outcomes of each batch, in calls of at most `max_batch` items."""

        async def main() -> list[list[Outcome]]:
            replies: list[list[Outcome]] = []
            for batch in batches:
                reply: list[Outcome] = []
                for begin in range(0, len(batch), verifier.max_batch):
                    reply += await verifier.score(batch[begin : begin + verifier.max_batch])
                replies.append(reply)
            return replies

        return asyncio.run(main())

    def test_is_a_verifier(self, verifier: Verifier) -> None:
        """It has the protocol's attributes, with values that a driver can use."""
        assert isinstance(verifier, Verifier)
        assert verifier.name
        assert verifier.fingerprint
        assert isinstance(verifier.wants, frozenset)
        assert verifier.max_batch >= 1
        assert verifier.concurrency >= 1

    def test_one_score_per_seed_or_per_candidate(self, verifier: Verifier) -> None:
        """Scores are numbers; NaN = not verified; a failure is a draw, never a score of 0."""
        work = self.work()
        (outcomes,) = self.ask(verifier, work)
        wanted = [len(w.candidates) if self.mode == "group" else len(w.seeds) for w in work]
        assert [len(outcome.draws) for outcome in outcomes] == wanted
        for outcome in outcomes:
            for draw in outcome.draws:
                check_charges(draw)
                if draw.status == "failed":
                    assert draw.value is None or math.isnan(draw.value)
                else:
                    assert isinstance(draw.value, float)

    def test_same_seeds_give_the_same_scores(self, verifier: Verifier) -> None:
        """A score is a function of the candidate and the seed."""
        once, again = self.ask(verifier, self.work(), self.work())
        assert all(same_draws(a.draws, b.draws) for a, b in zip(once, again, strict=True))

    def test_scores_do_not_depend_on_order_or_batch(self, verifier: Verifier) -> None:
        """Alone, together or reversed: the same scores."""
        work = self.work()
        together, backwards, *alone = self.ask(
            verifier, work, work[::-1], *[[item] for item in work]
        )
        for i, outcome in enumerate(together):
            assert same_draws(outcome.draws, backwards[len(work) - 1 - i].draws)
            assert same_draws(outcome.draws, alone[i][0].draws)

    def test_only_an_oracle_reads_the_reference(self, verifier: Verifier) -> None:
        """Without the reference every other verifier gives the same scores."""
        if verifier.oracle:
            return
        work = self.work()
        blind = [replace(item, problem=self.problem.public()) for item in work]
        seeing, unseeing = self.ask(verifier, work, blind)
        assert all(same_draws(a.draws, b.draws) for a, b in zip(seeing, unseeing, strict=True))

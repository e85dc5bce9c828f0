"""What the ledger holds of a study, as arrays: the only input of its analysis.

Two tables a model and task: the *answers* that runs gave, with what they were charged, and the
*draws* of whole answers, from which the exact estimators follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.keys import candidate_subject, context_subject, key_hash, request_params, stream_id
from dwell.ledger import Ledger
from dwell.metrics import answer_counts, best_of_k, pass_at_k, vote_at_k
from dwell.protocols import Strategy, Task, Verifier, VerifyWork, is_right
from dwell.records import USAGE_KINDS, Candidate, Draw, Problem, Usage
from dwell.requests import Generate, Verify
from dwell.strategies.asking import GROUP_VERIFIERS

FloatArray = npt.NDArray[np.float64]


def setting_of(strategy: Strategy) -> tuple[Any, Any]:
    """How a strategy samples: its (temperature, max_tokens), None where it leaves them open."""
    return getattr(strategy, "temperature", None), getattr(strategy, "max_tokens", None)


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers of one strategy on all problems, averaged over repetitions.

    Attributes:
        correct: `[P]` share of repetitions answered right, NaN where no run is finished.
        charged: `[P, 10]` mean usage in the order of `USAGE_KINDS`, NaN likewise.
    """

    correct: FloatArray
    charged: FloatArray


class AnswerTable:
    """All recorded answers, by the run that gave them and its problem or member of a pool.

    Args:
        ledger: where they are.
        problems: by id, with references.
        tasks: by name; they check.
    """

    def __init__(
        self, ledger: Ledger, problems: Mapping[str, Problem], tasks: Mapping[str, Task]
    ) -> None:
        self._rows: dict[str, dict[str, tuple[bool, Usage]]] = {}
        for row in ledger.answers():
            problem = problems.get(row.problem)
            if problem is not None:
                right = is_right(tasks[problem.task], problem, row.value)
                self._rows.setdefault(row.run, {})[row.problem] = (right, row.charged)

    def measured(
        self, names: Sequence[Sequence[str]], problems: Sequence[str] | None = None
    ) -> Measured:
        """Accuracy and charge of runs.

        Args:
            names: `[P][R]` run names of each problem's repetitions.
            problems: `[P]` ids, needed where runs are on pools; None = the one that each run has.
        """
        correct = np.full(len(names), np.nan)
        charged = np.full((len(names), len(USAGE_KINDS)), np.nan)
        for index, runs in enumerate(names):
            problem = None if problems is None else problems[index]
            rows = [row for run in runs if (row := self._row(run, problem)) is not None]
            if rows:
                correct[index] = np.mean([right for right, _ in rows])
                charged[index] = np.mean(
                    [[amount for _, amount in usage.items()] for _, usage in rows], axis=0
                )
        return Measured(correct, charged)

    def _row(self, run: str, problem: str | None) -> tuple[bool, Usage] | None:
        rows = self._rows.get(run, {})
        return next(iter(rows.values()), None) if problem is None else rows.get(problem)

    def total_tokens(self, names: Iterable[str]) -> float:
        """Output plus verifier tokens charged to runs together."""
        rows = (row for name in names for row in self._rows.get(name, {}).values())
        return sum(charged.tokens for _, charged in rows)


@dataclass(frozen=True, slots=True)
class Draws:
    """Whole answers drawn for one problem in one stream.

    Attributes:
        candidates: in the order of their index.
        correct: `[N]` whether each is right.
    """

    problem: Problem
    stream: str
    candidates: Sequence[Candidate]
    correct: npt.NDArray[np.bool_]


class DrawTable:
    """Draws of whole answers by one model, with the exact estimators.

    Args:
        ledger: where they are.
        fingerprint: the generator's.
        problems: of one task.
        task: extracts and checks.
        verifiers: by name, for scores.
        streams: repetitions of the study, by number, with the study's seed.
        asked: by sampling setting (temperature, max_tokens), how many draws every problem has
            whatever they said; later ones, which adaptive strategies asked for where draws
            disagreed, are left out, since they would bias the estimators. None = nothing is.
    """

    def __init__(
        self,
        ledger: Ledger,
        fingerprint: str,
        problems: Sequence[Problem],
        task: Task,
        verifiers: Mapping[str, Verifier],
        streams: tuple[int, int],
        asked: Mapping[tuple[Any, Any], int] | None = None,
    ) -> None:
        self._ledger, self._fingerprint, self._task = ledger, fingerprint, task
        self._asked = asked or {}
        self._problems, self._verifiers = problems, verifiers
        seed, count = streams
        self._streams = [stream_id(seed, repetition) for repetition in range(count)]
        self._draws: dict[tuple[Any, ...], list[list[Draws]]] = {}
        self._scores: dict[tuple[Any, ...], list[list[FloatArray]]] = {}

    def curve(self, strategy: Strategy, budgets: Sequence[int]) -> FloatArray | None:
        """`[P, K]` expected accuracy at each budget, exactly; None where no estimator holds.

        NaN where a problem has fewer draws than the budget. Averaged over repetitions.
        """
        kind = strategy.exchangeable
        if kind == "best":
            name = getattr(strategy, "verifier", "")
            if getattr(strategy, "mode", None) is not None or name in GROUP_VERIFIERS:
                return None
            scores = [
                [both[0] for both in row] for row in self.scored(strategy, self._verifiers[name])
            ]
        elif kind in ("pass", "vote"):
            scores = None
        else:
            return None
        return self._averaged(kind, self.draws(strategy), scores, budgets)

    def coverage(self, strategy: Strategy, budgets: Sequence[int]) -> FloatArray:
        """`[P, K]` pass@k of the strategy's draws: the upper bound of any choice among them."""
        return self._averaged("coverage", self.draws(strategy), None, budgets)

    def _averaged(
        self,
        kind: str,
        draws: list[list[Draws]],
        scores: list[list[FloatArray]] | None,
        budgets: Sequence[int],
    ) -> FloatArray:
        """Estimates averaged over repetitions."""
        each = [
            _estimate(
                kind,
                [row[r] for row in draws],
                None if scores is None else [row[r] for row in scores],
                budgets,
            )
            for r in range(len(self._streams))
        ]
        # Estimators are right to rounding: a probability of 1 + 1e-16 is 1.
        averaged: FloatArray = np.clip(np.mean(each, axis=0), 0.0, 1.0)
        return averaged

    def draws(self, strategy: Strategy) -> list[list[Draws]]:
        """`[P][R]` the draws of whole answers that a strategy asks for."""
        key = setting_of(strategy)
        if key not in self._draws:
            self._draws[key] = [
                [self._read(problem, stream, key) for stream in self._streams]
                for problem in self._problems
            ]
        return self._draws[key]

    def _read(self, problem: Problem, stream: str, setting: tuple[Any, Any]) -> Draws:
        request = Generate(problem.context(), temperature=setting[0], max_tokens=setting[1])
        hash_ = key_hash(
            self._fingerprint, "generate", context_subject(request.context),
            request_params(request), stream,
        )  # fmt: skip
        known = self._ledger.find_key(hash_)
        found = {} if known is None else self._ledger.draws(known[0], 0, known[1])
        candidates = []
        for i in range(min(len(found), self._asked.get(setting, len(found)))):
            if i not in found:
                break
            candidates.append(self._candidate(problem, request, i, found[i]))
        different = {candidate.answer for candidate in candidates}
        right = {answer: is_right(self._task, problem, answer) for answer in different}
        correct = np.array([right[c.answer] for c in candidates], dtype=bool)
        return Draws(problem, stream, candidates, correct)

    def _candidate(self, problem: Problem, request: Generate, i: int, draw: Draw) -> Candidate:
        failed = draw.status == "failed"
        text = "" if failed else draw.text
        answer = None if failed else self._task.extract(problem, text)
        return Candidate(
            request.context, text, draw.status, answer, i, draw.output_tokens, draw.stats or {}
        )

    def scored(self, strategy: Strategy, verifier: Verifier) -> list[list[FloatArray]]:
        """`[P][R]` scores and verifier tokens `[2, N]` of the draws, NaN where not verified."""
        key = (verifier.fingerprint, *setting_of(strategy))
        if key not in self._scores:
            draws = self.draws(strategy)
            if verifier.derived:
                self._scores[key] = asyncio.run(_derive(verifier, draws))
            else:
                known = self._ledger.scores(verifier.fingerprint)
                self._scores[key] = [
                    [_recorded_scores(known, verifier, one) for one in row] for row in draws
                ]
        return self._scores[key]


def _recorded_scores(
    known: Mapping[bytes, tuple[float | None, int]], verifier: Verifier, draws: Draws
) -> FloatArray:
    """`[2, N]` scores and verifier tokens of one problem's draws."""
    scores = np.full((2, len(draws.candidates)), np.nan)
    for place, candidate in enumerate(draws.candidates):
        hash_ = key_hash(
            verifier.fingerprint, "verify", (draws.problem.id, candidate_subject([candidate])),
            request_params(Verify((candidate,), verifier.name)), draws.stream,
        )  # fmt: skip
        if hash_ in known:
            value, tokens = known[hash_]
            scores[:, place] = _score(value, candidate), tokens
    return scores


async def _derive(verifier: Verifier, draws: Sequence[Sequence[Draws]]) -> list[list[FloatArray]]:
    work = [
        VerifyWork(candidates=(candidate,), problem=one.problem, mode="outcome", seeds=(0,))
        for row in draws
        for one in row
        for candidate in one.candidates
    ]
    outcomes = iter(await verifier.score(work))
    return [
        [
            np.array([_verdict(next(outcomes).draws[0], c) for c in one.candidates])
            .reshape(-1, 2)
            .T
            for one in row
        ]
        for row in draws
    ]


def _verdict(draw: Draw, candidate: Candidate) -> tuple[float, float]:
    return _score(draw.value, candidate), draw.output_tokens


def _score(value: float | None, candidate: Candidate) -> float:
    """A score, NaN where there is none or no answer that could be chosen."""
    return float("nan") if value is None or candidate.answer is None else value


def _estimate(
    kind: str, draws: list[Draws], scores: list[FloatArray] | None, budgets: Sequence[int]
) -> FloatArray:
    """`[P, K]` expected accuracy at each budget, NaN where there are too few draws."""
    sizes = np.array([len(one.candidates) for one in draws])
    values = np.full((len(draws), len(budgets)), np.nan)
    for size in np.unique(sizes[sizes > 0]):
        rows = np.flatnonzero(sizes == size)
        correct = np.array([draws[row].correct for row in rows], dtype=float)
        if kind == "pass":
            one = np.repeat(correct.mean(axis=1)[:, None], len(budgets), axis=1)
            values[rows] = np.where(np.asarray(budgets) <= size, one, np.nan)
        elif kind == "coverage":
            hits = correct.sum(axis=1).astype(int)
            values[rows] = pass_at_k(np.full(len(rows), size), hits, list(budgets))
        elif kind == "vote":
            answers = [[c.answer for c in draws[row].candidates] for row in rows]
            values[rows] = vote_at_k(*answer_counts(answers, correct.tolist()), list(budgets))
        else:
            assert scores is not None
            stacked = np.array([scores[row] for row in rows])
            values[rows] = best_of_k(stacked, correct, list(budgets))
    return values

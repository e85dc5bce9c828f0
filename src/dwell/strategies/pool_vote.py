"""Votes on a pool of questions, draw by draw: the least settled vote gets the next draw.

`window` draws are in flight, so that a live model is kept busy. Who is next is a function of
arrays (`_Line`) that `solve` asks for one pool and `replay` for many.

Letters: `R` pools, `P` questions of each, `N` draws of a question.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from dwell.errors import OutOfBudget
from dwell.protocols import Strategy
from dwell.records import Answer, Problem
from dwell.requests import Emit, Next, Start
from dwell.strategies.asking import whole_answers
from dwell.strategies.gains import next_gain
from dwell.strategies.parameters import check_choice, check_int, check_sampling
from dwell.strategies.pools import Pooling, members_of, voted
from dwell.strategies.posteriors import confidences, log_densities, table_size
from dwell.strategies.selection import top_two
from dwell.streams import FloatArray, IntArray, Replayed, Streams

Order = Literal["asc", "gain", "ppr", "blend"]
ORDERS: tuple[Order, ...] = get_args(Order)
#: Of two votes that are equally settled, the one with fewer draws is looked at first.
_FEWER_FIRST = 1e-9
#: The key of a question without any draw: before everything.
_FIRST = -1e6
#: The only pool of a run.
_ROW = np.array([0])


@dataclass(frozen=True, kw_only=True)
class PoolVote(Strategy):
    """Majority votes on a pool of questions: each draw goes to the least settled vote.

    Every question gets a first draw; then the next draw goes to the question whose vote is least
    settled, of those without a draw in flight, until n draws a question are spent on average or
    every question has `cap`. How settled a vote is, with a and b votes for the first two answers:

    - "asc": `P(Beta(a+1, b+1) > 1/2)`, the confidence of adaptive consistency;
    - "gain": minus the expected gain of its next draw (`dwell.strategies.gains.next_gain`), so
      that a question is left alone when its many draws have not settled it;
    - "ppr": minus the density of Beta(a+1, b+1) at 1/2. It keeps feeding near-ties;
    - "blend": `(1 - t) rank_asc + t rank_ppr` with t the share of the budget that is spent.

    Of equally settled votes the one with fewer draws is first, then the first of the pool.

    Attributes:
        n: draws a question on average, at least 1.
        order: "asc", "gain", "ppr" or "blend".
        cap: most draws of one question, at least 1.
        window: most draws in flight, at least 1, and never more than an eighth of the questions:
            if all had a draw on its way, all would be treated alike. With 1 each draw is chosen
            knowing all before it.
        temperature: sampling temperature, at least 0; None = the generator's default.
        max_tokens: cap on an answer, in tokens; None = the generator's default.

    References:
        "Optimal Self-Consistency for Efficient Reasoning with Large Language Models" (2025):
        Blend-ASC. The weight of the blend is our reconstruction, the cap is that of Aggarwal et
        al. (2023); the order by gain and the window are ours.
    """

    name = "pool_vote"
    paper = "Optimal Self-Consistency 2025, Blend-ASC (blend reconstructed)"
    pooled = True

    n: int = 8
    order: Order = "asc"
    cap: int = 40
    window: int = 64
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_int("n", self.n, least=1)
        check_choice("order", self.order, ORDERS)
        check_int("cap", self.cap, least=1)
        check_int("window", self.window, least=1)
        check_sampling(self.temperature, self.max_tokens)

    def _line(self, num_pools: int, num_questions: int) -> _Line:
        return _Line((num_pools, num_questions), self.order, self.cap, self.n * num_questions)

    def _flights(self, num_questions: int) -> int:
        """Draws in flight."""
        return max(1, min(self.window, num_questions // 8))

    def solve(self, problem: Problem, rng: np.random.Generator) -> Pooling:
        """Keep the window full; whose draw comes back is looked at again."""
        members = members_of(problem)
        answers: list[list[Answer]] = [[] for _ in members]
        line = self._line(1, len(members))
        flying, most = 0, self._flights(len(members))
        while True:
            while flying < most and (place := int(line.first()[0])) >= 0:
                asked = whole_answers(
                    members[place], 1, self.temperature, self.max_tokens, member=True
                )
                yield Start(asked, tag=place)
                line.begin(_ROW, np.array([place]))
                flying += 1
            if not flying:
                return voted(members, answers)
            try:
                place, drawn = yield Next()
            except OutOfBudget:
                yield Emit(voted(members, answers))  # type: ignore[arg-type]
                raise
            flying -= 1
            answers[place].append(drawn[0].answer)
            _, votes, runner_up = top_two(answers[place])
            line.end(_ROW, *(np.array([value]) for value in (place, votes, runner_up)))

    def replay(self, streams: Streams) -> Replayed:
        """The same line for all pools, one draw of each at a time."""
        *lead, num_questions, num_draws = streams.codes.shape
        if not num_draws:
            return Replayed(drawn=streams.fixed(1), chosen=streams.fixed(1))
        shape = (int(np.prod(lead, dtype=int)), num_questions)
        standing = streams.standing
        votes, runner_up = (
            array.reshape(*shape, num_draws) for array in (standing.votes, standing.runner_up)
        )
        sizes = np.broadcast_to(streams.sizes, (*lead, num_questions)).reshape(shape)
        line, most = self._line(*shape), self._flights(num_questions)
        flights = _Flights(shape[0], most)
        while True:
            place = line.first()
            full = (flights.count == most) | (place < 0)
            rows = np.flatnonzero(full & (flights.count > 0))
            if len(rows):
                back = flights.pop(rows)
                # Beyond its end a stream says nothing: such a pool is not reported.
                at = np.minimum(line.given[rows, back], num_draws) - 1
                line.end(rows, back, votes[rows, back, at], runner_up[rows, back, at])
                place = line.first()
            rows = np.flatnonzero((place >= 0) & (flights.count < most))
            if not len(rows) and not flights.count.any():
                break
            line.begin(rows, place[rows])
            flights.push(rows, place[rows])
        known = (line.given <= sizes).all(axis=1, keepdims=True)
        drawn = np.where(known, line.given, -1).reshape(*lead, num_questions)
        return Replayed(drawn=drawn, chosen=streams.after(standing.leader, drawn))


@dataclass(slots=True)
class _Line:
    """Who is next, in R pools at once.

    Attributes:
        order, cap, budget: see `PoolVote`; the budget in draws.
        given: `[R, P]` draws begun.
        spent: `[R]` draws begun in all.
    """

    shape: tuple[int, int]
    order: Order
    cap: int
    budget: int
    given: IntArray = field(init=False)
    spent: IntArray = field(init=False)
    _keys: list[FloatArray] = field(init=False)
    _closed: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.given, self.spent = np.zeros(self.shape, np.int64), np.zeros(self.shape[0], np.int64)
        self._keys = [np.full(self.shape, _FIRST) for _ in _settled(self.order, self.cap)]
        # 0, or infinity where a draw is on its way or the cap is reached.
        self._closed = np.zeros(self.shape)

    def first(self) -> IntArray:
        """`[R]` the least settled question that may have a draw, -1 where there is none."""
        keys = self._blended() + self._closed
        found = keys.argmin(axis=1)
        may = (keys[np.arange(len(found)), found] < np.inf) & (self.spent < self.budget)
        return np.where(may, found, -1)

    def _blended(self) -> FloatArray:
        if self.order != "blend":
            return self._keys[0]
        late = (self.spent / self.budget)[:, None]
        asc, ppr = (_ranks(keys) for keys in self._keys)
        return np.where(self.given == 0, _FIRST, (1 - late) * asc + late * ppr)

    def begin(self, row: IntArray, question: IntArray) -> None:
        """A draw is on its way: one a question at a time."""
        self.given[row, question] += 1
        self.spent[row] += 1
        self._closed[row, question] = np.inf

    def end(self, row: IntArray, question: IntArray, votes: IntArray, runner_up: IntArray) -> None:
        """A draw has come: the vote now stands at (votes, runner-up)."""
        given = self.given[row, question]
        self._closed[row, question] = np.where(given < self.cap, 0.0, np.inf)
        for keys, table in zip(self._keys, _settled(self.order, self.cap), strict=True):
            keys[row, question] = table[votes, runner_up] + _FEWER_FIRST * given


@lru_cache(maxsize=16)
def _settled(order: Order, cap: int) -> tuple[FloatArray, ...]:
    """How settled a vote is, by the votes of its first two answers: one table, or two to blend."""
    if order == "gain":
        return (-next_gain(cap),)
    asc, ppr = confidences(table_size(cap)), -log_densities(table_size(cap))
    return {"asc": (asc,), "ppr": (ppr,), "blend": (asc, ppr)}[order]


def _ranks(keys: FloatArray) -> IntArray:
    """`[R, P]` rank of each key in its row, from 0; of equal ones the first is lower."""
    return keys.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")


@dataclass(slots=True)
class _Flights:
    """The draws in flight of R pools, oldest first."""

    num_pools: int
    window: int
    count: IntArray = field(init=False)
    _slots: IntArray = field(init=False)
    _oldest: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.count, self._oldest = np.zeros((2, self.num_pools), np.int64)
        self._slots = np.zeros((self.num_pools, self.window), np.int64)

    def push(self, rows: IntArray, questions: IntArray) -> None:
        self._slots[rows, (self._oldest[rows] + self.count[rows]) % self.window] = questions
        self.count[rows] += 1

    def pop(self, rows: IntArray) -> IntArray:
        questions = self._slots[rows, self._oldest[rows]]
        self._oldest[rows] = (self._oldest[rows] + 1) % self.window
        self.count[rows] -= 1
        return questions

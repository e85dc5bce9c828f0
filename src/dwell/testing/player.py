"""A synchronous, in-memory player: runs a strategy against canned replies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from types import GeneratorType
from typing import Any, Literal

import numpy as np

from dwell.errors import OutOfBudget, StrategyError, UsageError
from dwell.protocols import Strategy
from dwell.records import USAGE_KINDS, Answer, Candidate, Problem, Status, Usage
from dwell.requests import Cancel, Emit, Generate, Next, Perturb, Remaining, Run, Start, Verify

Reply = Callable[[Any], Any]
PROBLEM = Problem(id="suite/0", prompt="Q", task="suite", reference="1")
#: Refusals after which a strategy that goes on asking has broken the contract.
_MOST_REFUSALS = 200


@dataclass(frozen=True, kw_only=True)
class Played:
    """What a strategy did.

    Attributes:
        answer: what it returned; after an uncaught `OutOfBudget` the last `Emit`, else the
            plurality of the answers delivered, else None.
        ended: "answer", or "out_of_budget" if it let `OutOfBudget` pass.
        requests: all `Generate`, `Verify`, `Perturb` and `Run` requests, in order of issue.
        emitted: all answers emitted.
        num_yields: how often it could have met the end of the budget: requests, lists and `Next`.
    """

    answer: Answer
    ended: Literal["answer", "out_of_budget"]
    requests: tuple[Any, ...]
    emitted: tuple[Answer, ...]
    num_yields: int


def play(
    strategy: Strategy,
    problem: Problem,
    replies: Sequence[Any] | Reply,
    seed: int = 0,
    *,
    order: Literal["issued", "shuffled"] = "issued",
    stop_at: int | None = None,
    starve: Literal["all", "generate"] = "all",
) -> Played:
    """Run a strategy on one problem with canned replies.

    Started work is done when it is started and delivered by `Next`, oldest first. Lists and
    sub-strategies are served one after the other.

    Args:
        strategy: what to run.
        problem: what to solve; the strategy sees it without its reference.
        replies: a function from a request to its reply, or the replies in the order of requests.
            The reply to a `Generate` is a sequence of `n` candidates or texts (see
            `candidates`), to a `Verify` a sequence of scores.
        seed: seeds the strategy's `rng`, and the shuffling.
        order: "shuffled" delivers started work in random order.
        stop_at: throw `OutOfBudget` at this yield (from 0, see `Played.num_yields`) and at every
            later one; half of the first refused `Generate` is delivered as its `partial`.
        starve: "generate" refuses draws only, as a cap on output tokens does.

    Raises:
        StrategyError: the strategy yielded what is not a request, waited for work that was never
            started, or goes on asking after the budget has ended.
        UsageError: there are too few replies, or a reply has the wrong length.

    Examples:
        >>> from dwell.strategies import make
        >>> play(make("majority", n=3), PROBLEM, [["7", "4", "4"]]).answer
        '4'
    """
    player = _Player(replies, seed, order, stop_at, starve)
    solution = strategy.solve(problem.public(), np.random.default_rng(seed))
    ended: Literal["answer", "out_of_budget"] = "answer"
    try:
        answer = player.drive(solution)
    except OutOfBudget:
        ended = "out_of_budget"
        answer = player.best_so_far()
    return Played(
        answer=answer,
        ended=ended,
        requests=tuple(player.requests),
        emitted=tuple(player.emitted),
        num_yields=player.num_yields,
    )


def candidates(
    request: Generate,
    items: Sequence[Candidate | str],
    *,
    first: int = 0,
    extract: Callable[[str], Answer] | None = None,
) -> tuple[Candidate, ...]:
    """The reply to a `Generate` from texts.

    A text is what the draw adds. It halts at a step if the request asked for steps and the text
    ends with a newline, else at the end. The answer is the last line of the whole text, None if
    that is blank.

    Args:
        request: what was asked.
        items: texts, or candidates that are taken as they are.
        first: index of the first draw.
        extract: another way to find the answer in the whole text.
    """
    made: list[Candidate] = []
    for index, item in enumerate(items, start=first):
        if isinstance(item, str):
            halts = request.until == "step" and item.endswith("\n")
            status: Status = "step" if halts else "end"
            text = request.context.partial + item
            answer = None if halts else (extract or _last_line)(text)
            item = Candidate(request.context, item, status, answer, index, len(item))
        made.append(item)
    return tuple(made)


def _last_line(text: str) -> Answer:
    lines = text.rstrip().splitlines()
    return lines[-1].strip() if lines else None


class _Player:
    """Serves what a strategy yields; one for each run."""

    def __init__(
        self,
        replies: Sequence[Any] | Reply,
        seed: int,
        order: str,
        stop_at: int | None,
        starve: str,
    ) -> None:
        self._reply = replies if callable(replies) else self._in_order(replies)
        self._order, self._stop_at, self._starve = order, stop_at, starve
        self._shuffle = np.random.default_rng([seed, 1])
        self._refusals = 0
        self.requests: list[Any] = []
        self.emitted: list[Answer] = []
        self.delivered: Counter[str] = Counter()
        self.num_yields = 0

    def drive(self, solution: Any) -> Any:
        """Advance a generator function to its end; its return value."""
        pieces: list[tuple[Hashable, Any, OutOfBudget | None]] = []
        reply: Any = None
        error: OutOfBudget | None = None
        while True:
            try:
                item = solution.send(reply) if error is None else solution.throw(error)
            except StopIteration as stop:
                return stop.value
            reply = error = None
            try:
                reply = self._serve(item, pieces)
            except OutOfBudget as refused:
                error = refused

    def best_so_far(self) -> Answer:
        """The last emitted answer, else the plurality of those delivered."""
        if self.emitted and self.emitted[-1] is not None:
            return self.emitted[-1]
        return self.delivered.most_common(1)[0][0] if self.delivered else None

    def _serve(self, item: Any, pieces: list[tuple[Hashable, Any, OutOfBudget | None]]) -> Any:
        match item:
            case Emit():
                self.emitted.append(item.answer)
            case Start():
                pieces.append((item.tag, *self._attempted(item.work)))
            case Next():
                if not pieces:
                    raise StrategyError("`Next` needs started work, but none is outstanding.")
                self.num_yields += 1
                late = self._order == "shuffled"
                tag, reply, error = pieces.pop(
                    int(self._shuffle.integers(len(pieces))) if late else 0
                )
                if error is not None:
                    raise error
                return tag, reply
            case Cancel():
                tags = [tag for tag, _, _ in pieces]
                if item.tag not in tags:
                    raise StrategyError(f"`Cancel` needs outstanding work, but got {item.tag!r}.")
                del pieces[tags.index(item.tag)]
            case Remaining():
                return Usage(**dict.fromkeys(USAGE_KINDS, math.inf))
            case _:
                return self._work(item)
        return None

    def _attempted(self, work: Any) -> tuple[Any, OutOfBudget | None]:
        try:
            return self._work(work), None
        except OutOfBudget as error:
            return None, error

    def _work(self, work: Any) -> Any:
        if isinstance(work, list):
            replies = [self._attempted(item) for item in work]
            errors = [error for _, error in replies if error is not None]
            if errors:
                partial = [r if e is None else e.partial for r, e in replies]
                raise OutOfBudget(errors[0].kind, 0, 0, partial)
            return [reply for reply, _ in replies]
        if isinstance(work, GeneratorType):
            return self.drive(work)
        if not isinstance(work, Generate | Verify | Perturb | Run):
            raise StrategyError(
                "A strategy may yield requests, lists of them and sub-strategies, "
                f"but got {type(work).__name__}."
            )
        return self._request(work)

    def _request(self, request: Generate | Verify | Perturb | Run) -> Any:
        self.num_yields += 1
        self.requests.append(request)
        stopped = self._stop_at is not None and self.num_yields > self._stop_at
        if stopped and (self._starve == "all" or isinstance(request, Generate)):
            raise self._refusal(request)
        reply = self._reply(request)
        if isinstance(request, Generate):
            reply = candidates(request, reply)
            self.delivered.update(c.answer for c in reply if c.answer is not None)
            _check_length("Generate", reply, request.n)
        elif isinstance(request, Verify):
            reply = tuple(float(score) for score in reply)
            _check_length("Verify", reply, len(request.candidates))
        return reply

    def _refusal(self, request: Any) -> OutOfBudget:
        self._refusals += 1
        if self._refusals > _MOST_REFUSALS:
            raise StrategyError("A strategy must stop asking when the budget has ended.")
        partial: Any = ()
        if isinstance(request, Generate) and self._refusals == 1 and request.n > 1:
            partial = candidates(request, self._reply(request))[: request.n // 2]
            self.delivered.update(c.answer for c in partial if c.answer is not None)
        return OutOfBudget("output_tokens", 0, 0, partial)

    @staticmethod
    def _in_order(replies: Sequence[Any]) -> Reply:
        waiting = iter(replies)

        def reply(request: Any) -> Any:
            for item in waiting:
                return item
            raise UsageError(
                f"`replies` must hold one reply per request, but {len(replies)} were used up at "
                f"{request!r}. Give more replies, or a function."
            )

        return reply


def _check_length(kind: str, reply: Sequence[Any], wanted: int) -> None:
    if len(reply) != wanted:
        raise UsageError(
            f"The reply to this `{kind}` must have {wanted} entries, but got {len(reply)}."
        )

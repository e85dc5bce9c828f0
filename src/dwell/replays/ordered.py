"""Strategies that stop by what they see, on random orders of the recorded draws.

R orders without replacement, the same for all strategies (common random numbers); a question's
value is its mean over orders. Charged are the draws used, with the tokens of exactly those draws.
Letters: `R` orders, `P` questions, `N` most draws, `K` budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from dwell.protocols import Strategy
from dwell.recordings import NO_ANSWER, Recording, orders
from dwell.recordings.arrays import FloatArray, IntArray
from dwell.records import USAGE_KINDS
from dwell.replays.asking import EXACT, Asked
from dwell.replays.estimates import CALLS, OUTPUT, USD, VERIFIER, Estimate, mean_of
from dwell.streams import Replayed, Streams

#: Draws in one block of orders; about twenty arrays of this size are in memory at once.
BLOCK = 400_000
T = TypeVar("T", IntArray, FloatArray)


def over_orders(
    asked: Sequence[tuple[Asked, Sequence[int]]],
    recording: Recording,
    *,
    repetitions: int,
    seed: int,
    tick: Callable[[float], None] = lambda share: None,
) -> list[Estimate | None]:
    """Estimates of strategies that say what they do on whole streams; None for the others.

    Args:
        asked: (what, budgets).
        recording: the draws.
        repetitions: R.
        seed: of the orders.
        tick: called with the share that is done, on the way.
    """
    able = [place for place, (one, _) in enumerate(asked) if can_replay(one.strategy)]
    sums = {place: _Sums(recording, asked[place][1]) for place in able}
    if not able:
        return [None] * len(asked)
    names = {name for place in able for name in asked[place][0].strategy.verifiers()}
    for block in _blocks(recording, repetitions, seed, names):
        for number, place in enumerate(list(sums), start=1):
            one, budgets = asked[place]
            # The largest first: a rule that is slow to ask is then asked once.
            for column, budget in reversed(list(enumerate(budgets))):
                replayed = one.at(budget).replay(block.streams)
                if replayed is None:
                    del sums[place]
                    break
                enough = 0 if one.strategy.scale != "n" or one.strategy.pooled else budget
                sums[place].add(column, block, replayed, enough)
            tick(block.before + block.share * number / len(able))
    return [sums[place].estimate() if place in sums else None for place in range(len(asked))]


def can_replay(strategy: Strategy) -> bool:
    """Whether a strategy may say what it does on whole streams."""
    return type(strategy).replay is not Strategy.replay


class _Block:
    """Some of the orders, with the streams that they make.

    Attributes:
        order: `[R, P, N]` places of draws.
        streams: the draws in that order.
        values: `[P, A]` grade of each code.
        before, share: of all orders, what went before and what this is.
        amounts: by place in a usage, `[R, P, N+1]` what the first draws cost together.
    """

    def __init__(
        self, recording: Recording, order: IntArray, names: set[str], part: tuple[float, float]
    ) -> None:
        self.before, self.share = part
        codes, self.values = _answers(recording)
        self.recording, self.order = recording, order
        self.streams = Streams(
            codes=_dealt(codes, order),
            sizes=np.broadcast_to(recording.sizes, order.shape[:2]),
            scores={
                name: _dealt(
                    recording.correct if name == EXACT else recording.columns[name], order
                )
                for name in names
            },
        )
        self.amounts = {
            place: _running(amount, order)
            for place, amount in ((OUTPUT, recording.tokens), (USD, recording.usd))
            if amount is not None
        }


class _Sums:
    """Values and charges of one strategy, summed over orders."""

    def __init__(self, recording: Recording, budgets: Sequence[int]) -> None:
        shape = (len(recording.sizes), len(budgets))
        self.values, self.abstained = np.zeros(shape), np.zeros(shape)
        self.charged = np.full((*shape, len(USAGE_KINDS)), np.nan)
        self.charged[..., [CALLS, VERIFIER]] = 0.0
        self.counts = np.zeros(len(budgets))

    def add(self, column: int, block: _Block, replayed: Replayed, enough: int) -> None:
        """Add one block at one budget; a question needs `enough` recorded draws."""
        drawn = replayed.drawn
        known = (drawn >= 0) & (block.streams.sizes >= enough)
        self.values[:, column] += np.where(known, _grades(block, replayed), np.nan).sum(axis=0)
        silent = np.where(known, replayed.chosen < 0, np.nan)
        self.abstained[:, column] += silent.sum(axis=0)
        self.charged[:, column, CALLS] += np.where(known, drawn, np.nan).sum(axis=0)
        for place, running in block.amounts.items():
            used = np.take_along_axis(running, np.maximum(drawn, 0)[..., None], axis=-1)[..., 0]
            spent = np.where(known, used, np.nan).sum(axis=0)
            before = self.charged[:, column, place] if self.counts[column] else 0.0
            self.charged[:, column, place] = before + spent
        self.counts[column] += len(drawn)

    def estimate(self) -> Estimate:
        """The means over orders; NaN for what was not recorded."""
        return Estimate(
            values=np.clip(self.values / self.counts, 0.0, 1.0),
            charged=self.charged / self.counts[:, None],
            kind="measured",
            estimator="orders",
            abstained=self.abstained / self.counts,
        )


def _blocks(
    recording: Recording, repetitions: int, seed: int, names: set[str]
) -> Iterator[_Block]:
    step = max(1, BLOCK // max(1, recording.correct.size))
    for begin in range(0, repetitions, step):
        count = min(step, repetitions - begin)
        order = orders(recording, count, seed, first=begin)
        yield _Block(recording, order, names, (begin / repetitions, count / repetitions))


def _answers(recording: Recording) -> tuple[IntArray, FloatArray]:
    """Codes `[P, N]` and grades of codes `[P, A]`; without answers each draw is its own."""
    if recording.codes is not None and recording.values is not None:
        return recording.codes, recording.values
    places = np.arange(recording.correct.shape[1])
    within = places < np.asarray(recording.sizes)[:, None]
    return np.where(within, places, NO_ANSWER), recording.correct


def _dealt(table: T, order: IntArray) -> T:
    """`[R, P, N]` a table `[P, N]` in each order."""
    return np.take_along_axis(np.broadcast_to(table, order.shape), order, axis=-1)


def _running(amount: FloatArray, order: IntArray) -> FloatArray:
    """`[R, P, N+1]` running sums in each order; a missing amount counts as its question's mean."""
    filled = np.where(np.isfinite(amount), amount, mean_of(amount)[:, None])
    sums = np.cumsum(_dealt(filled, order), axis=-1)
    return np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums], axis=-1)


def _grades(block: _Block, replayed: Replayed) -> FloatArray:
    """`[R, P]` grade of what was answered: of the draw where one was chosen, 0 for no answer."""
    if replayed.place is not None:
        place = replayed.place
        draw = np.take_along_axis(block.order, np.maximum(place, 0)[..., None], axis=-1)[..., 0]
        found = block.recording.correct[np.arange(draw.shape[-1]), draw]
        return np.where((place >= 0) & (replayed.chosen >= 0), found, 0.0)
    chosen = replayed.chosen
    found = block.values[np.arange(chosen.shape[-1]), np.maximum(chosen, 0)]
    return np.where(chosen >= 0, found, 0.0)

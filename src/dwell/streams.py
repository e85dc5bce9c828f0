"""Streams of whole answers as arrays.

A strategy that only decides when to stop drawing whole answers, and which to give, can be
evaluated on thousands of recorded streams at once: `Strategy.replay`. It must agree with
`Strategy.solve` draw by draw, which `dwell.testing` checks.

Everything that such a strategy looks at is here once: how the vote stands after each draw
(`Streams.standing`), and which draw is best so far (`Streams.best`). Both are computed at first
use and kept, so that many strategies and budgets share them.

Letters: `...` any leading axes (streams), `N` draws, in order, `S` streams in one axis, `A` most
distinct answers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
#: Streams gone through together.
CHUNK = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the vote stands after each draw; the answer seen first wins ties.

    Attributes:
        leader: `[..., N]` code of the leading answer, -1 while there is none.
        votes: `[..., N]` votes of the leader.
        runner_up: `[..., N]` votes of the second.
        distinct: `[..., N]` different answers so far.
        streak: `[..., N]` equal answers in a row, up to and with this draw; 0 at a draw without
            a usable vote.
    """

    leader: IntArray
    votes: IntArray
    runner_up: IntArray
    distinct: IntArray
    streak: IntArray


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Whole answers in the order in which they are drawn.

    Attributes:
        codes: `[..., N]` number of each draw's answer within its question; -1 = no usable vote.
        sizes: `[...]` draws there are; what a stream holds beyond its size means nothing.
        scores: `[..., N]` score of each draw by verifier, NaN = not verified.

    Examples:
        >>> streams = Streams(codes=np.array([[2, 0, 0, -1]]), sizes=np.array([4]))
        >>> streams.standing.leader.tolist(), streams.standing.votes.tolist()
        ([[2, 2, 0, 0]], [[1, 1, 2, 2]])
    """

    codes: IntArray
    sizes: IntArray
    scores: Mapping[str, FloatArray] = field(default_factory=dict)

    def chunks(self) -> Iterator[Streams]:
        """The same streams as `[S, N]`, some thousands at a time, without scores."""
        codes, sizes = _rows(self.votes), self.within.sum(axis=-1).reshape(-1)
        for begin in range(0, len(codes), CHUNK):
            part = slice(begin, begin + CHUNK)
            yield Streams(codes=codes[part], sizes=sizes[part])

    @property
    def length(self) -> int:
        """N, places for draws."""
        return int(self.codes.shape[-1])

    @cached_property
    def within(self) -> BoolArray:
        """`[..., N]` whether a place holds a draw."""
        return np.arange(self.length) < np.asarray(self.sizes)[..., None]

    @cached_property
    def votes(self) -> IntArray:
        """`[..., N]` codes, -1 beyond a stream's size too."""
        return np.where(self.within, self.codes, -1)

    @cached_property
    def standing(self) -> Standing:
        """How the vote stands after each draw."""
        return _standing(self.votes)

    @cached_property
    def stops(self) -> dict[Hashable, BoolArray]:
        """Where rules that are slow to ask would stop, kept for other budgets of the same rule."""
        return {}

    def profiles(self) -> Iterator[IntArray]:
        """After each draw, how many answers have v votes: `[..., N+1]`, v = 0 is left at 0.

        The array is the same one each time, changed in place.
        """
        shape = self.votes.shape
        columns = _columns(self.votes)
        rows = np.arange(columns.shape[1])
        counts = _no_votes(columns, len(rows))
        profile = np.zeros((len(rows), self.length + 1), np.int64)
        for code in columns:
            usable = code >= 0
            before = counts[rows, code]
            counts[rows, code] = before + usable
            profile[rows, before] -= usable
            profile[rows, before + usable] += usable
            profile[:, 0] = 0
            yield profile.reshape(*shape[:-1], self.length + 1)

    def scores_of(self, verifier: str) -> FloatArray:
        """`[..., N]` scores by a verifier; NaN where a draw has no usable vote.

        Raises:
            UsageError: there are no scores of that name.
        """
        if verifier not in self.scores:
            known = ", ".join(sorted(self.scores)) or "none"
            raise UsageError(
                f"A strategy needs the scores of its verifier, but {verifier!r} was not recorded "
                f"(recorded: {known}). Name a recorded score, or leave the strategy out."
            )
        return np.where(self.votes >= 0, self.scores[verifier], np.nan)

    def best(self, verifier: str) -> IntArray:
        """`[..., N]` place of the best draw so far; -1 while there is no usable answer.

        The first of equal scores; NaN ranks below every number and counts only where all are NaN.

        Raises:
            UsageError: as `scores_of`.
        """
        if verifier not in self._best:
            self._best[verifier] = _best_places(self.votes >= 0, self.scores_of(verifier))
        return self._best[verifier]

    @cached_property
    def _best(self) -> dict[str, IntArray]:
        return {}

    def drawn(self, stops: BoolArray, n: int) -> IntArray:
        """`[...]` draws used by a strategy that looks after each draw, and makes at most n.

        Args:
            stops: `[..., K]` whether it would stop after each draw, at least the first n or N.
            n: most draws.

        Returns:
            The first stop, else n; -1 where the stream ends before.
        """
        early = stops[..., :n] & self.within[..., :n]
        stopped = early.any(axis=-1)
        first = early.argmax(axis=-1) + 1 if early.shape[-1] else np.zeros(stopped.shape, int)
        whole = np.where(np.asarray(self.sizes) >= n, n, -1)
        return np.where(stopped, first, whole).astype(np.int64)

    def fixed(self, n: int) -> IntArray:
        """`[...]` n, or -1 where a stream has fewer draws."""
        return np.where(np.asarray(self.sizes) >= n, n, -1).astype(np.int64)

    @staticmethod
    def after(values: IntArray, drawn: IntArray) -> IntArray:
        """`[...]` what `values` `[..., N]` are after `drawn` draws; -1 where drawn is below 1."""
        if not values.shape[-1]:
            return np.full(drawn.shape, -1, np.int64)
        place = np.maximum(drawn, 1)[..., None] - 1
        found = np.take_along_axis(values, place, axis=-1)[..., 0]
        return np.where(drawn > 0, found, -1).astype(np.int64)

    def codes_at(self, place: IntArray) -> IntArray:
        """`[...]` codes of the draws at places `[...]`; -1 for place -1."""
        return self.after(self.votes, place + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a strategy made of streams.

    Attributes:
        drawn: `[...]` draws used (all of them charged); -1 where the stream was too short to say.
        chosen: `[...]` code of the answer given; -1 = none (it abstained, or nothing parsed).
        place: `[...]` which draw was chosen, for strategies that choose a draw; None for those
            that choose an answer.
    """

    drawn: IntArray
    chosen: IntArray
    place: IntArray | None = None


def _columns(codes: IntArray) -> IntArray:
    """`[N, S]` draw by draw, each draw of all streams together in memory."""
    return np.ascontiguousarray(_rows(codes).T)


def _rows(codes: IntArray) -> IntArray:
    """`[S, N]` all streams in one axis."""
    return codes.reshape(int(np.prod(codes.shape[:-1])), codes.shape[-1])


def _no_votes(columns: IntArray, num_streams: int) -> IntArray:
    """`[S, A+1]` zeros; the last column is where -1 points, and stays 0."""
    return np.zeros((num_streams, int(columns.max(initial=-1)) + 2), np.int64)


def _standing(codes: IntArray) -> Standing:
    """The standing of all streams, some thousands at a time: their counts stay in cache."""
    flat = _rows(codes)
    kept = {name: np.empty(flat.shape, np.int64) for name in Standing.__slots__}
    for begin in range(0, len(flat), CHUNK):
        part = slice(begin, begin + CHUNK)
        _follow(flat[part], {name: array[part] for name, array in kept.items()})
    return Standing(**{name: array.reshape(codes.shape) for name, array in kept.items()})


def _follow(codes: IntArray, kept: Mapping[str, IntArray]) -> None:
    """Fill `[S, N]` standings: a loop over draws, arrays over streams."""
    columns = _columns(codes)
    rows = np.arange(columns.shape[1])
    counts = _no_votes(columns, len(rows))
    born = np.zeros_like(counts)
    leader = previous = np.full(len(rows), -1)
    votes, runner_up, distinct, streak = np.zeros((4, len(rows)), np.int64)
    for t, code in enumerate(columns):
        usable = code >= 0
        count = counts[rows, code] + usable
        counts[rows, code] = count
        fresh = usable & (count == 1)
        born[rows[fresh], code[fresh]] = t
        other = usable & (code != leader)
        # Seen first wins ties: who draws level with the leader passes it if it is older.
        older = born[rows, code] < born[rows, leader]
        ahead = other & ((count > votes) | ((count == votes) & older))
        second = np.where(other, np.maximum(runner_up, count), runner_up)
        runner_up = np.where(ahead, votes, second)
        votes = np.where(ahead | (usable & ~other), count, votes)
        leader = np.where(ahead, code, leader)
        distinct = distinct + fresh
        streak = np.where(usable, np.where(code == previous, streak + 1, 1), 0)
        previous = code
        now = {"leader": leader, "votes": votes, "runner_up": runner_up,
               "distinct": distinct, "streak": streak}  # fmt: skip
        for name, array in now.items():
            kept[name][:, t] = array


def _best_places(usable: BoolArray, scores: FloatArray) -> IntArray:
    """Place of the highest score so far among usable draws."""
    if not scores.shape[-1]:
        return np.zeros(scores.shape, np.int64)
    # A score of minus infinity is a score: it must still beat NaN.
    low = np.finfo(np.float64).min
    ranks = np.where(np.isnan(scores), -np.inf, np.maximum(scores, low))
    highest = np.maximum.accumulate(ranks, axis=-1)
    before = np.concatenate([np.full_like(highest[..., :1], -np.inf), highest[..., :-1]], axis=-1)
    first = usable & (np.cumsum(usable, axis=-1) == 1)
    places = np.where(usable & ((ranks > before) | first), np.arange(scores.shape[-1]), -1)
    return np.maximum.accumulate(places, axis=-1)

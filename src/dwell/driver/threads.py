"""How a strategy's concurrent work waits: threads, joins and started pieces.

A thread is a generator function in progress. A join collects the replies of a list. A piece is
work begun with `Start`. None of them knows what a request means or costs; the host does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, Protocol

from dwell.budget import Meter
from dwell.errors import DwellError, OutOfBudget, StrategyError
from dwell.records import Answer, Candidate, Draw, Usage
from dwell.requests import Cancel, Emit, Next, Remaining, Request, Start

Order = Literal["issued", "finished"]


class KeyRef(Protocol):
    """A key as the driver knows it: its hash names the draws of one request."""

    hash: bytes

    def candidate(self, index: int, draw: Draw) -> Candidate:
        """Draw `index` as the candidate that strategies see."""
        ...

    def prompt_cost(self, prompt_tokens: int) -> Usage:
        """What reading the prompt costs, if the source shares prefixes; else nothing."""
        ...


class Owner(Protocol):
    """Whoever takes a reply: a thread, a join of several replies, or a started piece."""

    @property
    def dropped(self) -> bool:
        """Whether nobody waits for the reply any more: it is charged, and goes nowhere."""
        ...

    def accept(self, slot: int, reply: Any, error: DwellError | None, clock: float) -> None:
        """Take the reply of one slot, or the error that ended it, at a modelled time."""
        ...


class Unit:
    """One request on its way: the draws it needs, and whom the reply goes to."""

    __slots__ = ("clock", "draws", "first", "keys", "missing", "owner", "request", "seq", "slot")

    def __init__(self, seq: int, request: Request, owner: Owner, slot: int, clock: float) -> None:
        self.seq = seq
        self.request = request
        self.owner = owner
        self.slot = slot
        self.clock = clock
        self.keys: Sequence[KeyRef] = ()
        self.first: Sequence[int] = ()
        self.draws: list[Draw | None] = []
        self.missing = 0


class Host(Protocol):
    """The run that threads belong to."""

    order: Order
    meter: Meter

    def begin(self, work: Any, owner: Owner, slot: int, clock: float) -> Thread | None:
        """Issue a request, a list or a sub-strategy; its reply goes to `owner`."""
        ...

    def passed(self, thread: Thread) -> None:
        """Note that a thread goes on."""
        ...

    def emitted(self, answer: Answer, confidence: float | None) -> None:
        """Note the best answer so far, and how sure the strategy is of it."""
        ...

    def next_completion(self) -> int:
        """A number that orders the completions of started work."""
        ...


class Join:
    """Collects the replies of concurrent work, then passes the list on."""

    __slots__ = ("clock", "error", "left", "owner", "replies", "slot")

    def __init__(self, owner: Owner, slot: int, size: int) -> None:
        self.owner, self.slot, self.left = owner, slot, size
        self.replies: list[Any] = [None] * size
        self.error: DwellError | None = None
        self.clock = 0.0

    @property
    def dropped(self) -> bool:
        """Whether the list is for nobody."""
        return self.owner.dropped

    def accept(self, slot: int, reply: Any, error: DwellError | None, clock: float) -> None:
        """Keep one reply; pass the list on when it is whole."""
        self.left -= 1
        self.clock = max(self.clock, clock)
        self.error = self.error or error
        self.replies[slot] = reply if error is None else getattr(error, "partial", None)
        if self.left:
            return
        if isinstance(self.error, OutOfBudget):
            first = self.error
            self.error = OutOfBudget(first.kind, first.used, first.limit, self.replies)
        self.owner.accept(self.slot, self.replies, self.error, self.clock)


class Piece:
    """Work begun with `Start`: done when its reply is here."""

    __slots__ = ("cancelled", "clock", "done", "error", "order", "reply", "tag", "thread", "work")

    def __init__(self, thread: Thread, tag: Hashable) -> None:
        self.thread, self.tag = thread, tag
        self.done = self.cancelled = False
        self.order = 0
        self.reply: Any = None
        self.error: DwellError | None = None
        self.clock = 0.0
        self.work: Thread | None = None

    @property
    def dropped(self) -> bool:
        """Whether it was cancelled, or its thread given up."""
        return self.cancelled or self.thread.dropped

    def cancel(self) -> None:
        """Drop the reply when it comes, and ask nothing more."""
        self.cancelled = True
        if self.work is not None:
            self.work.close()

    def accept(self, slot: int, reply: Any, error: DwellError | None, clock: float) -> None:
        """Keep the reply until `Next` takes it."""
        self.done, self.reply, self.error, self.clock = True, reply, error, clock
        if not self.dropped:
            self.thread.piece_done(self)


class Thread:
    """A generator function in progress, with the pieces of work that it started."""

    __slots__ = (
        "answered", "asking", "clock", "closed", "gen", "owner", "pieces", "session", "slot",
        "waiting",
    )  # fmt: skip

    def __init__(self, session: Host, gen: Any, owner: Owner, slot: int, clock: float) -> None:
        self.session, self.gen, self.owner, self.slot = session, gen, owner, slot
        self.clock = clock
        self.pieces: list[Piece] = []
        self.waiting = self.asking = False
        self.answered: tuple[Any, DwellError | None] | None = None
        self.closed = False

    @property
    def dropped(self) -> bool:
        """Whether it has ended, or whoever waited for it was given up."""
        return self.closed or self.owner.dropped

    def accept(self, slot: int, reply: Any, error: DwellError | None, clock: float) -> None:
        """Send the reply into the generator function, unless it was given up."""
        self.clock = max(self.clock, clock)
        if self.dropped:
            return
        self.session.passed(self)
        if self.asking:  # answered at once: the loop in `advance` goes on, not a deeper one
            self.answered = (reply, error)
        else:
            self.advance(reply, error)

    def piece_done(self, piece: Piece) -> None:
        """Deliver a piece that `Next` waits for."""
        piece.order = self.session.next_completion()
        if self.waiting and (found := self._next_piece()) is not None:
            self.waiting = False
            self.pieces.remove(found)
            self.accept(0, (found.tag, found.reply), found.error, found.clock)

    def _next_piece(self) -> Piece | None:
        """The piece that `Next` delivers now: the oldest, or the first that finished."""
        if self.session.order == "issued":
            return self.pieces[0] if self.pieces and self.pieces[0].done else None
        done = [piece for piece in self.pieces if piece.done]
        return min(done, key=lambda piece: piece.order) if done else None

    def advance(self, reply: Any, error: DwellError | None) -> None:
        """Send replies until the generator function waits for work, or ends."""
        while True:
            try:
                wanted = self.gen.send(reply) if error is None else self.gen.throw(error)
            except StopIteration as stop:
                self.closed = True
                self.owner.accept(self.slot, stop.value, None, self.clock)
                return
            except OutOfBudget as unhandled:
                self.closed = True
                self.owner.accept(self.slot, None, unhandled, self.clock)
                return
            reply, error = None, None
            if isinstance(wanted, Next):
                piece = self._take_next()
                if piece is None:
                    return
                self.clock = max(self.clock, piece.clock)
                reply, error = (piece.tag, piece.reply), piece.error
            elif isinstance(wanted, Start | Cancel | Emit | Remaining):
                reply = self._control(wanted)
            elif isinstance(wanted, list) and not wanted:
                reply = []
            else:
                self.asking = True
                self.session.begin(wanted, self, 0, self.clock)
                self.asking = False
                if self.answered is None:
                    return
                (reply, error), self.answered = self.answered, None

    def _take_next(self) -> Piece | None:
        if not self.pieces:
            raise StrategyError("`Next` needs a started piece of work, but none is outstanding.")
        piece = self._next_piece()
        if piece is None:
            self.waiting = True
        else:
            self.pieces.remove(piece)
        return piece

    def _control(self, wanted: Start | Cancel | Emit | Remaining) -> Any:
        match wanted:
            case Start():
                piece = Piece(self, wanted.tag)
                self.pieces.append(piece)
                piece.work = self.session.begin(wanted.work, piece, 0, self.clock)
            case Cancel():
                found = [piece for piece in self.pieces if piece.tag == wanted.tag]
                if not found:
                    raise StrategyError(
                        f"`Cancel` needs the tag of outstanding work, but got {wanted.tag!r}."
                    )
                self.pieces.remove(found[0])
                found[0].cancel()
            case Emit():
                self.session.emitted(wanted.answer, wanted.confidence)
            case Remaining():
                return self.session.meter.remaining()
        return None

    def close(self) -> None:
        """Stop asking; what is on its way is still charged when it arrives."""
        self.closed = True
        self.gen.close()
        for piece in self.pieces:
            piece.cancel()

"""Training traces: worked solutions with designed careless slips and designed second passes.

Two properties of the models are decided here and are no discovery about language models:

* Chain traces carry careless slips, at a rate per step that grows with the number of
  operations, and the slip is carried on. So a model that learns them perfectly is wrong at
  random, and voting over samples works. The rate sets one-sample accuracy directly.
* Some traces hold wrong passes, each followed by the marker `W`, and then a more careful
  pass. So forcing the marker means "do it again", and it helps, by construction.

A trace is a list of (text, learn) pieces: text with learn = False is read, not learned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dwell.tasks.base import Split, split_of
from dwell.tasks.chain import ChainTask, apply_operator, parse_chain
from dwell.tasks.countdown import (
    CountdownTask,
    Step,
    random_solution,
    solve_at_random,
)
from vocabulary import EOS_ID, encode

Pieces = list[tuple[str, bool]]

MARKER = "W\n"
MAX_TRACE_TOKENS = 250

CHAIN_REDO_SHARE = 0.20
CHAIN_REDO_MAX_LEVEL = 8
COUNTDOWN_REDO_SHARE = 0.15
#: Among redo traces: share whose first pass is right all the same (its marker is not learned).
NEEDLESS_REDO_SHARE = 0.20
#: Among redo traces: shares of one, two and three markers.
MARKER_COUNT_SHARES = (0.55, 0.30, 0.15)
SECOND_PASS_SLIP_FACTOR = 1 / 3

#: How often each level is shown.
CHAIN_LEVEL_WEIGHTS = {
    1: 1.0, 2: 1.5, 3: 2.0, 4: 2.0, 5: 2.0, 6: 2.0, 7: 2.0, 8: 2.0,
    9: 0.8, 10: 0.8, 11: 0.7, 12: 0.7, 13: 0.6, 14: 0.6,
}  # fmt: skip
COUNTDOWN_LEVEL_WEIGHTS = {2: 0.8, 3: 3.5, 4: 4.5, 5: 1.2}

_CHAIN = ChainTask()
_COUNTDOWN = CountdownTask()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One training example: token ids, and which of them are learned."""

    ids: list[int]
    learn: list[bool]
    task: str


def slip_rate(level: int) -> float:
    """Returns the designed probability of a careless slip per chain step.

    `0.04 + 0.01 * level`: one-sample accuracy `(1 - rate) ** level` is .95 for one
    operation, .58 for five and .06 for fourteen.
    """
    return 0.04 + 0.01 * level


def _slipped(rng: np.random.Generator, value: int) -> int:
    """Returns another value in 0..99: one digit changed (three in four), or any."""
    while True:
        kind = rng.random()
        if kind < 0.375:
            other = value // 10 * 10 + int(rng.integers(10))
        elif kind < 0.75:
            other = value % 10 + 10 * int(rng.integers(10))
        else:
            other = int(rng.integers(100))
        if other != value:
            return other


def chain_pass(
    rng: np.random.Generator, prompt: str, rate: float, *, learn_slips: bool
) -> tuple[Pieces, bool]:
    """Returns one worked pass over a chain, and whether its answer is right."""
    value, terms = parse_chain(prompt)
    pieces: Pieces = []
    slips = rng.random(len(terms)).tolist()
    for (operator, operand), slip in zip(terms, slips, strict=True):
        right = apply_operator(value, operator, operand)
        written = _slipped(rng, right) if slip < rate else right
        pieces.append((f"{value}{operator}{operand}=", True))
        pieces.append((str(written), learn_slips or written == right))
        pieces.append(("\n", True))
        value = written
    pieces.append((f"A{value}\n", True))
    return pieces, str(value) == _CHAIN.reference(prompt)


def chain_pieces(
    rng: np.random.Generator, prompt: str, level: int, slip_scale: float = 1.0
) -> Pieces:
    """Returns a chain trace: one careless pass, or several with markers between them."""
    rate = slip_scale * slip_rate(level)
    redo = rng.random() < CHAIN_REDO_SHARE and level <= CHAIN_REDO_MAX_LEVEL
    if not redo:
        return chain_pass(rng, prompt, rate, learn_slips=True)[0]
    last, _ = chain_pass(rng, prompt, rate * SECOND_PASS_SLIP_FACTOR, learn_slips=True)
    num_markers = 1 + int(rng.choice(3, p=MARKER_COUNT_SHARES))
    want_right = rng.random() < NEEDLESS_REDO_SHARE
    pieces: Pieces = []
    room = MAX_TRACE_TOKENS - len(prompt) - _length(last)
    for _ in range(num_markers):
        while True:
            # A wrong first pass is found by trying with a higher rate until a slip lands.
            tried = 0.0 if want_right else max(rate, 0.7 / level)
            passed, right = chain_pass(rng, prompt, tried, learn_slips=False)
            if right == want_right:
                break
        passed.append((MARKER, not right))
        room -= _length(passed)
        if room < 0:
            break
        pieces += passed
        want_right = rng.random() < NEEDLESS_REDO_SHARE
    return pieces + last


def _countdown_text(steps: list[Step], remains: list[list[int]]) -> str:
    lines = []
    for (left, operator, right, result), at_hand in zip(steps, remains, strict=True):
        rest = "," + " ".join(map(str, at_hand)) if len(at_hand) > 1 else ""
        lines.append(f"{left}{operator}{right}={result}{rest}\n")
    return "".join(lines)


def _wrong_countdown_text(rng: np.random.Generator, numbers: list[int], target: int) -> str | None:
    """Returns a pass that misses the target, or hits it by a false result."""
    for _ in range(20):
        found = random_solution(rng, numbers)
        if found is None or found[1][-1][0] == target:
            continue
        steps, remains = found
        if rng.random() < 0.6:
            left, operator, right, result = steps[-1]
            if rng.random() < 0.5 and abs(result - target) > 15:
                continue  # false results of a model are mostly near misses
            steps[-1] = (left, operator, right, target)
        return _countdown_text(steps, remains)
    return None  # for instance 12 and 12, which reach nothing but 24


def countdown_pieces(
    rng: np.random.Generator,
    prompt_numbers: list[int],
    steps: list[Step],
    remains: list[list[int]],
) -> Pieces:
    """Returns a countdown trace: the solution, or wrong passes, markers and the solution.

    Wrong passes are read and not learned; only the marker after them is.
    """
    solution = _countdown_text(steps, remains)
    if rng.random() >= COUNTDOWN_REDO_SHARE:
        return [(solution, True)]
    target = remains[-1][0]
    room = MAX_TRACE_TOKENS - 20 - len(solution)  # a prompt has at most 18 tokens
    pieces: Pieces = []
    for _ in range(1 + int(rng.choice(3, p=MARKER_COUNT_SHARES))):
        right = rng.random() < NEEDLESS_REDO_SHARE
        text = solution if right else _wrong_countdown_text(rng, prompt_numbers, target)
        if text is None or room < len(text) + len(MARKER):
            break
        room -= len(text) + len(MARKER)
        pieces += [(text, False), (MARKER, not right)]
    return [*pieces, (solution, True)]


def _length(pieces: Pieces) -> int:
    return sum(len(text) for text, _ in pieces)


def _as_trace(prompt: str, pieces: Pieces, task: str) -> Trace:
    ids = encode(prompt)
    learn = [False] * len(ids)
    for text, is_learned in pieces:
        ids += encode(text)
        learn += [is_learned] * len(text)
    return Trace(ids=[*ids, EOS_ID], learn=[*learn, True], task=task)


class TraceStream:
    """An endless stream of traces, decided by its random generator.

    Args:
        rng: Source of all choices.
        countdown_share: Share of traces (not tokens) that are countdown.
        slip_scale: Factor on the designed rate of slips.
        split: The side of the problem hash to draw from.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        countdown_share: float,
        slip_scale: float = 1.0,
        split: Split = "train",
    ) -> None:
        self._rng = rng
        self._slip_scale = slip_scale
        self._countdown_share = countdown_share
        self._split = split
        self._chain_levels, self._chain_shares = _normalised(CHAIN_LEVEL_WEIGHTS)
        self._countdown_levels, self._countdown_shares = _normalised(COUNTDOWN_LEVEL_WEIGHTS)

    def draw(self, count: int) -> list[Trace]:
        """Returns the next `count` traces."""
        rng = self._rng
        chain_levels = rng.choice(self._chain_levels, size=count, p=self._chain_shares)
        countdown_levels = rng.choice(self._countdown_levels, size=count, p=self._countdown_shares)
        is_countdown = rng.random(count) < self._countdown_share
        return [
            self._countdown(int(countdown_levels[k]))
            if is_countdown[k]
            else self._chain(int(chain_levels[k]))
            for k in range(count)
        ]

    def _chain(self, level: int) -> Trace:
        while True:
            prompt = _CHAIN.generate(self._rng, level)
            if split_of(_CHAIN.canonical(prompt)) == self._split:
                pieces = chain_pieces(self._rng, prompt, level, self._slip_scale)
                return _as_trace(prompt, pieces, "chain")

    def _countdown(self, level: int) -> Trace:
        while True:
            numbers, steps, remains = solve_at_random(self._rng, level)
            prompt = f"G{' '.join(map(str, numbers))}>{remains[-1][0]}\n"
            if split_of(_COUNTDOWN.canonical(prompt)) == self._split:
                pieces = countdown_pieces(self._rng, numbers, steps, remains)
                return _as_trace(prompt, pieces, "countdown")


def _normalised(weights: dict[int, float]) -> tuple[list[int], np.ndarray]:
    shares = np.array(list(weights.values()))
    return list(weights), shares / shares.sum()

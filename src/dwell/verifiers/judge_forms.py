"""The four ways in which a judge is asked, each as a loop in the order of its paper.

A form is a generator function: it yields the questions of one judgement at once, is sent their
replies, and returns scores in `[0, 1]`, one for each text. It knows no model and no account.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeAlias, TypeVar

import numpy as np

from dwell.records import Draw
from dwell.verifiers.base import NOT_VERIFIED
from dwell.verifiers.judge_prompts import (
    GUARD,
    Kind,
    Scale,
    fenced,
    mark_for,
    render,
    request_for,
)
from dwell.verifiers.judge_verdicts import (
    Preference,
    prob_true,
    read_preference,
    read_ranking,
    read_score,
    read_yes_no,
    verdict_nats,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a judge asks; see `Judge` for each.

    Attributes:
        kind: one of the four forms.
        scale: what a single answer is given.
        template: the prompt, with its places.
        criteria: what counts, for the prompt.
        votes: how often each question is asked.
        max_pairs: most pairs of a pairwise judgement; None = all.
    """

    kind: Kind
    scale: Scale
    template: str
    criteria: str
    votes: int
    max_pairs: int | None


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt, and how many independent replies to it are wanted."""

    prompt: str
    n: int = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be judged: the problem's text, the candidates' texts, and whether unfinished."""

    problem: str
    texts: tuple[str, ...]
    prefix: bool = False


@dataclass(slots=True)
class Verdict:
    """What came of one judgement.

    Attributes:
        scores: one for each text, NaN = not verified.
        notes: for each text, what the judge said of it.
        unreadable: replies that hold no verdict; failed ones are not among them.
    """

    scores: list[float]
    notes: list[str] = field(default_factory=list)
    unreadable: int = 0


Replies: TypeAlias = list[Sequence[Draw]]
Judging: TypeAlias = Generator[list[Question], Replies, Verdict]


def pointwise(manner: Manner, shown: Shown, rng: np.random.Generator) -> Judging:
    """The score of one text: the mean of the readable ones, or P(True).

    Deterministic: `rng` is not used.
    """
    assert len(shown.texts) == 1
    prompt = _prompt(manner, shown, {"answer": ("answer", shown.texts[0])})
    (replies,) = yield [Question(prompt, manner.votes)]
    written = [draw for draw in replies if draw.status != "failed"]
    notes = ["\n---\n".join(draw.text for draw in written)]
    if manner.scale == "ten":
        scores = [s for draw in written if (s := _whole(draw, read_score)) is not None]
        value = float(np.mean(scores)) if scores else NOT_VERIFIED
        return Verdict([value], notes, len(written) - len(scores))
    direct = manner.kind == "pointwise"
    found = [
        (said, verdict_nats(draw) if direct else None)
        for draw in written
        # one word cannot be cut into another: a cap of one token is the usual way to ask for it
        if (said := read_yes_no(draw.text) if direct else _whole(draw, read_yes_no)) is not None
    ]
    value = prob_true([v for v, _ in found], [n for _, n in found]) if found else NOT_VERIFIED
    return Verdict([value], notes, len(written) - len(found))


def pairwise(manner: Manner, shown: Shown, rng: np.random.Generator) -> Judging:
    """Shares of comparisons won, a tie counting half; each pair is read in both orders.

    A pair is won only where both orders name the same text; where they disagree it is a tie, so
    a judge that always prefers a place says nothing. Where one order cannot be read, the pair is
    left out. Equal texts tie unasked.

    Args:
        manner: how to ask.
        shown: at least two texts.
        rng: decides which pairs are compared, where not all are.
    """
    texts = shown.texts
    pairs = choose_pairs(len(texts), manner.max_pairs, rng)
    asked = [(i, j) for i, j in pairs if texts[i] != texts[j]]
    questions = [
        Question(
            _prompt(manner, shown, {"first": ("A", texts[a]), "second": ("B", texts[b])}),
            manner.votes,
        )
        for i, j in asked
        for a, b in ((i, j), (j, i))
    ]
    replies = (yield questions) if questions else []
    won, judged = np.zeros(len(texts)), np.zeros(len(texts))
    notes: list[list[str]] = [[] for _ in texts]
    unreadable = 0

    def count(i: int, j: int, share: float) -> None:
        for place, other, part in ((i, j, share), (j, i, 1.0 - share)):
            won[place] += part
            judged[place] += 1
            word = {1.0: "beats", 0.0: "loses to"}.get(part, "ties")
            notes[place].append(f"{word} {other + 1}")

    for i, j in pairs:
        for _ in range(manner.votes if texts[i] == texts[j] else 0):
            count(i, j, 0.5)
    for (i, j), forth, back in zip(asked, replies[::2], replies[1::2], strict=True):
        for one, two in zip(forth, back, strict=True):
            said: Preference | None = _whole(one, read_preference)
            swapped: Preference | None = _whole(two, read_preference)
            unreadable += sum(
                word is None and draw.status != "failed"
                for word, draw in ((said, one), (swapped, two))
            )
            if said is not None and swapped is not None:
                count(i, j, share_of_first(said, swapped))
    shares = np.divide(won, judged, out=np.full(len(texts), NOT_VERIFIED), where=judged > 0)
    return Verdict(shares.tolist(), [", ".join(one) for one in notes], unreadable)


def share_of_first(said: Preference, swapped: Preference) -> float:
    """The share of a comparison that goes to the text shown first in the first order.

    1 or 0 where both orders name the same text, else 0.5: ties and disagreements alike.
    """
    if (said, swapped) == ("first", "second"):
        return 1.0
    return 0.0 if (said, swapped) == ("second", "first") else 0.5


def choose_pairs(count: int, most: int | None, rng: np.random.Generator) -> list[tuple[int, int]]:
    """All pairs ``i < j`` of `count` texts, or as many as allowed, evenly spread.

    A limited choice plays the first rounds of a shuffled round-robin (the circle method): in a
    round every text meets one other, so the numbers that two texts meet differ by two at most.
    """
    if most is None or most >= count * (count - 1) // 2:
        return list(combinations(range(count), 2))
    players: list[int | None] = list(map(int, rng.permutation(count)))
    players += [None] * (count % 2)
    half = len(players) // 2
    pairs: list[tuple[int, int]] = []
    while len(pairs) < most:
        for a, b in zip(players[:half], reversed(players[half:]), strict=True):
            if a is not None and b is not None:
                pairs.append((min(a, b), max(a, b)))
        players.insert(1, players.pop())
    return pairs[:most]


def group(manner: Manner, shown: Shown, rng: np.random.Generator) -> Judging:
    """Mean points of each text over rankings of all, each in an order of its own.

    Args:
        manner: how to ask; `votes` rankings.
        shown: at least two texts.
        rng: shuffles the texts before each ranking.
    """
    texts, count = shown.texts, len(shown.texts)
    orders = [rng.permutation(count).tolist() for _ in range(manner.votes)]
    mark = _mark(shown)
    questions = []
    for order in orders:
        numbered = [fenced(f"answer {n}", texts[i], mark) for n, i in enumerate(order, start=1)]
        questions.append(
            Question(_filled(manner, shown, mark, {"answers": "\n\n".join(numbered)}))
        )
    replies = yield questions
    points: list[list[float]] = [[] for _ in texts]
    unreadable = 0
    for order, (draw,) in zip(orders, replies, strict=True):
        found = _whole(draw, lambda text: read_ranking(text, count))
        unreadable += found is None and draw.status != "failed"
        for place, one in zip(order, found or (), strict=found is not None):
            points[place].append(one)
    scores = [float(np.mean(one)) if one else NOT_VERIFIED for one in points]
    return Verdict(scores, [", ".join(f"{p:.3g}" for p in one) for one in points], unreadable)


FORMS: Mapping[Kind, Callable[[Manner, Shown, np.random.Generator], Judging]] = {
    "pointwise": pointwise,
    "critique": pointwise,
    "pairwise": pairwise,
    "group": group,
}


def _whole(draw: Draw, read: Callable[[str], T | None]) -> T | None:
    """A verdict, unless the text failed or was cut off: "Score: 1" may have begun a 10."""
    return None if draw.status in ("failed", "cap") else read(draw.text)


def _mark(shown: Shown) -> str:
    return mark_for((shown.problem, *shown.texts))


def _prompt(manner: Manner, shown: Shown, parts: Mapping[str, tuple[str, str]]) -> str:
    mark = _mark(shown)
    values = {place: fenced(label, text, mark) for place, (label, text) in parts.items()}
    return _filled(manner, shown, mark, values)


def _filled(manner: Manner, shown: Shown, mark: str, values: Mapping[str, str]) -> str:
    from_us = {
        "problem": fenced("problem", shown.problem, mark),
        "criteria": manner.criteria,
        "guard": GUARD,
        "ask": request_for(manner.kind, manner.scale, prefix=shown.prefix),
    }
    return render(manner.template, {**from_us, **values})

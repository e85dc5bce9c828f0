"""Verdicts read from what a judge wrote: strict, and None where there is none.

The verdict is the last line that is not empty, and must be nothing but the verdict; what was
written before it (a critique, a chain of thought) is never searched for one. A text that cannot
be read this way is "not verified", never a middling score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dwell.records import Draw

Preference = Literal["first", "second", "tie"]

_OPEN, _CLOSE = r"[\s*_#>\[(\"'`]*", r"[\s*_.!\])\"'`]*"
_SCORE = re.compile(
    rf"{_OPEN}(?:(?:final\s+)?(?:score|rating|verdict){_CLOSE}\s*[:=]?\s*)?{_OPEN}"
    rf"(\d{{1,2}}(?:\.\d+)?){_CLOSE}(?:(?:/|out of)\s*10)?{_CLOSE}",
    re.IGNORECASE,
)
_YES_NO = re.compile(
    rf"{_OPEN}(?:(?:final\s+)?(?:answer|verdict|correct){_CLOSE}\s*[:=]?\s*)?{_OPEN}"
    rf"(yes|no){_CLOSE}",
    re.IGNORECASE,
)
_PREFERENCE = re.compile(
    rf"{_OPEN}(?:(?:final\s+)?(?:winner|verdict|better){_CLOSE}\s*[:=]?\s*)?{_OPEN}"
    rf"(?:answer\s+)?(A|B|C|TIE){_CLOSE}",
    re.IGNORECASE,
)
_RANKING = re.compile(
    rf"{_OPEN}(?:(?:final\s+)?ranking{_CLOSE}\s*[:=]\s*)?{_OPEN}"
    rf"(\d+(?:\s*[>=]\s*\d+)+){_CLOSE}",
    re.IGNORECASE,
)
_DIRECT = re.compile(r" ?[\"'*]{0,2}(yes|no)\b", re.IGNORECASE)
_CHOICES: dict[str, Preference] = {"A": "first", "B": "second", "C": "tie", "TIE": "tie"}


def last_line(text: str, most: int = 200) -> str:
    """The last line that is not empty; "" where there is none, or it is longer than `most`."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    return line if len(line) <= most else ""


def read_score(text: str) -> float | None:
    r"""The score on the last line, from 1 to 10, mapped to `[0, 1]` as ``(s - 1) / 9``.

    Examples:
        >>> read_score("The sum is right.\nScore: 10"), read_score("about 7, I think")
        (1.0, None)
    """
    match = _SCORE.fullmatch(last_line(text))
    score = float(match.group(1)) if match else math.nan
    return (score - 1.0) / 9.0 if 1.0 <= score <= 10.0 else None


def read_yes_no(text: str) -> bool | None:
    """The verdict on the last line.

    Examples:
        >>> read_yes_no("**Yes.**"), read_yes_no("No doubt it is right")
        (True, None)
    """
    match = _YES_NO.fullmatch(last_line(text))
    return match.group(1).lower() == "yes" if match else None


def read_preference(text: str) -> Preference | None:
    r"""Which of two is better, by the last line; C is a tie, as in MT-Bench.

    Examples:
        >>> read_preference("Both add up.\n[[B]]"), read_preference("A or B")
        ('second', None)
    """
    match = _PREFERENCE.fullmatch(last_line(text))
    return _CHOICES[match.group(1).upper()] if match else None


def read_ranking(text: str, count: int) -> list[float] | None:
    """Points `[count]` in `[0, 1]` from a ranking of numbers 1 to `count`, best first.

    The best of C gets 1 and the last 0, in steps of ``1 / (C - 1)``; those that are equal get
    the mean of their places. A ranking that does not name each number once cannot be read.

    Examples:
        >>> read_ranking("Ranking: 2 > 1 = 3", 3), read_ranking("2 > 1", 3)
        ([0.25, 1.0, 0.25], None)
    """
    match = _RANKING.fullmatch(last_line(text, most=2000))
    if match is None or count < 2:
        return None
    tiers = [[int(n) for n in tier.split("=")] for tier in match.group(1).split(">")]
    named = [number for tier in tiers for number in tier]
    if sorted(named) != list(range(1, count + 1)):
        return None
    points, place = [0.0] * count, 0
    for tier in tiers:
        mean_place = place + (len(tier) - 1) / 2
        for number in tier:
            points[number - 1] = 1.0 - mean_place / (count - 1)
        place += len(tier)
    return points


def verdict_nats(draw: Draw) -> float | None:
    """Surprisal of the token that decides a yes or no, in nats.

    Only where the text begins with that word, so that the first token decides; None elsewhere,
    and where the generator returned no surprisal.
    """
    nats: Any = (draw.stats or {}).get("surprisal")
    if nats is None or not len(nats) or not _DIRECT.match(draw.text):
        return None
    first = float(np.asarray(nats, np.float64)[0])
    return first if first >= 0.0 else None


def prob_true(verdicts: Sequence[bool], nats: Sequence[float | None]) -> float:
    """P(True), in `[0, 1]`: from probabilities where all are known, else by counting.

    With a and b the probabilities with which "yes" and "no" were written: ``a / (a + b)`` where
    both were, else ``a`` or ``1 - b``, as if all the rest were the other word. By counting s yes
    among m: ``(s + 1) / (m + 2)``, the mean of the posterior from a flat prior, so that one
    verdict is not certainty.

    Args:
        verdicts: `[m]`, at least one.
        nats: `[m]` surprisal of each deciding token, None where not known.

    References:
        Kadavath et al., "Language Models (Mostly) Know What They Know" (2022): P(True). Zhang et
        al., "Generative Verifiers: Reward Modeling as Next-Token Prediction" (2024).

    Examples:
        >>> prob_true([True, True, False], [None] * 3), prob_true([True], [0.0])
        (0.6, 1.0)
    """
    if any(one is None for one in nats):
        return (sum(verdicts) + 1) / (len(verdicts) + 2)
    probs = {
        said: [math.exp(-(n or 0.0)) for v, n in zip(verdicts, nats, strict=True) if v == said]
        for said in (True, False)
    }
    yes, no = (float(np.mean(found)) if (found := probs[said]) else None for said in (True, False))
    if yes is None:
        return 1.0 - (no or 0.0)
    return yes if no is None else yes / (yes + no)

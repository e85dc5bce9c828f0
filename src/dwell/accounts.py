"""What an account of an answer shows, wherever it is written: votes, and how sure it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

#: Answers shown among the votes, the most frequent first; characters of each.
MOST_SHOWN, SHOWN = 16, 200


def votes_shown(votes: Counter[str]) -> list[dict[str, Any]]:
    """The most frequent answers and their counts."""
    return [
        {"answer": answer[:SHOWN], "count": count}
        for answer, count in votes.most_common(MOST_SHOWN)
    ]


def scores_shown(scores: Iterable[tuple[str | None, float]]) -> list[dict[str, Any]]:
    """Scored answers; a score that is None = not verified."""
    return [
        {
            "answer": answer and answer[:SHOWN],
            "score": None if math.isnan(score) else round(score, 6),
        }
        for answer, score in scores
    ]


def confidence_shown(
    probability: float | None, answer: str | None, votes: Counter[str]
) -> dict[str, Any] | None:
    """How sure an answer may be; None where nothing is known.

    `agreement` is the share of at least two votes that the answer has, and no probability.
    `probability` is one, by the map of a plan, of the answer given or withheld.
    """
    found: dict[str, Any] = {}
    if probability is not None:
        found["probability"] = round(probability, 4)
    cast = votes.total()
    if cast >= 2 and answer is not None:
        found |= {"agreement": round(votes[answer] / cast, 4), "votes": cast}
    return {**found, "calibrated": probability is not None} if found else None

"""Which texts become rows: pure functions of a question, the options and a seed.

What cannot be trained on is left out first and counted: texts that were cut off (they would teach
to stop in the middle), empty ones, and repetitions of a text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dwell.exports.questions import Question, Sample, Tally

Select = Literal["random", "shortest", "best"]
Pairing = Literal["random", "hard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How texts are chosen.

    Attributes:
        most: most rows of a question (of each label, for single samples); None = all.
        select: which right texts come first: any, those of fewest tokens, those of best score.
        pairing: which wrong texts come first: any, or those whose answer most wrong texts give
            (with scores: pairs of smallest gap).
        by: whether pairs are chosen by score instead of by right and wrong.
        gap: least difference of the scores of a pair.
        seed: decides what is random, for each question by itself.
    """

    most: int | None = None
    select: Select = "random"
    pairing: Pairing = "random"
    by: bool = False
    gap: float = 0.0
    seed: int = 0


def usable(question: Question, tally: Tally, *, graded: bool = True) -> list[Sample]:
    """The different texts of a question that can be trained on, in the order of drawing.

    Args:
        question: whose samples.
        tally: counts what is left out, and why.
        graded: leave out texts of which nobody knows whether they are right.
    """
    seen: set[str] = set()
    kept = []
    for sample in question.samples:
        if sample.cut:
            tally.samples["cut off at the token limit"] += 1
        elif not sample.text.strip():
            tally.samples["empty"] += 1
        elif graded and sample.correct is None:
            tally.samples["not known to be right or wrong"] += 1
        elif sample.text in seen:
            tally.samples["the same text again"] += 1
        else:
            seen.add(sample.text)
            kept.append(sample)
    return kept


def right_ones(question: Question, samples: Sequence[Sample], choice: Choice) -> list[Sample]:
    """Right texts of a question, best first in the sense of the choice, at most `choice.most`."""
    right = [sample for sample in samples if sample.correct]
    return _ordered(question, right, choice)[: choice.most]


def both_labels(question: Question, samples: Sequence[Sample], choice: Choice) -> list[Sample]:
    """Right and wrong texts of a question, at most `choice.most` of each."""
    found = []
    for label in (True, False):
        ones = [sample for sample in samples if sample.correct is label]
        found += _ordered(question, ones, choice)[: choice.most]
    return found


def _ordered(question: Question, samples: Sequence[Sample], choice: Choice) -> list[Sample]:
    """Samples in random order; then by tokens or score, so that ties stay random."""
    order = question.rng(choice.seed, "order").permutation(len(samples))
    shuffled = [samples[place] for place in order]
    if choice.select == "shortest":
        return sorted(shuffled, key=lambda s: (s.tokens or math.inf, len(s.text)))
    if choice.select == "best":
        return sorted(shuffled, key=lambda s: (math.isnan(s.score), -s.score))
    return shuffled


# ---- pairs ---------------------------------------------------------------------------------


def pairs(
    question: Question, samples: Sequence[Sample], choice: Choice
) -> Iterator[tuple[Sample, Sample]]:
    """(chosen, rejected) texts of a question, at most `choice.most`, all different.

    Every text is used about equally often.
    """
    if choice.by:
        yield from _by_score(question, samples, choice)
        return
    right = _ordered(question, [s for s in samples if s.correct], choice)
    wrong = _ordered(question, [s for s in samples if s.correct is False], choice)
    if choice.pairing == "hard":
        votes = Counter(s.answer for s in question.samples if s.correct is False)
        wrong.sort(key=lambda s: 0 if s.answer is None else -votes[s.answer])
    count = len(right) * len(wrong)
    for i in range(count if choice.most is None else min(count, choice.most)):
        # Step through all pairs on diagonals: each text comes once before any comes twice.
        round_ = i // math.lcm(len(right), len(wrong))
        yield right[i % len(right)], wrong[(i + round_) % len(wrong)]


def _by_score(
    question: Question, samples: Sequence[Sample], choice: Choice
) -> Iterator[tuple[Sample, Sample]]:
    """Pairs whose scores differ by at least the gap (and by more than nothing)."""
    scored = [s for s in _ordered(question, samples, choice) if not math.isnan(s.score)]
    scored.sort(key=lambda s: -s.score)
    scores = np.array([s.score for s in scored])
    # Of text i, the texts from first[i] on are worse by the gap.
    first = np.searchsorted(-scores, -scores + choice.gap, side="left")
    if choice.gap == 0:
        first = np.searchsorted(-scores, -scores, side="right")
    counts = len(scored) - first
    if choice.pairing == "hard":
        gaps = [(scores[i] - scores[j], i, j) for i, j in enumerate(first) if j < len(scored)]
        for _, i, j in sorted(gaps)[: choice.most]:
            yield scored[i], scored[j]
        return
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    most = total if choice.most is None else min(total, choice.most)
    for number in question.rng(choice.seed, "pairs").choice(total, most, replace=False).tolist():
        i = int(np.searchsorted(ends, number, side="right"))
        yield scored[i], scored[int(first[i] + number - (ends[i] - counts[i]))]

"""What further draws of a question are expected to bring, and how to share a budget by that.

Pure functions on arrays. Gains of a question fall from draw to draw (`J` of them), so that
taking the largest gains of all questions, one after another, gives the best total: the greedy
rule is optimal for a sum of concave functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from dwell.strategies.posteriors import confidences
from dwell.streams import FloatArray, IntArray

#: Gains up to this are rounding errors.
_NOTHING = 1e-12


@lru_cache(maxsize=16)
def vote_gains(most: int, num_draws: int) -> FloatArray:
    """`[most+1, most+1, J]` gains of a vote with a and b votes for its first two answers.

    The value of a vote after j more draws is the expected posterior probability that its leader
    is the answer it tends to, in the model of two answers with a uniform prior:

        W_0(a, b) = max(c, 1 - c), c = P(Beta(a+1, b+1) > 1/2)
        W_j(a, b) = (a+1)/(a+b+2) W_{j-1}(a+1, b) + (b+1)/(a+b+2) W_{j-1}(a, b+1)

    W is not concave in j: from 4 : 0 no draw but the fifth can change anything. The gains are the
    slopes of its least concave majorant, which is reached where whole steps of it are taken.

    Args:
        most: most votes that an answer has.
        num_draws: J, further draws that are looked at.
    """
    return concave_slopes(np.stack(list(_vote_values(most, num_draws)), axis=-1))


@lru_cache(maxsize=16)
def next_gain(most: int) -> FloatArray:
    """`[most+1, most+1]` gain of the next draw of a vote with a and b votes: `vote_gains[..., 0]`.

    It is the best gain per draw of any number of further draws, `max_j (W_j - W_0) / j` for
    j up to `most`.
    """
    values = _vote_values(most, most)
    now = next(values)
    gains = [(later - now) / j for j, later in enumerate(values, start=1)]
    return np.asarray(np.max(gains, axis=0, initial=0.0))


def _vote_values(most: int, num_draws: int) -> Iterator[FloatArray]:
    """`W_0` to `W_J`, each `[most+1, most+1]`."""
    size = most + num_draws + 2
    value = confidences(size)
    value = np.maximum(value, value.T)
    a, b = np.arange(size - 1)[:, None], np.arange(size - 1)
    up = (a + 1) / (a + b + 2)
    yield value[: most + 1, : most + 1]
    for _ in range(num_draws):
        # The last row and column keep their old values; they are out of reach from `most`.
        value = value.copy()
        value[:-1, :-1] = up * value[1:, :-1] + (1 - up) * value[:-1, 1:]
        yield value[: most + 1, : most + 1]


def concave_slopes(values: FloatArray) -> FloatArray:
    """`[..., J]` slopes of the least concave majorant of `values` `[..., J+1]`; they never rise.

    Examples:
        >>> concave_slopes(np.array([0.0, 0.0, 4.0, 5.0])).tolist()
        [2.0, 2.0, 1.0]
    """
    flat = values.reshape(-1, values.shape[-1])
    slopes = np.zeros((len(flat), flat.shape[1] - 1))
    for row, out in zip(flat, slopes, strict=True):
        at = 0
        while at < len(out):
            steep = (row[at + 1 :] - row[at]) / np.arange(1, len(row) - at)
            end = at + 1 + int(steep.argmax())
            out[at:end] = steep.max()
            at = end
    return np.minimum.accumulate(slopes, axis=1).reshape(*values.shape[:-1], -1)


def coverage_gains(scores: FloatArray, num_draws: int) -> FloatArray:
    """`[..., J]` expected gain in coverage of each further draw.

    Scores s_i of the m draws so far are read as probabilities of being right. The chance that
    none is right is `prod (1 - s_i)`, and the question's success rate has the posterior
    `Beta(1 + sum s_i, 1 + m - sum s_i)`; the j-th further draw is the first right one with
    probability `prod (1 - s_i) E[p (1-p)^(j-1)]`. With scores 0 and 1 what is solved gains
    nothing.

    Args:
        scores: `[..., m]`, NaN (no answer, not verified) counts as 0; clipped to `[0, 1]`.
        num_draws: J, further draws that are looked at.

    Examples:
        >>> coverage_gains(np.array([[0.0, 0.0], [0.0, 1.0]]), 2).round(3).tolist()
        [[0.25, 0.15], [0.0, 0.0]]
    """
    right = np.clip(np.nan_to_num(np.ascontiguousarray(scores), nan=0.0), 0.0, 1.0)
    unsolved = np.prod(1 - right, axis=-1, keepdims=True)
    alpha = 1 + right.sum(axis=-1, keepdims=True)
    beta = 2 + right.shape[-1] - alpha
    earlier = np.arange(num_draws - 1)
    # E[p (1-p)^(j-1)] = alpha / (alpha+beta) prod_{i < j-1} (beta+i) / (alpha+beta+1+i)
    ratios = (beta + earlier) / (alpha + beta + 1 + earlier)
    first = unsolved * alpha / (alpha + beta)
    return np.concatenate([first, first * np.cumprod(ratios, axis=-1)], axis=-1)[..., :num_draws]


def greedy(gains: FloatArray, total: int) -> IntArray:
    """`[..., P]` how many of `total` draws each question gets: the largest gains first.

    Args:
        gains: `[..., P, J]`, not rising along J. Of equal gains the earlier question is first.
        total: draws to give; less is given where there are no more gains.

    Examples:
        >>> greedy(np.array([[0.5, 0.1, 0.0], [0.3, 0.2, 0.1]]), 3).tolist()
        [1, 2]
        >>> greedy(np.array([[0.5, 0.1, 0.0], [0.3, 0.2, 0.1]]), 6).tolist()
        [2, 3]
    """
    *lead, num_questions, num_draws = gains.shape
    flat = gains.reshape(-1, num_questions * num_draws)
    taken = np.argsort(-flat, axis=1, kind="stable")[:, :total]
    worth = np.take_along_axis(flat, taken, axis=1) > _NOTHING
    counts = np.zeros((len(flat), num_questions), np.int64)
    np.add.at(counts, (np.arange(len(flat))[:, None], taken // num_draws), worth)
    return counts.reshape(*lead, num_questions)

"""What votes say about the answer they tend to: tables and integrals of Beta and Gamma laws.

Pure functions of vote counts, with a and b the votes of the leading answer and of the second.
Tables are made once for each size and looked up by whole arrays of counts.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from dwell.streams import FloatArray, IntArray

#: Rounding error that must not decide: a confidence this close to its threshold has reached it.
ROUNDING = 1e-9


def table_size(votes: int | IntArray) -> int:
    """A table size that holds these counts: a power of two, so that few tables are made."""
    return 1 << int(np.max(votes, initial=15)).bit_length()


@lru_cache(maxsize=16)
def confidences(size: int) -> FloatArray:
    """`[size, size]` `P(Beta(a+1, b+1) > 1/2)` for all counts a and b.

    It is the probability of at most a heads in a + b + 1 throws, so by the last throw
    `c(a, b) = (c(a-1, b) + c(a, b-1)) / 2`.
    """
    # One row and column more: c(a, -1) = 1 and c(-1, b) = 0.
    table = np.zeros((size + 1, size + 1))
    table[1:, 0] = 1.0
    for total in range(2 * size - 1):
        a = np.arange(max(0, total - size + 1), min(total, size - 1) + 1)
        b = total - a
        table[a + 1, b + 1] = (table[a, b + 1] + table[a + 1, b]) / 2
    return table[1:, 1:]


@lru_cache(maxsize=16)
def log_densities(size: int) -> FloatArray:
    """`[size, size]` logarithm of the density of Beta(a+1, b+1) at 1/2."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 2 * size)))])
    a, b = np.arange(size)[:, None], np.arange(size)
    binomials: FloatArray = log_factorial[a + b + 1] - log_factorial[a] - log_factorial[b]
    return binomials - (a + b) * math.log(2)


@lru_cache(maxsize=16)
def draws_worth_having(n: int, cost: float) -> IntArray:
    """`[n+1, n+1]` fewest draws left at which `GainRule` goes on, by votes a and b.

    n + 1 where it never does. More draws left are never worse, so one number a state says all.
    """
    stop = confidences(n + 2)
    stop = np.maximum(stop, stop.T)
    value = stop.copy()
    worth = np.full((n + 1, n + 1), n + 1)
    for left in range(1, n + 1):
        num = n + 1 - left
        a, b = np.arange(num)[:, None], np.arange(num)
        up = (a + 1) / (a + b + 2)
        onward = up * value[1 : num + 1, :num] + (1 - up) * value[:num, 1 : num + 1] - cost
        better = onward > stop[:num, :num] + ROUNDING
        worth[:num, :num] = np.minimum(worth[:num, :num], np.where(better, left, n + 1))
        value[:num, :num] = np.maximum(stop[:num, :num], onward)
    return worth


def leader_confidence(votes: IntArray, profile: IntArray) -> FloatArray:
    """`[...]` probability that the leading answer is the most frequent; see `DirichletRule`.

    Args:
        votes: `[...]` votes of the leader.
        profile: `[..., V]` how many answers have v votes each, the leader included.
    """
    size = table_size(votes)
    density, log_below = _gammas(size)
    profile = profile[..., :size]
    others = np.zeros((*profile.shape[:-1], size))
    others[..., : profile.shape[-1]] = profile
    leader = np.arange(size) == np.asarray(votes)[..., None]
    others -= leader & (others > 0)
    # Alone, the leader has an unseen answer beside it.
    others[..., 0] = others.sum(axis=-1) == 0
    below = np.exp(others.reshape(-1, size) @ log_below)
    found = (density[np.reshape(votes, -1)] * below).sum(axis=-1)
    return np.asarray(found.reshape(np.shape(votes)))


@lru_cache(maxsize=4)
def _gammas(size: int) -> tuple[FloatArray, FloatArray]:
    """`[size, Q]` weighted densities and log distribution functions of Gamma(v + 1) at nodes."""
    # Beyond the last node every density has less than 1e-12 left.
    last = size + 10 * math.sqrt(size) + 30
    nodes, weights = np.polynomial.legendre.leggauss(4 * size + 96)
    x, weights = (nodes + 1) * last / 2, weights * last / 2
    v = np.arange(4 * int(last) + 4)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(v[1:]))])
    poisson = np.exp(v[:, None] * np.log(x) - x - log_factorial[:, None])
    # P(Gamma(v+1) < x) = P(Poisson(x) > v), summed from the smallest terms.
    below = np.cumsum(poisson[::-1], axis=0)[::-1][1 : size + 1]
    return poisson[:size] * weights, np.log(np.maximum(np.minimum(below, 1.0), 1e-300))

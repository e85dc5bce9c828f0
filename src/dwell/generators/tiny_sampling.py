"""Drawing tokens from logits with one counter-based uniform each.

The uniform of a token is a hash of its draw's key and its position alone (SplitMix64: Steele, Lea
and Flood, "Fast splittable pseudorandom number generators", 2014), so a draw can be stopped, moved
to another batch and continued. Probabilities are rounded to integers of 2^-40 before they are
added, so that sums are exact and the order of adding does not matter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dwell.generators.tiny_weights import Doubles, Floats

Keys = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
_FACTOR_2 = np.uint64(0x94D049BB133111EB)
_UNITS = 2.0**40
_LOGIT_UNITS = 2.0**20


def uniforms(keys: Keys, positions: Index) -> Doubles:
    """Returns `[B]` numbers in [0, 1), a function of each row's key and position.

    Args:
        keys: `[B]` unsigned 64-bit seeds of the draws.
        positions: `[B]` positions of the tokens to be drawn.
    """
    mixed = _mix(_mix(keys) + positions.astype(np.uint64) * _GOLDEN)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Distribution:
    """Next-token distributions at temperature 1, of a batch of rows.

    Args:
        logits: `[B, V]` float32.
        sampleable: `[V]` bool; the others have probability 0.
    """

    def __init__(self, logits: Floats, sampleable: Flags) -> None:
        self.logits: Doubles = logits.astype(np.float64)
        self.logits[:, ~sampleable] = -np.inf
        self._sampleable = sampleable
        top = np.maximum.reduce(self.logits, axis=1, keepdims=True)
        self.weights = _weights(self.logits - top)
        self._log_total = top[:, 0] + np.log(self.weights.sum(axis=1) / _UNITS)

    def surprisals(self, tokens: Index) -> Floats:
        """Returns ``-log p`` of one token a row, in nats: `[B]`."""
        chosen = self.logits[np.arange(len(tokens)), tokens]
        surprisals: Floats = (self._log_total - chosen).astype(np.float32)
        return surprisals

    def mean_log_probs(self) -> Floats:
        """Returns the mean of ``log p`` over all tokens that may be drawn: `[B]`, in nats."""
        grid = np.rint(self.logits[:, self._sampleable] * _LOGIT_UNITS)
        mean = grid.sum(axis=1) / (_LOGIT_UNITS * grid.shape[1])
        means: Floats = (mean - self._log_total).astype(np.float32)
        return means

    def draw(self, points: Doubles, temperatures: Doubles, banned: Flags | None = None) -> Index:
        """Returns one token a row by inverting the cumulative distribution.

        Args:
            points: `[B]` uniforms in [0, 1).
            temperatures: `[B]`; 0 takes the most probable token, the first one of a tie.
            banned: `[B, V]` tokens that have probability 0 here.
        """
        weights = self.weights
        if banned is not None or np.any(temperatures != 1.0):
            logits = self.logits if banned is None else np.where(banned, -np.inf, self.logits)
            top = np.maximum.reduce(logits, axis=1, keepdims=True)
            greedy = temperatures == 0.0
            divisors = np.where(greedy, 1.0, temperatures)[:, None]
            weights = _weights((logits - top) / divisors)
            if greedy.any():
                rows = np.flatnonzero(greedy)
                weights[rows] = 0.0
                weights[rows, np.argmax(logits[rows], axis=1)] = 1.0
        cumulative = np.add.accumulate(weights, axis=1)
        tokens: Index = np.argmax(cumulative > (points * cumulative[:, -1])[:, None], axis=1)
        return tokens


def _mix(values: Keys) -> Keys:
    values = (values ^ (values >> np.uint64(30))) * _FACTOR_1
    values = (values ^ (values >> np.uint64(27))) * _FACTOR_2
    return values ^ (values >> np.uint64(31))


def _weights(logs: Doubles) -> Doubles:
    weights = np.exp(logs)
    np.multiply(weights, _UNITS, out=weights)
    np.rint(weights, out=weights)
    return weights

"""A law on given rows as the solver wants it: predictions, derivatives, second derivatives.

Sums of power laws in log space are a log-sum-exp of terms that are linear in the coordinates:
derivatives are softmax-weighted features, analytic to second order. All other formulas are
differentiated by a complex step: f(p + ih) = f(p) + ih f'(p), exact to rounding because nothing is
subtracted; their second derivatives, for the last steps only, by differences of the first.

Letters: `B` sets of parameters, `F` free coordinates, `S` slots, `T` terms, `n` rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dwell.laws.coordinates import Coordinates
from dwell.laws.declaration import namespace, signed
from dwell.laws.spaces import FloatArray, Space

_STEP = 1e-30
_DIFFERENCE = 1e-5


class Scratch:
    """Arrays that are used again and again: fresh ones cost more in page faults than in sums.

    What is taken under a name is valid until the name is taken again.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, FloatArray] = {}

    def take(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """An array of a shape, with any contents."""
        size = math.prod(shape)
        held = self._arrays.get(name)
        if held is None or held.size < size:
            held = self._arrays[name] = np.empty(size)
        return held[:size].reshape(shape)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A model near some coordinates; valid until the model is expanded again.

    Attributes:
        value: `[B, n]` predictions in the space of the residuals; not finite where invalid.
        slopes: `[B, F, n]` their derivatives.
        scratch: where sums are made.
        second: `s [B, n] -> [B, F, F]`, the sum over rows of s times second derivatives, or,
            where `covariance`, of s times (second derivatives + outer products of the first).
        covariance: see `second`.
    """

    value: FloatArray
    slopes: FloatArray
    scratch: Scratch
    second: Callable[[FloatArray], FloatArray]
    covariance: bool

    def outer(self, weights: FloatArray) -> FloatArray:
        """`[B, F, F]`: sum over rows of weights `[B, n]` times outer products of derivatives."""
        weighted = self.scratch.take("weighted", self.slopes.shape)
        np.multiply(self.slopes, weights[:, None], out=weighted)
        return np.asarray(weighted @ self.slopes.transpose(0, 2, 1), np.float64)

    def curvature(self, weights: FloatArray, s: FloatArray) -> FloatArray:
        """`outer(weights)` less the sum over rows of `s [B, n]` times second derivatives."""
        first = self.outer(weights + s if self.covariance else weights)
        return np.asarray(first - self.second(s), np.float64)


class Model(Protocol):
    """What the solver needs; `size` is the number of elements that one prediction goes through."""

    coordinates: Coordinates
    cheap_bend: bool
    size: int

    def value(self, free: FloatArray) -> FloatArray:
        """Predictions `[B, n]` at free coordinates `[B, F]`."""
        ...

    def expand(self, free: FloatArray) -> Expansion:
        """Predictions and derivatives at free coordinates `[B, F]`."""
        ...


class PowerModel:
    """A sum of power laws, residuals in log space.

    log f = LSE_t(c_t + sum_d u_d G_dt), with features G that are 1 for the coordinate of a
    coefficient and plus or minus log(input) for that of an exponent. The gradient is the
    softmax-weighted mean of the features, the second derivative their covariance.
    """

    cheap_bend = True

    def __init__(self, coordinates: Coordinates, inputs: Mapping[str, FloatArray]) -> None:
        self.coordinates = coordinates
        self._scratch = Scratch()
        law = coordinates.law
        assert law.powers is not None
        num_rows = self.size = len(inputs[law.inputs[0]])
        full = np.zeros((len(law.powers), len(coordinates.names), num_rows))
        for index, (name, term) in enumerate(law.powers.items()):
            self._add(full[index], name, np.ones(num_rows))
            for source, power in term.items():
                sign, by = signed(power)
                logs = sign * np.log(inputs[source])
                if by is not None:
                    self._add(full[index], by, logs)
        self._offset = np.einsum("s,tsn->tn", coordinates.base, full)
        for index, term in enumerate(law.powers.values()):
            for source, power in term.items():
                sign, by = signed(power)
                if by is None:
                    self._offset[index] += sign * np.log(inputs[source])
        self._features = np.einsum("fs,tsn->ftn", coordinates.spread, full)
        used = np.any(self._features != 0, axis=2)
        self._used = [np.flatnonzero(used[:, t]) for t in range(len(law.powers))]
        self._pairs = [
            np.stack([self._features[a, t] * self._features[b, t] for a in ids for b in ids])
            if len(ids)
            else np.zeros((0, num_rows))
            for t, ids in enumerate(self._used)
        ]

    def _add(self, rows: FloatArray, name: str, values: FloatArray) -> None:
        slots = self.coordinates.of_param[name]
        if len(slots) == 1:
            rows[slots[0]] += values
            return
        index = self.coordinates.group_index
        assert index is not None
        rows[slots[index], np.arange(len(values))] += values

    def _terms(self, free: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Logarithms of the sum `[B, n]`, and the shares of the terms `[B, T, n]`."""
        num_free, num_terms, num_rows = self._features.shape
        shape = (len(free), num_terms, num_rows)
        flat = self._scratch.take("terms", (len(free), num_terms * num_rows))
        np.matmul(free, self._features.reshape(num_free, -1), out=flat)
        share = flat.reshape(shape)
        share += self._offset
        top = share.max(axis=1)
        share -= top[:, None]
        np.exp(share, out=share)
        total = share.sum(axis=1)
        share /= total[:, None]
        np.log(total, out=total)
        total += top
        return total, share

    def value(self, free: FloatArray) -> FloatArray:
        """Predictions `[B, n]`."""
        return self._terms(free)[0]

    def expand(self, free: FloatArray) -> Expansion:
        """Predictions and derivatives, first and second."""
        value, share = self._terms(free)
        slopes = self._scratch.take("slopes", (len(free), len(self._features), self.size))
        written: set[int] = set()
        for term, ids in enumerate(self._used):
            for d in ids:
                if d in written:
                    slopes[:, d] += share[:, term] * self._features[d, term]
                else:
                    np.multiply(share[:, term], self._features[d, term], out=slopes[:, d])
                    written.add(int(d))
        for unused in set(range(len(self._features))) - written:
            slopes[:, unused] = 0.0

        def second(s: FloatArray) -> FloatArray:
            out = np.zeros((len(s), len(self._features), len(self._features)))
            for term, ids in enumerate(self._used):
                block = (s * share[:, term]) @ self._pairs[term].T
                out[:, ids[:, None], ids] += block.reshape(len(s), len(ids), len(ids))
            return out

        return Expansion(value, slopes, self._scratch, second, True)


class FormulaModel:
    """Any formula, in any space."""

    cheap_bend = False

    def __init__(
        self, coordinates: Coordinates, inputs: Mapping[str, FloatArray], space: Space
    ) -> None:
        self.coordinates = coordinates
        self._scratch = Scratch()
        self._x = namespace(dict(inputs))
        self._space = space
        self._num_rows = next(iter(inputs.values())).shape[-1]
        self.size = max(values.size for values in inputs.values())

    def value(self, free: FloatArray) -> FloatArray:
        """Predictions `[B, n]`; NaN where the space does not hold them."""
        coordinates = self.coordinates
        with np.errstate(all="ignore"):
            natural = coordinates.natural(coordinates.slots(free))
            return self._mapped(self._raw(natural))

    def _raw(self, natural: FloatArray) -> FloatArray:
        raw = self.coordinates.law.predict(self._x, self.coordinates.named(natural))
        return np.array(np.broadcast_to(raw, (len(natural), self._num_rows)), np.float64)

    def _mapped(self, raw: FloatArray) -> FloatArray:
        good = self._space.contains(raw)
        return np.asarray(np.where(good, self._space.forward(np.where(good, raw, 0.5)), np.nan))

    def expand(self, free: FloatArray) -> Expansion:
        """Predictions and first derivatives; second ones by differences, when asked for."""
        value, slopes = self._first(free)

        def second(s: FloatArray) -> FloatArray:
            out = np.zeros((len(free), free.shape[1], free.shape[1]))
            for d in range(free.shape[1]):
                step = _DIFFERENCE * np.maximum(1.0, np.abs(free[:, d]))
                ahead, behind = free.copy(), free.copy()
                ahead[:, d] += step
                behind[:, d] -= step
                change = self._first(ahead)[1] - self._first(behind)[1]
                change /= 2.0 * step[:, None, None]
                out[:, d] = np.einsum("bfn,bn->bf", np.nan_to_num(change, posinf=0, neginf=0), s)
            return np.asarray(0.5 * (out + out.transpose(0, 2, 1)), np.float64)

        return Expansion(value, slopes, self._scratch, second, False)

    def _first(self, free: FloatArray) -> tuple[FloatArray, FloatArray]:
        coordinates = self.coordinates
        with np.errstate(all="ignore"):
            natural = coordinates.natural(coordinates.slots(free))
            raw = self._raw(natural)
            by_slot = self._by_slot(natural)
            by_slot *= coordinates.slopes(natural)[:, :, None]
            slopes = np.einsum("fs,bsn->bfn", coordinates.spread, by_slot)
            slopes *= self._space.slope(raw)[:, None]
            return self._mapped(raw), np.asarray(slopes, np.float64)

    def _by_slot(self, natural: FloatArray) -> FloatArray:
        """`[B, S, n]` derivatives of the formula by the parameters of each slot."""
        coordinates = self.coordinates
        out = np.zeros((len(natural), len(coordinates.names), self._num_rows))
        moving = coordinates.moving
        named = coordinates.named(natural)
        law = coordinates.law
        given = law.gradient(self._x, named) if callable(law.gradient) else None
        for index, (name, slots) in enumerate(coordinates.of_param.items()):
            if not moving[slots].any():
                continue
            column = given[index] if given is not None else self._derivative(named, name)
            if len(slots) == 1:
                out[:, slots[0]] = column
            else:
                assert coordinates.group_index is not None
                rows = np.arange(self._num_rows)
                full = np.broadcast_to(column, (len(natural), self._num_rows))
                out[:, slots[coordinates.group_index], rows] = full
        return out

    def _derivative(self, named: object, name: str) -> FloatArray:
        law = self.coordinates.law
        values = dict(vars(named))
        here = values[name]
        if law.gradient == "difference":
            step = 6e-6 * np.maximum(np.abs(here), 1e-3)
            ahead = law.predict(self._x, namespace({**values, name: here + step}))
            behind = law.predict(self._x, namespace({**values, name: here - step}))
            return np.asarray((ahead - behind) / (2.0 * step), np.float64)
        result = law.predict(self._x, namespace({**values, name: here + 1j * _STEP}))
        return np.asarray(np.imag(result) / _STEP, np.float64)


def model_of(
    coordinates: Coordinates, inputs: Mapping[str, FloatArray], space: Space
) -> PowerModel | FormulaModel:
    """The fastest model of a law on some rows."""
    if coordinates.law.powers is not None and space.name == "log":
        return PowerModel(coordinates, inputs)
    return FormulaModel(coordinates, inputs, space)

"""The coordinates in which a law is solved: transformed, rescaled, some fixed, some tied.

Inputs are divided by their geometric mean while fitting, so that coefficients are the sizes of
the terms in the middle of the data and the units of the inputs change nothing. Slots are the
parameters, one for each group where they are grouped; free coordinates are the slots that are
neither fixed nor tied to another.

Letters: `B` sets of parameters, `S` slots, `F` free coordinates, `n` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.declaration import Declared, namespace, signed
from dwell.laws.spaces import BoolArray, FloatArray

#: Logarithms beyond which a positive parameter counts as zero or infinite, in the units of the
#: data if it has units: `exp(-60)` of the target's mean is far below rounding.
_FARTHEST = 60.0
_LARGEST = 640.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinates:
    """Maps free coordinates to parameters and back.

    Attributes:
        law: the law.
        names: `[S]` names of the slots, "B" or "B[group]".
        of_param: slot indices of each parameter, one or one for each group.
        group_index: `[n]` group of each row, None without groups.
        scales: what each input, and the target, is divided by.
        base: `[S]` coordinates of fixed slots, 0 elsewhere.
        spread: `[F, S]` 0/1: which free coordinate each slot follows.
        low: `[F]` lower bounds of the free coordinates.
        high: `[F]` upper bounds.
    """

    law: Declared
    names: tuple[str, ...]
    of_param: Mapping[str, npt.NDArray[np.intp]]
    group_index: npt.NDArray[np.intp] | None
    scales: Mapping[str, float]
    base: FloatArray
    spread: FloatArray
    low: FloatArray
    high: FloatArray
    _owner: tuple[str, ...] = field(default=())

    @property
    def num_free(self) -> int:
        """Number of free coordinates."""
        return len(self.spread)

    @property
    def moving(self) -> BoolArray:
        """`[S]`: the slots that follow a free coordinate; the others are fixed."""
        return np.asarray(self.spread.sum(axis=0) > 0)

    @property
    def free_names(self) -> tuple[str, ...]:
        """A name for each free coordinate: that of the first slot which follows it."""
        return tuple(self.names[int(np.argmax(row))] for row in self.spread)

    def slots(self, free: FloatArray) -> FloatArray:
        """Coordinates of the slots `[B, S]`."""
        return self.base + free @ self.spread

    def natural(self, slots: FloatArray) -> FloatArray:
        """Parameters `[..., S]` in the rescaled units."""
        out = slots.copy()
        for column, owner in enumerate(self._owner):
            param = self.law.params[owner]
            if param.transform == "exp":
                out[..., column] = np.exp(slots[..., column])
            elif param.transform == "logistic":
                share = 0.5 * (1.0 + np.tanh(0.5 * slots[..., column]))
                out[..., column] = param.lower + (param.upper - param.lower) * share
        return out

    def slopes(self, natural: FloatArray) -> FloatArray:
        """Derivatives `[B, S]` of the parameters by their coordinates."""
        out = np.ones_like(natural)
        for column, owner in enumerate(self._owner):
            param = self.law.params[owner]
            if param.transform == "exp":
                out[..., column] = natural[..., column]
            elif param.transform == "logistic":
                above = natural[..., column] - param.lower
                below = param.upper - natural[..., column]
                out[..., column] = above * below / (param.upper - param.lower)
        return out

    def to_slots(self, natural: FloatArray) -> FloatArray:
        """Coordinates of parameters `[..., S]` in the rescaled units."""
        out = np.array(natural, np.float64)
        for column, owner in enumerate(self._owner):
            param = self.law.params[owner]
            value = out[..., column]
            if param.transform == "exp":
                tiny, huge = np.exp(-_FARTHEST), np.exp(_FARTHEST)
                out[..., column] = np.log(np.clip(value, tiny, huge))
            elif param.transform == "logistic":
                share = (value - param.lower) / (param.upper - param.lower)
                share = np.clip(share, 1e-15, 1.0 - 1e-15)
                out[..., column] = np.log(share) - np.log1p(-share)
        return out

    def to_free(self, slots: FloatArray) -> FloatArray:
        """Free coordinates `[..., F]` within bounds: of tied slots, the mean."""
        counts = self.spread.sum(axis=1)
        free = (slots @ self.spread.T) / counts
        return np.asarray(np.clip(free, self.low, self.high), np.float64)

    def factors(self, natural: FloatArray) -> FloatArray:
        """What takes parameters `[..., S]` from the rescaled to the caller's units."""
        out = np.zeros_like(natural)
        for column, owner in enumerate(self._owner):
            for unit, power in self.law.units_of(owner).items():
                scale = self.scales.get(unit, 1.0)
                if scale == 1.0:
                    continue
                sign, name = signed(power)
                value = natural[..., self._slot_of(name, column)] if name else 1.0
                out[..., column] += sign * value * np.log(scale)
        # Beyond this, numbers in the caller's units do not fit into floats.
        return np.exp(np.clip(out, -_LARGEST, _LARGEST))

    def _slot_of(self, name: str, column: int) -> int:
        """The slot of another parameter, in the same group if it is grouped."""
        mine, other = self.of_param[self._owner[column]], self.of_param[name]
        return int(other[min(list(mine).index(column), len(other) - 1)])

    def to_caller(self, free: FloatArray) -> FloatArray:
        """Parameters `[..., S]` in the caller's units."""
        natural = self.natural(self.slots(free))
        return np.asarray(natural * self.factors(natural), np.float64)

    def from_caller(self, params: FloatArray) -> FloatArray:
        """Free coordinates `[..., F]` of parameters `[..., S]` in the caller's units."""
        natural = np.array(params, np.float64)
        return self.to_free(self.to_slots(natural / self.factors(natural)))

    def named(self, natural: npt.NDArray[np.generic]) -> SimpleNamespace:
        """Parameters `[B, S]` as the formula wants them: `[B, 1]`, or `[B, n]` if grouped."""
        values = {}
        for name, slots in self.of_param.items():
            if len(slots) == 1:
                values[name] = natural[:, slots]
            else:
                assert self.group_index is not None
                values[name] = natural[:, slots[self.group_index]]
        return namespace(values)


def coordinates(
    law: Declared,
    scales: Mapping[str, float],
    *,
    fixed: Mapping[str, float],
    tied: Sequence[tuple[str, str]],
    groups: Sequence[str] = (),
    group_index: npt.NDArray[np.intp] | None = None,
) -> Coordinates:
    """The coordinates of a law for some data.

    Args:
        law: the law.
        scales: inputs and target -> what they are divided by.
        fixed: parameters (or slots) with their values in the caller's units.
        tied: pairs of parameters that are equal, in the caller's units.
        groups: names of the groups, if rows are grouped.
        group_index: `[n]` group of each row.

    Returns:
        `Coordinates`; inputs whose units a fixed or tied parameter carries are not rescaled.

    Raises:
        UsageError: an unknown parameter, a value outside its bounds, or all parameters fixed.
    """
    names, owner, of_param = _slots_of(law, groups)
    held = {name for name in fixed} | {name for pair in tied for name in pair}
    for name in held:
        if name not in names and name not in law.params:
            raise UsageError(f"law `{law.name}` has parameters {names}, but got {name!r}.")
    unscaled = {u for n in held for u in law.units_of(n.split("[")[0])}
    kept = {k: (1.0 if k in unscaled else v) for k, v in scales.items()}
    follows = list(range(len(names)))
    for first, second in tied:
        for a, b in zip(of_param[first], of_param[second], strict=True):
            follows[int(b)] = follows[int(a)]
    base = np.zeros(len(names))
    values = {s: v for n, v in fixed.items() for s in _matching(n, names, owner) for v in [v]}
    free = sorted({follows[s] for s in range(len(names)) if names[s] not in values})
    free = [f for f in free if names[f] not in values]
    spread = np.zeros((len(free), len(names)))
    for slot, leader in enumerate(follows):
        if leader in free and names[slot] not in values:
            spread[free.index(leader), slot] = 1.0
    made = Coordinates(
        law=law,
        names=tuple(names),
        of_param=of_param,
        group_index=group_index,
        scales=kept,
        base=base,
        spread=spread,
        low=np.array([_bounds(law, owner[f], kept)[0] for f in free]),
        high=np.array([_bounds(law, owner[f], kept)[1] for f in free]),
        _owner=tuple(owner),
    )
    _set_fixed(made, values, follows)
    return made


def _slots_of(
    law: Declared, groups: Sequence[str]
) -> tuple[list[str], list[str], dict[str, npt.NDArray[np.intp]]]:
    names: list[str] = []
    owner: list[str] = []
    of_param = {}
    for name, param in law.params.items():
        own = [f"{name}[{g}]" for g in groups] if param.grouped and groups else [name]
        of_param[name] = np.arange(len(names), len(names) + len(own))
        names += own
        owner += [name] * len(own)
    return names, owner, of_param


def _matching(name: str, names: Sequence[str], owner: Sequence[str]) -> list[str]:
    return [slot for slot, own in zip(names, owner, strict=True) if name in (slot, own)]


def _bounds(law: Declared, name: str, scales: Mapping[str, float]) -> tuple[float, float]:
    """Bounds of a coordinate; those of parameters with units are taken in the rescaled ones."""
    param = law.params[name]
    low, high = param.lower, param.upper
    for unit, power in law.units_of(name).items():
        if not isinstance(power, str):
            low, high = low / scales.get(unit, 1.0) ** power, high / scales.get(unit, 1.0) ** power
    if param.transform == "logistic":
        return -35.0, 35.0
    if param.transform == "identity":
        return low, high
    logs = [np.log(v) if 0 < v < np.inf else (-np.inf if v <= 0 else np.inf) for v in (low, high)]
    return max(logs[0], -_FARTHEST), min(logs[1], _FARTHEST)


def _set_fixed(made: Coordinates, values: Mapping[str, float], follows: list[int]) -> None:
    if not made.num_free:
        raise UsageError(f"all parameters of `{made.law.name}` are fixed; free at least one.")
    natural = np.full((1, len(made.names)), 1.0)
    for slot, leader in enumerate(follows):
        name = made.names[slot]
        if name not in values and made.names[leader] in values:
            values = {**values, name: values[made.names[leader]]}
    for slot, name in enumerate(made.names):
        if name not in values:
            continue
        param = made.law.params[name.split("[")[0]]
        if not param.lower <= values[name] <= param.upper:
            raise UsageError(
                f"`{name}` lies between {param.lower:g} and {param.upper:g}, but got "
                f"{values[name]:g}."
            )
        natural[0, slot] = values[name]
    slots = made.to_slots(natural)[0]
    for slot, name in enumerate(made.names):
        if name in values:
            made.base[slot] = slots[slot]

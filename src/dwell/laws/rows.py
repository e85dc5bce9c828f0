"""The rows that a law is fitted to: columns found, checked, and put in arrays.

Everything that can be wrong with a table is said here, in one line, before any fitting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.declaration import ALIASES, Declared
from dwell.laws.spaces import BoolArray, FloatArray, Space

IntArray = npt.NDArray[np.intp]

# Squares of larger numbers overflow.
_LARGEST = 1e100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Checked data of a law.

    Attributes:
        inputs: `[..., n]` by name; the last axis is that of the rows.
        target: `[n]`.
        weights: `[n]`, at least 0.
        groups: names of the groups, empty without.
        group_index: `[n]` or None.
        clusters: `[n]` index of the cluster of each row, or None.
    """

    inputs: Mapping[str, FloatArray]
    target: FloatArray
    weights: FloatArray
    groups: tuple[str, ...] = ()
    group_index: IntArray | None = None
    clusters: IntArray | None = None

    def __len__(self) -> int:
        return len(self.target)

    def take(self, mask: BoolArray) -> Rows:
        """Those rows, with the same groups."""
        return replace(
            self,
            inputs={name: values[..., mask] for name, values in self.inputs.items()},
            target=self.target[mask],
            weights=self.weights[mask],
            group_index=None if self.group_index is None else self.group_index[mask],
            clusters=None if self.clusters is None else self.clusters[mask],
        )


def rows_of(
    law: Declared,
    data: Mapping[str, Any],
    space: Space,
    *,
    x: Mapping[str, str] | None = None,
    y: str | None = None,
    weights: str | npt.ArrayLike | None = None,
    group: str | None = None,
    cluster: str | None = None,
) -> Rows:
    """The rows of a table of columns.

    Args:
        law: the law.
        data: columns by name, `[n]` each.
        space: where residuals will live: the target must lie in its domain.
        x: input -> column; inputs not named are found by name or alias.
        y: the target's column; None finds it.
        weights: a column or `[n]` numbers.
        group: the column of groups.
        cluster: the column of clusters.

    Raises:
        UsageError: a column is missing, not a number, not finite, constant, or out of its domain.
    """
    columns = dict(law.prepare(data)) if law.prepare is not None else dict(data)
    inputs = {name: input_of(columns, name, (x or {}).get(name)) for name in law.inputs}
    target_column = find_column(columns, law.target, y)
    target = _numbers(columns, target_column)
    num_rows = len(target)
    for name, values in inputs.items():
        if values.shape[-1] != num_rows:
            raise UsageError(
                f"input `{name}` has {values.shape[-1]} rows, but `{target_column}` {num_rows}."
            )
    if weights is None:
        weight = np.ones(num_rows)
    elif isinstance(weights, str):
        weight = _numbers(columns, _present(columns, weights))
    else:
        weight = np.broadcast_to(np.asarray(weights, np.float64), (num_rows,)).copy()
    if not np.all(np.isfinite(weight) & (weight >= 0)) or not np.any(weight > 0):
        raise UsageError("weights must be finite and at least 0, and one of them more than 0.")
    groups, group_index = _codes(columns, group)
    rows = Rows(
        inputs=inputs,
        target=target,
        weights=weight,
        groups=groups,
        group_index=group_index,
        clusters=_codes(columns, cluster)[1],
    )
    _check(law, rows, space, target_column)
    return rows


def _check(law: Declared, rows: Rows, space: Space, column: str) -> None:
    if not len(rows):
        raise UsageError(f"law `{law.name}` has no rows to fit. Check the filters.")
    outside = ~space.contains(rows.target)
    if outside.any():
        first = float(rows.target[outside][0])
        raise UsageError(
            f"`{column}` must be {space.domain} in {space.name} space, but {outside.sum()} of "
            f"{len(rows)} rows are not, the first {first:g}. Leave them out with a filter, or "
            "choose another space."
        )
    for name, values in rows.inputs.items():
        if name not in law.signed and not np.all(values > 0):
            raise UsageError(
                f"input `{name}` must be more than 0 in law `{law.name}`, but "
                f"{np.sum(values <= 0)} of {values.size} values are not. Leave them out."
            )
    if "k" in rows.inputs and not np.all(rows.inputs["k"] >= law.first):
        raise UsageError(f"input `k` must be at least {law.first:g} in law `{law.name}`.")


def num_distinct(rows: Rows) -> int:
    """How many of the rows with weight differ in an input or in their group."""
    kept = rows.take(rows.weights > 0)
    columns = [values.reshape(-1, len(kept)) for values in kept.inputs.values()]
    if kept.group_index is not None:
        columns.append(kept.group_index[None].astype(np.float64))
    return int(np.unique(np.concatenate(columns), axis=1).shape[1])


def check_enough(
    law: Declared, rows: Rows, num_free: int, *, spare: int = 0, flat: bool = False
) -> None:
    """Refuse data that cannot determine any fit.

    Args:
        law: the law, for the message.
        rows: its data.
        num_free: free parameters.
        spare: distinct rows wanted beyond these; 0 for a fit that may be exact.
        flat: whether constant columns are allowed.

    Raises:
        UsageError: fewer rows than free parameters, fewer distinct ones than these and the
            spare ones, or a constant column.
    """
    used = int(np.sum(rows.weights > 0))
    if used < num_free:
        raise UsageError(
            f"law `{law.name}` has {num_free} free parameters, but only {used} rows to fit. "
            "Add rows, fix parameters, or choose a law with fewer."
        )
    if spare and (distinct := num_distinct(rows)) < num_free + spare:
        raise UsageError(
            f"law `{law.name}` has {num_free} free parameters, but the rows to fit have "
            f"{distinct} distinct inputs; a comparison needs {num_free + spare}. Add rows, fix "
            "parameters, or fit the law by its name."
        )
    if flat or used < 2:
        return
    if np.ptp(rows.target) == 0:
        raise UsageError(f"`{law.target}` is the same in all {used} rows: nothing to fit.")
    for name, values in rows.inputs.items():
        if values.ndim == 1 and np.ptp(values) == 0:
            raise UsageError(
                f"input `{name}` is the same in all {used} rows ({values[0]:g}), so its "
                "parameters cannot be told. Fix them, or choose a law without it."
            )


def find_column(columns: Mapping[str, Any], name: str, mapped: str | None = None) -> str:
    """The column of an input or target: as mapped, by its name, or by an alias.

    Raises:
        UsageError: there is none.
    """
    if mapped is not None:
        return _present(columns, mapped)
    for candidate in (name, *ALIASES.get(name, ())):
        if candidate in columns:
            return candidate
    raise UsageError(
        f"no column for `{name}`: looked for {[name, *ALIASES.get(name, ())]} among "
        f"{_shown(columns)}. Map it, for example `{name}=COLUMN`."
    )


def _present(columns: Mapping[str, Any], name: str) -> str:
    if name not in columns:
        raise UsageError(f"no column {name!r} among {_shown(columns)}.")
    return name


def _shown(columns: Mapping[str, Any]) -> str:
    return ", ".join(map(str, columns))


def input_of(columns: Mapping[str, Any], name: str, mapped: str | None = None) -> FloatArray:
    """An input `[n]`: its column, or what it follows from (C = 6 N D, M = D/N, D = C/6N).

    Raises:
        UsageError: no such column, nor those it follows from; not numbers, or not finite.
    """
    derived = _DERIVED.get(name)
    try:
        return _numbers(columns, find_column(columns, name, mapped))
    except UsageError:
        if mapped is not None or derived is None or not _can(columns, derived[0]):
            raise
    parts = [input_of(columns, source) for source in derived[0]]
    return np.asarray(derived[1](*parts), np.float64)


_DERIVED: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "C": (("N", "D"), lambda n, d: 6.0 * n * d),
    "M": (("N", "D"), lambda n, d: d / n),
    "D": (("N", "C"), lambda n, c: c / (6.0 * n)),
}


def _can(columns: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return all({name, *ALIASES.get(name, ())} & set(columns) for name in names)


def _numbers(columns: Mapping[str, Any], name: str) -> FloatArray:
    try:
        values = np.asarray(columns[name], np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"column `{name}` must hold numbers, but it holds text.") from None
    if values.ndim == 0:
        raise UsageError(f"column `{name}` must be a list of numbers, but got one number.")
    bad = ~np.isfinite(values)
    if bad.any():
        raise UsageError(
            f"column `{name}` must be finite, but {bad.sum()} of {bad.size} values are missing, "
            "NaN or infinite. Leave those rows out with a filter."
        )
    size = np.abs(values[values != 0])
    if len(size) and not (size.max() < _LARGEST and size.min() > 1.0 / _LARGEST):
        raise UsageError(
            f"column `{name}` has values of size {size.min():g} to {size.max():g}; sizes must lie "
            f"within {1 / _LARGEST:g} and {_LARGEST:g}. Change its unit, or leave rows out."
        )
    return values


def _codes(
    columns: Mapping[str, Any], name: str | None
) -> tuple[tuple[str, ...], IntArray | None]:
    if name is None:
        return (), None
    labels = np.array([str(v) for v in np.asarray(columns[_present(columns, name)])])
    unique, index = np.unique(labels, return_inverse=True)
    return tuple(unique.tolist()), index.astype(np.intp)


def by_largest(values: npt.ArrayLike, share: float = 0.2) -> BoolArray:
    """`[n]`: the rows with the largest values, about that share of them, ties kept together.

    Examples:
        >>> by_largest([1, 2, 3, 4, 5], 0.4).tolist()
        [False, False, False, True, True]
    """
    array = np.asarray(values, np.float64)
    if not 0 < share < 1:
        raise UsageError(f"`share` must lie between 0 and 1, but got {share}.")
    ordered = np.sort(array)
    threshold = ordered[min(len(ordered) - 1, int(np.ceil((1 - share) * len(ordered))))]
    return np.asarray(array >= threshold)

"""Linear parameters solved for given nonlinear ones: variable projection.

Golub and Pereyra, The Differentiation of Pseudo-Inverses and Nonlinear Least Squares Problems
Whose Variables Separate (1973). The linear parameters are a weighted least-squares problem,
non-negative where the law says so, so a grid needs only the nonlinear ones. For sums of power laws
on a product grid each term takes few different values of its exponents, and the normal equations
of all grid points come from a few products of matrices.

Letters: `G` grid points, `L` slots of linear parameters, `F` free ones, `S` slots, `n` rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.laws.coordinates import Coordinates, coordinates
from dwell.laws.declaration import Declared, namespace, signed
from dwell.laws.rows import Rows
from dwell.laws.spaces import BoolArray, FloatArray

# A coefficient that projects to zero begins at this share of the target instead, since the
# logarithm of zero would be stuck there.
_LEAST_SHARE = 1e-3


@dataclass(frozen=True, slots=True)
class _Normal:
    """Normal equations: `gram [G, L, L]`, `right [G, L]`, mean sizes of the basis `[G, L]`."""

    gram: FloatArray
    right: FloatArray
    size: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProjectedGrid:
    """Least-squares objective over a grid of nonlinear parameters, the linear ones solved for.

    Attributes:
        points: `[G, Q]` nonlinear parameters, in the order of `law.nonlinear_names`.
        params: `[G, L]` linear parameters, in the caller's units, in the order of
            `law.linear_names`.
        objective: `[G]` half the weighted sum of squares of relative (log space) or absolute
            (linear space) residuals.
    """

    points: FloatArray
    params: FloatArray
    objective: FloatArray


def projected_grid(law: Declared, rows: Rows, grids: Sequence[npt.ArrayLike]) -> ProjectedGrid:
    """The objective over a product grid of nonlinear parameters, without any search.

    It is a map of the valley: a minimum inside says that there is one, and where.

    Args:
        law: a law with linear parameters.
        rows: its data.
        grids: values of each nonlinear parameter, in the order of `law.nonlinear_names`.
    """
    points = np.array(list(itertools.product(*(np.asarray(g, np.float64) for g in grids))))
    made = coordinates(law, {}, fixed={}, tied=())
    natural = np.ones((len(points), len(made.names)))
    for column, name in enumerate(law.nonlinear_names):
        natural[:, made.of_param[name]] = points[:, column, None]
    weights = rows.weights * (rows.target**-2.0 if law.space == "log" else 1.0)
    slots = np.concatenate([made.of_param[name] for name in law.linear_names])
    normal = _normal(made, rows.inputs, rows.target, weights, natural)
    positive = np.array([law.params[name].lower >= 0 for name in law.linear_names])
    solved = non_negative(normal.gram, normal.right, positive)
    # |y - Bc|^2 = |y|^2 - 2 r.c + c.Gc
    fitted = np.einsum("gl,glk,gk->g", solved, normal.gram, solved)
    total = np.sum(weights * rows.target**2)
    squares = total - 2.0 * np.einsum("gl,gl->g", solved, normal.right) + fitted
    natural[:, slots] = solved
    return ProjectedGrid(points=points, params=solved, objective=np.maximum(0.5 * squares, 0.0))


def project(
    coordinates: Coordinates,
    inputs: Mapping[str, FloatArray],
    target: FloatArray,
    weights: FloatArray,
    natural: FloatArray,
) -> None:
    """Set the linear parameters of `natural [G, S]` to their best values, in place.

    Args:
        coordinates: of the law and data.
        inputs: rescaled, `[..., n]`.
        target: `[n]`, rescaled.
        weights: `[n]`, for least squares in the target itself.
        natural: `[G, S]` parameters in rescaled units; fixed ones are kept.
    """
    law = coordinates.law
    slots = np.concatenate([coordinates.of_param[name] for name in law.linear_names])
    moving = coordinates.spread[:, slots]
    spread = moving[np.flatnonzero(moving.any(axis=1))]
    fixed = ~coordinates.moving[slots]
    least = np.array([law.params[coordinates.names[s].split("[")[0]].lower for s in slots])
    positive = np.array([bool(np.all(least[row > 0] >= 0)) for row in spread], np.bool_)
    normal = _normal(coordinates, inputs, target, weights, natural)
    held = natural[:, slots] * fixed
    gram = spread @ normal.gram @ spread.T
    right = (normal.right - np.einsum("glk,gk->gl", normal.gram, held)) @ spread.T
    solved = non_negative(gram, right, positive)
    size = normal.size @ spread.T
    floor = _LEAST_SHARE * np.mean(np.abs(target)) / (size + 1e-300)
    solved = np.where(positive, np.maximum(solved, floor), solved)
    natural[:, slots] = np.where(fixed, natural[:, slots], solved @ spread)


def _normal(
    coordinates: Coordinates,
    inputs: Mapping[str, FloatArray],
    target: FloatArray,
    weights: FloatArray,
    natural: FloatArray,
) -> _Normal:
    """Normal equations at each point of the grid, the fast way if there is one."""
    if coordinates.law.powers is not None and coordinates.group_index is None:
        fast = _separable(coordinates, inputs, target, weights, natural)
        if fast is not None:
            return fast
    law = coordinates.law
    num_slots = sum(len(coordinates.of_param[name]) for name in law.linear_names)
    widest = max(values.size for values in inputs.values())
    size = max(1, 400_000 // max(1, num_slots * len(target), widest))
    parts = []
    for begin in range(0, len(natural), size):
        columns = _basis(coordinates, inputs, natural[begin : begin + size], len(target))
        with np.errstate(all="ignore"):
            gram = (columns * weights) @ columns.transpose(0, 2, 1)
            right = np.einsum("gln,n->gl", columns, weights * target)
        parts.append((np.nan_to_num(gram), np.nan_to_num(right), np.abs(columns).mean(axis=2)))
    gram, right, sizes = (np.concatenate(list(part)) for part in zip(*parts, strict=True))
    return _Normal(gram, right, sizes)


def _separable(
    coordinates: Coordinates,
    inputs: Mapping[str, FloatArray],
    target: FloatArray,
    weights: FloatArray,
    natural: FloatArray,
) -> _Normal | None:
    """Normal equations from the different values of each term; None if they are too many."""
    law = coordinates.law
    assert law.powers is not None
    terms, index = [], []
    for term in law.powers.values():
        names = [n for power in term.values() if (n := signed(power)[1]) is not None]
        columns = [int(coordinates.of_param[name][0]) for name in names]
        values, inverse = np.unique(natural[:, columns], axis=0, return_inverse=True)
        logs = np.zeros((len(values), len(target)))
        for source, power in term.items():
            sign, name = signed(power)
            by = values[:, [names.index(name)]] if name else 1.0
            logs = logs + sign * by * np.log(inputs[source])
        with np.errstate(over="ignore"):
            terms.append(np.exp(logs))
        index.append(inverse.ravel())
    count = len(terms)
    if any(len(a) * len(b) > 4 * len(natural) for a, b in itertools.combinations(terms, 2)):
        return None
    gram = np.zeros((len(natural), count, count))
    with np.errstate(all="ignore"):
        for i, j in itertools.combinations_with_replacement(range(count), 2):
            if i == j:
                own = np.einsum("un,un,n->u", terms[i], terms[i], weights)
                gram[:, i, i] = own[index[i]]
            else:
                table = (terms[i] * weights) @ terms[j].T
                gram[:, i, j] = gram[:, j, i] = table[index[i], index[j]]
        right = [(t @ (weights * target))[i] for t, i in zip(terms, index, strict=True)]
        sizes = [t.mean(axis=1)[i] for t, i in zip(terms, index, strict=True)]
    return _Normal(
        np.nan_to_num(gram), np.nan_to_num(np.stack(right, axis=1)), np.stack(sizes, axis=1)
    )


def _basis(
    coordinates: Coordinates, inputs: Mapping[str, FloatArray], natural: FloatArray, num_rows: int
) -> FloatArray:
    """`[G, L, n]`: what multiplies each slot of a linear parameter."""
    law = coordinates.law
    with np.errstate(all="ignore"):
        parts = law.basis(namespace(dict(inputs)), coordinates.named(natural))
    columns = []
    for name, part in zip(law.linear_names, parts, strict=True):
        full = np.broadcast_to(part, (len(natural), num_rows))
        slots = coordinates.of_param[name]
        if len(slots) == 1:
            columns.append(full)
            continue
        for group in range(len(slots)):
            columns.append(np.where(coordinates.group_index == group, full, 0.0))
    stacked = np.nan_to_num(np.stack(columns, axis=1), posinf=0.0, neginf=0.0)
    return np.asarray(stacked, np.float64)


def non_negative(gram: FloatArray, right: FloatArray, positive: BoolArray) -> FloatArray:
    """Least squares `[G, L]` from normal equations, some unknowns at least 0, exactly.

    Up to five unknowns all active sets are tried; beyond, negative ones are set to zero and the
    rest solved again, which may miss the optimum (it is a start, no more).
    """
    num = right.shape[1]
    if num == 0:
        return right
    size = np.sqrt(np.maximum(np.einsum("gll->gl", gram), 1e-300))
    matrix = gram / (size[:, :, None] * size[:, None, :]) + 1e-13 * np.eye(num)
    vector = right / size
    best = np.linalg.solve(matrix, vector[..., None])[..., 0]
    bad = np.flatnonzero(((best < 0) & positive).any(axis=1))
    if num > 5:
        for _ in range(3):
            zero = (best < 0) & positive
            held = ~zero
            masked = matrix * held[:, :, None] * held[:, None, :] + np.eye(num) * zero[:, None, :]
            best = np.linalg.solve(masked, (vector * held)[..., None])[..., 0]
        return np.asarray(np.where(positive, np.maximum(best, 0.0), best) / size, np.float64)
    if len(bad):
        best[bad] = _all_active_sets(matrix[bad], vector[bad], positive)
    return np.asarray(best / size, np.float64)


def _all_active_sets(matrix: FloatArray, vector: FloatArray, positive: BoolArray) -> FloatArray:
    num = vector.shape[1]
    best, lowest = np.zeros_like(vector), np.zeros(len(vector))
    for size in range(1, num):
        for kept in itertools.combinations(range(num), size):
            if not all(positive[i] or i in kept for i in range(num)):
                continue
            ids = np.array(kept)
            part = np.linalg.solve(matrix[:, ids[:, None], ids], vector[:, ids, None])[..., 0]
            gain = -np.einsum("gk,gk->g", part, vector[:, ids])
            wins = (gain < lowest) & ~((part < 0) & positive[ids]).any(axis=1)
            lowest = np.where(wins, gain, lowest)
            best[wins] = 0.0
            best[np.ix_(np.flatnonzero(wins), ids)] = part[wins]
    return best

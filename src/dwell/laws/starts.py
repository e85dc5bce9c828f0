"""Where searches begin: a grid over the nonlinear parameters, the linear ones solved for.

For given nonlinear parameters the linear ones are a least-squares problem (variable projection:
Golub and Pereyra, 1973), non-negative where the law says so. So the grid needs no values for
coefficients, and each of its points is the best that its exponents can do.

Letters: `G` grid points, `L` linear parameters, `F` free coordinates, `S` slots, `n` rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from dwell.errors import UsageError
from dwell.laws.coordinates import Coordinates
from dwell.laws.declaration import Declared, Param, check_names, namespace
from dwell.laws.projection import project
from dwell.laws.spaces import FloatArray

Start = Mapping[str, float]

_MOST_GRID_POINTS = 4096


def grid_of(law: Declared, names: Sequence[str], seed: int) -> FloatArray:
    """Products of the grids of some parameters, `[G, len(names)]`, thinned if very many."""
    grids = [_values(law.params[name]) for name in names]
    total = int(np.prod([len(g) for g in grids])) if grids else 1
    if total <= _MOST_GRID_POINTS:
        points = np.array(list(itertools.product(*grids)), np.float64)
        return points.reshape(total, len(names))
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(g, _MOST_GRID_POINTS) for g in grids], axis=1)


def random_points(law: Declared, names: Sequence[str], count: int, seed: int) -> FloatArray:
    """`[count, len(names)]` values drawn evenly over the range of each grid."""
    rng = np.random.default_rng(seed)
    columns = []
    for name in names:
        param = law.params[name]
        values = np.array(_values(param))
        if param.transform == "exp":
            logs = np.log([values.min(), values.max()])
            columns.append(np.exp(rng.uniform(logs[0], logs[1], count)))
        else:
            columns.append(rng.uniform(values.min(), values.max(), count))
    return np.stack(columns, axis=1) if columns else np.zeros((count, 0))


def _values(param: Param) -> tuple[float, ...]:
    if param.grid:
        return param.grid
    if np.isfinite(param.lower) and np.isfinite(param.upper):
        return tuple(param.lower + (param.upper - param.lower) * s for s in (0.1, 0.35, 0.65, 0.9))
    return (0.1, 1.0, 10.0) if param.transform == "exp" else (-1.0, -0.3, 0.3, 1.0)


def starting_points(
    coordinates: Coordinates,
    inputs: Mapping[str, FloatArray],
    target: FloatArray,
    weights: FloatArray,
    *,
    starts: str | int | Sequence[Start],
    seed: int,
) -> FloatArray:
    """Free coordinates `[G, F]` to begin from.

    Args:
        coordinates: of the law and data.
        inputs: rescaled, `[..., n]`.
        target: `[n]`, rescaled.
        weights: `[n]`, for least squares in the target itself.
        starts: "grid", a number of random points, or mappings of parameters.
        seed: of random points, and of thinning.

    Raises:
        UsageError: starts that name no parameters, or none at all.
    """
    law = coordinates.law
    if not isinstance(starts, str | int):
        return _given(coordinates, starts)
    if starts == "grid" and law.starts is not None:
        caller = {k: v * coordinates.scales.get(k, 1.0) for k, v in inputs.items()}
        scale = coordinates.scales.get(law.target, 1.0)
        with np.errstate(all="ignore"):
            points = law.starts(namespace(caller), target * scale)
        return _given(coordinates, points)
    names = law.nonlinear_names
    if isinstance(starts, int):
        if starts < 1:
            raise UsageError(f"`starts` must be at least 1, but got {starts}.")
        grid = random_points(law, names, starts, seed)
    elif starts == "grid":
        grid = grid_of(law, names, seed)
    else:
        raise UsageError(f'`starts` must be "grid", a number or a list, but got {starts!r}.')
    natural = np.ones((len(grid), len(coordinates.names)))
    for column, name in enumerate(names):
        natural[:, coordinates.of_param[name]] = grid[:, column, None]
    natural = np.where(coordinates.moving, natural, _fixed_natural(coordinates))
    natural = coordinates.natural(
        coordinates.slots(coordinates.to_free(coordinates.to_slots(natural)))
    )
    if law.linear_names:
        project(coordinates, inputs, target, weights, natural)
    return coordinates.to_free(coordinates.to_slots(natural))


def _fixed_natural(coordinates: Coordinates) -> FloatArray:
    return np.asarray(coordinates.natural(coordinates.base[None])[0], np.float64)


def _given(coordinates: Coordinates, starts: Sequence[Start]) -> FloatArray:
    if not len(starts):
        raise UsageError("`starts` must hold at least one point, but is empty.")
    law = coordinates.law
    rows = np.ones((len(starts), len(coordinates.names)))
    for row, start in zip(rows, starts, strict=True):
        fixed = coordinates.natural(coordinates.base[None])[0]
        free = coordinates.moving
        own = {n.split("[")[0]: fixed[i] for i, n in enumerate(coordinates.names) if not free[i]}
        values = {**own, **start}
        check_names(f"parameters of `{law.name}` in a start", law.params, values)
        for name, slots in coordinates.of_param.items():
            row[slots] = values[name]
    usable = np.isfinite(rows).all(axis=1)
    if not usable.any():
        raise UsageError(f"none of the starts of `{law.name}` is finite for these data.")
    return coordinates.from_caller(rows[usable])

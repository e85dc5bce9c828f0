"""IsoFLOP optima by parabolas (approach 2), and how biased they are.

For each budget C a parabola of the loss in ln N has its vertex at ln N*(C); a power law through
the vertices gives N* = n0 C^a, and the same in ln D gives D* = d0 C^b. Even without noise a and n0
are biased: by wide grids (a parabola is only the beginning of the loss's expansion), by grids
that are off centre, and by alpha differing from beta. Fitting the surface itself has none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.laws.engine import Options, fit_rows
from dwell.laws.law import Law
from dwell.laws.registry import law_of
from dwell.laws.rows import Rows, rows_of
from dwell.laws.spaces import BoolArray, FloatArray, space_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IsoFlop:
    """Parabolas at each budget and the power laws through their vertices.

    Attributes:
        budgets: `[G]` compute.
        params: `[G]` N* of each budget; NaN where the parabola opens downwards.
        tokens: `[G]` D*, from parabolas in ln D.
        loss: `[G]` loss at the vertex in ln N.
        outside: `[G]` whether the vertex lies outside the sizes sampled at this budget.
        params_exponent: a in N* = n0 C^a.
        params_log_scale: ln n0.
        tokens_exponent: b in D* = d0 C^b.
        tokens_log_scale: ln d0.
        surface_exponent: beta / (alpha + beta) of the surface fitted to the same rows; NaN if it
            could not be fitted.
        bias: params_exponent of the same parabolas on that surface's own losses, without noise,
            less surface_exponent: what the method, not the data, adds. NaN likewise.
    """

    budgets: FloatArray
    params: FloatArray
    tokens: FloatArray
    loss: FloatArray
    outside: BoolArray
    params_exponent: float
    params_log_scale: float
    tokens_exponent: float
    tokens_log_scale: float
    surface_exponent: float
    bias: float


def isoflop(data: Mapping[str, Any], *, x: Mapping[str, str] | None = None,
            y: str | None = None) -> IsoFlop:  # fmt: skip
    """IsoFLOP optima of a table with parameters, tokens, budgets and losses.

    Args:
        data: columns; N, D and C are found by name (`params`, `tokens`, `budget`) or mapped.
        x: input -> column.
        y: the loss's column.

    Raises:
        UsageError: columns missing, or fewer than two budgets with three sizes each.
    """
    helper = law_of("chinchilla")
    rows = rows_of(helper, data, space_of("log"), x=x, y=y)
    budget_law = Law(
        name="isoflop", text="", inputs=("N", "D", "C"), target=helper.target, params={},
        paper="", equation="",
    )  # fmt: skip
    budgets = rows_of(budget_law, data, space_of("log"), x=x, y=y).inputs["C"]
    found = parabolas(rows.inputs["N"], rows.inputs["D"], budgets, rows.target)
    try:
        surface = fit_rows(helper, rows, Options())
    except UsageError:
        return found
    p = surface.params
    exponent = p["beta"] / (p["alpha"] + p["beta"])
    loss = surface.curves(rows.inputs, surface.values[None])[0]
    clean = parabolas(rows.inputs["N"], rows.inputs["D"], budgets, loss)
    return IsoFlop(
        **{
            **{name: getattr(found, name) for name in IsoFlop.__slots__},
            "surface_exponent": exponent,
            "bias": clean.params_exponent - exponent,
        }
    )


def parabolas(
    params: npt.ArrayLike, tokens: npt.ArrayLike, budgets: npt.ArrayLike, loss: npt.ArrayLike
) -> IsoFlop:
    """The parabola method on arrays `[n]`, without comparison.

    Raises:
        UsageError: fewer than two budgets with three different sizes.
    """
    n, d, c, y = (np.asarray(v, np.float64) for v in (params, tokens, budgets, loss))
    levels = [level for level in np.unique(c) if len(np.unique(n[c == level])) >= 3]
    if len(levels) < 2:
        raise UsageError(
            "the parabola method needs at least two budgets with three model sizes each, but got "
            f"{len(levels)}. Fit `chinchilla`, which needs no budgets."
        )
    vertices, losses, outside, token_vertices = [], [], [], []
    for level in levels:
        here = c == level
        top, low = _vertex(np.log(n[here]), y[here])
        vertices.append(top)
        losses.append(low)
        token_vertices.append(_vertex(np.log(d[here]), y[here])[0])
        inner = np.log(n[here]).min() <= top <= np.log(n[here]).max()
        outside.append(not inner)
    logs = np.log(levels)
    a, n0 = _line(logs, np.array(vertices))
    b, d0 = _line(logs, np.array(token_vertices))
    return IsoFlop(
        budgets=np.array(levels),
        params=np.exp(vertices),
        tokens=np.exp(token_vertices),
        loss=np.array(losses),
        outside=np.array(outside),
        params_exponent=a,
        params_log_scale=n0,
        tokens_exponent=b,
        tokens_log_scale=d0,
        surface_exponent=np.nan,
        bias=np.nan,
    )


def _vertex(logs: FloatArray, loss: FloatArray) -> tuple[float, float]:
    """Place and height of the vertex of a least-squares parabola; NaN if it opens downwards."""
    center = float(np.mean(logs))
    bend, slope, height = np.polyfit(logs - center, loss, 2)
    if bend <= 0:
        return np.nan, np.nan
    top = -slope / (2.0 * bend)
    return center + top, float(height + 0.5 * slope * top)


def _line(logs: FloatArray, values: FloatArray) -> tuple[float, float]:
    """Slope and intercept of a least-squares line through the finite points."""
    good = np.isfinite(values)
    if np.sum(good) < 2:
        return np.nan, np.nan
    slope, intercept = np.polyfit(logs[good], values[good], 1)
    return float(slope), float(intercept)


def grid_of_runs(
    params: Mapping[str, float], budgets: npt.ArrayLike, *, width: float, points: int = 9,
    shift: npt.ArrayLike = 1.0,
) -> Rows:  # fmt: skip
    """Noise-free runs of a surface around its optima, to study the method.

    Args:
        params: E, A, B, alpha and beta of the surface.
        budgets: `[G]` compute.
        width: sizes reach from the optimum divided by this to the optimum times this.
        points: sizes for each budget.
        shift: what the centre of each grid is off the optimum by, as a factor; `[G]` or one.

    Returns:
        `Rows` with inputs N, D and C.
    """
    law = law_of("chinchilla")
    alpha, beta = params["alpha"], params["beta"]
    scale = (alpha * params["A"] / (beta * params["B"])) ** (1.0 / (alpha + beta))
    c = np.repeat(np.asarray(budgets, np.float64), points)
    best = scale * (c / 6.0) ** (beta / (alpha + beta))
    best *= np.repeat(np.broadcast_to(shift, np.shape(budgets)), points)
    spread = np.tile(np.linspace(-1.0, 1.0, points), len(c) // points)
    n = best * width**spread
    d = c / (6.0 * n)
    loss = law.evaluate({"N": n, "D": d}, params)
    return Rows(inputs={"N": n, "D": d, "C": c}, target=loss, weights=np.ones(len(n)))

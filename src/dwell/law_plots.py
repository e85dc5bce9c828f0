"""Plots of fits as a paper would print them: data, fit, band, held-out points, residuals.

A plot is panels of series, drawn by plotly (one HTML file that loads nothing), as SVG text, or,
for .png, by matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dwell.errors import MissingExtraError, UsageError
from dwell.laws.fit import Fit
from dwell.laws.spaces import FloatArray
from dwell.panel_svg import COLOURS, svg_of

_NUM_BUDGETS = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Points, a line, or a line with a band.

    Attributes:
        label: for the legend; "" leaves it out of it.
        x: `[K]`.
        y: `[K]`.
        low: `[K]` lower end of the band, or None.
        high: `[K]` upper end.
        marks: whether points are drawn instead of a line.
        colour: index of the colour.
    """

    label: str
    x: FloatArray
    y: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None
    marks: bool = False
    colour: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One pair of axes, with what is drawn in it."""

    title: str
    x_title: str
    y_title: str
    log_x: bool
    series: tuple[Series, ...]


def write_plot(fit: Fit, path: Path | str) -> Path:
    """Write a fit's plot; the suffix says how: .html, .png or .svg.

    Raises:
        UsageError: another suffix, or a fit without its data.
        MissingExtraError: .png without matplotlib.
    """
    return draw(panels_of(fit), f"{fit.law.name}: {fit.law.target} = {fit.law.text}", path)


def draw(panels: Sequence[Panel], title: str, path: Path | str) -> Path:
    """Draw panels into a file.

    Raises:
        UsageError: a suffix that is not .html, .png or .svg.
        MissingExtraError: .png without matplotlib.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".html", ".png", ".svg"):
        raise UsageError(f"a plot is .html, .png or .svg, but got {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".html":
        _draw_html(panels, title, path)
    elif suffix == ".svg":
        path.write_text(svg_of(panels, title), encoding="utf-8")
    else:
        _draw_image(panels, title, path)
    return path


def panels_of(fit: Fit) -> list[Panel]:
    """The panels that suit a fit: curve or IsoFLOPs, prediction against observation, residuals."""
    if fit.problem is None:
        raise UsageError("a plot needs the data: plot when fitting, by `dwell fit --plot`.")
    rows = fit.problem.rows
    names = fit.law.inputs
    panels = []
    if len(names) == 1 and not fit.groups:
        panels.append(_curve_panel(fit, names[0], rows.inputs[names[0]], rows.target))
    elif {"N", "D"} == set(names) and not fit.groups:
        panels += _isoflop_panels(fit, rows.inputs["N"], rows.inputs["D"], rows.target)
    else:
        panels.append(_agreement_panel(fit, rows.target))
    panels.append(_residual_panel(fit, rows.target))
    return panels


def _curve_panel(fit: Fit, name: str, x: FloatArray, y: FloatArray) -> Panel:
    largest = float(x.max())
    series = []
    if fit.holdout is not None and name in fit.holdout.inputs:
        held = fit.holdout.inputs[name]
        largest = max(largest, float(held.max()))
        series.append(
            Series(label="held out", x=held, y=fit.holdout.observed, marks=True, colour=1)
        )
    wide = bool(np.all(x > 0) and largest / float(x.min()) > 20)
    grid = (
        np.geomspace(float(x.min()), 4 * largest, 160)
        if wide
        else np.linspace(float(x.min()), largest + 0.1 * (largest - float(x.min())), 160)
    )
    band = fit.predict({name: grid})
    line = Series(
        label=f"fit, {band.level:.0%} band",
        x=grid,
        y=band.value,
        low=band.low,
        high=band.high,
    )
    data = Series(label="fitted", x=x, y=y, marks=True)
    return Panel(
        title="data and fit",
        x_title=name,
        y_title=fit.law.target,
        log_x=wide,
        series=(line, data, *series),
    )


def _isoflop_panels(fit: Fit, n: FloatArray, d: FloatArray, loss: FloatArray) -> list[Panel]:
    """Curves of equal compute with their valleys, and the loss along the optimum."""
    compute = 6.0 * n * d
    budgets = np.unique(np.quantile(compute, np.linspace(0.05, 0.95, _NUM_BUDGETS)))
    nearest = np.argmin(np.abs(np.log(compute[:, None] / budgets)), axis=1)
    series, valleys = [], []
    for index, budget in enumerate(budgets):
        best = fit.allocate(float(budget))
        valleys.append((best.params.value, best.loss.value))
        here = (nearest == index) & (np.abs(np.log(compute / budget)) < 0.7)
        around = np.concatenate([n[here], [best.params.value]])
        sizes = np.geomspace(around.min() / 1.5, around.max() * 1.5, 60)
        curve = fit.predict({"N": sizes, "D": budget / (6.0 * sizes)})
        series.append(Series(label=f"C = {budget:.2g}", x=sizes, y=curve.value, colour=index))
        if here.any():
            series.append(Series(label="", x=n[here], y=loss[here], marks=True, colour=index))
    places, heights = (np.array(v) for v in zip(*valleys, strict=True))
    series.append(Series(label="optimum", x=places, y=heights, colour=7))
    first = Panel(
        title="IsoFLOP curves and their valleys",
        x_title="N",
        y_title=fit.law.target,
        log_x=True,
        series=tuple(series),
    )
    return [first, _frontier_panel(fit, compute, loss)]


def _frontier_panel(fit: Fit, compute: FloatArray, loss: FloatArray) -> Panel:
    largest, held = float(compute.max()), []
    if fit.holdout is not None and {"N", "D"} <= set(fit.holdout.inputs):
        beyond = 6.0 * fit.holdout.inputs["N"] * fit.holdout.inputs["D"]
        largest = max(largest, float(beyond.max()))
        held = [Series(label="held out", x=beyond, y=fit.holdout.observed, marks=True, colour=1)]
    grid = np.geomspace(float(compute.min()), 4 * largest, 24)
    best = [fit.allocate(float(budget)).loss for budget in grid]
    line = Series(
        label=f"optimal loss, {fit.level:.0%} band",
        x=grid,
        y=np.array([one.value for one in best]),
        low=np.array([one.low for one in best]),
        high=np.array([one.high for one in best]),
    )
    return Panel(
        title="loss against compute",
        x_title="C = 6 N D",
        y_title=fit.law.target,
        log_x=True,
        series=(line, Series(label="fitted", x=compute, y=loss, marks=True, colour=7), *held),
    )


def _predicted(fit: Fit) -> FloatArray:
    """Predictions on the fitted rows, from the residuals in their space."""
    problem = fit.problem
    assert problem is not None
    scale = problem.coordinates.scales.get(fit.law.target, 1.0)
    z = problem.targets - fit.residuals / problem.unit
    return np.asarray(problem.space.inverse(z) * scale, np.float64)


def _agreement_panel(fit: Fit, y: FloatArray) -> Panel:
    predicted = _predicted(fit)
    ends = np.array([min(y.min(), predicted.min()), max(y.max(), predicted.max())])
    series = [
        Series(label="equal", x=ends, y=ends, colour=7),
        Series(label="fitted", x=predicted, y=y, marks=True),
    ]
    if fit.holdout is not None and len(fit.holdout.observed):
        held = fit.holdout
        series.append(
            Series(label="held out", x=held.predicted, y=held.observed, marks=True, colour=1)
        )
    return Panel(
        title="observed against predicted",
        x_title=f"predicted {fit.law.target}",
        y_title=f"observed {fit.law.target}",
        log_x=False,
        series=tuple(series),
    )


def _residual_panel(fit: Fit, y: FloatArray) -> Panel:
    predicted = _predicted(fit)
    ends = np.array([predicted.min(), predicted.max()])
    return Panel(
        title=f"residuals in {fit.objective.space} space",
        x_title=f"predicted {fit.law.target}",
        y_title="residual",
        log_x=False,
        series=(
            Series(label="", x=ends, y=np.zeros(2), colour=7),
            Series(label="residual", x=predicted, y=fit.residuals, marks=True),
        ),
    )


def _draw_html(panels: Sequence[Panel], title: str, path: Path) -> None:
    graph_objects = import_module("plotly.graph_objects")
    figure = import_module("plotly.subplots").make_subplots(
        rows=1, cols=len(panels), subplot_titles=[p.title for p in panels]
    )
    for column, panel in enumerate(panels, start=1):
        for series in panel.series:
            for trace in _traces(series, graph_objects):
                figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(
            title=panel.x_title, type="log" if panel.log_x else "linear", row=1, col=column
        )
        figure.update_yaxes(title=panel.y_title, row=1, col=column)
    figure.update_layout(title=title, template="plotly_white", legend={"orientation": "h"})
    figure.write_html(path, include_plotlyjs=True, full_html=True)


def _traces(series: Series, graph_objects: Any) -> list[Any]:
    colour = COLOURS[series.colour % len(COLOURS)]
    order = np.argsort(series.x) if not series.marks else np.arange(len(series.x))
    traces = []
    if series.low is not None and series.high is not None:
        x = np.concatenate([series.x[order], series.x[order][::-1]])
        y = np.concatenate([series.low[order], series.high[order][::-1]])
        traces.append(
            graph_objects.Scatter(
                x=x,
                y=y,
                fill="toself",
                fillcolor=colour,
                opacity=0.18,
                hoverinfo="skip",
                line={"width": 0},
                showlegend=False,
            )  # fmt: skip
        )
    traces.append(
        graph_objects.Scatter(
            x=series.x[order],
            y=series.y[order],
            mode="markers" if series.marks else "lines",
            name=series.label,
            showlegend=bool(series.label),
            marker={"color": colour, "size": 5},
            line={"color": colour},
        )
    )
    return traces


def _draw_image(panels: Sequence[Panel], title: str, path: Path) -> None:
    try:
        backend = import_module("matplotlib.backends.backend_agg")
        figures = import_module("matplotlib.figure")
    except ImportError as error:
        raise MissingExtraError("A plot as .png", "matplotlib", "plots") from error
    figure = figures.Figure(figsize=(5.2 * len(panels), 4.2), layout="constrained")
    backend.FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        for series in panel.series:
            _mark(axis, series)
        axis.set(title=panel.title, xlabel=panel.x_title, ylabel=panel.y_title)
        axis.set_xscale("log" if panel.log_x else "linear")
        axis.legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def _mark(axis: Any, series: Series) -> None:
    colour = COLOURS[series.colour % len(COLOURS)]
    label = series.label or "_nolegend_"
    if series.marks:
        axis.plot(series.x, series.y, "o", ms=3, color=colour, label=label)
        return
    order = np.argsort(series.x)
    axis.plot(series.x[order], series.y[order], color=colour, label=label)
    if series.low is not None and series.high is not None:
        axis.fill_between(
            series.x[order], series.low[order], series.high[order], color=colour, alpha=0.18, lw=0
        )

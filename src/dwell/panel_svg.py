"""Panels of lines, bands and points as SVG text, without any drawing library.

The same panels always give the same text, so drawings can be kept in a repository and checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from dwell.laws.spaces import FloatArray

if TYPE_CHECKING:
    from dwell.law_plots import Panel, Series

COLOURS = ("#1f5fa8", "#c8501e", "#2c8a4b", "#7b4fa3", "#8a6d1f", "#b03a6a", "#3a8f9c", "#555555")
_WIDTH, _HEIGHT = 460.0, 320.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 14.0, 34.0, 46.0
_FONT = "font-family='Helvetica,Arial,sans-serif'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Maps values to places between `begin` and `end` on the page."""

    low: float
    high: float
    log: bool
    begin: float
    end: float

    def place(self, values: FloatArray) -> FloatArray:
        given = np.log10(values) if self.log else values
        share = (given - self.low) / (self.high - self.low)
        return np.asarray(self.begin + share * (self.end - self.begin))

    def ticks(self) -> list[tuple[float, str]]:
        """Values to mark, with their labels."""
        if self.log:
            first, last = int(np.ceil(self.low - 1e-9)), int(np.floor(self.high + 1e-9))
            if last > first:
                every = max(1, (last - first + 4) // 5)
                return [(10.0**e, _short(10.0**e)) for e in range(first, last + 1, every)]
            values = np.array([1.0, 2.0, 3.0, 5.0, 7.0])
            scaled = np.concatenate([values * 10.0**e for e in (first - 1, first)])
            inside = (np.log10(scaled) >= self.low) & (np.log10(scaled) <= self.high)
            return [(float(v), _short(float(v))) for v in scaled[inside]]
        step = _step((self.high - self.low) / 5.0)
        first_tick = np.ceil(self.low / step - 1e-9) * step
        marks = np.arange(first_tick, self.high + 1e-9 * step, step)
        return [(float(v), _short(float(v))) for v in np.round(marks, 12) + 0.0]


def _step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * 0.999))


def _short(value: float) -> str:
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
    return f"{value:.6g}"


def svg_of(panels: Sequence[Panel], title: str = "", *, columns: int = 3) -> str:
    """Panels side by side, `columns` in a row, as the text of an SVG file.

    Args:
        panels: at least one; what is not finite is left out.
        title: for screen readers.
        columns: panels in a row.
    """
    wide = min(columns, len(panels))
    high = -(-len(panels) // wide)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {wide * _WIDTH:.0f} "
        f"{high * _HEIGHT:.0f}' width='{wide * _WIDTH:.0f}' height='{high * _HEIGHT:.0f}'>",
        f"<title>{escape(title)}</title>" if title else "",
        "<rect width='100%' height='100%' fill='white'/>",
    ]
    for index, panel in enumerate(panels):
        shift = f"{(index % wide) * _WIDTH:.0f} {(index // wide) * _HEIGHT:.0f}"
        parts.append(f"<g transform='translate({shift})'>{_panel(panel)}</g>")
    return "\n".join(part for part in parts if part) + "\n</svg>\n"


def _axis(values: FloatArray, log: bool, begin: float, end: float) -> _Axis:
    kept = values[np.isfinite(values) & ((values > 0) | (not log))]
    kept = np.log10(kept) if log else kept
    low, high = (float(kept.min()), float(kept.max())) if len(kept) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    return _Axis(low=low - margin, high=high + margin, log=log, begin=begin, end=end)


def _panel(panel: Panel) -> str:
    every_y = [v for s in panel.series for v in (s.y, s.low, s.high) if v is not None]
    x = _axis(np.concatenate([s.x for s in panel.series]), panel.log_x, _LEFT, _WIDTH - _RIGHT)
    y = _axis(np.concatenate(every_y), False, _HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(panel, x, y)]
    for series in panel.series:
        parts.append(_series(series, x, y))
    parts.append(_legend(panel, x, y))
    return "\n".join(parts)


def _legend(panel: Panel, x: _Axis, y: _Axis) -> str:
    """Names of the series in the corner where the fewest points are."""
    labelled = [s for s in panel.series if s.label]
    if not labelled:
        return ""
    wide = 8.0 + 6.0 * max(len(s.label) for s in labelled)
    tall = 8.0 + 14.0 * len(labelled)
    points = [(x.place(s.x), y.place(s.y)) for s in panel.series]
    across, up = (np.concatenate(parts) for parts in zip(*points, strict=True))

    def crowd(right: bool, bottom: bool) -> int:
        near_x = across > _WIDTH - _RIGHT - wide if right else across < _LEFT + wide
        near_y = up > _HEIGHT - _BOTTOM - tall if bottom else up < _TOP + tall
        return int(np.sum(near_x & near_y))

    corners = [(True, False), (False, False), (True, True), (False, True)]
    right, bottom = min(corners, key=lambda corner: crowd(*corner))
    at_x, anchor = (_WIDTH - _RIGHT - 8, "end") if right else (_LEFT + 8, "start")
    at_y = _HEIGHT - _BOTTOM - tall + 12 if bottom else _TOP + 14
    return "".join(
        f"<text x='{at_x:.0f}' y='{at_y + 14 * row:.0f}' {_FONT} font-size='11' "
        f"text-anchor='{anchor}' fill='{COLOURS[series.colour % len(COLOURS)]}'>"
        f"{escape(series.label)}</text>"
        for row, series in enumerate(labelled)
    )


def _frame(panel: Panel, x: _Axis, y: _Axis) -> str:
    text = f"{_FONT} font-size='11' fill='#333'"
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    center = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts = [
        f"<rect x='{_LEFT:.0f}' y='{_TOP:.0f}' width='{_WIDTH - _LEFT - _RIGHT:.0f}' "
        f"height='{_HEIGHT - _TOP - _BOTTOM:.0f}' fill='none' stroke='#999'/>",
        f"<text x='{middle:.0f}' y='20' {_FONT} font-size='13' text-anchor='middle'>"
        f"{escape(panel.title)}</text>",
        f"<text x='{middle:.0f}' y='{_HEIGHT - 10:.0f}' {text} text-anchor='middle'>"
        f"{escape(panel.x_title)}</text>",
        f"<text transform='translate(14 {center:.0f}) rotate(-90)' {text} "
        f"text-anchor='middle'>{escape(panel.y_title)}</text>",
    ]
    for value, label in x.ticks():
        at = float(x.place(np.array(value)))
        parts.append(
            f"<line x1='{at:.1f}' x2='{at:.1f}' y1='{_TOP:.0f}' y2='{_HEIGHT - _BOTTOM:.0f}' "
            f"stroke='#eee'/><text x='{at:.1f}' y='{_HEIGHT - _BOTTOM + 15:.0f}' {text} "
            f"text-anchor='middle'>{label}</text>"
        )
    for value, label in y.ticks():
        at = float(y.place(np.array(value)))
        parts.append(
            f"<line x1='{_LEFT:.0f}' x2='{_WIDTH - _RIGHT:.0f}' y1='{at:.1f}' y2='{at:.1f}' "
            f"stroke='#eee'/><text x='{_LEFT - 6:.0f}' y='{at + 4:.1f}' {text} "
            f"text-anchor='end'>{label}</text>"
        )
    return "".join(parts)


def _series(series: Series, x: _Axis, y: _Axis) -> str:
    colour = COLOURS[series.colour % len(COLOURS)]
    good = np.isfinite(series.x) & np.isfinite(series.y) & ((series.x > 0) | (not x.log))
    across, up = x.place(series.x[good]), y.place(series.y[good])
    if series.marks:
        return "".join(
            f"<circle cx='{a:.1f}' cy='{b:.1f}' r='2.6' fill='{colour}' fill-opacity='0.75'/>"
            for a, b in zip(across, up, strict=True)
        )
    order = np.argsort(across, kind="stable")
    across, up = across[order], up[order]
    band = ""
    if series.low is not None and series.high is not None:
        low, high = (y.place(v[good])[order] for v in (series.low, series.high))
        edge = _points(np.concatenate([across, across[::-1]]), np.concatenate([low, high[::-1]]))
        band = f"<polygon points='{edge}' fill='{colour}' fill-opacity='0.15'/>"
    line = f"<polyline points='{_points(across, up)}' fill='none' stroke='{colour}' "
    return f"{band}{line}stroke-width='1.8'/>"


def _points(across: FloatArray, up: FloatArray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True))

"""How biased the parabola method (approach 2) is on runs without any noise.

    python benchmarks/isoflop_bias.py             # prints the tables
    python benchmarks/isoflop_bias.py --plot docs/img/isoflop_bias.svg

Runs are those of a known surface E + A N^-alpha + B D^-beta on a grid of sizes around the optimum
of each of six budgets from 1e18 to 1e22 FLOP. Approach 2 fits a parabola in ln N to each budget
and a power law to the vertices; its exponent and the size that it extrapolates to 3.8e25 FLOP are
compared with the truth. The surface is fitted to the same runs by this package's engine.

The last table asks the question of the Llama 3 report in form: at 3.8e25 FLOP, what share of the
compute is lost by training the size that approach 2 says? Its surface is the one that the public
Llama 3 runs give.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dwell.law_plots import Panel, Series
from dwell.laws import LAWS
from dwell.laws.isoflop import grid_of_runs, parabolas
from dwell.laws.spaces import FloatArray
from dwell.panel_svg import svg_of

BUDGETS = np.geomspace(1e18, 1e22, 6)
TARGET = 3.8e25
WIDTHS = (2.0, 4.0, 8.0, 16.0)
REGIMES = {
    "symmetric": {"E": 1.8, "A": 480.0, "B": 700.0, "alpha": 0.31, "beta": 0.31},
    "Chinchilla": {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
    "asymmetric": {"E": 1.7, "A": 3000.0, "B": 130.0, "alpha": 0.46, "beta": 0.2},
}
#: The surface of the public Llama 3 IsoFLOP runs, with N in 1e6 and D in 1e9.
LLAMA = {
    "E": 1.8275,
    "A": 2.0163 * 1e6**0.3267,
    "B": 0.5035 * 1e9**0.3654,
    "alpha": 0.3267,
    "beta": 0.3654,
}


@dataclass(frozen=True)
class Bias:
    """Errors of approach 2: of the exponent, and of the size extrapolated (as a ratio)."""

    exponent: float
    size: float


def truth(surface: dict[str, float], compute: float) -> tuple[float, float]:
    """Exponent and size of the optimum of a surface, in closed form."""
    alpha, beta = surface["alpha"], surface["beta"]
    g = (alpha * surface["A"] / (beta * surface["B"])) ** (1 / (alpha + beta))
    return beta / (alpha + beta), g * (compute / 6) ** (beta / (alpha + beta))


def bias_of(
    surface: dict[str, float], width: float, offset: float = 0.0, drift: float = 0.0
) -> Bias:
    """Approach 2 against the truth.

    Args:
        surface: parameters.
        width: grids reach from their centre divided by this to their centre times this.
        offset: how far centres lie above the optimum, in half-widths of the grid (in logs).
        drift: centres move from this far below that to this far above, first budget to last.
    """
    offsets = offset + drift * np.linspace(-1, 1, len(BUDGETS))
    parts = [
        grid_of_runs(surface, [budget], width=width, shift=float(width**off))
        for budget, off in zip(BUDGETS, offsets, strict=True)
    ]
    n, d, c = (np.concatenate([p.inputs[k] for p in parts]) for k in ("N", "D", "C"))
    found = parabolas(n, d, c, np.concatenate([p.target for p in parts]))
    exponent, size = truth(surface, TARGET)
    guess = np.exp(found.params_log_scale) * TARGET**found.params_exponent
    return Bias(exponent=found.params_exponent - exponent, size=float(guess / size))


def surface_error(surface: dict[str, float], width: float) -> float:
    """Largest relative error of the parameters when the surface itself is fitted."""
    rows = grid_of_runs(surface, BUDGETS, width=width)
    fit = LAWS["chinchilla"].fit(rows)
    return max(abs(fit.params[name] / value - 1) for name, value in surface.items())


def wasted(surface: dict[str, float], size_ratio: float, compute: float = TARGET) -> float:
    """Share of a budget that a model of the wrong size loses: the optimum needs less."""
    _, best = truth(surface, compute)
    size = best * size_ratio
    law = LAWS["chinchilla"]
    reached = law.evaluate({"N": size, "D": compute / (6 * size)}, surface)[0]
    grid = np.geomspace(compute / 10, compute, 20_001)
    optimum = np.array([truth(surface, c)[1] for c in grid])
    losses = law.evaluate({"N": optimum, "D": grid / (6 * optimum)}, surface)
    return float(1 - grid[np.argmax(losses <= reached)] / compute)


def print_tables() -> None:
    """All numbers, as text."""
    print("error of approach 2's exponent a, and N* at 3.8e25 FLOP over the truth; no noise")
    print(f"{'surface':12s}{'grid':>6s}{'centred':>20s}{'offset 1/2':>20s}{'drift 1/2':>20s}"
          f"{'surface fit':>14s}")  # fmt: skip
    for name, surface in REGIMES.items():
        for width in WIDTHS:
            cells = [
                bias_of(surface, width),
                bias_of(surface, width, offset=0.5),
                bias_of(surface, width, drift=0.5),
            ]
            shown = "".join(f"{c.exponent:+12.5f}{c.size:8.3f}" for c in cells)
            print(f"{name:12s}{f'x{width:g}':>6s}{shown}{surface_error(surface, width):14.1e}")
    print("\nlost compute at 3.8e25 FLOP on the surface of the Llama 3 runs")
    print(f"{'grid':>6s}{'drift':>8s}{'N* over truth':>16s}{'compute lost':>14s}")
    for width in WIDTHS:
        for drift in (0.0, -0.5, 0.5):
            bias = bias_of(LLAMA, width, drift=drift)
            lost = wasted(LLAMA, bias.size)
            print(f"{f'x{width:g}':>6s}{drift:>8g}{bias.size:16.3f}{lost:14.2%}")


def plot(path: Path) -> None:
    """Errors against width, offset and drift, a line for each surface."""

    def panel(
        title: str, titles: tuple[str, str], values: FloatArray, error: Callable[..., float]
    ) -> Panel:
        lines = tuple(
            Series(label=name, x=values, y=np.array([error(s, v) for v in values]), colour=i)
            for i, (name, s) in enumerate(REGIMES.items())
        )
        return Panel(title=title, x_title=titles[0], y_title=titles[1],
                     log_x=bool(values[0] > 0), series=lines)  # fmt: skip

    widths, shares = np.geomspace(1.5, 16, 12), np.linspace(-0.75, 0.75, 13)
    exponent, size = "error of the exponent a", "N* at 3.8e25 FLOP over the truth"
    panels = (
        panel("wide grids, centred", ("half-width of the grid, as a factor", size), widths,
              lambda s, w: bias_of(s, w).size),
        panel("wide grids that drift by 1/2", ("half-width of the grid, as a factor", exponent),
              widths, lambda s, w: bias_of(s, w, drift=0.5).exponent),
        panel("x8 grids off centre", ("offset in half-widths", size), shares,
              lambda s, v: bias_of(s, 8.0, offset=v).size),
        panel("x8 grids that drift", ("drift in half-widths", exponent), shares,
              lambda s, v: bias_of(s, 8.0, drift=v).exponent),
    )  # fmt: skip
    path.write_text(
        svg_of(panels, "Bias of the parabola method without noise", columns=2), encoding="utf-8"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args()
    if chosen.plot:
        plot(chosen.plot)
    else:
        print_tables()

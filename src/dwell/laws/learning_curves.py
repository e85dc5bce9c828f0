"""Learning curves in one input: power laws, with a floor, a shift, a break.

m1        beta x^-c                                             straight in log-log
m2        eps + beta x^-c                                       towards a floor
m3        eps + beta (x + gamma)^-c                             that begins late
m4        (L - eps) / (eps0 - L)^alpha = beta x^-c              from a ceiling to a floor
broken    a + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f)                 two slopes
vlm       a (C + b)^c + d                                       error of recipes against compute
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.law import Law

_ALABDULMOHSIN = (
    "Alabdulmohsin, Neyshabur and Zhai, Revisiting Neural Scaling Laws in Language and Vision "
    "(2022)"
)

M1 = Law(
    name="m1",
    text="beta x^-c",
    inputs=("x",),
    target="loss",
    params={"beta": scale("loss at x = 1"), "c": exponent("how fast it falls")},
    powers={"beta": {"x": "-c"}},
    limits={"x": lambda p: np.zeros_like(p.c)},
    paper=_ALABDULMOHSIN,
    equation="M1",
    use="A straight line in log-log.",
    assumes="the loss falls to 0 in the end",
)

M2 = Law(
    name="m2",
    text="eps + beta x^-c",
    inputs=("x",),
    target="loss",
    params={
        "eps": scale("floor"),
        "beta": scale("excess at x = 1"),
        "c": exponent("how fast the excess falls"),
    },
    powers={"eps": {}, "beta": {"x": "-c"}},
    paper=_ALABDULMOHSIN,
    equation="M2; also Hestness et al. (2017) and Henighan et al. (2020)",
    use="A power law towards a floor.",
    assumes="the power law holds from the smallest x on",
)

M3 = Law(
    name="m3",
    text="eps + beta (x + gamma)^-c",
    inputs=("x",),
    target="loss",
    params={
        "eps": scale("floor"),
        "beta": scale("excess at x + gamma = 1", units={"x": "c"}),
        "gamma": Param(
            meaning="where the fall begins",
            transform="exp",
            lower=0.0,
            grid=(1e-3, 0.1, 1.0, 10.0),
            units={"x": 1.0},
            tolerance=4.0,
        ),
        "c": exponent("how fast the excess falls", grid=(0.1, 0.3, 0.6, 1.0, 2.0)),
    },
    linear=lambda x, p: (1.0, np.exp(-p.c * np.log(x.x + p.gamma))),
    limits={"x": lambda p: p.eps},
    paper=_ALABDULMOHSIN,
    equation="M3",
    use="A power law towards a floor that begins late.",
    assumes="one slope beyond the shift",
)

BROKEN = Law(
    name="broken",
    text="a + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f)",
    inputs=("x",),
    target="loss",
    params={
        "a": scale("floor"),
        "b": scale("excess at x = 1 before the break", units={"x": "c0"}),
        "c0": Param(meaning="slope before the break", lower=-5.0, upper=20.0,
                    grid=(0.05, 0.2, 0.5), tolerance=4.0),
        "c1": Param(meaning="change of slope", lower=-10.0, upper=20.0,
                    grid=(-0.2, 0.1, 0.4, 1.0), tolerance=4.0),
        "d": Param(meaning="where the break is", transform="exp", lower=0.0,
                   grid=(0.03, 0.3, 3.0, 30.0), units={"x": 1.0}, tolerance=4.0),
        "f": Param(meaning="width of the break in ln x", transform="exp", lower=0.02, upper=10.0,
                   grid=(0.1, 0.5, 1.5), tolerance=4.0),
    },
    linear=lambda x, p: (
        1.0,
        np.exp(
            -p.c0 * np.log(x.x)
            - p.c1 * p.f * np.log1p(np.exp((np.log(x.x) - np.log(p.d)) / p.f))
        ),
    ),
    paper="Caballero et al., Broken Neural Scaling Laws (2023)",
    equation="one break: y = a + b x^-c0 (1 + (x/d)^(1/f))^(-c1 f), equation 1 with n = 1",
    use="A curve whose slope changes, or that rises and then falls.",
    assumes="one break",
)  # fmt: skip

VLM = Law(
    name="vlm",
    text="a (C + b)^c + d",
    inputs=("C",),
    target="error",
    params={
        "a": scale("excess error at C + b = 1", units={"C": "-c"}),
        "b": Param(meaning="compute at which the fall begins", transform="exp", lower=0.0,
                   grid=(1e-4, 1e-2, 0.3), units={"C": 1.0}, tolerance=4.0),
        "c": Param(meaning="slope, negative", lower=-20.0, upper=0.0,
                   grid=(-0.05, -0.1, -0.2, -0.3, -0.5, -1.0)),
        "d": scale("floor"),
    },
    linear=lambda x, p: (np.exp(p.c * np.log(x.C + p.b)), 1.0),
    limits={"C": lambda p: p.d},
    paper="Nezhurina et al., Scaling Laws for Robust Comparison of Open Foundation "
    "Language-Vision Models and Datasets (2025)",
    equation="E = a (C + b)^c + d on the Pareto frontier (`dwell fit --frontier C`)",
    use="To compare recipes or data sets along compute: fit each, then take the crossover.",
    assumes="the frontier follows one power law",
)  # fmt: skip


def _m4(x: Any, p: Any) -> Any:
    """M4 solved for the loss by bisection in its logit between floor and ceiling.

    With s = (L - eps) / (eps0 - eps) the equation reads ln s - alpha ln(1-s) = t, whose left side
    rises from -infinity to infinity.
    """
    gap = p.eps0 - p.eps
    t = np.log(p.beta) - p.c * np.log(x.x) + (p.alpha - 1.0) * np.log(gap)
    alpha = np.real(p.alpha)
    logit = np.minimum(np.real(t), np.real(t) / np.maximum(alpha, 1e-6))
    logit = np.where(np.real(t) < 0, np.real(t), logit) + 0.0 * alpha
    for _ in range(60):
        soft = np.logaddexp(0.0, logit)
        value = logit - soft + alpha * soft - np.real(t)
        slope = 1.0 + (alpha - 1.0) / (1.0 + np.exp(-logit))
        step = value / np.maximum(slope, 1e-9)
        logit = logit - np.clip(step, -5.0, 5.0)
        if np.all(np.abs(step) < 1e-13 * (1.0 + np.abs(logit))):
            break
    # One more step in complex numbers carries the derivatives: the implicit function theorem.
    soft = np.log(1.0 + np.exp(-np.abs(logit))) + np.maximum(logit, 0.0)
    residual = logit - soft + p.alpha * soft - t
    slope = 1.0 + (alpha - 1.0) / (1.0 + np.exp(-logit))
    logit = logit - residual / np.maximum(slope, 1e-9)
    return p.eps + gap / (1.0 + np.exp(-logit))


M4 = Law(
    name="m4",
    text="(L - eps) / (eps0 - L)^alpha = beta x^-c",
    inputs=("x",),
    target="loss",
    params={
        "eps": scale("floor", grid=(0.1, 0.4, 1.0)),
        "eps0": scale("loss without data", grid=(2.0, 5.0, 20.0)),
        "alpha": Param(meaning="how fast the ceiling is left", lower=0.0, upper=20.0,
                       grid=(0.0, 0.5, 2.0), tolerance=4.0),
        "beta": Param(meaning="size of the right side at x = 1", transform="exp", lower=0.0,
                      grid=(0.03, 0.3, 3.0), units={"x": "c"}, tolerance=4.0),
        "c": exponent("how fast the excess falls", grid=(0.2, 0.5, 1.0)),
    },
    formula=_m4,
    limits={"x": lambda p: p.eps},
    paper=_ALABDULMOHSIN,
    equation="M4, solved for the loss",
    use="A curve that leaves a ceiling, falls, and nears a floor.",
    assumes="the floor lies below the ceiling",
)  # fmt: skip

LAWS = (BROKEN, M1, M2, M3, M4, VLM)

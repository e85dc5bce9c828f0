"""Laws of how a model is built: width and depth, parallel streams, routed experts.

gemstones      E + A N^-alpha + B D^-beta, Huber delta 1e-4    parameters and tokens
width_depth    E + A W^-a + G Z^-g + B D^-b                    width W, depth Z, tokens
parscale       E + (A / (N (1 + k ln P)))^alpha                P parallel streams
routed         bilinear in log10 N and log10 of saturated experts
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dwell.laws.declaration import Param, exponent, namespace, scale
from dwell.laws.law import Law

_GEMSTONES = "McLeish et al., Gemstones: A Model Suite for Multi-Faceted Scaling Laws (2025)"

GEMSTONES = Law(
    name="gemstones",
    text="E + A W^-alpha + G Z^-gamma + B D^-beta + H N^-eta, W width, Z depth",
    inputs=("width", "depth", "N", "D"),
    target="loss",
    params={
        "E": scale("irreducible loss, in nats"),
        "A": scale("excess loss of width 1"),
        "G": scale("excess loss of depth 1"),
        "H": scale("excess loss of one parameter"),
        "B": scale("excess loss of one token"),
        "alpha": exponent("how fast width helps", grid=(0.3, 0.7, 1.5)),
        "gamma": exponent("how fast depth helps", grid=(0.3, 0.7, 1.5)),
        "eta": exponent("how fast parameters help", grid=(0.15, 0.3, 0.6)),
        "beta": exponent("how fast tokens help", grid=(0.3, 0.5, 0.8)),
    },
    powers={
        "E": {},
        "A": {"width": "-alpha"},
        "G": {"depth": "-gamma"},
        "H": {"N": "-eta"},
        "B": {"D": "-beta"},
    },
    delta=1e-4,
    paper=_GEMSTONES,
    equation="log-sum-exp over width, depth, parameters and tokens, Huber delta 1e-4; their "
    "params/tokens form is `chinchilla` with delta=1e-4",
    use="Models that vary in shape as well as in size.",
    assumes="shape and size act each by itself",
)

WIDTH_DEPTH = Law(
    name="width_depth",
    text="E + A W^-alpha + G Z^-gamma + B D^-beta, W width, Z depth",
    inputs=("width", "depth", "D"),
    target="loss",
    params={k: v for k, v in GEMSTONES.params.items() if k not in ("H", "eta")},
    powers={
        "E": {},
        "A": {"width": "-alpha"},
        "G": {"depth": "-gamma"},
        "B": {"D": "-beta"},
    },
    delta=1e-4,
    paper=_GEMSTONES,
    equation="log-sum-exp over width, depth and tokens, Huber delta 1e-4",
    use="Models that vary in shape, their size being given by it.",
    assumes="width and depth act each by itself",
)

PARSCALE = Law(
    name="parscale",
    text="E + (A / (N (1 + k ln P)))^alpha",
    inputs=("N", "P"),
    target="loss",
    params={
        "E": scale("irreducible loss, in nats", grid=(0.3, 0.8, 2.0)),
        "A": Param(meaning="parameters at which the excess loss is 1", transform="exp", lower=0.0,
                   grid=(1e-6, 1e-4, 1e-2, 1.0), units={"N": 1.0}, tolerance=8.0),
        "alpha": exponent("how fast parameters help", grid=(0.1, 0.2, 0.4, 0.8), lower=1e-4),
        "k": Param(meaning="a factor e of streams is worth a factor 1 + k of parameters",
                   transform="exp", lower=0.0, grid=(0.1, 0.4, 1.0, 4.0)),
    },
    formula=lambda x, p: p.E
    + np.exp(p.alpha * (np.log(p.A) - np.log(x.N * (1.0 + p.k * np.log(x.P))))),
    paper="Chen et al., Parallel Scaling Law for Language Models (2025)",
    equation="L = E + (A / (N (k ln P + 1)))^alpha",
    use="Models that run P streams of the same input; 1 + k ln P is the worth in parameters.",
    assumes="streams act as more parameters",
)  # fmt: skip


def _saturated(x: Any, p: Any) -> Any:
    """log10 of the experts that count: between E_start and E_max."""
    start = 1.0 / (1.0 / p.E_start - 1.0 / p.E_max)
    return -np.log(1.0 / (x.experts - 1.0 + start) + 1.0 / p.E_max) / np.log(10.0)


def _routed(x: Any, p: Any) -> tuple[Any, ...]:
    size, experts = np.log10(x.N), _saturated(x, p)
    return size, experts, size * experts, 1.0 + 0.0 * size


ROUTED = Law(
    name="routed",
    text="log10 L = a log10 N + b log10 E' + c log10 N log10 E' + d, E' experts saturated",
    inputs=("N", "experts"),
    target="loss",
    params={
        "a": Param(meaning="slope of dense size", linear=True),
        "b": Param(meaning="slope of experts", linear=True),
        "c": Param(meaning="how routing helps less at size", linear=True),
        "d": Param(meaning="log10 loss of one parameter and expert", linear=True),
        "E_start": Param(meaning="experts below which routing does nothing", transform="exp",
                         lower=1.0, upper=1e3, grid=(1.5, 3.0, 6.0), tolerance=2.0),
        "E_max": Param(meaning="experts beyond which more do nothing", transform="exp",
                       lower=1.0, upper=1e6, grid=(100.0, 300.0, 1000.0), tolerance=4.0),
    },
    formula=lambda x, p: np.exp(
        np.log(10.0)
        * sum(v * b for v, b in zip((p.a, p.b, p.c, p.d), _routed(x, p), strict=True))
    ),
    starts=lambda x, y: [
        {**dict(zip("abcd", _lines(x, y, s, m), strict=True)), "E_start": s, "E_max": m}
        for s in (1.5, 3.0, 6.0)
        for m in (100.0, 300.0, 1000.0)
    ],
    delta=None,
    paper="Clark et al., Unified Scaling Laws for Routed Language Models (2022)",
    equation="log L = a log N + b log E' + c log N log E' + d with 1/E' = 1/(E - 1 + (1/E_start - "
    "1/E_max)^-1) + 1/E_max; 10^(-b/c) is the size beyond which routing stops helping",
    use="Dense and routed models of several sizes and numbers of experts.",
    assumes="the interaction is bilinear in the logarithms",
)  # fmt: skip


def _lines(x: Any, y: Any, start: float, most: float) -> list[float]:
    """a, b, c and d by least squares for given saturation points."""
    basis = np.stack(_routed(x, namespace({"E_start": start, "E_max": most})), axis=1)
    return [float(v) for v in np.linalg.lstsq(basis, np.log10(y), rcond=None)[0]]


LAWS = (GEMSTONES, PARSCALE, ROUTED, WIDTH_DEPTH)

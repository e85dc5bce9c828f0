"""Exponents that theory predicts: 1 from variance, 4/d from resolution, 1 from superposition.

variance_limited    E + A / x                          towards a finite limit
generative          E + (x_0 / x)^alpha                any modality; E read as entropy
hestness            gamma + alpha m^beta               beta between -1/2 and 0
superposition       A m^-alpha + B, B of each group    one exponent, many intercepts
exponential         E + A exp(-x / x_0)                faster than any power law
time_series         (x_c / x)^alpha, of each group     in and out of distribution
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.envelope import envelope
from dwell.laws.fit import Estimate, Fit
from dwell.laws.law import Law
from dwell.laws.learning_curves import M2
from dwell.laws.spaces import FloatArray

_BAHRI = "Bahri et al., Explaining Neural Scaling Laws (2021)"


def _length(meaning: str, *, grouped: bool = False) -> Param:
    return Param(meaning=meaning, transform="exp", lower=0.0, grid=(1e-6, 1e-3, 0.1, 1.0, 10.0),
                 units={"x": 1.0}, tolerance=8.0, grouped=grouped)  # fmt: skip


VARIANCE_LIMITED = Law(
    name="variance_limited",
    text="E + A / x",
    inputs=("x",),
    target="loss",
    params={"E": scale("loss at infinite x"), "A": scale("excess at x = 1")},
    powers={"E": {}, "A": {"x": -1.0}},
    paper=_BAHRI,
    equation="variance-limited scaling: exponent 1 towards a finite limit; `exponent_regime` "
    "tests it against a free exponent",
    use="Data (or width) far beyond what the rest of the model can use.",
    assumes="the exponent is 1",
    automatic=False,
)

GENERATIVE = Law(
    name="generative",
    text="E + (x_0 / x)^alpha",
    inputs=("x",),
    target="loss",
    params={
        "E": scale("irreducible loss: the entropy of the data", grid=(0.3, 0.6, 0.9)),
        "x_0": _length("x at which the reducible loss, a KL divergence, is 1"),
        "alpha": exponent("how fast it falls", lower=1e-4, grid=(0.05, 0.1, 0.2, 0.4, 0.8)),
    },
    formula=lambda x, p: p.E + np.exp(p.alpha * (np.log(p.x_0) - np.log(x.x))),
    paper="Henighan et al., Scaling Laws for Autoregressive Generative Modeling (2020)",
    equation="L(x) = L_inf + (x_0/x)^alpha, recalled and not re-read; `m2` in other parameters",
    use="Parameters, tokens or compute, one at a time, in any modality.",
    assumes="x is the only bottleneck",
    automatic=False,
)

HESTNESS = Law(
    name="hestness",
    text="gamma + alpha m^beta, beta from -1/2 to 0",
    inputs=("x",),
    target="error",
    params={
        "gamma": scale("error that more data do not remove"),
        "alpha": scale("excess error of one example", units={"x": "-beta"}),
        "beta": Param(meaning="slope", lower=-0.5, upper=0.0,
                      grid=(-0.05, -0.1, -0.2, -0.3, -0.4, -0.48)),
    },
    linear=lambda x, p: (1.0, np.exp(p.beta * np.log(x.x))),
    limits={"x": lambda p: p.gamma},
    paper="Hestness et al., Deep Learning Scaling Is Predictable, Empirically (2017)",
    equation="error(m) = alpha m^beta + gamma, recalled and not re-read; below it lies the "
    "small-data region, where error stays at chance",
    use="Generalisation error against the size of the training set.",
    assumes="-1/2 <= beta <= 0, and rows beyond the small-data region",
    automatic=False,
)  # fmt: skip

SUPERPOSITION = Law(
    name="superposition",
    text="A m^-alpha + B[group], m width",
    inputs=("width",),
    target="loss",
    params={
        "A": scale("excess loss at width 1"),
        "B": scale("loss of each family and data set at infinite width", grouped=True),
        "alpha": exponent("how fast width helps; 1 by theory"),
    },
    powers={"A": {"width": "-alpha"}, "B": {}},
    paper="Liu et al., Superposition Yields Robust Neural Scaling (2025)",
    equation="L = A/m^alpha + B of each family and data set, alpha shared; theory says 1, they "
    "find 0.91 (0.04)",
    use="Several families or data sets whose curves share a slope: `group` names them.",
    assumes="one A and one alpha for all groups",
)

EXPONENTIAL = Law(
    name="exponential",
    text="E + A exp(-x / x_0)",
    inputs=("x",),
    target="loss",
    params={
        "E": scale("floor"),
        "A": scale("excess at x = 0"),
        "x_0": Param(meaning="x that divides the excess by e", transform="exp", lower=0.0,
                     grid=(0.1, 0.5, 2.0, 10.0, 50.0), units={"x": 1.0}, tolerance=4.0),
    },
    linear=lambda x, p: (1.0, np.exp(-x.x / p.x_0)),
    limits={"x": lambda p: p.E},
    paper="Sorscher et al., Beyond Neural Scaling Laws: Beating Power Law Scaling via Data "
    "Pruning (2022)",
    equation="the rival of a power law along the envelope over kept fractions "
    "(`pruning_envelope`)",
    use="To test whether error falls faster than any power law.",
    assumes="one rate",
)  # fmt: skip

TIME_SERIES = Law(
    name="time_series",
    text="(x_c / x)^alpha, of each group",
    inputs=("x",),
    target="loss",
    params={
        "x_c": _length("x at which the loss is 1", grouped=True),
        "alpha": exponent("how fast it falls", grouped=True, lower=1e-4,
                          grid=(0.05, 0.1, 0.2, 0.4, 0.8)),
    },
    formula=lambda x, p: np.exp(p.alpha * (np.log(p.x_c) - np.log(x.x))),
    limits={"x": lambda p: np.zeros_like(p.alpha)},
    paper="Yao et al., Towards Neural Scaling Laws for Time Series Foundation Models (2024)",
    equation="L(x) = (x_c/x)^alpha for parameters, compute and data; groups (in and out of "
    "distribution) have slopes of their own",
    use="Compare slopes of groups: each `alpha[group]` has its interval.",
    assumes="the loss falls to 0 in the end",
    automatic=False,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """Which theory a learning curve agrees with.

    Attributes:
        kind: "variance-limited" (exponent 1), "resolution-limited" (less than 1), or "other".
        alpha: the free exponent with its interval.
        dimension: 4/alpha, the dimension of the data if resolution limits.
        aicc_gain: AICc of the free fit less that with alpha = 1; negative favours the free one.
        free: the free fit.
        limited: the fit with alpha = 1.
    """

    kind: str
    alpha: Estimate
    dimension: float
    aicc_gain: float
    free: Fit
    limited: Fit


def exponent_regime(
    x: npt.ArrayLike, loss: npt.ArrayLike, *, limit: float | None = None, level: float = 0.9
) -> Regime:
    """Test exponent 1 against a free one on a learning curve.

    Args:
        x: `[n]` data or width.
        loss: `[n]`.
        limit: the loss at infinite x, if known (for example of an infinite-width model).
        level: coverage of the interval.

    Raises:
        UsageError: whatever is wrong with the data.

    References:
        Bahri et al. (2021): exponent 1 in the variance-limited regime, about 4/d (d the dimension
        of the data) in the resolution-limited one.
    """
    held = {} if limit is None else {"eps": limit}
    data = {"x": np.asarray(x, np.float64), "loss": np.asarray(loss, np.float64)}
    free = M2.fit(data, fixed=held, level=level, loss="squares")
    limited = M2.fit(data, fixed={**held, "c": 1.0}, level=level, loss="squares")
    alpha = free.interval("c")
    gain = free.aicc - limited.aicc
    if gain > -2.0 or alpha.low <= 1.0 <= alpha.high:
        kind = "variance-limited"
    else:
        kind = "resolution-limited" if alpha.high < 1.0 else "other"
    return Regime(kind=kind, alpha=alpha, dimension=4.0 / max(alpha.value, 1e-12),
                  aicc_gain=gain, free=free, limited=limited)  # fmt: skip


def pruning_envelope(
    fraction: npt.ArrayLike, total: npt.ArrayLike, error: npt.ArrayLike
) -> dict[str, FloatArray]:
    """The least error for each amount of data kept, over all kept fractions.

    Args:
        fraction: `[n]` kept fraction of each run, in (0, 1].
        total: `[n]` data before pruning.
        error: `[n]` test error.

    Returns:
        Columns "x" (data kept), "error" and "fraction" of the runs on the Pareto envelope, by
        rising x: fit `m2` and `exponential` to them and compare their AICc.

    Raises:
        UsageError: a fraction outside (0, 1].
    """
    f, t, e = (np.asarray(v, np.float64) for v in (fraction, total, error))
    if not np.all((f > 0) & (f <= 1)):
        raise UsageError("kept fractions must lie in (0, 1], but some do not.")
    kept = f * t
    chosen = envelope(kept, e)
    return {"x": kept[chosen], "error": e[chosen], "fraction": f[chosen]}


def slope_test(
    x: npt.ArrayLike, y: npt.ArrayLike, expected: float, *, level: float = 0.9
) -> tuple[Estimate, bool]:
    """Slope of ln y on ln x with its t interval, and whether `expected` lies in it.

    For rules such as weight decay growing as the square root of width (lambda ~ d^0.5).

    Raises:
        UsageError: fewer than three points, or some not positive.
    """
    from_x, from_y = (np.asarray(v, np.float64) for v in (x, y))
    if len(from_x) < 3 or not (np.all(from_x > 0) and np.all(from_y > 0)):
        raise UsageError("a slope test needs at least three points, all more than 0.")
    # Least squares with the usual t interval: few points, so no bootstrap.
    result = _line(np.log(from_x), np.log(from_y), level)
    return result, bool(result.low <= expected <= result.high)


def _line(x: FloatArray, y: FloatArray, level: float) -> Estimate:
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    error = float(np.sqrt(rest @ rest / (len(x) - 2) / (centred @ centred)))
    reach = error * float(scipy.stats.t.ppf(0.5 + level / 2, len(x) - 2))
    return Estimate(value=slope, low=slope - reach, high=slope + reach, level=level)


LAWS: Sequence[Law] = (
    EXPONENTIAL, GENERATIVE, HESTNESS, SUPERPOSITION, TIME_SERIES, VARIANCE_LIMITED,
)  # fmt: skip

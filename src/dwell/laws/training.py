"""Laws of training compute: loss against parameters, tokens and their repetition.

    chinchilla     E + A N^-alpha + B D^-beta                              the standard surface
    kaplan         ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D             no irreducible loss
    isoflop        a parabola in ln N for each budget                      approach 2, biased
    overtraining   E + a N^-eta + b D^-eta, one exponent                   few runs, extrapolated
    downstream     epsilon - k exp(-gamma L)                               error from loss
    repetition     chinchilla with repeated tokens and excess parameters   several epochs

Letters: N parameters, D training tokens, C compute in FLOP (6 N D), U unique tokens, L loss in
nats a token.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy

from dwell.laws.declaration import Param, exponent, scale
from dwell.laws.law import Law
from dwell.laws.spaces import FloatArray

CHINCHILLA = Law(
    name="chinchilla",
    text="E + A N^-alpha + B D^-beta",
    inputs=("N", "D"),
    target="loss",
    params={
        "E": scale("irreducible loss, in nats"),
        "A": scale("excess loss of one parameter"),
        "B": scale("excess loss of one token"),
        "alpha": exponent("how fast parameters help"),
        "beta": exponent("how fast tokens help"),
    },
    powers={"E": {}, "A": {"N": "-alpha"}, "B": {"D": "-beta"}},
    paper="Hoffmann et al., Training Compute-Optimal Large Language Models (2022); Besiroglu et "
    "al., Chinchilla Scaling: A Replication Attempt (2024)",
    equation="approach 3, L(N, D) = E + A/N^alpha + B/D^beta, Huber loss with delta 1e-3 on log "
    'residuals; `scale="joint"` is the replication\'s likelihood',
    use="Loss of language models of several sizes, each trained on several amounts of new data.",
    assumes="parameters and data do not interact; every token is new",
)

KAPLAN = Law(
    name="kaplan",
    text="((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D",
    inputs=("N", "D"),
    target="loss",
    params={
        "N_c": Param(
            meaning="parameters at which the loss of unlimited data is 1",
            transform="exp",
            lower=0.0,
            grid=(1.0, 1e3, 1e6, 1e9),
            units={"N": 1.0},
            tolerance=8.0,
        ),
        "D_c": Param(
            meaning="tokens at which the loss of an unlimited model is 1",
            transform="exp",
            lower=0.0,
            grid=(1.0, 1e3, 1e6, 1e9),
            units={"D": 1.0},
            tolerance=8.0,
        ),
        "alpha_N": exponent("how fast parameters help", grid=(0.05, 0.1, 0.3), lower=1e-4),
        "alpha_D": exponent("how fast tokens help", grid=(0.05, 0.1, 0.3), lower=1e-4),
    },
    formula=lambda x, p: np.exp(
        p.alpha_D
        * np.log(
            np.exp(p.alpha_N / p.alpha_D * (np.log(p.N_c) - np.log(x.N)))
            + np.exp(np.log(p.D_c) - np.log(x.D))
        )
    ),
    paper="Kaplan et al., Scaling Laws for Neural Language Models (2020)",
    equation="L(N, D) = ((N_c/N)^(alpha_N/alpha_D) + D_c/D)^alpha_D, equation 1.5",
    use="To compare with older work; it has no irreducible loss.",
    assumes="the loss falls to 0 in the end",
)

ISOFLOP = Law(
    name="isoflop",
    text="c0[C] + c1[C] ln N + c2[C] (ln N)^2, for each budget C",
    inputs=("N",),
    target="loss",
    params={
        "c0": Param(meaning="loss at N = 1 by the parabola", linear=True, grouped=True),
        "c1": Param(meaning="slope at N = 1", linear=True, grouped=True),
        "c2": Param(
            meaning="curvature; the vertex is at ln N = -c1/(2 c2)", linear=True, grouped=True
        ),
    },
    linear=lambda x, p: (1.0 + 0.0 * x.N, np.log(x.N), np.log(x.N) ** 2),
    space="linear",
    delta=None,
    paper="Hoffmann et al., Training Compute-Optimal Large Language Models (2022); Problems with "
    "Chinchilla Approach 2 (2026)",
    equation="approach 2: a parabola for each budget, its vertex N*(C), then a power law of the "
    "vertices (`isoflop_optima`). Biased where grids are wide, off centre or alpha differs from "
    "beta",
    use="To compare with published IsoFLOP fits; for decisions fit `chinchilla` to the same rows.",
    assumes="the loss is a parabola in ln N over the range sampled",
    automatic=False,
)

OVERTRAINING = Law(
    name="overtraining",
    text="E + a N^-eta + b (sqrt(6) N M)^-eta, M = D/N",
    inputs=("N", "M"),
    target="loss",
    params={
        "E": scale("irreducible loss, in nats"),
        "a": scale("excess loss of one parameter", units={"N": "eta"}),
        "b": scale("excess loss of one token", units={"N": "eta", "M": "eta"}),
        "eta": exponent("exponent of parameters and tokens alike"),
    },
    linear=lambda x, p: (
        1.0,
        np.exp(-p.eta * np.log(x.N)),
        np.exp(-p.eta * (0.5 * np.log(6.0) + np.log(x.N * x.M))),
    ),
    space="linear",
    delta=None,
    paper="Gadre et al., Language Models Scale Reliably with Over-Training and on Downstream "
    "Tasks (2024)",
    equation="L(C, M) = E + (a M^eta' + b M^-eta') C^-eta', equation 4, in N and M with "
    "h = -eta = -2 eta'",
    use="Few small runs, one of them over-trained, to predict large or over-trained ones.",
    assumes="parameters and tokens have one exponent",
)

DOWNSTREAM = Law(
    name="downstream",
    text="epsilon - k exp(-gamma loss)",
    inputs=("loss",),
    target="error",
    params={
        "epsilon": scale("error at very high loss: chance"),
        "k": scale("error gained at loss 0"),
        "gamma": Param(
            meaning="how fast error follows loss",
            transform="exp",
            lower=0.0,
            grid=(0.1, 0.3, 1.0, 2.0, 4.0),
        ),
    },
    linear=lambda x, p: (1.0, -np.exp(-p.gamma * x.loss)),
    space="linear",
    delta=None,
    paper="Gadre et al., Language Models Scale Reliably with Over-Training and on Downstream "
    "Tasks (2024)",
    equation="Err(L) = epsilon - k exp(-gamma L), equation 5",
    use="Mean error over many tasks, from the loss of the same models.",
    assumes="error depends on the model through its loss alone",
)


def _worth(unique: Any, seen: Any, half: Any) -> Any:
    """What repeated units are worth: U (1 + R* (1 - exp(-R/R*))), R = seen/U - 1."""
    repeats = np.maximum(seen / unique - 1.0, 0.0)
    return unique * (1.0 - half * np.expm1(-repeats / half))


def _repetition(x: Any, p: Any) -> tuple[Any, ...]:
    unique_tokens = np.minimum(x.U, x.D)
    # The parameters that the unique tokens deserve by the base law under C = 6 N D.
    deserved = np.exp(
        (np.log(p.alpha * p.A) - np.log(p.beta * p.B) + p.beta * np.log(unique_tokens)) / p.alpha
    )
    params = _worth(np.minimum(x.N, deserved), x.N, p.R_N)
    tokens = _worth(unique_tokens, x.D, p.R_D)
    return params, tokens


def _repetition_loss(x: Any, p: Any) -> Any:
    params, tokens = _repetition(x, p)
    return p.E + p.A * np.exp(-p.alpha * np.log(params)) + p.B * np.exp(-p.beta * np.log(tokens))


# Exponents, R_D and R_N from which searches begin.
_REPETITION_GRID = ((0.25, 0.35, 0.5), (2.0, 15.0, 100.0), (1.5, 5.0, 20.0))


def _repetition_starts(x: Any, y: FloatArray) -> list[dict[str, float]]:
    """The grid of exponents and half-values, the coefficients by least squares."""
    starts = []
    for alpha, data_half, params_half in itertools.product(*_REPETITION_GRID):
        rough = np.stack(
            [np.ones_like(y), x.N**-alpha, np.minimum(x.D, 4 * x.U) ** -alpha], axis=1
        )
        solved, _ = scipy.optimize.nnls(rough / y[:, None], np.ones_like(y))
        e, a, b = np.maximum(solved, 1e-3 * np.mean(y) / rough.mean(axis=0))
        shape = {"alpha": alpha, "beta": alpha, "R_D": data_half, "R_N": params_half}
        starts.append({"E": float(e), "A": float(a), "B": float(b), **shape})
    return starts


#: Base law of C4 by the paper, for stage 2: `fixed=C4_BASE` leaves R_D and R_N to be fitted.
C4_BASE = {
    "E": float(np.exp(0.62548)),
    "A": float(np.exp(6.2554)),
    "B": float(np.exp(7.3050)),
    "alpha": 0.35266,
    "beta": 0.35266,
}

REPETITION = Law(
    name="repetition",
    text="E + A N'^-alpha + B D'^-beta, D' = U (1 + R_D (1 - exp(-(D/U-1)/R_D))), N' likewise",
    inputs=("N", "D", "U"),
    target="loss",
    params={
        "E": CHINCHILLA.params["E"],
        "A": CHINCHILLA.params["A"],
        "B": CHINCHILLA.params["B"],
        "alpha": exponent("how fast parameters help", grid=(0.25, 0.35, 0.5), lower=0.01),
        "beta": exponent("how fast tokens help", grid=(0.25, 0.35, 0.5), lower=0.01),
        "R_D": Param(
            meaning="repetitions after which 1 - 1/e of the value of repeating is had",
            transform="exp",
            lower=0.0,
            grid=(2.0, 15.0, 100.0),
            upper=1e6,
            tolerance=2.0,
        ),
        "R_N": Param(
            meaning="the same of parameters beyond those that the unique tokens deserve",
            transform="exp",
            lower=0.0,
            grid=(1.5, 5.0, 20.0),
            upper=1e6,
            tolerance=2.0,
        ),
    },
    formula=_repetition_loss,
    starts=_repetition_starts,
    paper="Muennighoff et al., Scaling Data-Constrained Language Models (2023)",
    equation="L(U_N, U_D, R_N, R_D), equation 5, U_N = min(N, N_opt(U)). The published R_D 15.4 "
    "and R_N 5.3 on C4 are a local optimum of their objective; another lies lower",
    use="Several epochs of the same data; with `fixed=C4_BASE`, or all parameters together.",
    assumes="value of repetition decays exponentially; excess parameters act alike",
)


LAWS = (CHINCHILLA, DOWNSTREAM, ISOFLOP, KAPLAN, OVERTRAINING, REPETITION)

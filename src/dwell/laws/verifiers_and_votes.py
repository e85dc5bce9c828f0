"""More laws of test time: rounds, margins of votes, verifiers that err, three axes at once.

ttspm_sequential      F_max (1 - (1-p)^rounds)               one attempt, revised
vote_margin           F_inf - A k^(-(kappa+1)/2)             margins with density m^kappa
imperfect_verifier    ceiling (1 - (1-accept)^k)             ceiling p/(p+q), whatever k
verifier_tradeoff     G C^a                                  draws, or checks, at each budget
context_batch_turn    F_max c/(c+h_c) B/(B+h_B) R/(R+h_R)    three axes that saturate
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dwell.laws.declaration import Param, scale
from dwell.laws.law import Law
from dwell.laws.testtime import TTSPM

_SMALLEST_RATE = 1e-9


def _share(meaning: str) -> Param:
    return Param(meaning=meaning, lower=0.0, upper=1.0, tolerance=0.25, absolute=True, linear=True)


TTSPM_SEQUENTIAL = Law(
    name="ttspm_sequential",
    text="F_max (1 - (1-p)^rounds)",
    inputs=("rounds",),
    target="accuracy",
    params={
        "F_max": _share("accuracy after unlimited rounds"),
        "p": Param(meaning="chance that a round repairs a wrong answer", lower=_SMALLEST_RATE,
                   upper=1.0 - _SMALLEST_RATE, grid=(0.003, 0.02, 0.1, 0.3, 0.6, 0.9),
                   tolerance=1.0),
    },
    linear=lambda x, p: (-np.expm1(x.rounds * np.log1p(-p.p)),),
    space="linear",
    delta=None,
    limits={"rounds": lambda p: p.F_max},
    paper=TTSPM.paper,
    equation="an absorbing chain of two states; the first answer is round 1, so F(1) = F_max p, "
    "and `plateau_rounds` counts the rounds worth taking",
    use="Accuracy after each round of revising one answer.",
    assumes="a right answer stays right; every solvable problem has the same chance",
)  # fmt: skip

VOTE_MARGIN = Law(
    name="vote_margin",
    text="F_inf - A k^(-(kappa+1)/2)",
    inputs=("k",),
    target="accuracy",
    params={
        "F_inf": _share("share of problems whose most frequent answer is right"),
        "A": _share("what unlimited votes add to one"),
        "kappa": Param(meaning="density of margins near 0 is m^kappa", lower=-0.95, upper=9.0,
                       grid=(-0.7, -0.3, 0.0, 0.5, 1.0, 3.0), tolerance=1.0, absolute=True),
    },
    linear=lambda x, p: (1.0, -np.exp(-0.5 * (p.kappa + 1.0) * np.log(x.k))),
    space="linear",
    delta=None,
    limits={"k": lambda p: p.F_inf},
    paper="Majority voting at scale: error exponents of the margin (2025)",
    equation="a vote errs with probability about exp(-k rate(margin)), quadratic in small "
    "margins, so a density m^kappa leaves k^(-(kappa+1)/2); `margin_rate` is that of one problem",
    use="Vote curves whose tail is not 1/k: `vote` takes kappa = 1.",
    assumes="many votes; margins of both signs near 0 cancel as their densities say",
    automatic=False,
)  # fmt: skip

IMPERFECT_VERIFIER = Law(
    name="imperfect_verifier",
    text="ceiling (1 - (1-accept)^k), ceiling = p/(p+q), accept = p+q",
    inputs=("k",),
    target="accuracy",
    params={
        "ceiling": _share("share of right ones among accepted draws: the accuracy of any k"),
        "accept": Param(meaning="chance that a draw is accepted, right or wrong",
                        lower=_SMALLEST_RATE, upper=1.0 - _SMALLEST_RATE,
                        grid=(0.003, 0.02, 0.1, 0.3, 0.6, 0.9), tolerance=1.0),
    },
    linear=lambda x, p: (-np.expm1(x.k * np.log1p(-p.accept)),),
    space="linear",
    delta=None,
    limits={"k": lambda p: p.ceiling},
    paper="Stroebl, Kapoor and Narayanan, Inference Scaling fLaws: The Limits of LLM Resampling "
    "with Imperfect Verifiers (2024)",
    equation="resampling until accepted, at most k times: p/(p+q) (1 - r^k) with r = 1 - p - q, p "
    "right and accepted, q wrong and accepted; `best_attempts` weighs mistakes and cost",
    use="Accuracy of resampling until tests pass, where wrong answers pass too.",
    assumes="all problems have the same p and q; no answer counts as wrong",
    automatic=False,
)  # fmt: skip

VERIFIER_TRADEOFF = Law(
    name="verifier_tradeoff",
    text="G C^a",
    inputs=("C",),
    target="draws",
    params={
        "G": scale("optimal draws (or checks) at compute 1", tolerance=4.0),
        "a": Param(meaning="exponent", lower=-5.0, upper=5.0, grid=(0.2, 0.5, 0.8)),
    },
    powers={"G": {"C": "a"}},
    delta=None,
    paper="Singhi et al., When To Solve, When To Verify (2025)",
    equation="S ~ C^a and V ~ C^b of the best split of C = S (T + V lambda T) "
    "(`best_splits`); they report 0.57 and 0.39 for an 8B model on MATH, as recalled",
    use="How draws S and checks V of a generative verifier should grow with the budget.",
    assumes="each point is the best of its budget",
    automatic=False,
)


def _three_axes(x: Any, p: Any) -> Any:
    share = 1.0
    for name, half in (("context", p.h_context), ("batch", p.h_batch), ("turn", p.h_turn)):
        amount = getattr(x, name)
        share = share * amount / (amount + half)
    return (share,)


def _half(meaning: str, source: str) -> Param:
    return Param(meaning=meaning, transform="exp", lower=0.0, grid=(0.01, 0.1, 0.5, 2.0),
                 units={source: 1.0}, tolerance=4.0)  # fmt: skip


CONTEXT_BATCH_TURN = Law(
    name="context_batch_turn",
    text="F_max c/(c+h_c) B/(B+h_B) R/(R+h_R), c context, B batch, R turns",
    inputs=("context", "batch", "turn"),
    target="accuracy",
    params={
        "F_max": scale("accuracy when all three are unlimited", upper=1.0),
        "h_context": _half("context that brings half of its gain, in tokens", "context"),
        "h_batch": _half("parallel answers that bring half of their gain", "batch"),
        "h_turn": _half("rounds that bring half of their gain", "turn"),
    },
    linear=_three_axes,
    space="linear",
    delta=None,
    paper="Three-dimensional test-time scaling over context, batch and turn (2025)",
    equation="ours: each axis saturates and they multiply; the source gives no formula",
    use="Accuracy over thinking cap, parallel answers and rounds together.",
    assumes="axes act each by itself, on what the others leave",
)

LAWS = (
    CONTEXT_BATCH_TURN, IMPERFECT_VERIFIER, TTSPM_SEQUENTIAL, VERIFIER_TRADEOFF, VOTE_MARGIN,
)  # fmt: skip

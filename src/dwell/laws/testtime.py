"""Laws of test time: accuracy against the number of draws k.

    coverage          exp(a k^b)                                       some draw is right (pass@k)
    vote              F_inf - (F_inf - F_1) / (1 + max(k-2, 0)/c)      plurality vote
    best_of           F_inf - (F_inf - F_1) / (1 + (k-1)/c)^b          best by a verifier
    power             F_inf - (F_inf - F_1) k^-b                       best_of with c = 1
    ttspm             F_max (1 - (1-p)^k)                              equal problems, a plateau
    overoptimisation  F_1 + d (alpha - beta d), d^2 = ln k - (k-1)/k   a verifier that is fooled

Why these. One problem with success rate p is solved by k draws with probability 1 - (1-p)^k:
exponential. Problems differ, and mixing p over a density that behaves like p^(c-1) near 0 leaves
a miss rate that falls as k^-c: a power law. So heterogeneous coverage bends as `coverage`, and
equal problems as `ttspm`.

A vote on one problem with margin m (share of the right answer minus its best rival's, negative
where the mode is wrong) is right with probability about Phi(m sqrt(k)), Phi being the normal
distribution. Over a density g of margins that is F_inf minus the integral over m > 0 of
[g(m) - g(-m)] Phi(-m sqrt(k)), with F_inf the share of problems whose mode is right. For g smooth
at 0 the bracket is proportional to m and the rest falls as 1/k: hence the exponent 1, and c is
where that begins, the votes that bring half of the gain. At k = 2 the two agree or the tie is
broken at random, so vote@2 = vote@1, and counting starts there.

Best-of-k misses problems without a right draw (a power law, as above) and those where the
verifier prefers a wrong one (a ceiling); noise in its scores delays the power law by about c
draws. On synthetic verifiers the delay matters: without it (`power`) the held-out error was
three to five times as large.

All laws are fitted in accuracy itself, weighted, so their errors can be compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dwell.laws.declaration import Param
from dwell.laws.law import Law
from dwell.laws.spaces import FloatArray

# Rates so extreme that no study of up to a million draws could tell them from the bound.
_SMALLEST_RATE = 1e-9
_BOTH = ("lower", "upper")


def _share(meaning: str) -> Param:
    """An accuracy; an interval of a quarter counts as known, one of all of [0, 1] as nothing."""
    return Param(meaning=meaning, lower=0.0, upper=1.0, tolerance=0.25, absolute=True, linear=True)


def _rate(low: float, high: float, empty_ends: tuple[str, ...], meaning: str) -> Param:
    """A rate or scale, known if its interval is no wider than its value."""
    return Param(meaning=meaning, lower=low, upper=high, tolerance=1.0, empty_ends=empty_ends)


def _votes_that_count(k: Any) -> Any:
    return np.maximum(k - 2.0, 0.0)


def _distance(k: Any) -> Any:
    """Square root of the KL divergence of best-of-k from one draw, in nats^(1/2)."""
    return np.sqrt(np.maximum(np.log(k) - (k - 1.0) / k, 0.0))


def _coverage(x: Any, p: Any) -> Any:
    with np.errstate(divide="ignore"):  # no draw at all: k = 0 gives exp(-inf) = 0
        return np.exp(p.a * x.k**p.b)


def _coverage_starts(x: Any, mean: FloatArray) -> list[dict[str, float]]:
    """Regress log(-log coverage) on log k, the paper's estimate, and a few fixed points."""
    points = [{"a": a, "b": b} for a in (-0.3, -2.0, -8.0) for b in (-0.15, -0.6)]
    inside = (mean > 0) & (mean < 1)
    if np.sum(inside) >= 2 and np.ptp(x.k[inside]) > 0:
        logs = np.log(-np.log(mean[inside]))
        slope, intercept = np.polyfit(np.log(x.k[inside]), logs, 1)
        points.insert(0, {"a": -float(np.exp(intercept)), "b": min(float(slope), -_SMALLEST_RATE)})
    return points


def _plateau_saturation(p: Any, eps: float) -> Any:
    """`n* = max(0, ceil(ln(eps / (F_max p)) / ln(1-p)))`: gains F_max p (1-p)^n* <= eps."""
    first_gain = p.F_max * p.p
    some = first_gain > eps
    steps = np.log(eps / np.where(some, first_gain, 1.0)) / np.log1p(-p.p)
    return np.where(some, np.ceil(steps), 0.0)


COVERAGE = Law(
    name="coverage",
    text="exp(a k^b)",
    inputs=("k",),
    target="accuracy",
    params={
        "a": _rate(-60.0, -_SMALLEST_RATE, _BOTH, "log of the coverage of one draw"),
        "b": _rate(-5.0, -_SMALLEST_RATE, _BOTH, "exponent; -b is the weight of hard problems"),
    },
    formula=_coverage,
    starts=_coverage_starts,
    space="linear",
    delta=None,
    limits={"k": lambda p: np.ones_like(p.a)},
    first=0.0,
    paper="Brown et al., Large Language Monkeys: Scaling Inference Compute with Repeated "
    "Sampling (2024)",
    equation="log coverage = a k^b, section 3; fitted in coverage with the weights of the study, "
    "begun at the regression of log(-log coverage) on log k",
    use="Share of problems that some of k draws solves, where problems differ in difficulty.",
    assumes="every problem is solved in the end: the ceiling 1 is an assumption",
)

VOTE = Law(
    name="vote",
    text="F_inf - (F_inf - F_1) / (1 + max(k-2, 0)/c)",
    inputs=("k",),
    target="accuracy",
    params={
        "F_inf": _share("share of problems whose most frequent answer is right"),
        "F_1": _share("accuracy of one draw"),
        "c": _rate(0.02, 1000.0, ("upper",), "votes beyond the second that bring half the gain"),
    },
    linear=lambda x, p: _ends(p.c / (p.c + _votes_that_count(x.k))),
    starts=lambda x, y: _projected(
        "c", (0.3, 1.0, 3.0, 10.0, 40.0), lambda c: c / (c + _votes_that_count(x.k)), y
    ),
    space="linear",
    delta=None,
    limits={"k": lambda p: p.F_inf},
    paper="Wang et al., Self-Consistency Improves Chain of Thought Reasoning (2022), for the "
    "method",
    equation="ours: a smooth density of margins leaves 1/k, see the module's docstring",
    use="Accuracy of a plurality vote over k draws.",
    assumes="margins between right answer and best rival are spread smoothly around 0",
)

BEST_OF = Law(
    name="best_of",
    text="F_inf - (F_inf - F_1) / (1 + (k-1)/c)^b",
    inputs=("k",),
    target="accuracy",
    params={
        "F_inf": _share("accuracy with unlimited draws and this verifier"),
        "F_1": _share("accuracy of one draw"),
        "b": _rate(0.02, 5.0, ("lower",), "exponent of what is still to gain"),
        "c": _rate(0.05, 300.0, ("upper",), "draws after which the power law begins"),
    },
    linear=lambda x, p: _ends((1.0 + (x.k - 1.0) / p.c) ** -p.b),
    starts=lambda x, y: [
        {**start, "c": c}
        for c in (0.3, 1.0, 3.0, 10.0)
        for start in _projected("b", (0.3, 0.8, 2.0), _delayed(x.k, c), y)
    ],
    space="linear",
    delta=None,
    limits={"k": lambda p: p.F_inf},
    paper="Snell et al., Scaling LLM Test-Time Compute Optimally (2024), for the method",
    equation="ours: a delayed power law towards a ceiling, see the module's docstring; "
    "F_inf < F_1 is a verifier that does harm",
    use="Accuracy of the best of k draws by a verifier.",
    assumes="accuracy moves one way: a rise and then a fall needs `overoptimisation`",
)

POWER = Law(
    name="power",
    text="F_inf - (F_inf - F_1) k^-b",
    inputs=("k",),
    target="accuracy",
    params={name: BEST_OF.params[name] for name in ("F_inf", "F_1", "b")},
    linear=lambda x, p: _ends(x.k**-p.b),
    starts=lambda x, y: _projected("b", (0.05, 0.2, 0.5, 1.0, 2.0), lambda b: x.k**-b, y),
    space="linear",
    delta=None,
    limits={"k": lambda p: p.F_inf},
    paper="Snell et al., Scaling LLM Test-Time Compute Optimally (2024), for the method",
    equation="ours: `best_of` with c = 1, for few budgets",
    use="As `best_of`, where there are too few budgets for its delay.",
    assumes="a power law from the first draw on",
)

TTSPM = Law(
    name="ttspm",
    text="F_max (1 - (1-p)^k)",
    inputs=("k",),
    target="accuracy",
    params={
        "F_max": _share("accuracy with unlimited draws"),
        "p": _rate(
            _SMALLEST_RATE, 1.0 - _SMALLEST_RATE, _BOTH, "success rate of one draw, or round"
        ),
    },
    linear=lambda x, p: (-np.expm1(x.k * np.log1p(-p.p)),),
    starts=lambda x, y: [
        {"F_max": _clipped(basis @ y / (basis @ basis)), "p": p}
        for p in (0.003, 0.02, 0.1, 0.3, 0.6, 0.9)
        for basis in [1.0 - (1.0 - p) ** x.k]
    ],
    space="linear",
    delta=None,
    limits={"k": lambda p: p.F_max},
    saturation=_plateau_saturation,
    first=0.0,
    paper="Scaling over Scaling: Exploring Test-Time Scaling Plateau in Large Reasoning Models "
    "(2025)",
    equation="F(N) = F_max (1 - (1-p)^N), parallel draws and sequential rounds alike; the n-th "
    "unit adds F_max p (1-p)^(n-1), so the saturation point n* counts the units worth taking",
    use="Draws or rounds on problems of about equal difficulty: a plateau.",
    assumes="all solvable problems have the same success rate; p is not the mean of theirs",
)

OVEROPTIMISATION = Law(
    name="overoptimisation",
    text="F_1 + d (alpha - beta d), d = sqrt(ln k - (k-1)/k)",
    inputs=("k",),
    target="accuracy",
    params={
        "F_1": _share("accuracy of one draw"),
        "alpha": Param(
            lower=-2.0,
            upper=2.0,
            linear=True,
            meaning="first gain for each unit of distance from one draw",
            tolerance=0.25,
            absolute=True,
        ),
        "beta": Param(
            lower=-2.0,
            upper=2.0,
            linear=True,
            meaning="how fast optimising the verifier turns against the truth",
            tolerance=0.25,
            absolute=True,
        ),
    },
    linear=lambda x, p: (np.ones_like(x.k), _distance(x.k), -(_distance(x.k) ** 2)),
    space="linear",
    delta=None,
    paper="Gao, Schulman and Hilton, Scaling Laws for Reward Model Overoptimization (2023)",
    equation="R(d) = d (alpha - beta d) for best-of-n with d^2 = ln n - (n-1)/n; accuracy "
    "instead of their reward, with the accuracy of one draw added",
    use="Best of k where the verifier is fooled in the end.",
    assumes="a local form: it leaves [0, 1] in the end and has no limit",
)

TOKENS_LOG = Law(
    name="tokens_log",
    text="a + b ln tokens",
    inputs=("tokens",),
    target="accuracy",
    params={
        "a": Param(meaning="accuracy at one token: an intercept", linear=True, tolerance=4.0),
        "b": Param(meaning="accuracy gained for each factor e of tokens", linear=True),
    },
    linear=lambda x, p: (np.ones_like(x.tokens), np.log(x.tokens)),
    space="linear",
    delta=None,
    paper="OpenAI, Learning to Reason with LLMs (2024), the figure; Zhang and Chen, an open "
    "reproduction (2024), the data",
    equation="accuracy linear in the logarithm of the tokens used; b ln 2 is the gain of a "
    "doubling",
    use="Accuracy against the mean length of reasoning, far from 0 and 1.",
    assumes="a local form: it leaves [0, 1] in the end and has no limit",
)


def _ends(left: Any) -> tuple[Any, Any]:
    """What F_inf and F_1 are multiplied with, for a share `left` of the gain still to come."""
    return 1.0 - left, left


def _delayed(k: FloatArray, c: float) -> Any:
    return lambda b: (1.0 + (k - 1.0) / c) ** -b


def _clipped(value: Any) -> float:
    return float(np.clip(value, 0.0, 1.0))


def _projected(
    name: str, shapes: tuple[float, ...], left_of: Any, mean: FloatArray
) -> list[dict[str, float]]:
    """Starts: F_inf and F_1 that fit best for each shape parameter."""
    starts = []
    for shape in shapes:
        basis = np.stack(_ends(left_of(shape)), axis=1)
        top, first = np.clip(np.linalg.lstsq(basis, mean, rcond=None)[0], 0.0, 1.0)
        starts.append({"F_inf": float(top), "F_1": float(first), name: shape})
    return starts


LAWS = (BEST_OF, COVERAGE, OVEROPTIMISATION, POWER, TOKENS_LOG, TTSPM, VOTE)

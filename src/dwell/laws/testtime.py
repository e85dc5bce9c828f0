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

import numpy as np

from dwell.laws.base import FloatArray, Law, Param

# Rates so extreme that no study of up to a million draws could tell them from the bound.
_SMALLEST_RATE = 1e-9


def _coverage(k: FloatArray, params: FloatArray) -> FloatArray:
    a, b = params[..., 0, None], params[..., 1, None]
    with np.errstate(divide="ignore"):  # no draw at all: k = 0 gives exp(-inf) = 0
        return np.asarray(np.exp(a * k**b), np.float64)


def _coverage_jacobian(k: FloatArray, params: FloatArray) -> FloatArray:
    a, b = params[..., 0, None], params[..., 1, None]
    power = k**b
    value = np.exp(a * power)
    return np.stack([value * power, value * a * power * np.log(k)], axis=-1)


def _coverage_starts(k: FloatArray, mean: FloatArray) -> FloatArray:
    """Regress log(-log coverage) on log k, the paper's estimate, and a few fixed points."""
    fixed = [[a, b] for a in (-0.3, -2.0, -8.0) for b in (-0.15, -0.6)]
    inside = (mean > 0) & (mean < 1)
    if np.sum(inside) >= 2:
        slope, intercept = np.polyfit(np.log(k[inside]), np.log(-np.log(mean[inside])), 1)
        fixed.insert(0, [-np.exp(intercept), min(slope, -_SMALLEST_RATE)])
    return np.array(fixed)


def _vote(k: FloatArray, params: FloatArray) -> FloatArray:
    top, first, c = (params[..., i, None] for i in range(3))
    return np.asarray(top - (top - first) * c / (c + _votes_that_count(k)), np.float64)


def _vote_jacobian(k: FloatArray, params: FloatArray) -> FloatArray:
    top, first, c = (params[..., i, None] for i in range(3))
    votes = _votes_that_count(k)
    left = c / (c + votes)
    return np.stack([1.0 - left, left, -(top - first) * votes / (c + votes) ** 2], axis=-1)


def _vote_starts(k: FloatArray, mean: FloatArray) -> FloatArray:
    scales = (0.3, 1.0, 3.0, 10.0, 40.0)
    return np.array([[*_ends(c / (c + _votes_that_count(k)), mean), c] for c in scales])


def _votes_that_count(k: FloatArray) -> FloatArray:
    return np.maximum(k - 2.0, 0.0)


def _best_of(k: FloatArray, params: FloatArray) -> FloatArray:
    top, first, b, c = (params[..., i, None] for i in range(4))
    return np.asarray(top - (top - first) * (1.0 + (k - 1.0) / c) ** -b, np.float64)


def _best_of_jacobian(k: FloatArray, params: FloatArray) -> FloatArray:
    top, first, b, c = (params[..., i, None] for i in range(4))
    base = 1.0 + (k - 1.0) / c
    left = base**-b
    by_delay = -(top - first) * b * left * (k - 1.0) / (c * (c + k - 1.0))
    return np.stack([1.0 - left, left, (top - first) * left * np.log(base), by_delay], axis=-1)


def _best_of_starts(k: FloatArray, mean: FloatArray) -> FloatArray:
    shapes = [(b, c) for b in (0.3, 0.8, 2.0) for c in (0.3, 1.0, 3.0, 10.0)]
    return np.array([[*_ends((1.0 + (k - 1.0) / c) ** -b, mean), b, c] for b, c in shapes])


def _power(k: FloatArray, params: FloatArray) -> FloatArray:
    top, first, b = (params[..., i, None] for i in range(3))
    return np.asarray(top - (top - first) * k**-b, np.float64)


def _power_jacobian(k: FloatArray, params: FloatArray) -> FloatArray:
    top, first, b = (params[..., i, None] for i in range(3))
    left = k**-b
    return np.stack([1.0 - left, left, (top - first) * left * np.log(k)], axis=-1)


def _power_starts(k: FloatArray, mean: FloatArray) -> FloatArray:
    return np.array([[*_ends(k**-b, mean), b] for b in (0.05, 0.2, 0.5, 1.0, 2.0)])


def _ends(left: FloatArray, mean: FloatArray) -> FloatArray:
    """F_inf and F_1 that fit best for a given share `left [F]` of the gain still to come."""
    basis = np.stack([1.0 - left, left], axis=1)
    return np.asarray(np.clip(np.linalg.lstsq(basis, mean, rcond=None)[0], 0.0, 1.0), np.float64)


def _plateau(k: FloatArray, params: FloatArray) -> FloatArray:
    top, p = params[..., 0, None], params[..., 1, None]
    return np.asarray(-top * np.expm1(k * np.log1p(-p)), np.float64)


def _plateau_jacobian(k: FloatArray, params: FloatArray) -> FloatArray:
    top, p = params[..., 0, None], params[..., 1, None]
    log_miss = np.log1p(-p)
    return np.stack([-np.expm1(k * log_miss), top * k * np.exp((k - 1.0) * log_miss)], axis=-1)


def _plateau_starts(k: FloatArray, mean: FloatArray) -> FloatArray:
    starts = []
    for p in (0.003, 0.02, 0.1, 0.3, 0.6, 0.9):
        basis = 1.0 - (1.0 - p) ** k
        starts.append([np.clip(basis @ mean / (basis @ basis), 0.0, 1.0), p])
    return np.array(starts)


def _plateau_saturation(params: FloatArray, eps: float) -> FloatArray:
    """`N* = ceil( ln(eps / (F_max p)) / ln(1-p) )`, and 0 where the first draw adds no more."""
    first_gain = params[..., 0] * params[..., 1]
    some = first_gain > eps
    steps = np.log(eps / np.where(some, first_gain, 1.0)) / np.log1p(-params[..., 1])
    return np.where(some, np.ceil(steps), 0.0)


def _distance(k: FloatArray) -> FloatArray:
    """Square root of the KL divergence of best-of-k from one draw, in nats^(1/2)."""
    return np.sqrt(np.maximum(np.log(k) - (k - 1.0) / k, 0.0))


def _fooled(k: FloatArray, params: FloatArray) -> FloatArray:
    first, alpha, beta = (params[..., i, None] for i in range(3))
    d = _distance(k)
    return np.asarray(first + d * (alpha - beta * d), np.float64)


def _fooled_jacobian(k: FloatArray, params: FloatArray) -> FloatArray:
    d = np.broadcast_to(_distance(k), (*params.shape[:-1], len(k)))
    return np.stack([np.ones_like(d), d, -(d**2)], axis=-1)


def _fooled_starts(k: FloatArray, mean: FloatArray) -> FloatArray:
    d = _distance(k)
    basis = np.stack([np.ones_like(d), d, -(d**2)], axis=1)
    return np.asarray(np.linalg.lstsq(basis, mean, rcond=None)[0][None], np.float64)


def _always_one(params: FloatArray) -> FloatArray:
    return np.ones(params.shape[:-1])


def _first_param(params: FloatArray) -> FloatArray:
    return np.asarray(params[..., 0], np.float64)


def _no_limit(params: FloatArray) -> FloatArray:
    return np.full(params.shape[:-1], np.nan)


def _share(name: str, meaning: str) -> Param:
    """An accuracy; an interval of a quarter counts as known, one of all of [0, 1] as nothing."""
    return Param(name=name, low=0.0, high=1.0, meaning=meaning, tolerance=0.25)


def _rate(name: str, low: float, high: float, empty_ends: tuple[str, ...], meaning: str) -> Param:
    """A rate or scale, known if its interval is no wider than its value."""
    return Param(
        name=name,
        low=low,
        high=high,
        meaning=meaning,
        tolerance=1.0,
        relative=True,
        empty_ends=empty_ends,
    )


_BOTH = ("low", "high")

COVERAGE = Law(
    name="coverage",
    formula="exp(a k^b)",
    params=(
        _rate("a", -60.0, -_SMALLEST_RATE, _BOTH, "log of the coverage of one draw"),
        _rate("b", -5.0, -_SMALLEST_RATE, _BOTH, "exponent; -b is the weight of hard problems"),
    ),
    function=_coverage,
    jacobian=_coverage_jacobian,
    starts=_coverage_starts,
    asymptote=_always_one,
    first_budget=0,
    paper="Brown et al., Large Language Monkeys: Scaling Inference Compute with Repeated "
    "Sampling (2024)",
    equation="log coverage = a k^b, section 3; fitted in coverage with the weights of the study, "
    "begun at the regression of log(-log coverage) on log k",
    assumes="every problem is solved in the end: the ceiling 1 is an assumption",
)

VOTE = Law(
    name="vote",
    formula="F_inf - (F_inf - F_1) / (1 + max(k-2, 0)/c)",
    params=(
        _share("F_inf", "share of problems whose most frequent answer is right"),
        _share("F_1", "accuracy of one draw"),
        _rate("c", 0.02, 1000.0, ("high",), "votes beyond the second that bring half of the gain"),
    ),
    function=_vote,
    jacobian=_vote_jacobian,
    starts=_vote_starts,
    asymptote=_first_param,
    paper="Wang et al., Self-Consistency Improves Chain of Thought Reasoning (2022), for the "
    "method",
    equation="ours: a smooth density of margins leaves 1/k, see the module's docstring",
    assumes="margins between right answer and best rival are spread smoothly around 0",
)

BEST_OF = Law(
    name="best_of",
    formula="F_inf - (F_inf - F_1) / (1 + (k-1)/c)^b",
    params=(
        _share("F_inf", "accuracy with unlimited draws and this verifier"),
        _share("F_1", "accuracy of one draw"),
        _rate("b", 0.02, 5.0, ("low",), "exponent of what is still to gain"),
        _rate("c", 0.05, 300.0, ("high",), "draws after which the power law begins"),
    ),
    function=_best_of,
    jacobian=_best_of_jacobian,
    starts=_best_of_starts,
    asymptote=_first_param,
    paper="Snell et al., Scaling LLM Test-Time Compute Optimally (2024), for the method",
    equation="ours: a delayed power law towards a ceiling, see the module's docstring; "
    "F_inf < F_1 is a verifier that does harm",
    assumes="accuracy moves one way: a rise and then a fall needs `overoptimisation`",
)

POWER = Law(
    name="power",
    formula="F_inf - (F_inf - F_1) k^-b",
    params=BEST_OF.params[:3],
    function=_power,
    jacobian=_power_jacobian,
    starts=_power_starts,
    asymptote=_first_param,
    paper="Snell et al., Scaling LLM Test-Time Compute Optimally (2024), for the method",
    equation="ours: `best_of` with c = 1, for few budgets",
    assumes="a power law from the first draw on",
)

TTSPM = Law(
    name="ttspm",
    formula="F_max (1 - (1-p)^k)",
    params=(
        _share("F_max", "accuracy with unlimited draws"),
        _rate("p", _SMALLEST_RATE, 1.0 - _SMALLEST_RATE, _BOTH, "success rate of one draw"),
    ),
    function=_plateau,
    jacobian=_plateau_jacobian,
    starts=_plateau_starts,
    asymptote=_first_param,
    saturation=_plateau_saturation,
    first_budget=0,
    paper="Scaling over Scaling: Exploring Test-Time Scaling Plateau in Large Reasoning Models "
    "(2025)",
    equation="parallel form F(N) = F_max (1 - (1-p)^N); N* follows from its marginal gain "
    "F_max p (1-p)^N <= eps",
    assumes="all solvable problems have the same success rate; p is not the mean of theirs",
)

OVEROPTIMISATION = Law(
    name="overoptimisation",
    formula="F_1 + d (alpha - beta d), d = sqrt(ln k - (k-1)/k)",
    params=(
        _share("F_1", "accuracy of one draw"),
        Param(
            name="alpha",
            low=-2.0,
            high=2.0,
            meaning="first gain for each unit of distance from one draw",
            tolerance=0.25,
        ),
        Param(
            name="beta",
            low=-2.0,
            high=2.0,
            meaning="how fast optimising the verifier turns against the truth",
            tolerance=0.25,
        ),
    ),
    function=_fooled,
    jacobian=_fooled_jacobian,
    starts=_fooled_starts,
    asymptote=_no_limit,
    paper="Gao, Schulman and Hilton, Scaling Laws for Reward Model Overoptimization (2023)",
    equation="R(d) = d (alpha - beta d) for best-of-n with d^2 = ln n - (n-1)/n; accuracy "
    "instead of their reward, with the accuracy of one draw added",
    assumes="a local form: it leaves [0, 1] in the end and has no limit",
)

LAWS: dict[str, Law] = {
    law.name: law for law in (BEST_OF, COVERAGE, OVEROPTIMISATION, POWER, TTSPM, VOTE)
}

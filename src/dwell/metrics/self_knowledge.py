"""Does a model know what it knows? Probes of a model about its own answers.

Letters: `P` questions, `M` answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, as_counts, as_shares, same_shape
from dwell.metrics.intervals import Interval
from dwell.metrics.ranking import auroc

Profile = Literal["blanket confidence", "blanket withdrawal", "selective", "none"]

# The conventions of the battery's paper: overall keep rates, and points of withdraw delta.
_BLANKET_KEEP = 0.95
_BLANKET_WITHDRAW = 0.10
_SELECTIVE_POINTS = 15.0


def p_true(log_prob_true: npt.ArrayLike, log_prob_false: npt.ArrayLike) -> FloatArray:
    """P(True): probability of the token "true" against "false", `e^lt / (e^lt + e^lf)`.

    Format and order of the options change it: fix the one and average over the other.

    Args:
        log_prob_true: natural log-probability of the token, any shape.
        log_prob_false: of the other, broadcast against it.

    Returns:
        In `[0, 1]`, of the broadcast shape.

    References:
        Kadavath et al., "Language Models (Mostly) Know What They Know" (2022), section 3.

    Examples:
        >>> round(float(p_true(np.log(0.72), np.log(0.18))), 6)
        0.8
    """
    return np.asarray(scipy.special.expit(np.subtract(log_prob_true, log_prob_false)), np.float64)


def asked_often(num_true: npt.ArrayLike, num_asked: npt.ArrayLike) -> FloatArray:
    """P(True) without log-probabilities: ask m times, `(s + 1) / (m + 2)`.

    Examples:
        >>> round(float(asked_often(7, 10)), 6)
        0.666667
    """
    s, m = as_counts("num_true", num_true), as_counts("num_asked", num_asked)
    if np.any(s > m):
        raise UsageError(f"`num_true` must be at most `num_asked`, but got {s} of {m}.")
    return np.asarray((s + 1.0) / (m + 2.0), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """How well the success rate of questions was predicted, over all recorded draws.

    Attributes:
        cross_entropy: mean `-[t ln p + (1-t) ln(1-p)]` with t = c/n, in nats.
        brier: mean `t (1-p)^2 + (1-t) p^2`, the Brier score of the draws.
        skill: Brier score against stating the mean success rate; NaN where all draws agree.
        auroc: probability that a right draw's question was rated above a wrong draw's.
    """

    cross_entropy: float
    brier: float
    skill: float
    auroc: float


def score_p_ik(
    prediction: npt.ArrayLike, num_correct: npt.ArrayLike, num_samples: npt.ArrayLike
) -> Foresight:
    """Scores P(IK): the chance, seen from the question alone, that a draw is right.

    The target of a question is its share of right draws, a soft label; each question weighs the
    same. Score in- and out-of-distribution questions apart, and check that the prediction rises
    when a hint is added to the question.

    Args:
        prediction: `[P]` in `[0, 1]`.
        num_correct: `[P]` c.
        num_samples: n, scalar or `[P]`, at least 1.

    Returns:
        `Foresight`.

    Raises:
        UsageError: shapes differ, bad counts or predictions.

    References:
        Kadavath et al., "Language Models (Mostly) Know What They Know" (2022), section 5.

    Examples:
        >>> foresight = score_p_ik([0.9, 0.2], [9, 2], 10)
        >>> round(foresight.brier, 3), round(foresight.skill, 3), round(foresight.auroc, 3)
        (0.125, 0.495, 0.854)
    """
    c = as_counts("num_correct", num_correct)
    n = np.broadcast_to(as_counts("num_samples", num_samples), c.shape)
    p = as_shares("prediction", prediction)
    if p.shape != c.shape or np.any(c > n) or np.any(n < 1) or not np.all(np.isfinite(p)):
        raise UsageError(
            "`prediction` must hold a number for each question with at least one draw, but got "
            f"shapes {p.shape} and {c.shape}, or more right draws than draws."
        )
    t = c / n
    brier = float(np.mean(t * (1 - p) ** 2 + (1 - t) * p**2))
    base = float(t.mean())
    reference = base * (1 - base)
    entropy = -scipy.special.xlogy(t, p) - scipy.special.xlog1py(1.0 - t, -p)
    return Foresight(
        cross_entropy=float(entropy.mean()),
        brier=brier,
        skill=1.0 - brier / reference if reference > 0 else float("nan"),
        auroc=auroc(p, t),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawDelta:
    """How much more readily wrong answers are withdrawn than right ones.

    Attributes:
        points: keep rate of the right minus that of the wrong, in points of 100, with Wald's
            interval; NaN where there is no right or no wrong answer.
        keep_right: keep rate among right answers.
        keep_wrong: keep rate among wrong answers.
        unparsed: share of probes that could not be read; they count as not kept.
    """

    points: Interval
    keep_right: float
    keep_wrong: float
    unparsed: float


def withdraw_delta(
    keep: npt.ArrayLike, correct: npt.ArrayLike, *, level: float = 0.95
) -> WithdrawDelta:
    """Withdraw delta of KEEP/WITHDRAW probes after forced answers.

    `WD = 100 (P(keep | right) - P(keep | wrong))`, equal to the difference of withdrawal rates,
    wrong minus right. The interval treats answers as independent; with several answers to a
    question bootstrap questions instead.

    Args:
        keep: `[M]`, 1 = keep or bet, 0 = withdraw or no bet, NaN = could not be read.
        correct: `[M]`, 1 or 0.
        level: nominal coverage.

    Returns:
        `WithdrawDelta`.

    Raises:
        UsageError: shapes differ or values other than these.

    References:
        Cacioli, "The Metacognitive Monitoring Battery: A Cross-Domain Benchmark for LLM
        Self-Monitoring" (2026).

    Examples:
        >>> delta = withdraw_delta([1] * 45 + [0] * 5 + [1] * 12 + [0] * 18, [1] * 50 + [0] * 30)
        >>> [round(float(x), 1) for x in (delta.points.value, delta.points.low, delta.points.high)]
        [50.0, 30.6, 69.4]
    """
    kept, y = same_shape(keep=keep, correct=correct)
    if not (np.all(np.isin(y, (0, 1))) and np.all(np.isnan(kept) | np.isin(kept, (0, 1)))):
        raise UsageError(
            "`keep` must hold 0, 1 or NaN and `correct` 0 or 1. Turn probes into kept or not."
        )
    unparsed = float(np.mean(np.isnan(kept))) if len(kept) else float("nan")
    kept = np.nan_to_num(kept)
    right, wrong = kept[y == 1], kept[y == 0]
    rates = [float(x.mean()) if len(x) else float("nan") for x in (right, wrong)]
    points = 100.0 * (rates[0] - rates[1])
    variance = sum(
        rate * (1 - rate) / max(len(x), 1) for rate, x in zip(rates, (right, wrong), strict=True)
    )
    half = 100.0 * float(scipy.special.ndtri((1 + level) / 2)) * sqrt(variance)
    interval = Interval(
        value=np.array(points), low=np.array(points - half), high=np.array(points + half),
        level=level,
    )  # fmt: skip
    return WithdrawDelta(
        points=interval, keep_right=rates[0], keep_wrong=rates[1], unparsed=unparsed
    )


def monitoring_profile(keep_rate: float, mean_points: float) -> Profile:
    """The battery's name for a model's behaviour over its tasks.

    Args:
        keep_rate: share of all answers kept, in `[0, 1]`.
        mean_points: mean withdraw delta over tasks, in points, tasks without one left out.

    Returns:
        "blanket confidence" from a keep rate of 0.95, "blanket withdrawal" up to 0.10, else
        "selective" from 15 points, else "none". Cut-offs of a paper, not of nature.

    Examples:
        >>> monitoring_profile(0.6, 22.0)
        'selective'
    """
    if keep_rate >= _BLANKET_KEEP:
        return "blanket confidence"
    if keep_rate <= _BLANKET_WITHDRAW:
        return "blanket withdrawal"
    return "selective" if mean_points >= _SELECTIVE_POINTS else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Type2:
    """Signal detection about one's own answers.

    Attributes:
        sensitivity: d', how far keeping tells right from wrong; 0 for not at all.
        criterion: c, above 0 for reluctance to keep.
    """

    sensitivity: float
    criterion: float


def type2_sensitivity(
    kept_right: int, num_right: int, kept_wrong: int, num_wrong: int, *, corrected: bool = True
) -> Type2:
    """Type-2 d' and criterion from keeping right answers (hits) and wrong ones (false alarms).

    `d' = z(H) - z(F)`, `c = -(z(H) + z(F)) / 2`, with `H = (hits + 0.5) / (right + 1)` and F
    alike (log-linear correction), without which a rate of 0 or 1 is infinite. For graded
    confidences use `auroc`. Both mix in how hard the questions are.

    Args:
        kept_right: right answers kept.
        num_right: right answers.
        kept_wrong: wrong answers kept.
        num_wrong: wrong answers.
        corrected: False leaves the raw rates.

    Returns:
        `Type2`; NaN without a right or a wrong answer when not corrected.

    Raises:
        UsageError: bad counts.

    References:
        Galvin et al., "Type 2 Tasks in the Theory of Signal Detectability" (2003); Hautus (1995)
        for the correction.

    Examples:
        >>> found = type2_sensitivity(45, 50, 12, 30)
        >>> round(found.sensitivity, 6), round(found.criterion, 6)
        (1.483087, -0.496537)
    """
    hits, right, alarms, wrong = (
        float(as_counts(name, value))
        for name, value in (
            ("kept_right", kept_right), ("num_right", num_right),
            ("kept_wrong", kept_wrong), ("num_wrong", num_wrong),
        )
    )  # fmt: skip
    if hits > right or alarms > wrong:
        raise UsageError(
            "kept answers must be at most the answers there are, but got "
            f"{kept_right} of {num_right} and {kept_wrong} of {num_wrong}."
        )
    half, one = (0.5, 1.0) if corrected else (0.0, 0.0)
    nan = float("nan")
    hit_rate = (hits + half) / (right + one) if right + one else nan
    alarm_rate = (alarms + half) / (wrong + one) if wrong + one else nan
    z_hit, z_alarm = float(scipy.special.ndtri(hit_rate)), float(scipy.special.ndtri(alarm_rate))
    return Type2(sensitivity=z_hit - z_alarm, criterion=-(z_hit + z_alarm) / 2)

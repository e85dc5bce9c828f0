"""Scores of stated probabilities that are best for whoever states what they believe.

A proper score punishes both wrong calibration and saying nothing; `brier_skill` sets it against
the constant base rate. Pairs with a NaN (not asked, not graded) are left out.

Letter: `M` pairs of a confidence and a correctness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from dwell.metrics.arrays import FloatArray, as_shares, same_shape


def brier_score(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Mean squared difference of confidence and correctness, in `[0, 1]`, lower is better.

    `mean (p - y)^2`; NaN without pairs. Brier, "Verification of Forecasts Expressed in Terms of
    Probability" (1950).

    Examples:
        >>> round(brier_score([0.9, 0.2], [1, 0]), 6)
        0.025
    """
    p, y = known_pairs(confidence, correct)
    return float(np.mean((p - y) ** 2)) if len(p) else float("nan")


def brier_skill(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Brier score against that of always stating the base rate: `1 - Brier / (ybar (1 - ybar))`.

    1 is perfect, 0 useless, negative worse than the base rate. The base rate is that of these
    very pairs. NaN where all are right or all wrong.

    References:
        Spiess et al., "Calibration and Correctness of Language Models for Code" (2024).

    Examples:
        >>> p = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.8, 0.9, 0.95]
        >>> round(brier_skill(p, [0, 0, 1, 0, 1, 0, 1, 1, 1, 1]), 6)
        0.428125
    """
    p, y = known_pairs(confidence, correct)
    reference = float(np.mean((y - y.mean()) ** 2)) if len(y) else 0.0
    return 1.0 - brier_score(p, y) / reference if reference > 0 else float("nan")


def log_loss(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """Mean negative log-likelihood, `-mean [y ln p + (1-y) ln(1-p)]`, in nats.

    Infinite where a certain confidence was wrong: that is what it means, so it is not clipped.

    Examples:
        >>> round(log_loss([0.5, 0.5], [1, 0]), 6)
        0.693147
    """
    p, y = known_pairs(confidence, correct)
    loss = -scipy.special.xlogy(y, p) - scipy.special.xlog1py(1.0 - y, -p)
    return float(loss.mean()) if len(loss) else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrierParts:
    """`Brier = reliability - resolution + uncertainty` for confidences of a few values.

    Attributes:
        reliability: mean squared calibration error over the values, lower is better.
        resolution: variance of correctness between the values, higher is better.
        uncertainty: variance of correctness, `ybar (1 - ybar)`; no confidence changes it.
    """

    reliability: float
    resolution: float
    uncertainty: float


def brier_parts(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> BrierParts:
    """Murphy's decomposition of the Brier score, exact, one group for each distinct confidence.

    For continuous confidences every pair is its own group and the parts say nothing: round or
    recalibrate by bins first.

    References:
        Murphy, "A New Vector Partition of the Probability Score" (1973).

    Examples:
        >>> parts = brier_parts([0.2] * 5 + [0.8] * 5, [0, 0, 1, 0, 1, 1, 1, 1, 0, 1])
        >>> [round(x, 6) for x in (parts.reliability, parts.resolution, parts.uncertainty)]
        [0.02, 0.04, 0.24]
    """
    p, y = known_pairs(confidence, correct)
    if len(p) == 0:
        return BrierParts(reliability=np.nan, resolution=np.nan, uncertainty=np.nan)
    values, group, count = np.unique(p, return_inverse=True, return_counts=True)
    mean, base = np.bincount(group, y) / count, y.mean()
    return BrierParts(
        reliability=float(np.average((values - mean) ** 2, weights=count)),
        resolution=float(np.average((mean - base) ** 2, weights=count)),
        uncertainty=float(np.mean((y - base) ** 2)),
    )


def known_pairs(
    confidence: npt.ArrayLike, correct: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Confidence and correctness of the pairs that have both, `[M]` each, checked.

    Raises:
        UsageError: shapes differ, or values outside `[0, 1]`.
    """
    p, y = same_shape(confidence=confidence, correct=correct)
    p, y = as_shares("confidence", p), as_shares("correct", y)
    known = ~np.isnan(p) & ~np.isnan(y)
    return p[known], y[known]

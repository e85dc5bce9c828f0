"""How far a plan's confidence may be trusted, on questions that it was not fitted on.

Letters: `S` looks at a question (orders and deals of the folds), `P` questions, `B` bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dwell.metrics import Resamples, reliability_bins, risk_coverage
from dwell.metrics.calibration import mass_edges
from dwell.plans.evidence import FloatArray

NUM_BINS = 10
#: Shares of the questions, the surest first, whose accuracy a plan says.
COVERAGES = (0.25, 0.5, 0.75, 0.9, 1.0)


def quality_record(
    sure: FloatArray, share: FloatArray, right: FloatArray, resamples: Resamples
) -> dict[str, Any]:
    """Calibration and ranking of a confidence beside the bare share of votes, JSON-able.

    Args:
        sure: `[S, P]` held-out probabilities; NaN without an answer.
        share: `[S, P]` of the votes.
        right: `[S, P]` grades.
        resamples: of the questions (clusters).
    """
    known = np.isfinite(sure) & np.isfinite(right)
    p, y = sure[known], right[known]
    curve = risk_coverage(p, y)
    bins = reliability_bins(p, y, num_bins=NUM_BINS)
    brier, brier_share = ((table - right) ** 2 for table in (sure, share))
    return {
        "answered": float(known.mean()),
        "accuracy": float(y.mean()),
        "brier": _mean(brier, known, resamples),
        "brier_of_share": _mean(brier_share, known, resamples),
        "brier_gain": _mean(brier_share - brier, known, resamples),
        "ece": calibration_of(sure, right, resamples),
        "ece_of_share": calibration_of(share, right, resamples),
        "aurc": curve.aurc,
        "aurc_of_share": risk_coverage(share[known], y).aurc,
        "at_coverage": [
            {"coverage": c, "accuracy": float(curve.accuracy[round(c * len(y)) - 1])}
            for c in COVERAGES
            if round(c * len(y)) >= 1
        ],
        "bins": [
            {"share": float(n / len(y)), "confidence": float(c), "accuracy": float(a)}
            for n, c, a in zip(bins.count, bins.confidence, bins.accuracy, strict=True)
        ],
    }


def _mean(table: FloatArray, known: np.ndarray, resamples: Resamples) -> dict[str, float]:
    """Mean of `table [S, P]` where known, with the percentiles of resampled questions."""
    sums, counts = np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0)
    weights = resamples.weights
    again = (weights @ sums) / np.maximum(weights @ counts, 1e-12)
    low, high = np.quantile(again, [0.025, 0.975])
    return {
        "value": float(sums.sum() / counts.sum()), "low": float(low), "high": float(high),
    }  # fmt: skip


def calibration_of(sure: FloatArray, right: FloatArray, resamples: Resamples) -> dict[str, float]:
    """Expected calibration error (bins of equal mass) with its reflected 95 % interval.

    As `dwell.metrics.calibration_interval`, for several looks at each question: questions are
    resampled, not looks.

    Args:
        sure: `[S, P]` in [0, 1]; NaN is left out.
        right: `[S, P]` grades.
        resamples: of the questions (clusters).
    """
    known = np.isfinite(sure) & np.isfinite(right)
    edges = mass_edges(sure[known], NUM_BINS)
    index = np.searchsorted(edges, sure, side="left")
    gap = np.where(known, sure - right, 0.0)
    excess = np.stack([np.where(index == b, gap, 0.0).sum(axis=0) for b in range(len(edges) + 1)])
    counts = known.sum(axis=0)
    value = float(np.abs(excess.sum(axis=1)).sum() / counts.sum())
    weights = resamples.weights
    again = np.abs(weights @ excess.T).sum(axis=1) / np.maximum(weights @ counts, 1e-12)
    low, high = np.quantile(again, [0.025, 0.975])
    # Where all is noise the reflected interval lies below the estimate: it is made to hold it.
    return {
        "value": value, "low": max(0.0, min(value, 2 * value - float(high))),
        "high": max(value, 2 * value - float(low)),
    }  # fmt: skip


def reliability_sentence(found: Mapping[str, Any]) -> str:
    """What the numbers say, in a sentence."""
    ece, raw = found["ece"], found["ece_of_share"]
    half = next(one for one in found["at_coverage"] if one["coverage"] == 0.5)
    return (
        f"Confidence: off by {100 * ece['value']:.1f} points [{100 * ece['low']:.1f}, "
        f"{100 * ece['high']:.1f}] on average (the bare share of votes by "
        f"{100 * raw['value']:.1f}); Brier score {found['brier']['value']:.3f} instead of "
        f"{found['brier_of_share']['value']:.3f}; the surer half of the answers is right in "
        f"{100 * half['accuracy']:.1f} %, all in {100 * found['accuracy']:.1f} %."
    )

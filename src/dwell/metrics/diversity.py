"""How different the draws of a problem are from one another.

Diversity is what makes more draws worth having, and is bought with accuracy of the single draw:
read it beside both. All measures but Vendi's look at equal answers only.

Letters: `P` problems, `A` distinct answers, `N` draws.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, IntArray, as_counts


def answer_entropy(counts: npt.ArrayLike) -> FloatArray:
    """Shannon entropy of a problem's answers, `H = -sum_a p_a ln p_a`, in nats.

    The plug-in value: it is too low by about (A - 1) / 2N, so compare problems with equal N.

    Args:
        counts: `[..., A]` draws with each distinct answer, 0-padded (see `answer_counts`).

    Returns:
        `[...]`, 0 where all draws agree; NaN without draws.

    Raises:
        UsageError: a count is negative or not whole.

    References:
        Shannon, "A Mathematical Theory of Communication" (1948).

    Examples:
        >>> float(answer_entropy([4, 3, 2, 1]).round(6))
        1.279854
    """
    share, total = _shares(counts)
    entropy = np.abs(scipy.special.xlogy(share, share).sum(axis=-1))
    return np.where(total > 0, entropy, np.nan)


def effective_answers(counts: npt.ArrayLike) -> FloatArray:
    """Effective number of answers, `exp(H)`: 1 where all agree, A where all are equally common.

    Examples:
        >>> float(effective_answers([4, 3, 2, 1]).round(6))
        3.596115
    """
    return np.asarray(np.exp(answer_entropy(counts)), np.float64)


def simpson_diversity(counts: npt.ArrayLike) -> FloatArray:
    """Probability that two draws differ, `1 - sum n_a (n_a - 1) / (n (n - 1))`, unbiased.

    Args:
        counts: `[..., A]`.

    Returns:
        `[...]` in `[0, 1]`; NaN with fewer than two draws.

    References:
        Simpson, "Measurement of Diversity" (1949).

    Examples:
        >>> float(simpson_diversity([4, 3, 2, 1]).round(6))
        0.777778
    """
    n_a = _counts(counts).astype(np.float64)
    n = n_a.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        same = np.sum(n_a * (n_a - 1.0), axis=-1) / (n * (n - 1.0))
    return np.where(n > 1, 1.0 - same, np.nan)


def vendi_score(similarity: npt.ArrayLike) -> FloatArray:
    """Effective number of different draws under a similarity, `exp(-sum l ln l)`.

    l are the eigenvalues of K / N. It equals `effective_answers` where K says equal or not.

    Args:
        similarity: `[..., N, N]` K, symmetric, positive semi-definite, with ones on the
            diagonal.

    Returns:
        `[...]` in `[1, N]`.

    Raises:
        UsageError: not square, not symmetric, or a diagonal that is not 1.

    References:
        Friedman and Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine
        Learning" (2022). O(N^3).

    Examples:
        >>> float(vendi_score([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]]).round(6))
        2.749459
    """
    k = np.asarray(similarity, np.float64)
    square = k.ndim >= 2 and k.shape[-1] == k.shape[-2] and k.shape[-1] > 0
    if not (
        square
        and np.allclose(k, np.swapaxes(k, -1, -2))
        and np.allclose(np.diagonal(k, axis1=-2, axis2=-1), 1.0)
    ):
        raise UsageError(
            "`similarity` must be `[..., N, N]`, symmetric with ones on the diagonal, but got "
            f"shape {k.shape}. Normalise by the diagonal first."
        )
    values = np.maximum(np.linalg.eigvalsh(k / k.shape[-1]), 0.0)
    return np.asarray(np.exp(-scipy.special.xlogy(values, values).sum(axis=-1)), np.float64)


def distinct_correct_share(class_counts: npt.ArrayLike, num_samples: npt.ArrayLike) -> FloatArray:
    """Distinct correct solutions over draws, `[P]`: 1 only if all are right and all different.

    For a budget k other than n use `distinct_pass_at_k`.

    Args:
        class_counts: `[P, U]` draws in each class of equal correct solutions, 0-padded.
        num_samples: n, scalar or `[P]`.

    Returns:
        `[P]` in `[0, 1]`; NaN without draws.

    Raises:
        UsageError: more correct draws than draws.

    Examples:
        >>> distinct_correct_share([[2, 1], [0, 0]], 10).tolist()
        [0.2, 0.0]
    """
    classes = np.atleast_2d(_counts(class_counts))
    n = np.broadcast_to(as_counts("num_samples", num_samples), (len(classes),))
    if np.any(classes.sum(axis=1) > n):
        raise UsageError(
            "`class_counts` must sum to at most `num_samples`, but a problem has more correct "
            "draws than draws. Pass the number of all draws."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n > 0, np.sum(classes > 0, axis=1) / n, np.nan)


def _counts(counts: npt.ArrayLike) -> IntArray:
    tally = as_counts("counts", counts)
    if tally.ndim == 0:
        raise UsageError("`counts` must be `[..., A]`, but got a single number.")
    return tally


def _shares(counts: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    tally = _counts(counts).astype(np.float64)
    total = tally.sum(axis=-1)
    return tally / np.maximum(total, 1.0)[..., None], total

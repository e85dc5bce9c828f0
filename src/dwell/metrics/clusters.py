"""Problems that get easier in the same way, as clusters of their success curves.

A mean over unlike problems follows no simple law; a cluster of like ones may. Clusters whose law
extrapolates are extrapolated, and the rest is mapped from them.

Letters: `P` problems, `F` features (success rates over a ladder of models or budgets).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy
from sklearn.cluster import MeanShift, estimate_bandwidth

from dwell.errors import UsageError
from dwell.metrics.arrays import FloatArray, IntArray

# A cluster that is too wide is clustered again with a bandwidth this much smaller.
_SHRINK = 0.7
_OUTLIER = -1


def difficulty_clusters(
    features: npt.ArrayLike,
    *,
    max_diameter: float = 1.0,
    min_size: int = 10,
    bandwidth: float | None = None,
) -> IntArray:
    """Mean-shift clusters of success curves, none wider than a cap, none smaller than a size.

    Mean shift finds the number of clusters itself. A cluster whose two farthest problems are
    more than `max_diameter` apart is clustered again with a smaller bandwidth, until none is;
    problems left in clusters smaller than `min_size` are outliers.

    Args:
        features: `[P, F]` without NaN, for example of `success_profile`.
        max_diameter: largest Euclidean distance within a cluster, in the unit of the features
            (sqrt(F) is the largest there is between success rates).
        min_size: problems below which a cluster is dissolved.
        bandwidth: of the first pass; None takes scikit-learn's estimate (mean distance to the
            30 % nearest).

    Returns:
        `[P]` cluster numbers from 0 in order of size, -1 for outliers.

    Raises:
        UsageError: not `[P, F]`, NaN, or a cap or size that is not positive.

    References:
        Xu et al., "Unveiling Downstream Performance Scaling of LLMs: A Clustering-Based
        Perspective" (2025), COD; mean shift of Comaniciu and Meer (2002) by scikit-learn. The
        paper's own improved mean shift is not public in full; the cap is kept here by recursion.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> easy, hard = rng.normal(0.9, 0.02, (20, 3)), rng.normal(0.1, 0.02, (15, 3))
        >>> labels = difficulty_clusters(np.concatenate([easy, hard, [[0.5, 0.5, 0.5]]]))
        >>> labels[[0, 20, 35]].tolist()
        [0, 1, -1]
    """
    points = np.asarray(features, np.float64)
    if points.ndim != 2 or np.any(np.isnan(points)) or not (max_diameter > 0 and min_size >= 1):
        raise UsageError(
            "`features` must be `[P, F]` without NaN, `max_diameter` positive and `min_size` at "
            f"least 1, but got shape {points.shape}, {max_diameter=}, {min_size=}."
        )
    labels = np.full(len(points), _OUTLIER, np.int64)
    if len(points) == 0:
        return labels
    first = bandwidth if bandwidth is not None else float(estimate_bandwidth(points))
    groups = _split(points, np.arange(len(points)), first, max_diameter)
    large = sorted((g for g in groups if len(g) >= min_size), key=lambda g: (-len(g), g[0]))
    for number, group in enumerate(large):
        labels[group] = number
    return labels


def _split(
    points: FloatArray, members: IntArray, bandwidth: float, max_diameter: float
) -> list[IntArray]:
    """Clusters of `members` that keep the cap."""
    if bandwidth <= 0:  # all distances are 0: nothing to part
        return [members]
    # One problem of each cell of a grid starts a climb: the others of the cell climb with it.
    cell = np.unique(np.round(points[members] / bandwidth), axis=0, return_index=True)[1]
    seeds = points[members[np.sort(cell)]]
    found = MeanShift(bandwidth=bandwidth, seeds=seeds).fit_predict(points[members])
    groups: list[IntArray] = []
    for label in np.unique(found):
        group = members[found == label]
        if (
            len(group) > 1
            and float(scipy.spatial.distance.pdist(points[group]).max()) > max_diameter
        ):
            groups += _split(points, group, bandwidth * _SHRINK, max_diameter)
        else:
            groups.append(group)
    return groups

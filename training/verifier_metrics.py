"""How well a verifier separates right from wrong: over all texts, and within a problem.

The pooled AUC mixes in the difficulty of problems, which a verifier can read off the prompt; what
best-of-N needs is the order *within* a problem, so both are always reported together.
"""

from __future__ import annotations

import numpy as np

from verifier_data import Rollouts


def auc(values: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of (right, wrong) pairs in the right order, ties one half."""
    ranks = _midranks(values)
    right = int(labels.sum())
    wrong = len(labels) - right
    if not right or not wrong:
        return float("nan")
    return float((ranks[labels].sum() - right * (right + 1) / 2) / (right * wrong))


def _midranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def within_problem(values: np.ndarray, labels: np.ndarray, problem: np.ndarray) -> float:
    """Returns the AUC within each problem, weighted by its number of pairs."""
    hits = pairs = 0.0
    for members in _groups(problem):
        own = labels[members]
        count = float(own.sum() * (len(own) - own.sum()))
        if count:
            hits += count * auc(values[members], own)
            pairs += count
    return hits / pairs if pairs else float("nan")


def _groups(problem: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(problem, kind="stable")
    cuts = np.flatnonzero(np.diff(problem[order])) + 1
    return np.split(order, cuts)


def best_of(
    values: np.ndarray, labels: np.ndarray, problem: np.ndarray, sizes: tuple[int, ...]
) -> dict[str, float]:
    """Returns best-of-k accuracy over disjoint groups of k of each problem's texts."""
    found = {}
    for size in sizes:
        hits = []
        for members in _groups(problem):
            # A few texts are unfinished and left out, so the last group may lack some.
            for first in range(0, len(members) - size + size // 10 + 1, size):
                part = members[first : first + size]
                hits.append(labels[part][np.argmax(values[part])])
        if hits:
            found[f"best_of_{size}"] = round(float(np.mean(hits)), 4)
    return found


def summary(
    rollouts: Rollouts, values: np.ndarray, sizes: tuple[int, ...] = (1, 2, 4, 8)
) -> list[dict[str, object]]:
    """Returns one row per task and place (middle or last newline)."""
    rows: list[dict[str, object]] = []
    for task in np.unique(rollouts.task):
        for place, chosen in (("middle", rollouts.is_middle), ("end", rollouts.is_last)):
            spots = np.flatnonzero(chosen & (rollouts.task[rollouts.owner] == task))
            owner = rollouts.owner[spots]
            labels, problem = rollouts.right[owner], rollouts.problem[owner]
            row: dict[str, object] = {
                "task": str(task),
                "place": place,
                "texts": len(spots),
                "right": round(float(labels.mean()), 4),
                "pooled_auc": round(auc(values[spots], labels), 4),
                "within_problem": round(within_problem(values[spots], labels, problem), 4),
            }
            if place == "end":
                row |= best_of(values[spots], labels, problem, sizes)
            rows.append(row)
    return rows

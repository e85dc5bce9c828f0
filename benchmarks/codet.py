"""Choosing programs by generated tests, everything recomputed from the first n samples.

The data hold, for each task, which unique program passes which unique generated test, and how
often each test was generated; which sample generated which test was not kept. So "their tests" is
read in two ways. "pool": the tests are a verifier that was made once, and all of them judge
whatever programs there are. "brought": each occurrence of a test is dealt to one of the 100
samples at random, anew in every order, and only tests of the first n samples are used. Scores and
clusters (equal results on the tests at hand) use these tests and the first n programs alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from dwell.plans.options import ladder
from dwell.plans.search import Menu

RULES = ("best of n by tests", "vote of clusters", "cluster vote by tests", "CodeT score")


def codet_menus(
    data: Path, orders: int, tests: str, seed: int = 0
) -> tuple[np.ndarray, dict[str, Menu]]:
    """(numbers of samples, menu of each rule); cost is the number of samples."""
    tasks = {t["question_id"]: t for t in rows(data / "codet_humaneval_testmatrix.parquet")}
    samples: dict[str, list[dict[str, Any]]] = {}
    for row in rows(data / "codet_humaneval_codegen16b.parquet"):
        samples.setdefault(row["question_id"], []).append(row)
    numbers = np.array(ladder(100))
    right = np.zeros((len(RULES), len(numbers), len(samples)), np.float32)
    for number, (question, drawn) in enumerate(sorted(samples.items())):
        right[:, :, number] = one_task(
            tasks[question], drawn, numbers, orders, tests, seed + number
        )
    cost = np.broadcast_to(numbers[:, None], right.shape[1:]).astype(np.float32)
    return numbers, {
        rule: Menu(right=right[i][None], cost=cost[None]) for i, rule in enumerate(RULES)
    }


def rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def one_task(
    task: dict[str, Any],
    drawn: list[dict[str, Any]],
    numbers: np.ndarray,
    orders: int,
    tests: str,
    seed: int,
) -> np.ndarray:
    """Mean grade over orders of each rule's choice, `[rules, K]`."""
    places = {name: i for i, name in enumerate(task["unique_solution"])}
    programs = np.array([places[row["answer"]] for row in drawn])
    grades = np.array([float(row["correct"]) for row in drawn])
    num_tests = len(task["test_freq"])
    # A program that timed out five times was not run further: it fails the other tests.
    bits = [text.ljust(num_tests, "0") for text in task["pass_bits"]]
    passes = np.array([[bit == "1" for bit in text] for text in bits], float)
    test_of = np.repeat(np.arange(num_tests), task["test_freq"])
    rng = np.random.default_rng(seed)
    right = np.zeros((len(RULES), len(numbers)))
    for _ in range(orders):
        order = rng.permutation(len(programs))
        brought_by = rng.integers(len(programs), size=len(test_of))
        secret = rng.random(num_tests)
        for k, n in enumerate(numbers):
            bringing = n if tests == "brought" else len(programs)
            weights = np.bincount(test_of[brought_by < bringing], minlength=num_tests)
            first = order[:n]
            score = (passes @ weights)[programs[first]]
            # Programs with equal results have equal sums of random numbers.
            result = (passes @ (secret * (weights > 0))).round(9)[programs[first]]
            right[:, k] += chosen_grades(score, result, grades[first]) / orders
    return right


def chosen_grades(score: np.ndarray, result: np.ndarray, grades: np.ndarray) -> np.ndarray:
    """Expected grade of each rule's choice; ties are shared."""
    _, cluster = np.unique(result, return_inverse=True)
    size = np.bincount(cluster)
    tests = np.bincount(cluster, score) / size
    mean = np.bincount(cluster, grades) / size
    top = score == score.max()
    keys = (size, size * tests, np.sqrt(size) * tests)
    return np.array(
        [grades[top].mean(), *(mean[np.isclose(key, key.max())].mean() for key in keys)]
    )

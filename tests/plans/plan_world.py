"""A small recording: easy questions, hard ones, and some whose commonest answer is wrong."""

import numpy as np

from dwell.recordings import Recording


def recording(questions=60, draws=8, seed=0, scores=None):
    """Questions of three kinds in turn: right in 95 %, 50 % and 15 % of draws.

    `scores` may be "good" or "noise".
    """
    rng = np.random.default_rng(seed)
    rate = np.tile([0.95, 0.5, 0.15], questions)[:questions, None]
    right = rng.random((questions, draws)) < rate
    # Wrong answers are spread over five, so that a vote helps where right ones are half.
    codes = np.where(right, 0, rng.integers(1, 6, right.shape))
    numbers = {"good": right + rng.normal(0, 0.4, right.shape), "noise": rng.random(right.shape)}
    values = np.zeros((questions, 6))
    values[:, 0] = 1
    return Recording(
        run="coin",
        model="coin",
        dataset="toy",
        questions=tuple(f"q{i}" for i in range(questions)),
        sizes=np.full(questions, draws),
        correct=right.astype(float),
        codes=codes,
        values=values,
        texts=tuple(tuple("abcdef") for _ in range(questions)),
        tokens=np.where(rate > 0.9, 10.0, 30.0) * np.ones(right.shape),
        columns={"score": numbers[scores]} if scores else {},
        tags={"passage": [f"p{i // 4}" for i in range(questions)]},
    )

"""A small synthetic recording, made from a seed."""

import numpy as np

from dwell.recordings import Recording

P, N = 12, 16


def a_recording(rng=None, **changes):
    """Some answers a question, with scores, tokens and seconds."""
    rng = rng or np.random.default_rng(0)
    sizes = rng.integers(10, N + 1, P)
    inside = np.arange(N) < sizes[:, None]
    codes = np.where(inside, rng.integers(-1, 4, (P, N)), -1)
    values = (np.arange(4) == 0) * np.ones((P, 1))
    correct = np.where(inside, (codes == 0).astype(float), np.nan)
    fields = {
        "run": "r", "model": "m", "dataset": "sums", "sizes": sizes, "correct": correct,
        "questions": tuple(f"q{p}" for p in range(P)), "codes": codes, "values": values,
        "texts": tuple(("ten", "11", "1 2", "thirteen") for _ in range(P)),
        "tokens": np.where(inside, rng.integers(5, 50, (P, N)) + 0.5, np.nan),
        "columns": {
            "score": np.where(inside, rng.random((P, N)), np.nan),
            "time_s": np.where(inside, 2.0, np.nan),
        },
        "tags": {"level": tuple(p % 3 for p in range(P))},
    }  # fmt: skip
    return Recording(**(fields | changes))

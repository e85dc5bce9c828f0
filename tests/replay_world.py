"""Small recordings made by hand or at random, for tests of replays."""

import numpy as np

from dwell.recordings import NO_ANSWER, Recording


def recording(codes, right, *, tokens=None, columns=None, run="r", model="m", tags=None):
    """A recording from answers `[P][N]` (a row may be shorter) and the right one of each."""
    sizes = np.array([len(row) for row in codes])
    shape = (len(codes), int(sizes.max()))
    padded = np.full(shape, NO_ANSWER)
    correct = np.full(shape, np.nan)
    for p, row in enumerate(codes):
        padded[p, : len(row)] = row
        correct[p, : len(row)] = np.asarray(row) == right[p]
    width = int(padded.max()) + 1
    return Recording(
        run=run,
        model=model,
        dataset="d",
        questions=tuple(f"q{p}" for p in range(shape[0])),
        sizes=sizes,
        correct=correct,
        codes=padded,
        values=(np.arange(width) == np.asarray(right)[:, None]).astype(float),
        texts=tuple(tuple(f"a{code}" for code in range(width)) for _ in codes),
        tokens=None if tokens is None else padded_like(tokens, correct),
        columns={name: padded_like(rows, correct) for name, rows in (columns or {}).items()},
        tags=tags or {},
    )


def padded_like(rows, correct):
    """Numbers `[P][N]` padded with NaN."""
    table = np.full(correct.shape, np.nan)
    for p, row in enumerate(rows):
        table[p, : len(row)] = row
    return table


def random_recording(num=12, draws=9, *, seed=0, silent=0.1, skill=1.5, run="r", model="m"):
    """Questions of different difficulty; answer 0 is right, some draws have none.

    `skill` is how far the scores of right answers lie above those of wrong ones, in standard
    deviations.
    """
    rng = np.random.default_rng(seed)
    ease = rng.beta(1.2, 1.2, num)[:, None]
    codes = np.where(rng.random((num, draws)) < ease, 0, rng.integers(1, 5, (num, draws)))
    codes[rng.random((num, draws)) < silent] = NO_ANSWER
    scores = rng.normal(size=codes.shape) + skill * (codes == 0)
    return recording(
        codes.tolist(),
        [0] * num,
        tokens=rng.integers(5, 50, codes.shape),
        columns={"score": scores},
        run=run,
        model=model,
    )

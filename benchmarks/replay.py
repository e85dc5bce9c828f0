"""How fast a replay is, and whether what must not help does not help.

    python benchmarks/replay.py             # prints three parts

(a) eight strategies at every budget, 25 random orders, 1000 bootstrap resamples, on the 126 runs
of the shared set of mock AIME samples: seconds and peak memory of this process. (b) the exact vote
at k = 8 of n = 40 draws of 250 questions against 1000-fold resampling in a plain loop, same
process. (c) controls: best-of-n by scores of pure noise against one draw and against the vote.

Where the shared data are absent, synthetic recordings of the same shape stand in, and it says so.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from dwell.metrics import vote_at_k
from dwell.recordings import Recording, read_recordings
from dwell.replays import panels, replay
from dwell.replays.estimates import tally

DATA = Path(__file__).parents[2] / "shared/data/samples"
STRATEGIES = (
    "coverage,sample,majority,adaptive_consistency,adaptive_consistency:rule=dirichlet,"
    "early_stopping,ppr,marginal_gain"
)
SECONDS, MEGABYTES, RATIO = 60.0, 500.0, 100.0


def synthetic(
    questions: int, draws: int, seed: int, *, run: str = "synthetic", skill: float = 1.0
) -> Recording:
    """Questions of different difficulty with wrong answers of unequal popularity.

    Answer 0 is right; `score` is higher for right answers by `skill` standard deviations.
    """
    rng = np.random.default_rng(seed)
    ease = rng.beta(0.8, 1.0, (questions, 1))
    wrong = np.minimum(rng.geometric(0.35, (questions, draws)), 9)
    codes = np.where(rng.random((questions, draws)) < ease, 0, wrong).astype(np.int64)
    correct = (codes == 0).astype(float)
    return Recording(
        run=run,
        model=run,
        dataset="synthetic",
        questions=tuple(f"q{q}" for q in range(questions)),
        sizes=np.full(questions, draws),
        correct=correct,
        codes=codes,
        values=np.tile(np.arange(10) == 0, (questions, 1)).astype(float),
        texts=tuple(tuple(map(str, range(10))) for _ in range(questions)),
        tokens=rng.integers(100, 1000, codes.shape).astype(float),
        columns={"score": rng.normal(size=codes.shape) + skill * correct},
    )


def many_runs() -> tuple[Recording, ...]:
    """The mock AIME runs, or as many synthetic ones of the same shape."""
    table = DATA / "epoch_otis_aime.parquet"
    if table.exists():
        return read_recordings(table).recordings
    print("shared data absent: synthetic runs of the same shape")
    draws = [16] * 30 + [8] * 58 + [1] * 38
    return tuple(synthetic(45, n, seed, run=f"run{seed}") for seed, n in enumerate(draws))


def long_run() -> Recording:
    """250 questions with 40 draws."""
    table = DATA / "esc_last_letters_gpt35.parquet"
    if table.exists():
        return read_recordings(table).recordings[0]
    print("shared data absent: a synthetic run of the same shape")
    return synthetic(250, 40, 0)


def speed() -> None:
    begin, cpu = time.perf_counter(), time.process_time()
    runs = many_runs()
    results = replay(runs, STRATEGIES, "all", repetitions=25, num_resamples=1000)
    wall, used = time.perf_counter() - begin, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = sum(int(run.sizes.sum()) for run in runs)
    points = sum(len(curve["points"]) for curve in results["curves"])
    print(f"(a) {len(runs)} runs, {rows:,} rows, 8 strategies, {points:,} points")
    print(f"    {wall:.1f} s wall, {used:.1f} s CPU, {peak:.0f} MB peak: "
          f"{verdict(wall <= SECONDS and peak <= MEGABYTES)} (60 s, 500 MB)")  # fmt: skip


def voting() -> None:
    recording = long_run()
    counts, payoff = tally(recording)
    begin = time.perf_counter()
    for _ in range(20):
        exact = vote_at_k(counts, payoff, recording.sizes, 8)
    each = (time.perf_counter() - begin) / 20
    begin = time.perf_counter()
    resampled = resampled_vote(recording, k=8, times=1000)
    loop = time.perf_counter() - begin
    gap = 100 * (exact.mean() - resampled)
    print(f"(b) vote@8 of 40 draws, 250 questions: exact {1000 * each:.1f} ms, "
          f"1000-fold loop {loop:.1f} s, {loop / each:,.0f} times: "
          f"{verdict(loop / each >= RATIO)} (100); difference {gap:+.3f} points")  # fmt: skip


def resampled_vote(recording: Recording, k: int, times: int) -> float:
    """The vote among k random draws, resampled in a plain loop."""
    rng = np.random.default_rng(0)
    assert recording.codes is not None
    assert recording.values is not None
    total = 0.0
    for codes, values in zip(recording.codes.tolist(), recording.values.tolist(), strict=True):
        for _ in range(times):
            chosen = rng.permutation(len(codes))[:k]
            votes = Counter(codes[i] for i in chosen if codes[i] >= 0).most_common()
            if votes:
                level = [answer for answer, count in votes if count == votes[0][1]]
                total += sum(values[answer] for answer in level) / len(level)
    return total / times / len(recording.codes)


def controls() -> None:
    recording = synthetic(1000, 16, 7)
    rng = np.random.default_rng(1)
    noise = replace(recording, columns={"score": rng.normal(size=recording.correct.shape)})
    for name, one in (("noise", noise), ("skilled", recording)):
        (panel,) = panels(one, "sample,majority,best_of_n", [16], num_resamples=1)
        sample, vote, best = (curve.values[:, 0] for curve in panel.curves)
        over_one, over_vote = best - sample, best - vote
        print(f"(c) {name} scores, best of 16 against one draw {shown(over_one)}, "
              f"against the vote {shown(over_vote)}"
              + (f": {verdict(no_gain(over_one) and no_gain(over_vote))} (no gain)"
                 if name == "noise" else ""))  # fmt: skip


def shown(gains: np.ndarray) -> str:
    """A mean over questions in points, with its standard error."""
    return f"{100 * gains.mean():+.2f} +- {100 * gains.std() / np.sqrt(len(gains)):.2f}"


def no_gain(gains: np.ndarray) -> bool:
    """Whether a mean gain is within four standard errors of none, or negative."""
    return bool(gains.mean() <= 4 * gains.std() / np.sqrt(len(gains)))


def verdict(holds: bool) -> str:
    return "holds" if holds else "FAILS"


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    speed()
    voting()
    controls()


if __name__ == "__main__":
    main()

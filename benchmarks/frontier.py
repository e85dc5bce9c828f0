"""Which embedded model, how many samples: the frontier of a finished study, in eFLOPs.

    dwell run --model tiny-0.2m --model tiny-0.8m --model tiny-3m --task countdown:100 \
        --strategy majority --budgets 1,2,4,8,16,32 --out STUDY
    PYTHONPATH=src python benchmarks/frontier.py STUDY

Coverage (pass@N) is read in three ways: the best configuration of each question (optimistic), the
same chosen on half of the samples and scored on the rest, and one configuration for all questions.
The first two keep every question within the budget, the last the mean over questions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dwell.cost import ModelShape, equivalent_flops, find_hardware
from dwell.cost.frontier import Configurations, coverage_configurations, frontier
from dwell.generators.tiny_models import MODELS
from dwell.metrics import Interval
from dwell.recordings import Recording
from dwell.study_recording import recordings_of

PROMPT = 20  # tokens of a countdown problem, about


def configurations(recording: Recording, numbers: list[int], intensity: float) -> Configurations:
    """One model's coverage and eFLOPs."""
    shape = ModelShape.from_file(MODELS[recording.model].path)

    def cost(lengths: np.ndarray, n: int) -> np.ndarray:
        return equivalent_flops(shape, PROMPT, lengths, n, intensity=intensity).total

    return coverage_configurations(
        recording.model, recording.correct, recording.tokens, cost, numbers=numbers
    )


def shown(interval: Interval, place: int) -> str:
    value, low, high = (100 * end[place] for end in (interval.value, interval.low, interval.high))
    return f"{value:5.1f} [{low:4.1f}, {high:4.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--hardware", default="h200")
    parser.add_argument("--budgets", type=int, default=8)
    options = parser.parse_args()
    intensity = find_hardware(options.hardware).intensity("bf16")
    runs = recordings_of(options.study).recordings
    # Half of the samples must hold the largest N, so that the choice can be cross-fitted.
    half = min(run.most_draws for run in runs) // 2
    numbers = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= half]
    models = [configurations(run, numbers, intensity) for run in runs]
    costs = np.concatenate([m.cost.mean(axis=0) for m in models])
    budgets = np.geomspace(costs.min() * 1.01, costs.max() * 1.01, options.budgets)
    found = frontier(models, budgets)
    print(f"{intensity:.0f} FLOP/byte; coverage in % [95 % interval]; N in {numbers}")
    print(f"{'eFLOPs':>9}  {'per query (optimistic)':>22}  {'cross-fitted':>18}  {'fixed':>18}")
    for i, budget in enumerate(budgets):
        lines = [line for line in (found.per_query, found.cross_fitted, found.fixed) if line]
        cells = "  ".join(shown(line.accuracy, i) for line in lines)
        print(f"{budget:9.3g}  {cells}  {found.fixed.models[i]} {found.fixed.labels[i]}")


if __name__ == "__main__":
    main()

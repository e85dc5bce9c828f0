"""Prints how well the verifiers order texts: `python training/evaluate_verifiers.py`.

Per task, at the middle newline and at the last: AUC pooled over problems, AUC within problems,
and best-of-k by disjoint groups, for the good head of each policy, for the weak verifier, and for
two rules that need no training (total and worst result-token surprisal).
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from dwell.generators.tiny_engine import Engine
from dwell.tasks import get_task
from dwell.value_head import ValueHead
from load_policy import read_safetensors
from verifier_data import Rollouts, load_model, roll_out
from verifier_metrics import summary

SIZES = (1, 2, 4, 8, 16, 32, 64)


def weak_values(rollouts: Rollouts) -> np.ndarray:
    """Returns the weak verifier's logits at every newline of the rollouts."""
    model = load_model("weak-verifier")
    head = ValueHead.from_tensors(read_safetensors(model.path / "value_head.safetensors"))
    engine = Engine(model)
    texts = list(zip(rollouts.tokens, map(int, rollouts.starts), strict=True))
    return np.concatenate([head.logits(score.hidden) for score in engine.score(texts)])


def main() -> None:
    """Reads the command line and prints one JSON line per verifier, task and place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="0.8m")
    parser.add_argument("--problems", type=int, default=100, help="problems a task")
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--split", default="validation", choices=["validation", "test"])
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--verifiers", default="head,weak,surprisal")
    args = parser.parse_args()
    model = load_model(f"tiny-{args.size}")
    problems = [
        problem
        for task in ("chain", "countdown")
        for problem in get_task(task).problems(args.problems, seed=args.seed, split=args.split)
    ]
    rollouts = roll_out(model, problems, draws=args.draws, seed=args.seed)
    named: dict[str, np.ndarray] = {}
    chosen = args.verifiers.split(",")
    if "head" in chosen:
        head = ValueHead.from_tensors(read_safetensors(model.path / "value_head.safetensors"))
        named["head"] = head.logits(rollouts.hidden, rollouts.scalars)
    if "weak" in chosen:
        named["weak"] = weak_values(rollouts)
    if "surprisal" in chosen:
        named["log_likelihood"] = -rollouts.scalars[:, 0]
        named["worst_result_token"] = -rollouts.scalars[:, 4]
    for name, values in named.items():
        for row in summary(rollouts, values, SIZES):
            print(json.dumps({"verifier": name, **row}), flush=True)


if __name__ == "__main__":
    main()

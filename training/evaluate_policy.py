"""Measures a policy: `python training/evaluate_policy.py --size 0.8m --problems 240 --draws 64`.

Prints, per task and level, pass@1, majority of all draws and pass@(all draws), at temperature
1, with one problem-clustered standard error. Also what forcing the marker `W` once or twice does.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch

from dwell.records import Problem
from dwell.tasks import Task, get_task
from load_policy import load_policy
from model import CONTEXT, Policy
from torch_sampling import sample
from vocabulary import EOS_ID, decode, encode

TRAINING = Path(__file__).resolve().parent
BATCH_ROWS = 512


def completions(
    policy: Policy, texts: list[str], *, draws: int, generator: torch.Generator
) -> list[list[str]]:
    """Returns `draws` continuations for each text."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        by_length[len(text)].extend([row] * draws)
    found: list[list[str]] = [[] for _ in texts]
    for length, rows in by_length.items():
        for first in range(0, len(rows), BATCH_ROWS):
            part = rows[first : first + BATCH_ROWS]
            prompts = torch.tensor([encode(texts[row]) for row in part])
            ids = sample(policy, prompts, max_length=CONTEXT, generator=generator).ids
            for row, drawn in zip(part, ids[:, length:].tolist(), strict=True):
                stop = drawn.index(EOS_ID) if EOS_ID in drawn else len(drawn)
                found[row].append(decode(drawn[:stop]))
    return found


def measure(task: Task, problems: list[Problem], found: list[list[str]]) -> dict[str, np.ndarray]:
    """Returns per-problem pass@1, majority and coverage, each `[P]`."""
    rows = []
    for problem, texts in zip(problems, found, strict=True):
        keys = [task.extract(problem, text) for text in texts]
        right = {key: task.check(problem, key) for key in set(keys) if key is not None}
        correct = [right.get(key, False) for key in keys]
        votes = Counter(key for key in keys if key is not None)
        majority = bool(votes) and right[votes.most_common(1)[0][0]]
        rows.append((np.mean(correct), majority, any(correct), np.mean([len(t) for t in texts])))
    columns = np.array(rows, dtype=float).T
    return dict(zip(("pass1", "majority", "coverage", "tokens"), columns, strict=True))


def report(policy: Policy, name: str, levels: list[int], args: argparse.Namespace) -> None:
    """Prints the table of one task."""
    task = get_task(name)
    problems = task.problems(args.problems, seed=args.seed, split=args.split, levels=levels)
    generator = torch.Generator().manual_seed(args.seed)
    prompts = [problem.prompt for problem in problems]
    found = completions(policy, prompts, draws=args.draws, generator=generator)
    result = measure(task, problems, found)
    level = np.array([problem.tags["level"] for problem in problems])
    redo = np.mean(["W" in text for texts in found for text in texts])
    spread = result["pass1"].std(ddof=1) / len(problems) ** 0.5
    means = " ".join(f"{key} {value.mean():.3f}" for key, value in result.items())
    print(f"{name} levels {levels}: {means} | pass1 s.e. {spread:.3f} | own W {redo:.3f}")
    for key in ("pass1", "majority", "coverage"):
        cells = " ".join(f"{k}:{result[key][level == k].mean():.3f}" for k in levels)
        print(f"  {key:9s} {cells}", flush=True)
    texts = [text for group in found for text in group[: args.forced]]
    owners = [problem for problem in problems for _ in range(args.forced)]
    for times in range(1, 3 if args.forced else 1):
        ahead = [p.prompt + text + "W\n" for p, text in zip(owners, texts, strict=True)]
        fits = [k for k, text in enumerate(ahead) if len(text) < CONTEXT - 8]
        owners, ahead = [owners[k] for k in fits], [ahead[k] for k in fits]
        more = completions(policy, ahead, draws=1, generator=generator)
        texts = [a[len(p.prompt) :] + m[0] for p, a, m in zip(owners, ahead, more, strict=True)]
        forced = measure(task, owners, [[text] for text in texts])
        print(f"  forced W x{times}: {forced['pass1'].mean():.3f} of {len(fits)}", flush=True)


def main() -> None:
    """Reads the command line and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="0.8m")
    parser.add_argument(
        "--folder", type=Path, help="model folder, else src/dwell/models/tiny-SIZE"
    )
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint.pt to measure instead")
    parser.add_argument("--problems", type=int, default=120)
    parser.add_argument("--draws", type=int, default=16)
    parser.add_argument("--forced", type=int, default=2, help="draws continued by a forced W")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--all-levels", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.folder or TRAINING.parent / "src" / "dwell" / "models" / f"tiny-{args.size}"
    policy = load_policy(folder, size=args.size, checkpoint=args.checkpoint)
    for name in ("countdown", "chain"):
        task = get_task(name)
        levels = task.levels if args.all_levels else task.default_levels
        report(policy, name, list(levels), args)


if __name__ == "__main__":
    main()

"""Trains the weak process verifier: `python training/train_weak_verifier.py`.

A copy of the half-trained 0.8m backbone with a linear head at every newline, fine-tuned briefly
on that backbone's own rollouts, whose mistakes are of other kinds than the finished policy's.
It is little better than chance within a problem, and picking the best of many texts by it does
harm. It ships so that this can be studied: do not use it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dwell.value_head import WEIGHT_UNITS
from export_policy import export_policy, write_safetensors
from load_policy import load_policy
from model import Policy
from train_policy import TRAINING
from verifier_data import Rollouts, load_model, problems_of, roll_out
from vocabulary import NEWLINE_ID, PAD_ID

MODELS = TRAINING.parent / "src" / "dwell" / "models"
BATCH_TOKENS = 4096
BACKBONE_RATE = 3e-4
HEAD_RATE = 3e-3
SEED = 21


def batches(rollouts: Rollouts, seed: int) -> list[np.ndarray]:
    """Returns shuffled batches of rollouts of like length."""
    lengths = np.array([len(tokens) for tokens in rollouts.tokens])
    found: list[list[int]] = [[]]
    for row in np.argsort(lengths, kind="stable"):
        if (len(found[-1]) + 1) * lengths[row] > BATCH_TOKENS:
            found.append([])
        found[-1].append(int(row))
    order = np.random.default_rng(seed).permutation(len(found))
    return [np.array(found[k]) for k in order]


def newline_logits(
    policy: Policy, head: torch.nn.Linear, rollouts: Rollouts, rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Returns logits and labels at all newlines behind the prompts of some rollouts."""
    longest = max(len(rollouts.tokens[row]) for row in rows)
    ids = np.full((len(rows), longest), PAD_ID, dtype=np.int64)
    written = np.zeros((len(rows), longest), dtype=bool)
    for k, row in enumerate(rows):
        tokens = rollouts.tokens[row]
        ids[k, : len(tokens)] = tokens
        written[k, rollouts.starts[row] : len(tokens)] = True
    spots = torch.from_numpy((ids == NEWLINE_ID) & written)
    logits = head(policy.hidden(torch.from_numpy(ids))[spots]).squeeze(1)
    labels = torch.from_numpy(rollouts.right[rows]).float()[:, None].expand(spots.shape)[spots]
    return logits, labels


def main() -> None:
    """Reads the command line, rolls out, fine-tunes and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default=str(TRAINING / "runs" / "0.8m" / "step-2600"))
    parser.add_argument("--problems", type=int, default=1200, help="training problems a task")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=MODELS / "weak-verifier")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    started = time.perf_counter()
    problems = [
        problem
        for task in ("chain", "countdown")
        for problem in problems_of(task, args.problems, seed=SEED, split="train")
    ]
    rollouts = roll_out(load_model(args.policy), problems, draws=4, seed=SEED)
    policy = load_policy(Path(args.policy))
    policy.fake_quantisation = True
    head = torch.nn.Linear(policy.shape.width, 1)
    trained = [p for name, p in policy.named_parameters() if name not in ("head", "embed")]
    optimizer = torch.optim.AdamW(
        [{"params": trained, "lr": BACKBONE_RATE}, {"params": head.parameters(), "lr": HEAD_RATE}],
        weight_decay=1e-2,
    )
    plan = [rows for epoch in range(args.epochs) for rows in batches(rollouts, epoch)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [BACKBONE_RATE, HEAD_RATE], total_steps=len(plan)
    )
    log: list[dict[str, object]] = []
    losses = []
    for step, rows in enumerate(plan, start=1):
        logits, labels = newline_logits(policy, head, rollouts, rows)
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 25 == 0 or step == len(plan):
            log.append({"step": step, "loss": round(float(np.mean(losses)), 4)})
            print(log[-1], flush=True)
            losses = []
    facts = {
        "kind": "weak process verifier",
        "policy": "tiny-0.8m at " + Path(args.policy).name,
        "rollouts": len(rollouts.tokens),
        "right": round(float(rollouts.right.mean()), 4),
        "steps": len(plan),
        "seed": SEED,
        "wall_seconds": round(time.perf_counter() - started),
    }
    export_policy(policy, args.out, facts)
    weight = (head.weight.detach().double() * WEIGHT_UNITS).round() / WEIGHT_UNITS
    bias = (head.bias.detach().double() * WEIGHT_UNITS).round() / WEIGHT_UNITS
    tensors = {
        "layer1.weight": weight.numpy().astype(np.float32),
        "layer1.bias": bias.numpy().astype(np.float32),
    }
    metadata = {"inputs": json.dumps(["hidden"]), "policy": "any"}
    write_safetensors(args.out / "value_head.safetensors", tensors, metadata)
    log_path = TRAINING / "logs" / "weak-verifier.jsonl"
    log_path.write_text("".join(json.dumps(row) + "\n" for row in [facts, *log]))
    print(facts)


if __name__ == "__main__":
    main()

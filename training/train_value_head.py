"""Trains the good process verifier of a policy: `python training/train_value_head.py --size 0.8m`.

A small network on the policy's hidden state and surprisals at every newline, from rollouts on
training problems, stopped early on validation problems.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dwell.value_head import INPUT_UNITS, SCALARS, WEIGHT_UNITS
from export_policy import write_safetensors
from verifier_data import Rollouts, load_model, problems_of, roll_out
from verifier_metrics import summary

TRAINING = Path(__file__).resolve().parent
WIDTHS = (128, 64)
LEARNING_RATE = 2e-3
BATCH = 1024
EPOCHS = 30
DRAWS = 4
SEED = 11
#: Training problems a task; rollouts of the large policy take four times as long.
PROBLEMS = {"0.2m": 1000, "0.8m": 2000, "3m": 500}


class Head(nn.Module):
    """The network, with standardisation in front that the export folds into layer 1."""

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", inputs.mean(0))
        self.register_buffer("scale", inputs.std(0).clamp_min(1e-3))
        sizes = (inputs.shape[1], *WIDTHS, 1)
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns logits `[S]`."""
        x = (inputs - self.mean) / self.scale
        for k, layer in enumerate(self.layers):
            x = layer(x)
            if k < len(self.layers) - 1:
                x = F.relu(x)
        return x.squeeze(1)

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns the weights for the runtime: standardisation folded in, rounded."""
        found = {}
        for k, layer in enumerate(self.layers):
            weight = layer.weight.detach().double()
            bias = layer.bias.detach().double()
            if k == 0:
                weight = weight / self.scale.double()
                bias = bias - weight @ self.mean.double()
            found[f"layer{k + 1}.weight"] = _on_grid(weight)
            found[f"layer{k + 1}.bias"] = _on_grid(bias)
        return found


def _on_grid(values: Tensor) -> np.ndarray:
    return ((values * WEIGHT_UNITS).round() / WEIGHT_UNITS).numpy().astype(np.float32)


def features(rollouts: Rollouts) -> Tensor:
    """Returns `[S, d + 8]` inputs, rounded as the runtime rounds them."""
    both = np.concatenate([rollouts.hidden, rollouts.scalars], axis=1).astype(np.float64)
    return torch.from_numpy((np.rint(both * INPUT_UNITS) / INPUT_UNITS).astype(np.float32))


def train_head(train: Rollouts, validation: Rollouts) -> tuple[Head, list[dict[str, float]]]:
    """Returns the head of the best epoch on validation problems, and the log."""
    torch.manual_seed(SEED)
    inputs, labels = features(train), torch.from_numpy(train.right[train.owner]).float()
    held_inputs = features(validation)
    held_labels = torch.from_numpy(validation.right[validation.owner]).float()
    head = Head(inputs)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    steps = EPOCHS * (len(inputs) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    best, best_state, log = float("inf"), head.state_dict(), []
    for epoch in range(EPOCHS):
        losses = []
        for part in torch.randperm(len(inputs)).split(BATCH):
            loss = F.binary_cross_entropy_with_logits(head(inputs[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        with torch.no_grad():
            held = float(F.binary_cross_entropy_with_logits(head(held_inputs), held_labels))
        log.append({"epoch": epoch, "loss": float(np.mean(losses)), "validation_loss": held})
        if held < best:
            best = held
            best_state = {key: value.clone() for key, value in head.state_dict().items()}
    head.load_state_dict(best_state)
    return head, log


def main() -> None:
    """Reads the command line, rolls out, trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", required=True, choices=sorted(PROBLEMS))
    parser.add_argument("--problems", type=int, help="training problems a task, else PROBLEMS")
    args = parser.parse_args()
    num_problems = args.problems or PROBLEMS[args.size]
    torch.set_num_threads(1)
    name = f"tiny-{args.size}"
    model = load_model(name)
    started = time.perf_counter()
    problems = [
        problem
        for task in ("chain", "countdown")
        for problem in problems_of(task, num_problems, seed=SEED, split="train")
    ]
    held = [
        problem
        for task in ("chain", "countdown")
        for problem in problems_of(task, num_problems // 8, seed=SEED, split="validation")
    ]
    train = roll_out(model, problems, draws=DRAWS, seed=SEED, forced_share=0.15)
    validation = roll_out(model, held, draws=8, seed=SEED + 1, forced_share=0.15)
    rolled = time.perf_counter() - started
    head, log = train_head(train, validation)
    seconds = time.perf_counter() - started
    facts = {
        "policy": name,
        "inputs": json.dumps(["hidden", *SCALARS]),
        "rollouts": str(len(train.tokens)),
        "newlines": str(len(train.owner)),
        "seed": str(SEED),
        "rollout_seconds": f"{rolled:.0f}",
        "wall_seconds": f"{seconds:.0f}",
    }
    write_safetensors(model.path / "value_head.safetensors", head.tensors(), facts)
    with torch.no_grad():
        values = head(features(validation)).numpy()
    for row in summary(validation, values):
        print(row)
        log.append(row)
    log_path = TRAINING / "logs" / f"value-head-{args.size}.jsonl"
    log_path.write_text("".join(json.dumps(row) + "\n" for row in [facts, *log]))
    print(facts)


if __name__ == "__main__":
    main()

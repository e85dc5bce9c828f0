"""Trains one policy from scratch and exports it: `python training/train_policy.py --size 0.8m`.

Steps, seed and schedule are fixed, so a run is repeatable; an interrupted run goes on from
its last checkpoint to the same result. One thread a process.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from export_policy import export_policy
from growth import grow
from load_policy import load_policy
from model import SHAPES, Policy
from muon import Muon
from traces import Trace, TraceStream
from vocabulary import PAD_ID

TRAINING = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that decides a training run.

    Attributes:
        steps: Optimizer steps.
        seed: Seeds weights and data.
        rate_knots: (step, share of the peak learning rate) pairs, linear in between.
        countdown_shares: (first data pool, share of traces that are countdown) pairs.
        slip_scales: (first data pool, factor on the designed slip rate) pairs.
        quantised_from: First step with fake quantisation of the weights.
        kept_steps: Steps whose policies are kept, to grow from and for the weak verifier.
        grown_from: (size, step): start from that kept policy, its width doubled.
    """

    steps: int
    seed: int
    rate_knots: tuple[tuple[int, float], ...]
    countdown_shares: tuple[tuple[int, float], ...]
    slip_scales: tuple[tuple[int, float], ...]
    quantised_from: int
    kept_steps: tuple[int, ...] = ()
    grown_from: tuple[str, int] | None = None
    batch_tokens: int = 4096
    pool_traces: int = 8192
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    weight_decay: float = 0.05


RECIPES = {
    "0.2m": Recipe(
        steps=2000,
        seed=1,
        rate_knots=((0, 0.0), (60, 1.0), (700, 1.0), (2000, 0.0)),
        countdown_shares=((0, 0.60),),
        slip_scales=((0, 1.0),),
        quantised_from=1700,
    ),
    "0.8m": Recipe(
        steps=4700,
        seed=2,
        rate_knots=(
            (0, 0.0),
            (60, 1.0),
            (1050, 1.0),
            (1750, 0.641),
            (4000, 0.0),
            (4030, 0.4),
            (4700, 0.0),
        ),
        countdown_shares=((0, 0.76), (13, 0.50), (18, 0.40), (28, 0.25)),
        slip_scales=((0, 1.0), (18, 0.75), (28, 1.0)),
        quantised_from=3400,
        kept_steps=(2600, 4000),
    ),
    "3m": Recipe(
        steps=500,
        seed=3,
        rate_knots=((0, 0.0), (30, 0.5), (100, 0.5), (500, 0.0)),
        countdown_shares=((0, 0.70),),
        slip_scales=((0, 0.75),),
        quantised_from=400,
        grown_from=("0.8m", 4000),
    ),
}


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Returns the share of the peak learning rate at a step, in `[0, 1]`."""
    steps, shares = zip(*recipe.rate_knots, strict=True)
    return float(np.interp(step + 1 if step < steps[1] else step, steps, shares))


class Batches:
    """Length-bucketed batches; the whole state is (pool index, position in the pool)."""

    def __init__(self, recipe: Recipe, pool: int = 0, position: int = 0) -> None:
        self._recipe = recipe
        self.pool = pool
        self.position = position
        self._batches = self._make_pool(pool)

    def _make_pool(self, pool: int) -> list[list[Trace]]:
        rng = np.random.default_rng([self._recipe.seed, pool])
        stream = TraceStream(
            rng,
            countdown_share=_at_pool(self._recipe.countdown_shares, pool),
            slip_scale=_at_pool(self._recipe.slip_scales, pool),
        )
        traces = sorted(stream.draw(self._recipe.pool_traces), key=lambda trace: len(trace.ids))
        batches: list[list[Trace]] = [[]]
        for trace in traces:
            if (len(batches[-1]) + 1) * _padded(len(trace.ids)) > self._recipe.batch_tokens:
                batches.append([])
            batches[-1].append(trace)
        return [batches[k] for k in rng.permutation(len(batches))]

    def next(self) -> list[Trace]:
        """Returns the next batch."""
        if self.position == len(self._batches):
            self.pool, self.position = self.pool + 1, 0
            self._batches = self._make_pool(self.pool)
        self.position += 1
        return self._batches[self.position - 1]


def _at_pool(pairs: tuple[tuple[int, float], ...], pool: int) -> float:
    return [value for first, value in pairs if pool >= first][-1]


def _padded(length: int) -> int:
    return -(-length // 8) * 8


def collate(traces: list[Trace]) -> tuple[Tensor, Tensor]:
    """Returns ids `[B, T]`, padded on the right, and which tokens are learned `[B, T]`."""
    length = _padded(max(len(trace.ids) for trace in traces))
    ids = np.full((len(traces), length), PAD_ID, dtype=np.int64)
    learn = np.zeros((len(traces), length), dtype=bool)
    for row, trace in enumerate(traces):
        ids[row, : len(trace.ids)] = trace.ids
        learn[row, : len(trace.ids)] = trace.learn
    return torch.from_numpy(ids), torch.from_numpy(learn)


def batch_losses(policy: Policy, ids: Tensor, learn: Tensor) -> Tensor:
    """Returns the cross-entropy, in nats, of every learned token."""
    wanted = learn[:, 1:].reshape(-1).nonzero().squeeze(1)
    hidden = policy.hidden(ids[:, :-1])
    logits = policy.logits(hidden.reshape(-1, hidden.shape[-1])[wanted])
    return F.cross_entropy(logits, ids[:, 1:].reshape(-1)[wanted], reduction="none")


def make_optimizers(policy: Policy, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Returns Muon for the block matrices and AdamW for embedding and head."""
    muon = Muon(
        [
            {"params": [policy.qkv], "split": 3},
            {"params": [policy.gate_up], "split": 2},
            {"params": [policy.out, policy.down], "split": 1},
        ],
        lr=recipe.muon_lr,
        weight_decay=recipe.weight_decay,
    )
    adam = torch.optim.AdamW(
        [policy.embed, policy.head], lr=recipe.adam_lr, betas=(0.9, 0.95), weight_decay=0.0
    )
    return [muon, adam]


def _first_policy(size: str, recipe: Recipe) -> Policy:
    """Returns fresh random weights, or a smaller policy grown to this size."""
    if recipe.grown_from is None:
        return Policy(SHAPES[size])
    source, step = recipe.grown_from
    folder = TRAINING / "runs" / source / f"step-{step}"
    if not folder.exists():
        raise SystemExit(f"{size} grows from {folder}. Train {source} first.")
    return grow(load_policy(folder), torch.Generator().manual_seed(recipe.seed))


class Run:
    """A training run: network, optimizers, data position and log, saved together."""

    def __init__(self, size: str, recipe: Recipe, folder: Path, log_path: Path) -> None:
        self.size, self.recipe, self.folder, self.log_path = size, recipe, folder, log_path
        torch.manual_seed(recipe.seed)
        self.policy = _first_policy(size, recipe)
        self.optimizers = make_optimizers(self.policy, recipe)
        self.batches = Batches(recipe)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.log: list[dict[str, float]] = []
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            self._load()

    def _load(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", weights_only=False)
        if state["recipe"] != asdict(self.recipe):
            raise SystemExit(f"{self.folder} holds a run of another recipe. Remove it first.")
        self.policy.load_state_dict(state["policy"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.batches = Batches(self.recipe, state["pool"], state["position"])
        self.step, self.tokens = state["step"], state["tokens"]
        self.seconds, self.log = state["seconds"], state["log"]

    def save(self) -> None:
        """Writes the checkpoint in one move."""
        state = {
            "recipe": asdict(self.recipe),
            "policy": self.policy.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "pool": self.batches.pool,
            "position": self.batches.position,
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "log": self.log,
        }
        torch.save(state, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")
        self.log_path.write_text("".join(json.dumps(row) + "\n" for row in self.log))

    def advance(self) -> tuple[float, int]:
        """Makes one step; returns its mean loss and its padded tokens."""
        factor = learning_rate_factor(self.recipe, self.step)
        for optimizer, peak in zip(
            self.optimizers, (self.recipe.muon_lr, self.recipe.adam_lr), strict=True
        ):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        self.policy.fake_quantisation = self.step >= self.recipe.quantised_from
        traces = self.batches.next()
        ids, learn = collate(traces)
        loss = batch_losses(self.policy, ids, learn).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        self.step += 1
        if self.step in self.recipe.kept_steps:
            export_policy(self.policy, self.folder / f"step-{self.step}", {"steps": self.step})
        self.tokens += sum(len(trace.ids) for trace in traces)
        return float(loss.detach()), ids.numel()

    def train(self, save_every_seconds: float = 180.0, log_every: int = 50) -> None:
        """Runs to the last step, logging and saving on the way."""
        losses, padded, mark = [], 0, time.perf_counter()
        saved = mark
        while self.step < self.recipe.steps:
            loss, tokens = self.advance()
            losses.append(loss)
            padded += tokens
            if self.step % log_every and self.step < self.recipe.steps:
                continue
            now = time.perf_counter()
            rate = padded / (now - mark)
            self.seconds += now - mark
            row = {
                "step": self.step,
                "loss": round(float(np.mean(losses)), 4),
                "tokens": self.tokens,
                "seconds": round(self.seconds, 1),
                "padded_tokens_per_second": round(rate),
            }
            self.log.append(row)
            print(json.dumps(row), flush=True)
            losses, padded, mark = [], 0, time.perf_counter()
            if now - saved > save_every_seconds or self.step == self.recipe.steps:
                self.save()
                saved = now


def main() -> None:
    """Reads the command line, trains and exports."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", required=True, choices=sorted(SHAPES))
    parser.add_argument("--steps", type=int, help="another number of steps, for a trial")
    parser.add_argument("--out", type=Path, help="export folder, else src/dwell/models/tiny-SIZE")
    parser.add_argument("--run-name", help="name of the run's folder, else the size")
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[args.size]
    if args.steps:
        recipe = replace(recipe, steps=args.steps)
    name = args.run_name or args.size
    folder = TRAINING / "runs" / name
    log_path = TRAINING / "logs" / f"policy-{name}.jsonl"
    log_path.parent.mkdir(exist_ok=True)
    run = Run(args.size, recipe, folder, log_path)
    run.train()
    out = args.out or TRAINING.parent / "src" / "dwell" / "models" / f"tiny-{args.size}"
    facts = {
        "recipe": asdict(recipe),
        "data": "training/traces.py, train split",
        "steps": run.step,
        "tokens": run.tokens,
        "wall_seconds": round(run.seconds),
        "final_loss": run.log[-1]["loss"],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    export_policy(run.policy, out, facts)
    print(f"exported {out}")


if __name__ == "__main__":
    main()

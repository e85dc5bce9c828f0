"""Decoding speed of the embedded model against `transformers.generate` on the same weights.

    PYTHONPATH=src python benchmarks/engine.py src/dwell/models/tiny-0.8m --threads 1

Needs torch and transformers. Two workloads: a batch of 64 unequal prompts of 20 tokens with
exactly 64 new tokens each, and all 64 draws of one problem to their ends. Both sides alternate and
the best of several rounds counts, so that a busy machine disturbs both alike. With `--clock cpu`
the time is CPU time of this process, which a busy machine disturbs less (one thread only).
With `--threads 2` the engine is two workers of one thread, started before the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from transformers import LlamaForCausalLM

from dwell.generators.tiny_engine import Engine, Job
from dwell.generators.tiny_pool import EnginePool
from dwell.generators.tiny_weights import TinyModel

BATCH, PROMPT, NEW = 64, 20, 64
PROBLEMS = ("C47+38*3-29*4+61\n", "G3 7 25 4>68\n", "C12*7-45+88-13*5\n", "G11 6 9 2>51\n")
LONGEST = 160
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(clock: Callable[[], float], work: Callable[[], int]) -> tuple[float, int]:
    start = clock()
    tokens = work()
    return clock() - start, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    options = parser.parse_args()
    clock, rng = CLOCKS[options.clock], np.random.default_rng(0)
    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    theirs = LlamaForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    model = TinyModel.load(options.model)
    letters = np.flatnonzero(model.sampleable & (np.arange(model.config.vocab_size) != model.eos))
    pool = EnginePool(options.model, jobs=options.threads, slots=BATCH)
    endless = TinyModel.load(options.model)
    endless.sampleable[endless.eos] = False

    def random_prompts() -> np.ndarray:
        return rng.choice(letters, size=(BATCH, PROMPT))

    def ours_batch() -> int:
        jobs = [
            Job(prompt=tuple(row), key=key, max_tokens=NEW, step_cap=NEW)
            for key, row in enumerate(random_prompts().tolist())
        ]
        return sum(len(result.tokens) for result in batch_engine.generate(jobs))

    def theirs_batch() -> int:
        prompts = torch.from_numpy(random_prompts())
        output = theirs.generate(
            prompts, attention_mask=torch.ones_like(prompts), do_sample=True, top_k=0,
            min_new_tokens=NEW, max_new_tokens=NEW, pad_token_id=0,
        )  # fmt: skip
        return int((output.shape[1] - PROMPT) * BATCH)

    def ours_problem(index: int) -> int:
        prompt = tuple(model.encode(PROBLEMS[index % len(PROBLEMS)]))
        keys = rng.integers(2**63, size=BATCH).tolist()
        jobs = [Job(prompt=prompt, key=key, max_tokens=LONGEST) for key in keys]
        return sum(len(result.tokens) for result in pool.generate(jobs))

    def theirs_problem(index: int) -> int:
        prompt = torch.tensor([model.encode(PROBLEMS[index % len(PROBLEMS)])])
        output = theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, top_k=0,
            max_new_tokens=LONGEST, num_return_sequences=BATCH, pad_token_id=0,
        )  # fmt: skip
        written = output[:, prompt.shape[1] :]
        ended = (written == model.eos).cumsum(dim=1)
        return int((ended - (written == model.eos).long() == 0).sum())

    with threadpool_limits(options.threads, user_api="blas"):
        batch_engine = Engine(endless, slots=BATCH)
        pool.generate([Job(prompt=(2,), key=k, max_tokens=1) for k in range(BATCH)])  # start it
        ours, others = [], []
        for _ in range(options.rounds):
            ours.append(seconds(clock, ours_batch))
            others.append(seconds(clock, theirs_batch))
        report("64 prompts of 20 tokens, 64 new tokens each", ours, others, BATCH * NEW)
        ours, others = [], []
        for index in range(max(options.rounds, len(PROBLEMS))):
            ours.append(seconds(clock, lambda k=index: ours_problem(k)))
            others.append(seconds(clock, lambda k=index: theirs_problem(k)))
    total = sum(count for _, count in ours) / len(ours)
    report("64 draws of one problem, to their ends", ours, others, total, mean=True)
    pool.close()
    print(f"threads: {options.threads}; clock: {options.clock}; model: {options.model.name}")


def report(title: str, ours: list, others: list, tokens: float, mean: bool = False) -> None:
    """Prints rates; with `mean`, rounds differ in their work, so that total rates count."""
    if mean:
        rate, other = (sum(n for _, n in x) / sum(t for t, _ in x) for x in (ours, others))
    else:
        rate, other = (tokens / min(t for t, _ in x) for x in (ours, others))
    print(
        f"{title}\n  dwell         {rate:10.0f} tokens/s\n  transformers  {other:10.0f} tokens/s"
    )
    print(f"  ratio         {rate / other:10.2f}")


if __name__ == "__main__":
    main()

"""Draws of one prompt: `TransformersGenerator` against `transformers.generate`, same weights.

    python benchmarks/transformers_generator.py

Needs torch and transformers. A small random Llama is written to a temporary folder, with a
character tokenizer. Both sides write 16 texts of 64 tokens after one prompt, and then 8 tokens
after each of 16 texts that begin with that prompt, as a search does, in this process, in turns.
The best of several rounds counts for each. The time is CPU time of this process, which a busy
machine disturbs less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from dwell.generators.tiny_models import MODELS
from dwell.generators.transformers_generator import TransformersGenerator
from dwell.protocols import GenerateWork
from dwell.records import Context, Problem
from dwell.requests import Generate

DRAWS, NEW, STEP = 16, 64, 8
PROMPTS = (64, 512)
DIGITS = "31415926535897932384626433832795"


def write_model(folder: Path, width: int, layers: int) -> int:
    """A random model with the embedded models' tokenizer; returns its number of parameters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=width, intermediate_size=int(width * 2.75),
        num_hidden_layers=layers, num_attention_heads=width // 64, max_position_embeddings=2048,
        pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.generation_config.suppress_tokens = [1]  # both sides write exactly NEW tokens
    model.save_pretrained(folder)
    shutil.copy(MODELS["tiny-0.2m"].path / "tokenizer.json", folder / "tokenizer.json")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>",
                "eos_token": "<eos>", "model_max_length": 2048}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return sum(parameter.numel() for parameter in model.parameters())


def fastest(rounds: int, works: list[Callable[[int], None]]) -> list[float]:
    """The best time of each, in turns; they are given the round's number."""
    times: list[list[float]] = [[] for _ in works]
    for number in range(rounds):
        for work, seconds in zip(works, times, strict=True):
            start = time.process_time()
            work(number)
            seconds.append(time.process_time() - start)
    return [min(seconds) for seconds in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        count = write_model(Path(name), options.width, options.layers)
        measure(Path(name), count, options)


def measure(folder: Path, count: int, options: argparse.Namespace) -> None:
    ours = TransformersGenerator(folder, device="cpu")
    print(f"{count / 1e6:.0f} M parameters, 1 thread; CPU seconds")
    print("prompt  work                        transformers   dwell  ratio")
    for length in PROMPTS:
        works = [
            lambda number, length=length: theirs_draw(ours, prompt(number, length)),
            lambda number, length=length: draw(ours, prompt(number, length)),
            lambda number, length=length: theirs_branch(ours, prompt(number, length)),
            lambda number, length=length: branch(ours, prompt(number, length)),
        ]
        seconds = fastest(options.rounds, works)
        for title, (them, us) in zip(
            (f"{DRAWS} draws of {NEW} tokens", f"{DRAWS} branches, {STEP} tokens"),
            (seconds[:2], seconds[2:]),
            strict=True,
        ):
            print(f"{length:6d}  {title:27s} {them:12.2f} {us:7.2f} {them / us:6.2f}")


def prompt(number: int, length: int) -> str:
    """Another prompt each round, so that nothing of it is kept."""
    return (f"C{number + 10 * length}+" + DIGITS * 64)[:length]


def branches() -> list[str]:
    """Texts that begin alike, as a search has them after a step."""
    return [f"{k:02d}+38=85\n" for k in range(DRAWS)]


def theirs_draw(generator: TransformersGenerator, text: str) -> None:
    theirs, tokenizer = generator.checkpoint.model, generator.checkpoint.tokenizer
    ids = tokenizer(text, return_tensors="pt")
    written = theirs.generate(
        **ids, do_sample=True, max_new_tokens=NEW, num_return_sequences=DRAWS
    )
    assert written.shape == (DRAWS, ids["input_ids"].shape[1] + NEW)


def theirs_branch(generator: TransformersGenerator, text: str) -> None:
    theirs, tokenizer = generator.checkpoint.model, generator.checkpoint.tokenizer
    ids = tokenizer([text + branch for branch in branches()], return_tensors="pt")
    written = theirs.generate(**ids, do_sample=True, max_new_tokens=STEP)
    assert written.shape == (DRAWS, ids["input_ids"].shape[1] + STEP)


def draw(generator: TransformersGenerator, text: str) -> None:
    """Draws of one prompt."""
    ask(generator, [Context((("user", text),))], DRAWS, NEW)


def branch(generator: TransformersGenerator, text: str) -> None:
    """One draw of each text; their prompt was read before."""
    ask(generator, [Context((("user", text),), each) for each in branches()], 1, STEP)


def ask(generator: TransformersGenerator, contexts: list[Context], count: int, cap: int) -> None:
    """Draws to their caps."""
    work = [
        GenerateWork(
            request=Generate(context, n=count, max_tokens=cap),
            seeds=list(range(count)),
            indices=list(range(count)),
            problem=Problem(id="p", prompt=""),
        )
        for context in contexts
    ]
    for outcome in asyncio.run(generator.generate(work)):
        assert [draw.output_tokens for draw in outcome.draws] == [cap] * count


if __name__ == "__main__":
    main()

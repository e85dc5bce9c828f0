"""What an export of very many draws takes: a ledger is filled, then exported.

    python benchmarks/export.py                  # a million draws of 300 characters
    python benchmarks/export.py --draws 10000

Prints seconds of CPU and the peak memory of the export alone, which runs in a process of its own.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dwell.exports import Options, export, open_source
from dwell.ledger import Ledger
from dwell.records import Draw
from dwell.study import Study
from dwell.study_file import parse_study

QUESTIONS = 1000
STUDY = f"""
budgets = [1]
[[models]]
name = "coin:0.4"
[[tasks]]
name = "chain"
problems = {QUESTIONS}
[[strategies]]
name = "majority"
"""


def fill(folder: Path, draws: int) -> None:
    """A study's folder with as many draws a question, 40 % of them right."""
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(STUDY)
    problems = Study(parse_study(STUDY), folder).problems
    rng = np.random.default_rng(0)
    with Ledger(folder / "ledger.db") as ledger:
        source = ledger.put_source("coin", {"model": "coin:0.4"})
        for problem in problems:
            context = [[["user", problem.prompt]], ""]
            params = ["end", None, [], False, None]
            key = ledger.put_key(os.urandom(16), source, "generate", params, "s", context)
            right, words = int(str(problem.reference)), rng.integers(10**8, 10**9, (draws, 30))
            for i, (hit, line) in enumerate(
                zip(rng.random(draws) < 0.4, words.tolist(), strict=True)
            ):
                answer = right if hit else (right + 1 + i % 8) % 100
                text = "\n".join(map(str, line)) + f"\nA{answer}\n"
                ledger.put_draw(key, i, Draw(text=text, output_tokens=300))
            ledger.commit()


def measure(folder: Path, kind: str) -> None:
    """Export, and say what it took."""
    begin = time.process_time()
    source = open_source(folder)
    made = export(source, kind, folder / f"{kind}.jsonl", Options(), force=True)  # type: ignore[arg-type]
    read = made.card["counts"]["samples"]["read"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    seconds = time.process_time() - begin
    print(f"{kind}: {read:,} draws, {seconds:.0f} s of CPU, peak memory {peak:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1_000_000)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(Path(asked.measure[0]), asked.measure[1])
    else:
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name) / "runs", asked.draws // QUESTIONS)
            for kind in ("sft", "kto"):
                own = [sys.executable, __file__, "--measure", f"{name}/runs", kind]
                subprocess.run(own, check=True)

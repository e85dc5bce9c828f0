"""A small log of samples, simulated: what `dwell replay` and `dwell plan` read.

200 questions of five levels, 32 samples each. A question's rate of right answers falls with its
level; its wrong answers gather on a favourite, so that the vote is wrong for some questions
however many samples there are. A verifier's score tells right from wrong, with noise. Five in a
hundred samples end without an answer. The same file every time.

python examples/05_make_a_recording.py          # writes samples.csv
"""

import csv
import sys
from pathlib import Path

import numpy as np

QUESTIONS, SAMPLES, LEVELS = 200, 32, 5


def rows():
    """One dictionary a sample."""
    rng = np.random.default_rng(5)
    for number in range(QUESTIONS):
        level = 1 + number % LEVELS
        rate = rng.beta(7 - level, 1 + level)  # 6 of 8 right on the easiest level, 2 of 8 last
        favourite = rng.beta(2, 3)  # share of wrong answers that are the same one
        right = int(rng.integers(100, 1000))
        for sample in range(SAMPLES):
            correct = rng.random() < rate
            wrong = right + (1 if rng.random() < favourite else int(rng.integers(2, 30)))
            answer = str(right if correct else wrong)
            if rng.random() < 0.05:
                correct, answer = False, "<none>"
            yield {
                "question_id": f"q{number:03d}",
                "level": level,
                "sample_index": sample,
                "answer": answer,
                "correct": int(correct),
                "tokens": int(rng.lognormal(5 + 0.2 * level, 0.4)),
                "score": round(float(rng.normal(1.2 * correct, 1.0)), 3),
            }


def write(path: Path) -> int:
    """Write the table; returns its number of rows."""
    table = list(rows())
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return len(table)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "samples.csv")
    print(f"{write(target)} samples of {QUESTIONS} questions in {target}")

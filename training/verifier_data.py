"""Rollouts of a policy with the features and labels that process verifiers learn from.

Every newline of every rollout is one example: the policy's hidden state there, the scalar
features of the text so far, and whether the whole text ended right. Rollouts come from the
package's own engine, so training sees exactly the numbers that the runtime will see.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dwell.generators.tiny_engine import Engine, Job
from dwell.generators.tiny_weights import TinyModel
from dwell.records import Problem
from dwell.tasks import Split, get_task
from dwell.value_head import Values, scalar_features

MARKER = "W\n"
MAX_NEW_TOKENS = 150
ROLLOUT_LEVELS = {"chain": (2, 3, 4, 5, 6, 7, 8, 9, 10), "countdown": (2, 3, 3, 4, 4, 4, 5)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts:
    """Rollouts of several draws per problem, and their newlines, in order.

    Attributes:
        task: `[R]` task names.
        problem: `[R]` index of the problem, so that pairs within a problem can be formed.
        right: `[R]` whether the rollout's answer is right.
        tokens: `R` token tuples, prompt first, without the end token.
        starts: `[R]` index of the first token after the prompt.
        owner: `[S]` rollout of each newline.
        hidden: `[S, d]` hidden states at newlines.
        scalars: `[S, 8]` scalar features at newlines.
    """

    task: np.ndarray
    problem: np.ndarray
    right: np.ndarray
    tokens: list[tuple[int, ...]]
    starts: np.ndarray
    owner: np.ndarray
    hidden: Values
    scalars: Values

    @property
    def is_last(self) -> np.ndarray:
        """`[S]` whether a newline is its rollout's last."""
        return np.append(self.owner[1:] != self.owner[:-1], True)

    @property
    def is_middle(self) -> np.ndarray:
        """`[S]` whether a newline is the middle one of its rollout's."""
        first = np.flatnonzero(np.append(True, self.owner[1:] != self.owner[:-1]))
        lengths = np.diff(np.append(first, len(self.owner)))
        middle = np.zeros(len(self.owner), dtype=bool)
        middle[first[lengths > 1] + (lengths[lengths > 1] - 2) // 2] = True
        return middle


def problems_of(task: str, count: int, *, seed: int, split: Split) -> list[Problem]:
    """Returns problems of all rollout levels, each level by its weight."""
    levels = ROLLOUT_LEVELS[task]
    wanted = sorted(set(levels))
    found = []
    for level in wanted:
        share = count * levels.count(level) // len(levels)
        if level == 2 and task == "countdown":
            share = min(share, 20 if split != "train" else 300)
        found += get_task(task).problems(share, seed=seed, split=split, levels=[level])
    return found


def roll_out(
    model: TinyModel,
    problems: list[Problem],
    *,
    draws: int,
    seed: int,
    forced_share: float = 0.0,
) -> Rollouts:
    """Draws `draws` texts per problem; a share of them is made to go on behind a marker."""
    engine = Engine(model, slots=128)
    prompts = [tuple(model.encode(problem.prompt)) for problem in problems]
    rng = np.random.default_rng([seed, 7])
    owners = np.repeat(np.arange(len(problems)), draws)
    keys = rng.integers(0, 2**63, size=len(owners))
    jobs = [
        Job(prompt=prompts[k], key=int(key), max_tokens=MAX_NEW_TOKENS)
        for k, key in zip(owners, keys, strict=True)
    ]
    texts = [model.decode(result.tokens) for result in engine.generate(jobs)]
    texts = _continued(engine, problems, owners, texts, rng, forced_share)
    whole = [prompts[k] + tuple(model.encode(text)) for k, text in zip(owners, texts, strict=True)]
    starts = np.array([len(prompts[k]) for k in owners])
    usable = np.array([text.endswith("\n") for text in texts])
    kept = np.flatnonzero(usable)
    scores = engine.score([(whole[k], int(starts[k])) for k in kept])
    hidden, scalars, owner = [], [], []
    right = np.zeros(len(kept), dtype=bool)
    for row, (k, score) in enumerate(zip(kept, scores, strict=True)):
        problem = problems[owners[k]]
        task = get_task(problem.task)
        answer = task.extract(problem, texts[k])
        right[row] = answer is not None and task.check(problem, answer)
        is_chain = problem.task == "chain"
        scalars.append(scalar_features(texts[k], score.surprisals, is_chain=is_chain))
        hidden.append(score.hidden)
        owner.append(np.full(len(score.hidden), row))
    return Rollouts(
        task=np.array([problems[owners[k]].task for k in kept]),
        problem=owners[kept],
        right=right,
        tokens=[whole[k] for k in kept],
        starts=starts[kept],
        owner=np.concatenate(owner),
        hidden=np.concatenate(hidden),
        scalars=np.concatenate(scalars),
    )


def _continued(
    engine: Engine,
    problems: list[Problem],
    owners: np.ndarray,
    texts: list[str],
    rng: np.random.Generator,
    share: float,
) -> list[str]:
    """Puts the marker behind a share of the texts and lets the policy go on."""
    model = engine.model
    chosen = [
        k
        for k, pick in enumerate(rng.random(len(texts)))
        if pick < share
        and texts[k].endswith("\n")
        and len(problems[owners[k]].prompt) + len(texts[k]) < model.config.max_positions - 80
    ]
    jobs = []
    for k in chosen:
        prompt = tuple(model.encode(problems[owners[k]].prompt + texts[k] + MARKER))
        jobs.append(Job(prompt=prompt, key=int(rng.integers(2**63)), max_tokens=MAX_NEW_TOKENS))
    texts = list(texts)
    for k, result in zip(chosen, engine.generate(jobs), strict=True):
        texts[k] += MARKER + model.decode(result.tokens)
    return texts


def load_model(name: str) -> TinyModel:
    """Returns an embedded model of the package, or one in a folder of a training run."""
    folder = Path(name)
    if not folder.exists():
        folder = Path(__file__).resolve().parent.parent / "src" / "dwell" / "models" / name
    return TinyModel.load(folder)

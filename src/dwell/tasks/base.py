"""What a task is: generated problems, an answer key for votes and an exact check.

A task knows nothing of models, strategies or ledgers. Its problems are generated from
(seed, split, level, index), so no data file is needed, and the splits are kept apart by a
hash of the problem itself: a problem that can appear in training never appears in a test.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from dwell.errors import UsageError
from dwell.records import Problem

Split = Literal["train", "validation", "test"]

#: Shares of the space of problems held out for test and validation; the rest is training.
TEST_SHARE = 0.10
VALIDATION_SHARE = 0.05

#: Draws without a new problem after which a level counts as used up.
MAX_FRUITLESS_DRAWS = 20_000

_MARKERS = MappingProxyType({"wait": "W\n", "revise": "W\n"})


def split_of(canonical: str) -> Split:
    """Returns the split that a canonical problem text belongs to.

    The text is hashed with blake2b to a number in `[0, 1)`, so the answer depends on the
    problem alone, never on a seed or on the order of generation.

    Examples:
        >>> split_of("chain 47+38*3-29")
        'train'
    """
    digest = hashlib.blake2b(canonical.encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < TEST_SHARE:
        return "test"
    return "validation" if position < TEST_SHARE + VALIDATION_SHARE else "train"


class Task(ABC):
    """A family of problems with a difficulty knob and an exact check.

    Attributes:
        name: The name under which studies ask for the task.
        levels: All difficulties that can be generated, easiest first.
        default_levels: The difficulties used where none are named.
    """

    name: str
    levels: tuple[int, ...]
    default_levels: tuple[int, ...]

    def problems(
        self,
        count: int,
        *,
        seed: int,
        split: Split = "test",
        levels: Sequence[int] | None = None,
    ) -> list[Problem]:
        """Returns `count` different problems, their levels evenly interleaved.

        The j-th problem of a level depends on (seed, split, level, j) alone, so the id
        `chain/test/0/5-3` (split test, seed 0, level 5, j = 3) names the same problem
        whatever `count` and `levels` were.

        Args:
            count: How many problems, at least 1.
            seed: Seed of the stream of problems, at least 0.
            split: Which side of the hash split to draw from.
            levels: Difficulties to interleave; None means `default_levels`.

        Raises:
            UsageError: A value is outside its range, or a level has fewer different
                problems than asked for.
        """
        chosen = self._checked_levels(levels)
        if count < 1:
            raise UsageError(f"`count` must be at least 1, but got {count=}.")
        if seed < 0:
            raise UsageError(f"`seed` must be at least 0, but got {seed=}.")
        if split not in get_args(Split):
            known = ", ".join(get_args(Split))
            raise UsageError(f"`split` must be one of {known}, but got {split=}.")
        shares = [len(range(k, count, len(chosen))) for k in range(len(chosen))]
        columns = [
            self._level_problems(share, seed, split, level)
            for level, share in zip(chosen, shares, strict=True)
        ]
        return [columns[i % len(chosen)][i // len(chosen)] for i in range(count)]

    def _checked_levels(self, levels: Sequence[int] | None) -> tuple[int, ...]:
        chosen = self.default_levels if levels is None else tuple(levels)
        unknown = [level for level in chosen if level not in self.levels]
        if not chosen or unknown or len(set(chosen)) < len(chosen):
            raise UsageError(
                f"`levels` of {self.name} must be different numbers from "
                f"{self.levels[0]} to {self.levels[-1]}, but got levels={chosen}."
            )
        return chosen

    def _level_problems(self, count: int, seed: int, split: Split, level: int) -> list[Problem]:
        salt = int.from_bytes(hashlib.blake2b(self.name.encode(), digest_size=4).digest(), "big")
        stream = [salt, get_args(Split).index(split), seed, level]
        rng = np.random.default_rng(stream)
        seen: set[str] = set()
        found: list[Problem] = []
        fruitless = 0
        while len(found) < count:
            prompt = self.generate(rng, level)
            key = self.canonical(prompt)
            if key in seen or split_of(key) != split:
                fruitless += 1
                if fruitless > MAX_FRUITLESS_DRAWS:
                    raise UsageError(
                        f"{self.name} level {level} must have enough different {split} problems, "
                        f"but only {len(found)} of {count} were found. Ask for fewer, or add "
                        f"levels."
                    )
                continue
            fruitless = 0
            seen.add(key)
            found.append(
                Problem(
                    id=f"{self.name}/{split}/{seed}/{level}-{len(found)}",
                    prompt=prompt,
                    task=self.name,
                    reference=self.reference(prompt),
                    markers=_MARKERS,
                    tags={"level": level},
                )
            )
        return found

    @abstractmethod
    def generate(self, rng: np.random.Generator, level: int) -> str:
        """Returns the prompt of one random problem of this level, of any split."""

    @abstractmethod
    def canonical(self, prompt: str) -> str:
        """Returns the text that identifies the problem whatever its surface order."""

    @abstractmethod
    def reference(self, prompt: str) -> str | None:
        """Returns the one right answer key, or None where there are many."""

    @abstractmethod
    def extract(self, problem: Problem, text: str) -> str | None:
        """Returns the answer key of a complete text, equal for equal answers; None = no answer."""

    @abstractmethod
    def check(self, problem: Problem, answer: str) -> bool:
        """Whether an answer key is right, decided from the prompt by exact arithmetic."""

"""The plan file: a policy with its promise, as JSON that a person can read.

dwell_plan    version of this form
made_by, created, source      by what, when, from which draws (with their hash)
goal          what was asked for
policy        probe and routes as a table; this alone is executed
in_words      the same in sentences
promise       held-out accuracy and cost of this way of planning, with 95 % intervals
confidence    from what the policy saw to the probability that its answer is right, how well that
              held on other questions, and from where on it answers
paired        difference to the best fixed choice at the same budget
verdict       what follows
frontier      the same promise at other budgets; knee and next_doubling are read off it
measured_on   questions, draws, model, folds
prices        what a token cost, if dollars were planned
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dwell.errors import UsageError
from dwell.plans.abstaining import abstaining_sentence
from dwell.plans.reliability import reliability_sentence
from dwell.plans.wording import (
    doubling_sentence,
    knee_sentence,
    paired_sentence,
    promise_sentence,
)
from dwell.strategies import parse
from dwell.strategies.planned import PLAN_VERSION, confidence_of, read_plan_file
from dwell.strategies.policy import Policy, read_policy

_NUMBERS = {
    "promise": ("accuracy", "low", "high", "cost"),
    "paired": ("difference", "low", "high"),
}
_TABLES = ("source", "goal", "promise", "paired", "measured_on")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan and what is known of it.

    Attributes:
        record: the plan file's table; see the module's docstring.
    """

    record: Mapping[str, Any]

    @property
    def policy(self) -> Policy:
        """What it does with a question."""
        return read_policy(self.record["policy"], parse, "plan")

    @property
    def unit(self) -> str:
        """What its costs are counted in."""
        return str(self.record["goal"]["unit"])

    @property
    def verdict(self) -> str:
        """Whether it is worth having, in a sentence or two."""
        return str(self.record["verdict"])

    def save(self, path: Path | str) -> None:
        """Write the plan file.

        Raises:
            UsageError: it cannot be written there.
        """
        try:
            Path(path).write_text(
                json.dumps(self.record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        except OSError as error:
            raise UsageError(
                f"`--out` must be a file that can be written, but {path} cannot "
                f"({error.strerror}). Name another one."
            ) from error

    def sentences(self) -> list[str]:
        """Policy, promise, confidence, comparison, frontier facts and verdict, one each."""
        return [
            *self.record["in_words"],
            promise_sentence(self.record["promise"], self.unit),
            *confidence_sentences(self.record.get("confidence")),
            paired_sentence(self.record["paired"], self.unit),
            knee_sentence(self.record["knee"], self.unit),
            doubling_sentence(self.record["next_doubling"], self.unit),
            self.verdict,
        ]

    def for_report(self) -> dict[str, Any]:
        """What a report shows of it: its table, with the policy as one text."""
        shown = dict(self.record) | {"policy": "\n".join(self.record["in_words"])}
        if found := self.record.get("confidence"):
            words = [line.removeprefix("Confidence: ") for line in confidence_sentences(found)]
            shown["confidence"] = found | {"in_words": words}
        return shown


def load_plan(path: Path | str) -> Plan:
    """The plan in a file.

    Raises:
        UsageError: it cannot be read, is no plan of this version, or is damaged; in one line.
    """
    record = read_plan_file(path)
    for name in _TABLES:
        if not isinstance(record.get(name), dict):
            raise _damaged(path, f"a table `{name}`", record.get(name))
    for name, keys in _NUMBERS.items():
        for key in keys:
            if not isinstance(record[name].get(key), int | float):
                raise _damaged(path, f"a number `{name}.{key}`", record[name].get(key))
    if not isinstance(record.get("frontier"), list):
        raise _damaged(path, "a list `frontier`", record.get("frontier"))
    confidence_of(record, read_policy(record.get("policy"), parse, str(path)), str(path))
    return Plan(record)


def confidence_sentences(found: Mapping[str, Any] | None) -> list[str]:
    """What is known of the confidence, and what is promised of the answers given."""
    found = found or {}
    sentences = []
    if found.get("held_out"):
        sentences.append(reliability_sentence(found["held_out"]))
    if found.get("certified"):
        sentences.append(abstaining_sentence(found["certified"], found["at_least"]))
    return sentences


def _damaged(path: Path | str, what: str, found: Any) -> UsageError:
    return UsageError(
        f"A plan must have {what}, but {path} has {found!r}. Make it again with `dwell plan`."
    )


__all__ = ["PLAN_VERSION", "Plan", "load_plan"]

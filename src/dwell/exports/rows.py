"""Rows of training data, in the forms that TRL reads, from questions and their texts.

    sft   {"prompt", "completion"}                     SFTTrainer: rejection sampling
    dpo   {"prompt", "chosen", "rejected"}             DPOTrainer
    kto   {"prompt", "completion", "label"}            KTOTrainer
    prm   {"prompt", "completions", "labels"}          PRMTrainer: one label a step

The first three are chats (lists of messages) where the model was asked by a chat, else plain
texts; `prm` is plain text, because its trainer joins the steps to the prompt as it stands. Every
row also says its `question_id`.

References:
    Yuan and others, "Scaling Relationship on Learning Mathematical Reasoning with Large Language
    Models" (2023): rejection sampling with different right texts of each question. Rafailov and
    others, "Direct Preference Optimization" (2023). Ethayarajh and others, "KTO" (2024). Wang and
    others, "Math-Shepherd" (2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dwell.exports.choosing import Choice, both_labels, pairs, right_ones, usable
from dwell.exports.questions import Message, Question, Sample, Tally
from dwell.exports.steps import Rollouts, steps_of, truth_of

Format = Literal["sft", "dpo", "kto", "prm"]
StepLabels = Literal["auto", "truth", "rollouts"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What rows are made of, beyond which texts are chosen.

    Attributes:
        choice: which texts.
        chat: whether rows are lists of messages, and not plain texts.
        reasoning: keep what the model reasoned apart, as `reasoning_content` of its message.
        steps: where labels of steps come from; "auto" = the task's truth where it has one.
        least: least completions of a prefix for a label by rollouts; a text is shortened to the
            steps before the first prefix with fewer.
        threshold: a step is right if a larger share of its completions is.
        separator: what divides steps; None = what the model was run with.
    """

    choice: Choice = field(default_factory=Choice)
    chat: bool = False
    reasoning: bool = False
    steps: StepLabels = "auto"
    least: int = 4
    threshold: float = 0.0
    separator: str | None = None


def rows_of(kind: Format, question: Question, options: Options, tally: Tally) -> Iterator[Row]:
    """The rows of one question; what is left out is counted."""
    asked: str | Sequence[Message] | None = question.prompt
    if options.chat and kind != "prm":
        asked = _messages(question)
    if asked is None:
        why = "with parts that are no text" if options.chat else "that are no single plain text"
        tally.questions[why] += 1
        return
    samples = usable(question, tally, graded=not options.choice.by)
    for row in _MAKERS[kind](question, samples, options, tally):
        yield {"question_id": question.id, "prompt": asked, **row}


def _messages(question: Question) -> list[Message] | None:
    """The prompt's messages; None where one is more than a text (images, tool calls)."""
    if any(
        not isinstance(m.get("content"), str) or m.get("tool_calls") for m in question.messages
    ):
        return None
    return [{"role": m["role"], "content": m["content"]} for m in question.messages]


def _said(sample: Sample, options: Options) -> str | list[Message]:
    if not options.chat:
        return sample.text
    message: dict[str, Any] = {"role": "assistant", "content": sample.text}
    if options.reasoning:
        message["reasoning_content"] = sample.reasoning
    return [message]


def _sft(
    question: Question, samples: Sequence[Sample], options: Options, tally: Tally
) -> Iterator[Row]:
    chosen = right_ones(question, samples, options.choice)
    tally.questions["with no right text"] += not chosen
    tally.samples["kept"] += len(chosen)
    for sample in chosen:
        yield {"completion": _said(sample, options)}


def _dpo(
    question: Question, samples: Sequence[Sample], options: Options, tally: Tally
) -> Iterator[Row]:
    used: set[str] = set()
    for chosen, rejected in pairs(question, samples, options.choice):
        used |= {chosen.text, rejected.text}
        yield {"chosen": _said(chosen, options), "rejected": _said(rejected, options)}
    tally.questions["with no pair"] += not used
    tally.samples["kept"] += len(used)


def _kto(
    question: Question, samples: Sequence[Sample], options: Options, tally: Tally
) -> Iterator[Row]:
    chosen = both_labels(question, samples, options.choice)
    tally.questions["with no usable text"] += not chosen
    tally.samples["kept"] += len(chosen)
    for sample in chosen:
        yield {"completion": _said(sample, options), "label": bool(sample.correct)}


# ---- steps ---------------------------------------------------------------------------------


def _prm(
    question: Question, samples: Sequence[Sample], options: Options, tally: Tally
) -> Iterator[Row]:
    separator = options.separator or question.separator
    truth = None if options.steps == "rollouts" else truth_of(question)
    if truth is None and options.steps == "truth":
        tally.questions["whose task does not know which steps are right"] += 1
        return
    rollouts = None if truth is not None else Rollouts(question.samples, separator)
    kept = 0
    for sample in both_labels(question, samples, options.choice):
        steps = steps_of(sample.text, separator)
        more: Mapping[str, Any] = {}
        if rollouts is None:
            labels = truth(steps) if truth is not None else []
        else:
            labels, more = _estimated(sample, rollouts, options)
        if not labels:
            tally.samples["fewer completions than --least of the first step"] += 1
            continue
        tally.samples["shortened to the steps with enough completions"] += len(labels) < len(steps)
        kept += 1
        yield {
            "completions": steps[: len(labels)],
            "labels": labels,
            "labelled_by": "truth" if rollouts is None else "rollouts",
            "values": None,
            "rollouts": None,
            **more,
        }
    tally.samples["kept"] += kept
    tally.questions["with no labelled text"] += not kept


def _estimated(
    sample: Sample, rollouts: Rollouts, options: Options
) -> tuple[list[bool], Mapping[str, Any]]:
    """Labels, values and numbers of completions of a text's steps, as far as there are enough."""
    values, counts = rollouts.values(sample.text)
    if not values:
        return [], {}
    # The whole text is finished: what it is worth is known, however rare it is.
    values[-1] = float(bool(sample.correct))
    enough = [count >= options.least for count in counts[:-1]]
    stop = enough.index(False) if False in enough else len(values)
    labels = [not math.isnan(v) and v > options.threshold for v in values[:stop]]
    return labels, {"values": values[:stop], "rollouts": counts[:stop]}


_MAKERS: Mapping[Format, Callable[[Question, Sequence[Sample], Options, Tally], Iterator[Row]]] = {
    "sft": _sft,
    "dpo": _dpo,
    "kto": _kto,
    "prm": _prm,
}

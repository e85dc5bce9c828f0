"""Process and outcome reward models from a local checkpoint: `transformers:FOLDER`.

The score of a text is made of its steps' probabilities; what each of them means is the model's
affair, and how the text has to be laid out for it is found out from the checkpoint. Scores are
recorded, and the tokens read are charged as verifier tokens, in full for every candidate: what
candidates share is read once, but a charge must not depend on who else was asked about.

References:
    Snell and others (2024) and Lightman and others (2023) on how step scores are put together:
    the last one for models of P(end right | steps so far), their product or minimum for models of
    whether each step is right.
"""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dwell.errors import UsageError
from dwell.protocols import Outcome, VerifyWork
from dwell.records import Candidate, Draw
from dwell.torch_checkpoints import Checkpoint, checkpoint_folder, load_checkpoint, loading
from dwell.verifiers.base import NOT_VERIFIED, outcomes_of, short_hash
from dwell.verifiers.transformers_heads import Head, stored_head, written_head
from dwell.verifiers.transformers_reading import Reader
from dwell.verifiers.transformers_texts import FORMS, Form, Layout, Reading

Aggregate = Literal["last", "min", "prod", "mean"]
AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda probs: probs[-1],
    "min": min,
    "prod": math.prod,
    "mean": lambda probs: sum(probs) / len(probs),
}
QWEN_MODEL, QWEN_SEPARATOR = "ForProcessRewardModel", "<extra_0>"
SHEPHERD_TAG = " ки"


class TransformersVerifier:
    """A reward model from a local folder.

    Scores are probabilities in `[0, 1]`, NaN for an empty text, for one that the model's window
    cannot hold, and for one that spells the model's own tag. A step is a line that is not blank;
    a last line that is not finished counts too. Outcomes and prefixes are scored alike.

    Args:
        path: the checkpoint's folder.
        name: what strategies call it; None = "transformers:FOLDER".
        form: the layout, "tag", "steps" or "outcome"; None = by the checkpoint's architecture.
        aggregate: what a text's score is of its steps' probabilities: "last", "min", "prod" or
            "mean".
        step_delimiter: what ends a step in candidates.
        separator: what the model wants behind each step; None = `<extra_0>` for Qwen's process
            reward models, ` ки` for "tag", else the delimiter.
        labels: for "tag", the words that the model writes for a right and a wrong step.
        chat: whether the tokenizer's chat template is used; None = for Qwen's process reward
            models, and for outcome models that have one.
        device: as `dwell.generators.transformers_generator.TransformersGenerator`.
        dtype: as there.

    Attributes:
        form: the layout in use.
        reader: reads texts; knows how many tokens it has read.

    Raises:
        UsageError: no such folder, or no reward model in it.
    """

    wants: frozenset[str] = frozenset()
    derived = False
    oracle = False
    max_batch = 256
    concurrency = 2

    def __init__(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        form: Form | None = None,
        aggregate: Aggregate = "last",
        step_delimiter: str = "\n",
        separator: str | None = None,
        labels: tuple[str, str] = ("+", "-"),
        chat: bool | None = None,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if aggregate not in AGGREGATES or form not in (None, *FORMS) or not step_delimiter:
            raise UsageError(
                f"`aggregate` must be one of {', '.join(AGGREGATES)}, `form` one of "
                f"{', '.join(FORMS)} and `step_delimiter` not empty, but got {aggregate=}, "
                f"{form=}, {step_delimiter=}."
            )
        folder = checkpoint_folder(path)
        head = stored_head(folder)
        form = form or _form_of(folder, head)
        self.form: Form = form
        kind = "AutoModelForCausalLM" if form == "tag" else "AutoModel"
        checkpoint = load_checkpoint(path, kind, device=device, dtype=dtype)
        self._checkpoint = checkpoint
        self._head = _head_of(checkpoint, form, head, labels)
        self._layout = _layout_of(checkpoint, form, step_delimiter, separator, chat)
        self.reader = Reader(checkpoint.model.base_model if form == "tag" else checkpoint.model)
        self._aggregate = AGGREGATES[aggregate]
        self._lock = threading.Lock()
        self._name = name or f"transformers:{path}"
        self.fingerprint = "transformers:" + short_hash(
            checkpoint.fingerprint, form, aggregate, step_delimiter, self._layout.separator,
            self._layout.chat, labels if form == "tag" else None,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"TransformersVerifier({str(self._checkpoint.folder)!r}, form={self.form!r})"

    @property
    def name(self) -> str:
        """What strategies call it."""
        return self._name

    async def score(self, work: Sequence[VerifyWork]) -> Sequence[Outcome]:
        """One outcome per work item; all texts of a call are read together, in a thread.

        Deterministic: seeds are not consumed.
        """
        candidates = [c for item in work for c in item.candidates if c.status != "failed"]
        return outcomes_of(work, await asyncio.to_thread(self._score, candidates))

    def step_probs(self, candidates: Sequence[Candidate]) -> list[list[float]]:
        """The probability after each step of each candidate; empty where there is none."""
        return self._probs([self._read(candidate) for candidate in candidates], candidates)

    def _score(self, candidates: Sequence[Candidate]) -> list[Draw]:
        readings = [self._read(candidate) for candidate in candidates]
        costs = self._checkpoint.costs
        draws = []
        for reading, probs in zip(readings, self._probs(readings, candidates), strict=True):
            if not probs:
                draws.append(Draw(value=NOT_VERIFIED))
                continue
            count = len(reading.tokens)
            draws.append(
                Draw(
                    value=float(self._aggregate(probs)),
                    output_tokens=count,
                    flops=costs.read(count),
                    seconds=costs.seconds_per_token * count,
                )
            )
        return draws

    def _read(self, candidate: Candidate) -> Reading:
        reading = self._layout.read(candidate.context, candidate.text)
        window = self._checkpoint.window
        too_long = window is not None and len(reading.tokens) > window
        return Reading((), ()) if too_long else reading

    def _probs(
        self, readings: Sequence[Reading], candidates: Sequence[Candidate]
    ) -> list[list[float]]:
        groups: dict[Any, list[Reading]] = {}
        for reading, candidate in zip(readings, candidates, strict=True):
            if reading.places:
                groups.setdefault(candidate.context.messages, []).append(reading)
        with self._lock:
            states = self.reader.states(groups)
            probs = {reading: self._head.probs(found) for reading, found in states.items()}
        return [probs.get(reading, []) for reading in readings]


def _form_of(folder: Path, head: Head | None) -> Form:
    """The layout that a checkpoint's architecture stands for.

    Raises:
        UsageError: it has no head that is known, and is no language model.
    """
    architecture = _architecture(folder)
    if architecture.endswith(("ForSequenceClassification", "ForRewardModel")):
        return "outcome"
    if head is not None:
        return "steps"
    if architecture.endswith("ForCausalLM"):
        return "tag"
    raise UsageError(
        "A reward model must have a head among its weights (model.safetensors) or be a language "
        f"model that writes a label, but {folder} is {architecture}. Name another."
    )


def _architecture(folder: Path) -> str:
    """What the checkpoint's configuration calls itself."""
    with loading(folder, "a configuration"):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names: list[str] = config.get("architectures") or ["unknown"]
        return names[0]


def _head_of(
    checkpoint: Checkpoint, form: Form, stored: Head | None, labels: tuple[str, str]
) -> Head:
    if form != "tag":
        if stored is None:
            raise UsageError(
                f'A reward model of the form "{form}" must have a head among its weights '
                f"(model.safetensors), but {checkpoint.folder} has none."
            )
        return stored
    encode = checkpoint.tokenizer.encode
    right, wrong = (encode(label, add_special_tokens=False) for label in labels)
    if not right or not wrong or right[-1] == wrong[-1]:
        raise UsageError(
            f"`labels` must be two words with tokens of their own, but got {labels} and "
            f"{checkpoint.folder} has {right} and {wrong} for them."
        )
    return written_head(checkpoint.model, wrong[-1], right[-1])


def _layout_of(
    checkpoint: Checkpoint, form: Form, delimiter: str, separator: str | None, chat: bool | None
) -> Layout:
    tokenizer = checkpoint.tokenizer
    qwen = _architecture(checkpoint.folder).endswith(QWEN_MODEL) and form == "steps"
    if chat is None:
        chat = bool(tokenizer.chat_template) and (qwen or form == "outcome")
    if chat and not tokenizer.chat_template:
        raise UsageError(
            f"`chat` must be off for a model without chat template, but {checkpoint.folder} has "
            "none. Leave it out."
        )
    if separator is None:
        separator = SHEPHERD_TAG if form == "tag" else QWEN_SEPARATOR if qwen else delimiter
    layout = Layout(
        tokenizer=tokenizer,
        form=form,
        chat=chat,
        separator=separator,
        delimiter=delimiter,
        between=" " if form == "tag" else "\n",
    )
    encoded = tokenizer.encode(separator, add_special_tokens=False)
    if form != "outcome" and (not encoded or encoded[-1] == tokenizer.unk_token_id):
        raise UsageError(
            f"`separator` must be a text that the model has a token for, but {checkpoint.folder} "
            f"has none for {separator!r}. Give the one that it was trained with."
        )
    return layout

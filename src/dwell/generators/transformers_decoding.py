"""Writes many texts side by side with a local model: each prompt is read once for all its draws.

A batch is read up to the last token of each prompt (`transformers_prefixes`), the rows of the
cache are repeated for the draws, and then every row is fed a token at a time. Rows that are done
leave the batch. This module knows tokens and where texts halt, not requests or strategies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dwell.errors import GeneratorError
from dwell.generators.transformers_halting import Halt, Speller, find_halt
from dwell.generators.transformers_prefixes import Prefixes
from dwell.generators.transformers_sampling import Filters, Law
from dwell.records import Status
from dwell.torch_checkpoints import Checkpoint, chunks

#: Read together when texts are given: logits in floats (256 MiB), and positions.
_MOST_LOGITS = 1 << 26
_MOST_POSITIONS = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One draw to make.

    Attributes:
        prompt: tokens to continue, at least one.
        key: unsigned 64-bit seed of the draw.
        max_tokens: most tokens to write; the window's end may come first.
        temperature: 0 is greedy.
        stops: texts that end the draw, and are left out of it.
        delimiter: a text that ends a step; None = the draw goes on to its end.
        forbid_end: the first token is none of the `closing` ones.
        measure: keep the statistics of each token.
    """

    prompt: tuple[int, ...]
    key: int
    max_tokens: int
    temperature: float = 1.0
    stops: tuple[str, ...] = ()
    delimiter: str | None = None
    forbid_end: bool = False
    measure: bool = False


@dataclass(slots=True)
class Written:
    """A draw, while it is written and after.

    Attributes:
        job: what was asked for.
        limit: most tokens.
        tokens: what was written, an end token included.
        status: how it halted.
        text: what the tokens spell, without what halted it.
        surprisals: nats of each token, where measured.
        mean_log_probs: mean over the vocabulary of log p at each token, in nats, where measured.
    """

    job: Job
    limit: int
    tokens: list[int] = field(default_factory=list)
    status: Status | None = None
    text: str = ""
    surprisals: list[float] = field(default_factory=list)
    mean_log_probs: list[float] = field(default_factory=list)


class Decoder:
    """Draws from a checkpoint.

    Args:
        checkpoint: the loaded model.
        filters: top-p and top-k.
        ends: tokens that end a text.
        closing: tokens that `forbid_end` forbids.
        drawable: `[V]` bool numpy, tokens that may be drawn at all.
        cache_tokens: positions of earlier texts that are kept.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        filters: Filters,
        ends: frozenset[int],
        closing: frozenset[int],
        drawable: np.ndarray,
        cache_tokens: int,
    ) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        self._filters = filters
        self._ends = ends
        device = checkpoint.device
        self._drawable = torch.from_numpy(drawable).to(device)
        self._closing = torch.zeros_like(self._drawable)
        self._closing[sorted(closing)] = True
        self.prefixes = Prefixes(self._model, min(ends, default=0), cache_tokens)
        self.speller = Speller(checkpoint.tokenizer, len(drawable))

    def draw(self, jobs: Sequence[Job]) -> list[Written]:
        """All draws, in the order of the jobs; a prompt must leave room for a token."""
        window = self._checkpoint.window
        written = [
            Written(job, job.max_tokens if window is None
                    else min(job.max_tokens, window - len(job.prompt)))
            for job in jobs
        ]  # fmt: skip
        heads = list(dict.fromkeys(job.prompt[:-1] for job in jobs))
        cache, mask = self.prefixes.read(heads)
        places = {head: place for place, head in enumerate(heads)}
        rows = torch.tensor([places[job.prompt[:-1]] for job in jobs], device=mask.device)
        cache.reorder_cache(rows)
        mask = mask[rows]
        hot = {
            halts: self.speller.completing(halts)
            for halts in {_halts(job) for job in jobs}
        }  # fmt: skip
        active = written
        while active:
            mask = torch.cat([mask, mask.new_ones((len(active), 1))], dim=1)
            self._advance(active, cache, mask)
            for row, draw in enumerate(active):
                self._settle(draw, hot[_halts(draw.job)])
                if draw.status == "step":
                    read = (*draw.job.prompt, *draw.tokens[:-1])
                    self.prefixes.keep(read, cache, row, mask[row])
            left = [row for row, draw in enumerate(active) if draw.status is None]
            if left and len(left) < len(active):
                rows = torch.tensor(left, device=mask.device)
                cache.reorder_cache(rows)
                mask = mask[rows]
            active = [active[row] for row in left]
        return written

    def read(
        self, texts: Sequence[tuple[Sequence[int], int]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Surprisals and mean log-probabilities of given tokens.

        Args:
            texts: all tokens of a text, and the index, at least 1, of the first to measure.

        Returns:
            For each text two `[T]` float32 arrays, in nats.
        """
        order = sorted(range(len(texts)), key=lambda index: len(texts[index][0]))
        most = min(_MOST_POSITIONS, max(1, _MOST_LOGITS // len(self._drawable)))
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for part in chunks([len(texts[index][0]) for index in order], most):
            members = [order[k] for k in part]
            found |= zip(members, self._read_part([texts[k] for k in members]), strict=True)
        return [found[index] for index in range(len(texts))]

    def _advance(self, active: Sequence[Written], cache: Any, mask: Any) -> None:
        """Feeds each row its last token and writes the next."""
        last = [draw.tokens[-1] if draw.tokens else draw.job.prompt[-1] for draw in active]
        positions = [len(draw.job.prompt) + len(draw.tokens) for draw in active]
        output = self._model(
            input_ids=torch.tensor(last, device=mask.device)[:, None],
            attention_mask=mask,
            position_ids=torch.tensor(positions, device=mask.device)[:, None] - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits = output.logits[:, -1]
        if logits.isnan().any():
            raise GeneratorError(
                f"A model's logits must be numbers, but {self._checkpoint.folder} in "
                f"{logits.dtype} gave NaN. Set another `dtype`, such as float32.",
                hopeless=True,
            )
        law = Law(logits, self._drawable)
        first = [draw.job.forbid_end and not draw.tokens for draw in active]
        banned = None
        if any(first):
            banned = torch.tensor(first, device=mask.device)[:, None] & self._closing
        drawn = law.draw(
            [draw.job.key for draw in active],
            positions,
            [draw.job.temperature for draw in active],
            self._filters,
            banned,
        )
        if any(draw.job.measure for draw in active):
            measured = (law.surprisals(drawn).tolist(), law.mean_log_probs().tolist())
            for draw, nats, mean in zip(active, *measured, strict=True):
                draw.surprisals.append(nats)
                draw.mean_log_probs.append(mean)
        for draw, token in zip(active, drawn.tolist(), strict=True):
            draw.tokens.append(token)

    def _settle(self, draw: Written, hot: frozenset[int]) -> None:
        """Sees whether a draw is done after its last token."""
        job, token = draw.job, draw.tokens[-1]
        halt: Halt | None = None
        if token in self._ends:
            halt = Halt(self.speller.text(job.prompt, draw.tokens[:-1]), "end")
        elif token in hot:
            text = self.speller.text(job.prompt, draw.tokens)
            halt = find_halt(text, job.stops, job.delimiter)
        if halt is None and len(draw.tokens) >= draw.limit:
            halt = Halt(self.speller.text(job.prompt, draw.tokens), "cap")
        if halt is not None:
            draw.text, draw.status = halt.text, halt.status

    def _read_part(
        self, texts: Sequence[tuple[Sequence[int], int]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Reads texts side by side, padded at their ends."""
        longest = max(len(tokens) for tokens, _ in texts)
        ids = torch.zeros((len(texts), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, (tokens, _) in enumerate(texts):
            ids[row, : len(tokens)] = torch.tensor(list(tokens))
            mask[row, : len(tokens)] = 1
        ids, mask = ids.to(self._checkpoint.device), mask.to(self._checkpoint.device)
        logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        found = []
        for row, (tokens, start) in enumerate(texts):
            law = Law(logits[row, start - 1 : len(tokens) - 1], self._drawable)
            nats = law.surprisals(ids[row, start : len(tokens)])
            found.append((nats.cpu().numpy(), law.mean_log_probs().cpu().numpy()))
        return found


def _halts(job: Job) -> tuple[str, ...]:
    """All texts that halt a draw."""
    return job.stops if job.delimiter is None else (*job.stops, job.delimiter)

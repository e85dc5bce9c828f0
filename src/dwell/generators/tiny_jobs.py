"""What an embedded model's engine is asked for, what it returns, and the rows of its batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dwell.generators.tiny_weights import Floats

Status = Literal["end", "step", "cap"]

WANTS = frozenset({"surprisal", "hidden", "mean_log_prob"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One draw to make.

    Attributes:
        prompt: tokens to continue: the prompt and what is already written. At least one.
        key: unsigned 64-bit seed of the draw. Draws of one prompt need different keys.
        max_tokens: most tokens to write; the context's end may come first.
        temperature: 0 is greedy.
        until: "end" writes to the model's end token, "step" to the end of a line.
        stop_tokens: tokens that end the text like the end token does.
        forbid_end: the first token is none of the model's `closing` tokens.
        step_cap: longest line in tokens; a longer one is cut and ends the draw.
        want: any of "surprisal", "hidden", "mean_log_prob".
    """

    prompt: tuple[int, ...]
    key: int
    max_tokens: int
    temperature: float = 1.0
    until: Literal["end", "step"] = "end"
    stop_tokens: frozenset[int] = frozenset()
    forbid_end: bool = False
    step_cap: int = 40
    want: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One draw.

    Attributes:
        tokens: what was written, the end token included.
        status: "end" (end or stop token), "step" (a line was finished), "cap" (cut by
            `max_tokens`, `step_cap` or the end of the context).
        surprisals: `[T]` float32 ``-log p`` of each token in nats, at temperature 1 and with no
            token forbidden, whatever the draw's own options; None if not wanted.
        hidden: `[newlines, d]` float32 final normalised state at each newline that was written;
            None if not wanted.
        mean_log_probs: `[T]` float32 mean over the vocabulary of log p, in nats, at each token;
            None if not wanted.
        prompt_tokens: tokens of the prompt.
        cached_tokens: of these, how many did not have to be read again. Depends on what was asked
            before; no other field does.
    """

    tokens: tuple[int, ...]
    status: Status
    surprisals: Floats | None
    hidden: Floats | None
    mean_log_probs: Floats | None
    prompt_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScore:
    """What a given text looks like to the model: `Result`'s statistics, with the same bits."""

    surprisals: Floats
    hidden: Floats
    mean_log_probs: Floats


class Rows:
    """The state of the rows of a running batch; arrays `[slots]` unless said otherwise."""

    FIELDS = (
        "job", "token", "position", "key", "made", "line", "limit", "cap", "temperature", "step",
        "forbid", "has_stop", "pending", "hide", "cached", "written", "surprisal", "mean_log_prob",
    )  # fmt: skip

    def __init__(self, slots: int, max_positions: int) -> None:
        self.num = 0
        self.job = np.zeros(slots, np.int64)
        self.token = np.zeros(slots, np.int64)
        self.position = np.zeros(slots, np.int64)
        self.key = np.zeros(slots, np.uint64)
        self.made = np.zeros(slots, np.int64)
        self.line = np.zeros(slots, np.int64)
        self.limit = np.zeros(slots, np.int64)
        self.cap = np.zeros(slots, np.int64)
        self.temperature = np.zeros(slots, np.float64)
        self.step = np.zeros(slots, np.bool_)
        self.forbid = np.zeros(slots, np.bool_)
        self.has_stop = np.zeros(slots, np.bool_)
        self.pending = np.zeros(slots, np.bool_)  # done, but its last newline is still to be read
        self.hide = np.zeros(slots, np.bool_)  # wants hidden states
        self.cached = np.zeros(slots, np.int64)
        self.written = np.zeros((slots, max_positions + 1), np.uint8)
        self.surprisal = np.zeros((slots, max_positions + 1), np.float32)
        self.mean_log_prob = np.zeros((slots, max_positions + 1), np.float32)
        self.hidden: list[list[Floats]] = [[] for _ in range(slots)]

    def start(self, row: int, index: int, job: Job, cached: int, room: int) -> None:
        """Puts a job into a row, ready to feed the prompt's last token."""
        self.job[row] = index
        self.token[row] = job.prompt[-1]
        self.position[row] = len(job.prompt) - 1
        self.key[row] = job.key
        self.made[row] = self.line[row] = 0
        self.limit[row] = min(job.max_tokens, room)
        self.cap[row] = job.step_cap
        self.temperature[row] = job.temperature
        self.step[row] = job.until == "step"
        self.forbid[row] = job.forbid_end
        self.has_stop[row] = bool(job.stop_tokens)
        self.pending[row] = False
        self.hide[row] = "hidden" in job.want
        self.cached[row] = cached
        self.hidden[row] = []

    def move(self, source: int, target: int) -> None:
        """Copies one row over another."""
        for name in self.FIELDS:
            values = getattr(self, name)
            values[target] = values[source]
        self.hidden[target] = self.hidden[source]

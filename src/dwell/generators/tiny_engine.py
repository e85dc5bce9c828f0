"""The embedded model's decoding engine: many draws at once, each the same as if it were alone.

Continuous batching: a row that has finished leaves, a waiting job takes its place. Prompts are
read once for all jobs that share them, and lines that the engine wrote can be continued without
reading them again. The arithmetic of `tiny_forward` is exact and every token has its own uniform,
so a draw is a function of (weights, prompt, key, sampling options) and nothing else: not of batch
size, neighbours, threads, what was cached or what was asked before. This module knows tokens, not
texts, strategies or requests.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dwell.errors import UsageError
from dwell.generators.tiny_cache import Prefix, PrefixCache
from dwell.generators.tiny_forward import Forward
from dwell.generators.tiny_jobs import WANTS, Job, Result, Rows, Status, TextScore
from dwell.generators.tiny_sampling import Distribution, uniforms
from dwell.generators.tiny_weights import Floats, TinyModel

__all__ = ["Engine", "Job", "Result", "Status", "TextScore"]

_PREFILL_ROWS = 32  # prompts read together
_PREFILL_TOKENS = 1024  # positions read together, padding included


@dataclass(slots=True)
class _Queue:
    """Jobs that wait, and the prefixes that were read for them."""

    jobs: Sequence[Job]
    waiting: deque[int]
    uses: Counter[bytes]
    want: frozenset[str]  # by any job
    ready: dict[bytes, Prefix] = field(default_factory=dict)
    fresh: dict[bytes, int] = field(default_factory=dict)  # tokens found for whom it was read


class Engine:
    """Draws from an embedded model, `slots` at a time.

    Args:
        model: the weights.
        slots: rows of the batch; speed and memory depend on it, results do not.
        cache_tokens: positions whose keys and values are kept for texts that come again.
    """

    def __init__(self, model: TinyModel, slots: int = 96, cache_tokens: int = 16384) -> None:
        if slots < 1:
            raise UsageError(f"`slots` must be at least 1, but got {slots=}.")
        self.model = model
        self.slots = slots
        self._forward = Forward(model)
        self._prefixes = PrefixCache(cache_tokens, model.newline)
        self._cache = self._forward.new_cache(slots)
        self._scratch = self._forward.new_cache(_PREFILL_ROWS)
        self._rows = Rows(slots, model.config.max_positions)
        self._closing = np.zeros(model.config.vocab_size, np.bool_)
        self._closing[list(model.closing)] = True

    def generate(self, jobs: Sequence[Job]) -> list[Result]:
        """Makes all draws and returns them in the order of the jobs.

        Raises:
            UsageError: a job that cannot be served, for example a prompt as long as the context.
        """
        for job in jobs:
            self._check(job)
        uses = Counter(_prefix(job) for job in jobs)
        want = frozenset[str]().union(*{job.want for job in jobs})
        queue = _Queue(jobs, deque(range(len(jobs))), uses, want)
        results: list[Result | None] = [None] * len(jobs)
        self._rows.num = 0
        with np.errstate(over="ignore", under="ignore"):
            while queue.waiting or self._rows.num:
                while queue.waiting and self._rows.num < self.slots:
                    self._admit(self._rows.num, queue)
                    self._rows.num += 1
                for row in self._advance(queue):
                    results[self._rows.job[row]] = self._finish(row, queue)
                    self._release(row, queue)
        return [result for result in results if result is not None]

    def score(self, texts: Sequence[tuple[Sequence[int], int]]) -> list[TextScore]:
        """Reads given texts and returns their statistics, with the bits that drawing them gives.

        Args:
            texts: pairs of all tokens (prompt first) and the index of the first token to score.

        Raises:
            UsageError: a text longer than the context, or a start outside it.
        """
        for tokens, start in texts:
            if not 1 <= start <= len(tokens) <= self.model.config.max_positions:
                raise UsageError(
                    "a text to score must fit the context and be scored from its second token on, "
                    f"but got {len(tokens)} tokens, start={start}, "
                    f"max_positions={self.model.config.max_positions}."
                )
        order = sorted(range(len(texts)), key=lambda index: len(texts[index][0]))
        scores: dict[int, TextScore] = {}
        with np.errstate(over="ignore", under="ignore"):
            for group in _groups([len(texts[index][0]) for index in order]):
                members = [order[k] for k in group]
                found = self._score_group([texts[index] for index in members])
                scores.update(zip(members, found, strict=True))
        return [scores[index] for index in range(len(texts))]

    def _check(self, job: Job) -> None:
        room = self.model.config.max_positions
        if not 1 <= len(job.prompt) < room:
            raise UsageError(
                f"a prompt must have between 1 and {room - 1} tokens for this model, but got "
                f"{len(job.prompt)}. Shorten the context."
            )
        if job.max_tokens < 1 or job.step_cap < 1 or not job.temperature >= 0.0:
            raise UsageError(
                "`max_tokens` and `step_cap` must be at least 1 and `temperature` at least 0, but "
                f"got {job.max_tokens=}, {job.step_cap=}, {job.temperature=}."
            )
        if not job.want <= WANTS:
            raise UsageError(f"`want` must be among {sorted(WANTS)}, but got {sorted(job.want)}.")
        if not 0 <= job.key < 2**64:
            raise UsageError(f"`key` must be an unsigned 64-bit integer, but got {job.key}.")
        if not all(0 <= token < self.model.config.vocab_size for token in job.prompt):
            raise UsageError(f"prompt tokens must be below {self.model.config.vocab_size}.")

    def _admit(self, row: int, queue: _Queue) -> None:
        """Starts the next waiting job in a row, its prompt's keys and values in place."""
        index = queue.waiting.popleft()
        job = queue.jobs[index]
        tokens = _prefix(job)
        if tokens not in queue.ready:
            self._read_prompts(tokens, queue)
        prefix = queue.ready[tokens]
        if prefix.codes is not None:
            self._cache.load(row, prefix.codes, prefix.length)
        cached = queue.fresh.pop(tokens, prefix.length)
        room = self.model.config.max_positions - len(job.prompt)
        self._rows.start(row, index, job, cached, room)
        queue.uses[tokens] -= 1
        if not queue.uses[tokens]:
            del queue.ready[tokens]

    def _read_prompts(self, first: bytes, queue: _Queue) -> None:
        """Makes the prefixes of the next waiting jobs ready, `first` among them."""
        wanted = {first: self._prefixes.longest(first)}
        for index in queue.waiting:
            if len(wanted) >= _PREFILL_ROWS:
                break
            tokens = _prefix(queue.jobs[index])
            if tokens not in queue.ready and tokens not in wanted:
                wanted[tokens] = self._prefixes.longest(tokens)
        todo = []
        for tokens, found in wanted.items():
            queue.ready[tokens] = found
            if found.length < len(tokens):
                todo.append((tokens, found))
        todo.sort(key=lambda item: len(item[0]) - item[1].length)
        for group in _groups([len(tokens) - found.length for tokens, found in todo]):
            self._read_group([todo[k] for k in group], queue)

    def _read_group(self, group: list[tuple[bytes, Prefix]], queue: _Queue) -> None:
        starts = np.array([found.length for _, found in group])
        longest = max(len(tokens) - found.length for tokens, found in group)
        padded = np.zeros((len(group), longest), np.int64)
        for row, (tokens, found) in enumerate(group):
            rest = tokens[found.length :]
            padded[row, : len(rest)] = np.frombuffer(rest, np.uint8)
            if found.codes is not None:
                self._scratch.load(row, found.codes, found.length)
        self._forward.run(padded, starts, self._scratch)
        for row, (tokens, found) in enumerate(group):
            codes = self._scratch.save(row, len(tokens))
            queue.ready[tokens] = Prefix(codes, len(tokens))
            queue.fresh[tokens] = found.length
            self._prefixes.put(tokens, codes)

    def _advance(self, queue: _Queue) -> list[int]:
        """Feeds one token to every row and draws the next; returns finished rows, last first."""
        rows, num, model = self._rows, self._rows.num, self.model
        fed = rows.token[:num]
        states = self._forward.run(fed[:, None], rows.position[:num], self._cache)
        self._keep_hidden(states)
        made, pending = rows.made[:num], rows.pending[:num]
        law = Distribution(self._forward.logits(states), model.sampleable)
        points = uniforms(rows.key[:num], rows.position[:num] + 1)
        first = rows.forbid[:num] & (made == 0)
        banned = first[:, None] & self._closing if first.any() else None
        tokens = law.draw(points, rows.temperature[:num], banned)
        every = np.arange(num)
        rows.written[every, made] = tokens
        if "surprisal" in queue.want:
            rows.surprisal[every, made] = law.surprisals(tokens)
        if "mean_log_prob" in queue.want:
            rows.mean_log_prob[every, made] = law.mean_log_probs()
        np.add(made, ~pending, out=made)
        rows.token[:num] = tokens
        rows.position[:num] += 1
        newline = tokens == model.newline
        line = rows.line[:num]
        line += 1
        line[newline] = 0
        done = (tokens == model.eos) | (rows.step[:num] & newline)
        done |= (made >= rows.limit[:num]) | (line >= rows.cap[:num])
        if rows.has_stop[:num].any():
            done |= self._stopped(tokens, queue)
        finished = done | pending
        if not finished.any():
            return []
        # the last newline is fed as well where its state is wanted
        wait = done & ~pending & newline & rows.hide[:num]
        pending[...] = wait
        leaving: list[int] = np.flatnonzero(finished & ~wait)[::-1].tolist()
        return leaving

    def _keep_hidden(self, states: Floats) -> None:
        """Keeps the states of rows that were just fed a newline of their own."""
        rows = self._rows
        fed = rows.token[: rows.num]
        keep = rows.hide[: rows.num] & (fed == self.model.newline) & (rows.made[: rows.num] > 0)
        for row in np.flatnonzero(keep).tolist():
            rows.hidden[row].append(self._forward.hidden(states[row]))

    def _stopped(self, tokens: npt.NDArray[np.int64], queue: _Queue) -> npt.NDArray[np.bool_]:
        rows = self._rows
        stopped = np.zeros(rows.num, np.bool_)
        for row in np.flatnonzero(rows.has_stop[: rows.num]).tolist():
            stopped[row] = int(tokens[row]) in queue.jobs[int(rows.job[row])].stop_tokens
        return stopped

    def _finish(self, row: int, queue: _Queue) -> Result:
        """Returns a finished row's draw, and keeps its keys and values for a continuation."""
        rows, width = self._rows, self.model.config.width
        job = queue.jobs[int(rows.job[row])]
        made, read = int(rows.made[row]), int(rows.position[row])
        written = rows.written[row, :made].tobytes()
        hidden = rows.hidden[row]
        last = written[-1]
        status: Status = "cap"
        if last == self.model.eos or last in job.stop_tokens:
            status = "end"
        elif last == self.model.newline and job.until == "step":
            status = "step"
        if status != "end":  # a text that may well be continued
            self._prefixes.put((bytes(job.prompt) + written)[:read], self._cache.save(row, read))
        return Result(
            tokens=tuple(written),
            status=status,
            surprisals=rows.surprisal[row, :made].copy() if "surprisal" in job.want else None,
            hidden=(
                np.array(hidden, np.float32).reshape(-1, width) if "hidden" in job.want else None
            ),
            mean_log_probs=(
                rows.mean_log_prob[row, :made].copy() if "mean_log_prob" in job.want else None
            ),
            prompt_tokens=len(job.prompt),
            cached_tokens=int(rows.cached[row]),
        )

    def _release(self, row: int, queue: _Queue) -> None:
        """Gives a finished row to the next job, or to the last row of the batch."""
        if queue.waiting:
            self._admit(row, queue)
            return
        rows = self._rows
        rows.num -= 1
        if row != rows.num:
            self._cache.move(rows.num, row, int(rows.position[rows.num]))
            rows.move(rows.num, row)

    def _score_group(self, texts: list[tuple[Sequence[int], int]]) -> list[TextScore]:
        """Reads texts side by side, padded at their ends."""
        longest = max(len(tokens) for tokens, _ in texts)
        padded = np.zeros((len(texts), longest), np.int64)
        for row, (tokens, _) in enumerate(texts):
            padded[row, : len(tokens)] = tokens
        states = self._forward.run(padded, np.zeros(len(texts), np.int64), self._scratch)
        scores = []
        for row, (tokens, start) in enumerate(texts):
            scored = padded[row, start : len(tokens)]
            own = states[row * longest : row * longest + len(tokens)]
            law = Distribution(self._forward.logits(own[start - 1 : -1]), self.model.sampleable)
            lines = start + np.flatnonzero(scored == self.model.newline)
            scores.append(
                TextScore(
                    surprisals=law.surprisals(scored),
                    hidden=self._forward.hidden(own[lines]),
                    mean_log_probs=law.mean_log_probs(),
                )
            )
        return scores


def _prefix(job: Job) -> bytes:
    """What has to be read before the prompt's last token is fed."""
    return bytes(job.prompt[:-1])


def _groups(lengths: Sequence[int]) -> list[range]:
    """Cuts ascending lengths into runs that fit the work space when padded to their longest."""
    groups, begin = [], 0
    for end in range(1, len(lengths) + 1):
        full = end == len(lengths)
        size = end - begin + 1
        if full or size > _PREFILL_ROWS or size * lengths[end] > _PREFILL_TOKENS:
            groups.append(range(begin, end))
            begin = end
    return groups

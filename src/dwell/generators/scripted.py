r"""A generator that follows a script: the test double, shipped as a first-class backend.

It knows no model. A draw is a function of its seed and its index alone, so neither the batch it
was made in nor the order of calls can change it. It can be slow, fail, halt at steps, carry
statistics and count FLOPs on demand, all deterministically, so whatever a real generator does to
a driver this one can do to a test.

A token is a word with the white space around it (`\S+\s*`), so texts split and join exactly.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dwell.errors import UsageError
from dwell.generators.scripted_describe import describe
from dwell.protocols import GenerateWork, Outcome
from dwell.records import Context, Draw, Usage
from dwell.requests import Perturb

ScriptFn: TypeAlias = Callable[[Context, int, np.random.Generator], "str | Draw"]
StatFn: TypeAlias = Callable[[Context, str], Any]
PerturbFn: TypeAlias = Callable[[Perturb, np.random.Generator], "str | Draw"]
#: One text or draw per seed of a work item; nothing of it is cut, counted or failed yet.
Writer: TypeAlias = Callable[[GenerateWork], "list[str] | list[str | Draw]"]

CAPABILITIES = frozenset({"partial", "step", "forbid_end", "shared_prefix"})

_TOKEN = re.compile(r"\s*\S+\s*")
_SALT_SCRIPT, _SALT_FAILURE, _SALT_LATENCY = 1, 2, 3
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniforms(seeds: Sequence[int] | NDArray[np.uint64], salt: int) -> NDArray[np.float64]:
    """Uniform numbers in `[0, 1)`, one per seed: `[K]` float64.

    The output function of splitmix64 on ``seed + salt * golden``, 53 bits kept.

    References:
        Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    with np.errstate(over="ignore"):
        z = np.asarray(seeds, dtype=np.uint64) + np.uint64(salt) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long a draw takes: ``(base + per_token * output tokens) * spread``.

    Attributes:
        base_seconds: fixed part, at least 0.
        seconds_per_token: part per output token, at least 0.
        sigma: the spread is log-normal with mean 1 and this sigma; 0 = no spread.
    """

    base_seconds: float = 0.0
    seconds_per_token: float = 0.0
    sigma: float = 0.0

    def __post_init__(self) -> None:
        if min(self.base_seconds, self.seconds_per_token, self.sigma) < 0:
            raise UsageError(f"a latency must not be negative, but got {self!r}.")

    def seconds(self, seeds: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Seconds of each draw, a function of its seed and its number of output tokens."""
        mean = self.base_seconds + self.seconds_per_token * np.asarray(tokens, dtype=np.float64)
        if self.sigma:
            # Box-Muller; 1 - u keeps the logarithm finite.
            first, second = uniforms(seeds, _SALT_LATENCY), uniforms(seeds, _SALT_LATENCY + 1)
            normal = np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * np.pi * second)
            mean = mean * np.exp(self.sigma * normal - self.sigma**2 / 2)
        seconds: list[float] = mean.tolist()
        return seconds


NO_LATENCY = Latency()


def split_tokens(text: str) -> list[str]:
    """The words of a text with the white space around them; their join is the text."""
    return _TOKEN.findall(text) or ([text] if text else [])


class Scripted:
    """A generator whose draws follow a script.

    Use `from_list`, `from_function` or `coin`. Every keyword of those three is described here.

    Args:
        writer: writes one text or draw per seed of a work item.
        script: JSON-able description of the script; part of the fingerprint.
        provides: capabilities that it claims; statistics named in `stats` are added.
        latency: modelled seconds of a draw.
        real_time: whether `generate` also waits for the longest of its draws.
        failure_rate: share of draws with status "failed", in `[0, 1]`.
        stats: functions (context, added text) -> statistic, by name.
        perturb_fn: answers `Perturb`; None = such requests are refused.
        flops_per_token: FLOPs per prompt or output token.
        max_batch: draws that one call takes.
        concurrency: calls that may be in flight.
        slots: draws of one run that modelled seconds take to be made at once.
        default_max_tokens: the cap where a request names none.

    Raises:
        UsageError: a rate is outside `[0, 1]` or a size below 1.
    """

    def __init__(
        self,
        writer: Writer,
        script: Mapping[str, Any],
        *,
        provides: frozenset[str] | set[str] = CAPABILITIES,
        latency: Latency = NO_LATENCY,
        real_time: bool = False,
        failure_rate: float = 0.0,
        stats: Mapping[str, StatFn] | None = None,
        perturb_fn: PerturbFn | None = None,
        flops_per_token: float = 0.0,
        max_batch: int = 65_536,
        concurrency: int = 64,
        slots: int = 64,
        default_max_tokens: int = 1024,
    ) -> None:
        _check_rate("failure_rate", failure_rate)
        for name, size in (
            ("max_batch", max_batch), ("concurrency", concurrency), ("slots", slots)
        ):  # fmt: skip
            if size < 1:
                raise UsageError(f"`{name}` must be at least 1, but got {name}={size}.")
        self._writer = writer
        self.latency = latency
        self._real_time = real_time
        self._failure_rate = failure_rate
        self._stats = dict(stats or {})
        self._perturb_fn = perturb_fn
        self._flops_per_token = flops_per_token
        self._sizes: dict[str, int] = {}
        self.provides = frozenset(provides).union(self._stats)
        self.max_batch = max_batch
        self.concurrency = concurrency
        self.slots = slots
        self.default_max_tokens = default_max_tokens
        self.info: Mapping[str, Any] = {"kind": "scripted", "name": "scripted", **script}
        described = {
            "script": script,
            "latency": repr(latency),
            "failure_rate": failure_rate,
            "flops_per_token": flops_per_token,
            "stats": {name: describe(fn) for name, fn in self._stats.items()},
            "perturb_fn": describe(perturb_fn),
        }
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        self.fingerprint = f"scripted:{digest.hexdigest()[:32]}"

    def __repr__(self) -> str:
        return f"Scripted({dict(self.info)!r})"

    @classmethod
    def from_list(cls, texts: Sequence[str | Draw], **options: Any) -> Scripted:
        r"""A generator whose i-th draw is the i-th text, begun again after the last.

        Where a context has a partial text that the i-th text begins with, the rest of the text
        is drawn, so that one list serves whole answers and continuations.

        Args:
            texts: whole assistant texts, or draws where status or statistics matter.
            **options: keywords of `Scripted`.

        Raises:
            UsageError: the list is empty.
        """
        items = list(texts)
        if not items:
            raise UsageError("`texts` must have at least one text, but got an empty list.")

        def write(work: GenerateWork) -> list[str | Draw]:
            partial = work.request.context.partial
            chosen = [items[i % len(items)] for i in work.indices]
            if not partial:
                return chosen
            return [x.removeprefix(partial) if isinstance(x, str) else x for x in chosen]

        script = {"script": "list", "texts": [describe(item) for item in items]}
        return cls(write, script, **options)

    @classmethod
    def from_function(cls, fn: ScriptFn, *, name: str | None = None, **options: Any) -> Scripted:
        """A generator whose draws are written by ``fn(context, index, rng)``.

        Args:
            fn: returns the text that continues the context, or a whole `Draw`; `rng` is seeded
                by the draw's own seed.
            name: names the script in the fingerprint. None = the function's code, defaults and
                the plain values that it closes over; other objects count by their type alone.
            **options: keywords of `Scripted`.
        """

        def write(work: GenerateWork) -> list[str | Draw]:
            context = work.request.context
            pairs = zip(work.indices, work.seeds, strict=True)
            return [fn(context, index, np.random.default_rng(seed)) for index, seed in pairs]

        script: dict[str, Any] = {"script": "function", "name": name}
        if name is None:
            script["name"] = getattr(fn, "__qualname__", type(fn).__qualname__)
            script["code"] = describe(fn)
        return cls(write, script, **options)

    @classmethod
    def coin(
        cls,
        rate: float = 0.3,
        right: str = "1",
        wrong: str = "0",
        *,
        steps: int = 1,
        **options: Any,
    ) -> Scripted:
        r"""A biased coin: an answer is right with exactly this probability.

        With `steps` = T an answer is T lines. Each line is right with probability
        ``rate ** (1 / T)`` while all lines before it were, and wrong ever after, so the last
        line (the answer) is right with probability `rate`, and a right prefix of t lines ends
        right with probability ``rate ** (1 - t / T)``: search has a known truth to find.

        Args:
            rate: probability of a right answer, in `[0, 1]`.
            right: a right line, without a newline.
            wrong: a wrong line, without a newline.
            steps: lines of an answer, at least 1.
            **options: keywords of `Scripted`.

        Raises:
            UsageError: `rate` or `steps` is out of range, or the two texts do not differ.
        """
        _check_rate("rate", rate)
        if steps < 1:
            raise UsageError(f"`steps` must be at least 1, but got steps={steps}.")
        if right == wrong or "\n" in right + wrong:
            raise UsageError(
                "`right` and `wrong` must be two different texts without a newline, "
                f"but got {right=}, {wrong=}."
            )
        step_rate = rate ** (1.0 / steps)

        def write(work: GenerateWork) -> list[str]:
            return _flip(work, step_rate, steps, right, wrong)

        script = {
            "script": "coin", "rate": rate, "right": right, "wrong": wrong, "steps": steps
        }  # fmt: skip
        return cls(write, script, **options)

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item, in order; draws are made in bulk, without waiting.

        Deterministic given each draw's seed, index and context.
        """
        outcomes = [Outcome(draws=self._draws(item)) for item in work]
        if self._real_time:
            await asyncio.sleep(max((d.seconds for o in outcomes for d in o.draws), default=0.0))
        return outcomes

    async def annotate(
        self, work: Sequence[tuple[Context, str]], want: frozenset[str]
    ) -> Sequence[Mapping[str, Any]]:
        """The scripted statistics of each (context, added text)."""
        return [self._statistics(context, text, want) for context, text in work]

    async def perturb(self, request: Perturb, seed: int) -> Draw:
        """The draw that the script's `perturb_fn` makes of a candidate.

        Raises:
            UsageError: the script has no `perturb_fn`.
        """
        if self._perturb_fn is None:
            raise UsageError(
                "a scripted generator answers `Perturb` by its `perturb_fn`, but it has none. "
                "Pass perturb_fn=."
            )
        made = self._perturb_fn(request, np.random.default_rng(seed))
        return made if isinstance(made, Draw) else Draw(text=made, output_tokens=self._size(made))

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """FLOPs of reading a prompt; a script takes no time for it."""
        return Usage(cached_tokens=prompt_tokens, flops=self._flops_per_token * prompt_tokens)

    async def close(self) -> None:
        """There is nothing to release."""

    def _size(self, text: str) -> int:
        size = self._sizes.get(text)
        if size is None:
            if len(self._sizes) > 4096:  # bounded: scripts by function may never repeat
                self._sizes.clear()
            size = self._sizes[text] = len(split_tokens(text))
        return size

    def _statistics(self, context: Context, text: str, want: frozenset[str]) -> dict[str, Any]:
        return {name: fn(context, text) for name, fn in self._stats.items() if name in want}

    def _draws(self, work: GenerateWork) -> list[Draw]:
        request = work.request
        context = request.context
        read = [text for _, text in context.messages] + [context.partial]
        prompt = sum(map(self._size, read))
        draws = [self._draw(made, work, prompt) for made in self._writer(work)]
        assert len(draws) == len(work.seeds), "a script writes one text per seed"
        if self.latency is not NO_LATENCY:
            seconds = self.latency.seconds(work.seeds, [draw.output_tokens for draw in draws])
            for draw, amount in zip(draws, seconds, strict=True):
                draw.seconds = amount
        if self._failure_rate:
            failed = uniforms(work.seeds, _SALT_FAILURE) < self._failure_rate
            for k in np.flatnonzero(failed).tolist():
                draws[k] = Draw(
                    status="failed", text="scripted failure", prompt_tokens=prompt,
                    seconds=draws[k].seconds,
                )  # fmt: skip
        return draws

    def _draw(self, made: str | Draw, work: GenerateWork, prompt: int) -> Draw:
        if isinstance(made, Draw):
            return replace(made)  # a copy: the script's own record may be drawn again
        request = work.request
        text, status = made, "end"
        if "\n" in made or request.stop:
            text, status = _cut(made, request.stop, request.until == "step")
        size = self._size(text)
        cap = request.max_tokens or self.default_max_tokens
        if size > cap:
            text, status, size = "".join(split_tokens(text)[:cap]), "cap", cap
        draw = Draw(
            text=text,
            prompt_tokens=prompt,
            output_tokens=size,
            flops=self._flops_per_token * (prompt + size),
        )
        if status != "end":
            draw.status = status  # type: ignore[assignment]
        if self._stats and request.want:
            draw.stats = self._statistics(request.context, text, request.want)
        return draw


def _check_rate(name: str, rate: float) -> None:
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"`{name}` must be in [0, 1], but got {name}={rate}.")


def _cut(text: str, stop: tuple[str, ...], at_step: bool) -> tuple[str, str]:
    """The text up to the first step delimiter or stop text, and the status.

    A step keeps its newline; a stop text is left out. A newline that ends the text is its end.
    """
    status = "end"
    first = text.find("\n") if at_step else -1
    if 0 <= first < len(text) - 1:
        text, status = text[: first + 1], "step"
    for piece in stop:
        found = text.find(piece)
        if found >= 0:
            text, status = text[:found], "end"
    return text, status


def _flip(work: GenerateWork, step_rate: float, steps: int, right: str, wrong: str) -> list[str]:
    """What a coin of several lines adds to a context, one text per seed."""
    written = work.request.context.partial.split("\n")[:-1]
    left = max(steps - len(written), 0)
    u = uniforms(work.seeds, _SALT_SCRIPT)
    if wrong in written or step_rate == 0.0:
        run = np.zeros(len(u), dtype=np.int64)
    elif step_rate == 1.0:
        run = np.full(len(u), left)
    else:
        # Lines that stay right are geometric: P(run >= t) = P(u < rate^t) = rate^t.
        with np.errstate(divide="ignore"):
            run = np.minimum(np.floor(np.log(u) / math.log(step_rate)), left).astype(np.int64)
    texts = ["\n".join([right] * t + [wrong] * (left - t)) for t in range(left + 1)]
    return [texts[t] for t in run.tolist()]

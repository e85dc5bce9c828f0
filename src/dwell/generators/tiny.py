"""The embedded models as a generator: a real language model, on a laptop, without torch.

The prompt template is the simplest one: the texts of the messages one after the other, then the
partial text. Drawing happens in a worker thread or in worker processes, so the event loop stays
free. Everything a draw holds is a function of (weights, context, parameters, seed): seconds are
modelled from tokens, never measured, so studies do not depend on how busy a machine is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dwell.errors import UsageError
from dwell.generators.tiny_engine import Job, Result, TextScore
from dwell.generators.tiny_models import WEAK_VERIFIER, model_folder, model_shape
from dwell.generators.tiny_pool import EnginePool
from dwell.generators.tiny_statistics import HEAD_FILE, Annotator, Written, load_head
from dwell.protocols import GenerateWork, Outcome
from dwell.records import Context, Draw, Usage

#: Part of the fingerprint: raised whenever the same weights and seeds give other draws.
ENGINE_VERSION = 1
DEFAULT_MAX_TOKENS = 160

#: Declared speed of modelled seconds: the engine's order of magnitude on two laptop cores.
MODELLED_FLOPS_PER_SECOND = 40e9
#: Draws that are taken to share that speed while they are written.
MODELLED_SLOTS = 64

_DRAWS_PER_CALL = 256
_CAPABILITIES = frozenset({"partial", "step", "forbid_end", "shared_prefix"})
_NO_HIDDEN = np.zeros((0, 0), np.float32)


class TinyGenerator:
    """An embedded model.

    Modelled seconds of a draw are ``a * prompt_tokens + b * output_tokens`` with
    ``a = 2 P / R`` and ``b = S a``: P multiplied parameters, R `MODELLED_FLOPS_PER_SECOND`, and
    S `MODELLED_SLOTS` draws written side by side, while a prompt is read at full speed.

    Args:
        name_or_path: a packaged model such as "tiny-0.8m", or the folder of an exported one.
        jobs: worker processes; 1 = draw in a thread of this process.
        temperature: used where a request names none; 0 is greedy.
        max_tokens: the cap where a request names none.
        batch: draws that one call takes; None = 256 for each job.

    Attributes:
        model: the weights.
        shape: the model's shape, for its cost.

    Raises:
        UsageError: no such model, or an argument is out of range.
    """

    def __init__(
        self,
        name_or_path: str | Path = "tiny-0.8m",
        jobs: int = 1,
        *,
        temperature: float = 1.0,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        batch: int | None = None,
    ) -> None:
        if max_tokens < 1 or not temperature >= 0.0 or (batch is not None and batch < 1):
            raise UsageError(
                "`max_tokens` and `batch` must be at least 1 and `temperature` at least 0, but "
                f"got {max_tokens=}, {batch=}, {temperature=}."
            )
        folder = model_folder(name_or_path)
        self._pool = EnginePool(folder, jobs=jobs)
        self.model = self._pool.model
        self.shape = model_shape(folder)
        found = load_head(folder)
        self._annotator = Annotator(self._pool, found[0] if found else None)
        self._temperature = temperature
        self._seconds_per_prompt_token = (
            2.0 * self.shape.product_weights / MODELLED_FLOPS_PER_SECOND
        )
        self._seconds_per_output_token = self._seconds_per_prompt_token * MODELLED_SLOTS
        self.default_max_tokens = max_tokens
        self.provides = _CAPABILITIES | self._annotator.names
        self.max_batch = batch or _DRAWS_PER_CALL * jobs
        self.concurrency = 2  # one call is drawn while the next one is made ready
        self.slots = MODELLED_SLOTS
        parts = (ENGINE_VERSION, self.model.fingerprint, found and found[1], temperature,
                 max_tokens)  # fmt: skip
        digest = hashlib.sha256(repr(parts).encode())
        self.fingerprint = f"tiny:{digest.hexdigest()[:32]}"
        self.info: Mapping[str, Any] = {
            "kind": "tiny",
            "name": folder.name,
            "num_parameters": self.model.num_parameters,
            "temperature": temperature,
            "max_tokens": max_tokens,
        }

    def __repr__(self) -> str:
        return f"TinyGenerator({self.info['name']!r}, jobs={self._pool.jobs})"

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item, in order; draws are a function of their seeds.

        A draw whose context fills the model's window has status "cap" and no text.

        Raises:
            UsageError: the context has a character that the model has no token for, or a stop
                text is longer than one character.
        """
        return await asyncio.to_thread(self._generate, work)

    async def annotate(
        self, work: Sequence[tuple[Context, str]], want: frozenset[str]
    ) -> Sequence[Mapping[str, Any]]:
        """Statistics of each (context, added text), with the bits that `generate` returns."""
        return await asyncio.to_thread(self._annotate, work, want)

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """FLOPs and modelled seconds of reading a prompt."""
        return Usage(
            cached_tokens=prompt_tokens,
            flops=float(self.shape.prefill_flops(prompt_tokens)),
            seconds=self._seconds_per_prompt_token * prompt_tokens,
        )

    async def close(self) -> None:
        """Ends the worker processes."""
        await asyncio.to_thread(self._pool.close)

    def _annotate(
        self, work: Sequence[tuple[Context, str]], want: frozenset[str]
    ) -> list[Mapping[str, Any]]:
        texts = [(prompt_text(context), context.partial + added) for context, added in work]
        found = self._annotator.read(texts)
        return [self._annotator.statistics(written, want) for written in found]

    def _generate(self, work: Sequence[GenerateWork]) -> list[Outcome]:
        jobs: list[Job] = []
        places: list[range] = []
        for item in work:
            made = self._jobs(item)
            places.append(range(len(jobs), len(jobs) + len(made)))
            jobs += made
        results = self._pool.generate(jobs)
        partials = self._partials(work)
        outcomes = []
        for item, place in zip(work, places, strict=True):
            if not place:
                outcomes.append(Outcome([self._full(item) for _ in item.seeds]))
                continue
            found = [results[k] for k in place]
            outcomes.append(Outcome(self._draws(item, found, partials)))
        return outcomes

    def _jobs(self, item: GenerateWork) -> list[Job]:
        """The engine's jobs of a work item; none where the context fills the window."""
        request = item.request
        model = self.model
        prompt = tuple(model.encode(prompt_text(request.context) + request.context.partial))
        if not 1 <= len(prompt) < model.config.max_positions:
            return []
        if any(len(text) != 1 for text in request.stop):
            raise UsageError(
                "a stop text of an embedded model must be one character, but got "
                f"stop={request.stop}."
            )
        temperature = self._temperature if request.temperature is None else request.temperature
        return [
            Job(
                prompt=prompt,
                key=seed,
                max_tokens=request.max_tokens or self.default_max_tokens,
                temperature=temperature,
                until=request.until,
                stop_tokens=frozenset(model.encode("".join(request.stop))),
                forbid_end=request.forbid_end,
                want=self._engine_wants(request.want),
            )
            for seed in item.seeds
        ]

    def _engine_wants(self, want: frozenset[str]) -> frozenset[str]:
        """What the engine has to keep; all of it, since a text may be continued."""
        if not want & self._annotator.names:
            return frozenset()
        hidden = {"hidden"} if "step_value" in self._annotator.names else set[str]()
        return frozenset({"surprisal", "mean_log_prob"} | hidden)

    def _partials(self, work: Sequence[GenerateWork]) -> dict[tuple[str, str], Written]:
        """What is known of the partial texts that are continued with statistics."""
        pairs = [
            (prompt_text(item.request.context), item.request.context.partial)
            for item in work
            if item.request.want & self._annotator.names
        ]
        unique = list(dict.fromkeys(pair for pair in pairs if self._fits(pair)))
        return dict(zip(unique, self._annotator.read(unique), strict=True))

    def _fits(self, pair: tuple[str, str]) -> bool:
        return 1 <= len(pair[0]) + len(pair[1]) < self.model.config.max_positions

    def _full(self, item: GenerateWork) -> Draw:
        """A draw for which the window has no room left."""
        context = item.request.context
        stats = None
        if item.request.want & self._annotator.names:
            text = context.partial[: self.model.config.max_positions - 1]
            stats = self._annotator.statistics(
                self._annotator.read([(prompt_text(context), text)])[0], item.request.want
            )
        return Draw(status="cap", stats=stats)

    def _draws(
        self,
        item: GenerateWork,
        results: Sequence[Result],
        partials: Mapping[tuple[str, str], Written],
    ) -> list[Draw]:
        read = results[0].prompt_tokens
        counts = np.array([len(result.tokens) for result in results])
        prefill = float(self.shape.prefill_flops(read))
        flops = (prefill + self.shape.decode_flops(read, counts)).tolist()
        draws = []
        for result, index, amount in zip(results, item.indices, flops, strict=True):
            written = len(result.tokens)
            draw = Draw(
                status=result.status,
                text=self._text(item, result),
                prompt_tokens=read,
                # by rule, not by what the engine's cache happened to hold: later draws of a key
                # share the prompt with the first
                cached_tokens=read if index else 0,
                output_tokens=written,
                flops=amount,
                seconds=self._seconds_per_prompt_token * read
                + self._seconds_per_output_token * written,
            )
            if item.request.want & self._annotator.names:
                draw.stats = self._draw_statistics(item, result, draw.text, partials)
            draws.append(draw)
        return draws

    def _text(self, item: GenerateWork, result: Result) -> str:
        """The characters written, without the end token or the stop text that ended them."""
        text = self.model.decode(result.tokens)
        stopped = result.status == "end" and text[-1:] in item.request.stop and text
        return text[:-1] if stopped and result.tokens[-1] != self.model.eos else text

    def _draw_statistics(
        self,
        item: GenerateWork,
        result: Result,
        text: str,
        partials: Mapping[tuple[str, str], Written],
    ) -> dict[str, Any]:
        context = item.request.context
        prompt = prompt_text(context)
        assert result.surprisals is not None
        assert result.mean_log_probs is not None
        hidden = _NO_HIDDEN if result.hidden is None else result.hidden
        score = TextScore(
            surprisals=result.surprisals,
            hidden=hidden[: text.count("\n")],  # a newline that was a stop text is left out
            mean_log_probs=result.mean_log_probs,
        )
        before = partials[prompt, context.partial]
        written = self._annotator.join(prompt, context.partial, text, before, score)
        if result.status == "step":
            self._annotator.keep(prompt, context.partial + text, written)
        return self._annotator.statistics(written, item.request.want)


def prompt_text(context: Context) -> str:
    """The embedded models' template: the messages' texts, one after the other."""
    return "".join(text for _, text in context.messages)


class StepScorer:
    """Reads texts with an embedded model and gives its head's logit at every newline.

    What the weak process verifier runs on; a second forward pass over prompt and text.

    Args:
        name_or_path: the folder of a model with a value head.
        jobs: worker processes; 1 = a thread of this process.

    Attributes:
        fingerprint: names weights and head.

    Raises:
        UsageError: no such model, or it has no head.
    """

    def __init__(self, name_or_path: str | Path, jobs: int = 1) -> None:
        folder = model_folder(name_or_path)
        found = load_head(folder)
        if found is None:
            raise UsageError(f"a verifier model must have a {HEAD_FILE}, but {folder} has none.")
        self._pool = EnginePool(folder, jobs=jobs)
        self._annotator = Annotator(self._pool, found[0])
        self._shape = model_shape(folder)
        digest = hashlib.sha256(repr((self._pool.model.fingerprint, found[1])).encode())
        self.fingerprint = f"tiny-scorer:{digest.hexdigest()[:32]}"

    def logits(self, texts: Sequence[tuple[Context, str]]) -> list[tuple[Sequence[float], int]]:
        """The logits at the newlines of each (context, whole text), and the tokens read for them.

        Blocks while it reads; call it from a thread.
        """
        room = self._pool.model.config.max_positions
        pairs = [
            (prompt := prompt_text(context), text[: room - len(prompt)]) for context, text in texts
        ]
        found = self._annotator.read(pairs)
        return [
            (written.step_values.tolist(), len(prompt) + len(text))
            for written, (prompt, text) in zip(found, pairs, strict=True)
        ]

    def flops(self, tokens: int) -> float:
        """FLOPs of reading this many tokens."""
        return float(self._shape.prefill_flops(tokens))

    def seconds(self, tokens: int) -> float:
        """Modelled seconds of reading this many tokens."""
        return 2.0 * self._shape.product_weights * tokens / MODELLED_FLOPS_PER_SECOND

    def close(self) -> None:
        """Ends the worker processes."""
        self._pool.close()


def weak_scorer() -> StepScorer:
    """The network of the weak process verifier that ships with the package."""
    return StepScorer(WEAK_VERIFIER.path)

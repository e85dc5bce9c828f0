"""A local Hugging Face checkpoint as a generator: torch, in this process, on a CPU or a GPU.

All draws of a request share one reading of its prompt, requests of a study are drawn side by
side, and what was read is kept for texts that begin alike. A draw is a function of (weights,
context, parameters, seed), except that floating point rounds differently in batches of other
shapes: where two tokens are nearly tied at the draw's uniform, another one may be taken. Seconds
are modelled from tokens, as those of the embedded models, never measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dwell.errors import GeneratorError, UsageError
from dwell.generators.transformers_decoding import Decoder, Job, Written
from dwell.generators.transformers_prompts import Prompts, Template
from dwell.generators.transformers_sampling import Filters
from dwell.protocols import GenerateWork, Outcome
from dwell.records import Context, Draw, Usage
from dwell.torch_checkpoints import Checkpoint, load_checkpoint

#: Part of the fingerprint: raised whenever the same weights and seeds give other draws.
ENGINE_VERSION = 1
DEFAULT_MAX_TOKENS = 512
#: Draws that are taken to share the declared speed while they are written.
MODELLED_SLOTS = 64

STATISTICS = frozenset({"surprisal", "self_certainty"})
_CAPABILITIES = frozenset({"partial", "step", "forbid_end", "shared_prefix"})
_KEPT_TEXTS = 4096
#: All tokens of a prompt and an assistant's text, and where the text begins.
Split = tuple[tuple[int, ...], int]
#: `[T]` surprisals and mean log-probabilities of an assistant's text, in nats.
Measured = tuple[np.ndarray, np.ndarray]
_NOTHING: Measured = (np.zeros(0, np.float32), np.zeros(0, np.float32))


class TransformersGenerator:
    """A causal language model from a local folder.

    Modelled seconds of a draw are ``a * prompt_tokens + b * output_tokens`` with ``a = 2 P / R``
    and ``b = S a``: P multiplied parameters, R the declared speed, S `MODELLED_SLOTS`.

    Args:
        path: the checkpoint's folder.
        temperature: used where a request names none; None = the checkpoint's, else 1; 0 = greedy.
        top_p: share of the probability that is kept; None = the checkpoint's, else 1.
        top_k: most tokens that are kept, 0 = all; None = the checkpoint's, else 0.
        max_tokens: the cap where a request names none.
        batch: draws written side by side.
        device: "cpu", "cuda", "cuda:1"; None = a GPU if there is one.
        dtype: "float32", "bfloat16" or "float16"; None = float32 on a CPU, the checkpoint's own
            elsewhere.
        step_delimiter: the text that ends a step.
        closing: texts whose tokens may not come first where a text must not end yet, beside the
            end token: "</think>" of a reasoning model.
        template: "chat" or "plain"; None = "chat" where the tokenizer has a chat template.
        template_options: further arguments of the chat template.
        cache_tokens: positions of earlier texts whose keys and values are kept; 0 = none.
        flops_per_second: the declared speed of modelled seconds.

    Attributes:
        checkpoint: the loaded model.

    Raises:
        UsageError: an argument is out of range, or the folder holds no such model.
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        batch: int = 64,
        device: str | None = None,
        dtype: str | None = None,
        step_delimiter: str = "\n",
        closing: Sequence[str] = (),
        template: Template | None = None,
        template_options: Mapping[str, Any] | None = None,
        cache_tokens: int = 16384,
        flops_per_second: float | None = None,
    ) -> None:
        if max_tokens < 1 or batch < 1 or cache_tokens < 0 or not step_delimiter:
            raise UsageError(
                "`max_tokens` and `batch` must be at least 1, `cache_tokens` at least 0 and "
                f"`step_delimiter` not empty, but got {max_tokens=}, {batch=}, {cache_tokens=}, "
                f"{step_delimiter=}."
            )
        self.checkpoint = load_checkpoint(
            path,
            "AutoModelForCausalLM",
            device=device,
            dtype=dtype,
            flops_per_second=flops_per_second,
        )
        settings = self.checkpoint.model.generation_config
        self._temperature = float(_first(temperature, settings.temperature, 1.0))
        if not 0.0 <= self._temperature < math.inf:
            raise UsageError(f"`temperature` must be at least 0, but got {temperature=}.")
        self._filters = Filters(
            top_p=float(_first(top_p, settings.top_p, 1.0)),
            top_k=int(_first(top_k, settings.top_k, 0)),
        )
        self._delimiter = step_delimiter
        self._prompts = Prompts(
            self.checkpoint.tokenizer,
            self.checkpoint.folder,
            self.checkpoint.model.get_input_embeddings().weight.shape[0],
            template,
            template_options or {},
        )
        self._drawable = drawable_tokens(self.checkpoint)
        ends = end_tokens(self.checkpoint)
        self._decoder = Decoder(
            self.checkpoint,
            self._filters,
            ends,
            ends | {self._prompts.tokens_of(text)[0] for text in closing},
            self._drawable,
            cache_tokens,
        )
        self._ends = ends
        self._log_vocabulary = math.log(np.count_nonzero(self._drawable))
        self._known: OrderedDict[Split, Measured] = OrderedDict()
        self._lock = threading.Lock()  # the network draws one batch at a time
        self.default_max_tokens = max_tokens
        self.provides = _CAPABILITIES | STATISTICS
        self.max_batch = batch
        self.concurrency = 2  # one call is drawn while the next one is made ready
        self.slots = MODELLED_SLOTS
        settled: dict[str, Any] = {
            "temperature": self._temperature,
            "top_p": self._filters.top_p,
            "top_k": self._filters.top_k,
            "max_tokens": max_tokens,
            "template": self._prompts.template,
            "step_delimiter": step_delimiter,
        }
        parts = (ENGINE_VERSION, self.checkpoint.fingerprint, sorted(settled.items()),
                 tuple(closing), sorted((template_options or {}).items()))  # fmt: skip
        self.fingerprint = f"transformers:{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"
        self.info: Mapping[str, Any] = {
            "kind": "transformers",
            "name": self.checkpoint.folder.name,
            "num_parameters": self.checkpoint.costs.num_parameters,
            "dtype": str(self.checkpoint.model.dtype).removeprefix("torch."),
            **settled,
        }

    def __repr__(self) -> str:
        return f"TransformersGenerator({str(self.checkpoint.folder)!r})"

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item, in order.

        A draw whose context fills the model's window has status "cap" and no text.

        Raises:
            UsageError: the context is empty, or has a character that the model has no token for.
            GeneratorError: the GPU has not memory enough for a batch, or the model gives NaN.
        """
        try:
            return await asyncio.to_thread(self._generate, work)
        except torch.OutOfMemoryError as error:
            raise GeneratorError(
                f"A batch must fit the GPU's memory, but {self.max_batch} draws did not. "
                "Lower `batch` or `max_tokens`.",
                hopeless=True,
            ) from error

    async def annotate(
        self, work: Sequence[tuple[Context, str]], want: frozenset[str]
    ) -> Sequence[Mapping[str, Any]]:
        """Statistics of each (context, added text)."""
        return await asyncio.to_thread(self._annotate, work, want)

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """FLOPs and modelled seconds of reading a prompt."""
        costs = self.checkpoint.costs
        return Usage(
            cached_tokens=prompt_tokens,
            flops=costs.read(prompt_tokens),
            seconds=costs.seconds_per_token * prompt_tokens,
        )

    async def close(self) -> None:
        """Forgets what was kept of earlier texts; the weights stay."""
        with self._lock:
            self._decoder.prefixes.clear()

    def _generate(self, work: Sequence[GenerateWork]) -> list[Outcome]:
        prompts = [self._split(item.request.context) for item in work]
        jobs = [
            self._jobs(item, tokens) if self._fits(tokens) else []
            for item, (tokens, _) in zip(work, prompts, strict=True)
        ]
        with self._lock:
            flat = [job for some in jobs for job in some]
            written = iter(self._decoder.draw(flat) if flat else [])
            before = self._before(work, prompts)
        outcomes = []
        for item, some, place in zip(work, jobs, prompts, strict=True):
            if some:
                made = [next(written) for _ in some]
                outcomes.append(Outcome(self._draws(item, made, before.get(place, _NOTHING))))
            else:
                outcomes.append(Outcome([self._full(item) for _ in item.seeds]))
        return outcomes

    def _split(self, context: Context) -> Split:
        return self._prompts.split(context, context.partial)

    def _fits(self, tokens: tuple[int, ...]) -> bool:
        window = self.checkpoint.window
        return window is None or len(tokens) < window

    def _jobs(self, item: GenerateWork, tokens: tuple[int, ...]) -> list[Job]:
        request = item.request
        temperature = self._temperature if request.temperature is None else request.temperature
        return [
            Job(
                prompt=tokens,
                key=seed,
                max_tokens=request.max_tokens or self.default_max_tokens,
                temperature=temperature,
                stops=request.stop,
                delimiter=self._delimiter if request.until == "step" else None,
                forbid_end=request.forbid_end,
                measure=bool(request.want & STATISTICS),
            )
            for seed in item.seeds
        ]

    def _before(
        self, work: Sequence[GenerateWork], prompts: Sequence[Split]
    ) -> dict[Split, Measured]:
        """What is known of the partial texts that are continued with statistics.

        Texts that a step ended in are remembered; others are read again.
        """
        found = {
            (tokens, start): self._known.get((tokens, start))
            for item, (tokens, start) in zip(work, prompts, strict=True)
            if item.request.want & STATISTICS and start < len(tokens) and self._fits(tokens)
        }
        missing = [place for place, measured in found.items() if measured is None]
        known = {place: measured for place, measured in found.items() if measured is not None}
        return known | dict(zip(missing, self._decoder.read(missing), strict=True))

    def _draws(self, item: GenerateWork, made: Sequence[Written], before: Measured) -> list[Draw]:
        costs = self.checkpoint.costs
        read = len(made[0].job.prompt)
        prompt_flops = costs.read(read)
        write = costs.seconds_per_token * MODELLED_SLOTS
        flops = costs.written(read, np.array([len(draw.tokens) for draw in made]))
        draws = []
        for draw, index, amount in zip(made, item.indices, flops.tolist(), strict=True):
            count = len(draw.tokens)
            assert draw.status is not None
            stats = None
            if item.request.want & STATISTICS:
                measured = self._measured(draw, before)
                stats = self._statistics(measured, item.request.want)
                if draw.status == "step":
                    self._keep(item.request.context, draw, measured)
            draws.append(
                Draw(
                    status=draw.status,
                    text=draw.text,
                    prompt_tokens=read,
                    # by rule, not by what happened to be kept: later draws share the first's
                    cached_tokens=read if index else 0,
                    output_tokens=count,
                    flops=prompt_flops + amount,
                    seconds=costs.seconds_per_token * read + write * count,
                    stats=stats,
                )
            )
        return draws

    def _full(self, item: GenerateWork) -> Draw:
        """A draw for which the window has no room left."""
        context, want = item.request.context, item.request.want
        stats = self._annotate([(context, "")], want)[0] if want & STATISTICS else None
        return Draw(status="cap", stats=stats)

    def _measured(self, draw: Written, before: Measured) -> Measured:
        """The statistics' numbers of the partial text and the tokens that are in the draw's."""
        count = len(draw.tokens) - (draw.tokens[-1] in self._ends)
        spell, prompt = self._decoder.speller.text, draw.job.prompt
        if draw.status in ("end", "step") and draw.tokens[-1] not in self._ends:
            # tokens that lie behind where the text was cut
            while count and len(spell(prompt, draw.tokens[: count - 1])) >= len(draw.text):
                count -= 1
        added = (draw.surprisals[:count], draw.mean_log_probs[:count])
        return (
            np.concatenate([before[0], np.array(added[0], np.float32)]),
            np.concatenate([before[1], np.array(added[1], np.float32)]),
        )

    def _keep(self, context: Context, draw: Written, measured: Measured) -> None:
        """Remembers a text that may be continued, if it will be read as it was written."""
        place = self._prompts.split(context, context.partial + draw.text)
        if place[0] == (*draw.job.prompt, *draw.tokens):
            self._known[place] = measured
            if len(self._known) > _KEPT_TEXTS:
                self._known.popitem(last=False)

    def _annotate(
        self, work: Sequence[tuple[Context, str]], want: frozenset[str]
    ) -> list[Mapping[str, Any]]:
        texts = [self._prompts.split(context, context.partial + added) for context, added in work]
        window = self.checkpoint.window
        shown = [(tokens[:window], start) for tokens, start in texts]
        some = [(tokens, start) for tokens, start in shown if start < len(tokens)]
        with self._lock:
            read = iter(self._decoder.read(some) if some else [])
        return [
            self._statistics(next(read) if start < len(tokens) else _NOTHING, want)
            for tokens, start in shown
        ]

    def _statistics(self, measured: Measured, want: frozenset[str]) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        if "surprisal" in want:
            stats["surprisal"] = measured[0]
        if "self_certainty" in want:
            means = measured[1].astype(np.float64)
            stats["self_certainty"] = (
                float(-self._log_vocabulary - means.mean()) if len(means) else math.nan
            )
        return stats


def end_tokens(checkpoint: Checkpoint) -> frozenset[int]:
    """The tokens that end a text, as the checkpoint declares them."""
    declared = checkpoint.model.generation_config.eos_token_id
    if declared is None:
        declared = checkpoint.tokenizer.eos_token_id
    if declared is None:
        return frozenset()
    return frozenset(declared if isinstance(declared, list | tuple) else [declared])


def drawable_tokens(checkpoint: Checkpoint) -> np.ndarray:
    """`[V]` bool: which tokens may be drawn at all.

    Left out are rows of the output that no token belongs to, the padding token where it is not
    the end token, and what the checkpoint's `suppress_tokens` names.
    """
    size = checkpoint.model.get_output_embeddings().weight.shape[0]
    drawable = np.arange(size) < len(checkpoint.tokenizer)
    pad = checkpoint.tokenizer.pad_token_id
    left_out = {*(checkpoint.model.generation_config.suppress_tokens or ())}
    if pad is not None and pad not in end_tokens(checkpoint):
        left_out.add(pad)
    drawable[[token for token in left_out if token < size]] = False
    return drawable


def _first(*values: Any) -> Any:
    """The first value that is not None."""
    return next(value for value in values if value is not None)

"""A strategy or a plan as a model of lm-evaluation-harness, over an OpenAI-compatible server.

    import dwell.lm_eval, lm_eval
    lm_eval.simple_evaluate(model="dwell", model_args={
        "base_url": "http://localhost:8000/v1", "model": "qwen3-8b", "strategy": "majority:n=8"},
        tasks=["gsm8k"])

    python -m dwell.lm_eval run --model dwell --tasks gsm8k \
        --model_args base_url=http://localhost:8000/v1,model=qwen3-8b,strategy=majority:n=8

The harness finds other people's models where their module is imported; the second line is its
own command line with this module imported. It evaluates `generate_until` tasks: a strategy gives
answers, and has no likelihoods.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from dwell.errors import DwellError, MissingExtraError, UsageError
from dwell.generators.registry import make_generator, weak_scorer
from dwell.hosted_study import HostedStudy, HostedTask, Ran, limits_of
from dwell.protocols import Continues, GenerateWork, Generator, Outcome, Strategy, Verifier
from dwell.records import Problem, Role, Usage
from dwell.requests import Generate
from dwell.strategies import parse
from dwell.tasks import TASKS
from dwell.verifiers import make_verifier

try:
    import lm_eval.models  # noqa: F401 - the harness lists its own only while it knows no other
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
    from tqdm import tqdm
except ImportError as error:
    raise MissingExtraError("`dwell.lm_eval`", "lm_eval", "lm-eval") from error

logger = logging.getLogger(__name__)
_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant"
}  # fmt: skip
#: What of a task's generation arguments is understood.
_KNOWN = {"until", "max_gen_toks", "max_tokens", "temperature", "do_sample"}


class Sampled:
    """A generator with defaults of a task: stop texts, a cap and a temperature.

    Args:
        inner: makes the draws.
        stop: texts that halt every output.
        max_tokens: cap where a request names none; None = the generator's.
        temperature: where a request names none; None = the generator's.
    """

    def __init__(
        self,
        inner: Generator,
        stop: tuple[str, ...] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> None:
        self._inner, self._stop = inner, stop
        self._max_tokens, self._temperature = max_tokens, temperature
        self.max_batch, self.concurrency = inner.max_batch, inner.concurrency
        self.slots, self.provides = inner.slots, inner.provides
        self.default_max_tokens = max_tokens or inner.default_max_tokens
        self.fingerprint, name = inner.fingerprint, str(inner.info["name"])
        own = {"max_tokens": max_tokens, "temperature": temperature, "stop": stop or None}
        if given := {key: value for key, value in own.items() if value is not None}:
            text = json.dumps(given, sort_keys=True)
            self.fingerprint += ":" + hashlib.sha256(text.encode()).hexdigest()[:16]
            name += "".join(f" {key}={value}" for key, value in given.items())
        self.info: Mapping[str, Any] = {**inner.info, "name": name}

    async def generate(self, work: Sequence[GenerateWork]) -> Sequence[Outcome]:
        """One outcome per work item."""
        return await self._inner.generate(
            [replace(item, request=self._with_defaults(item.request)) for item in work]
        )

    def _with_defaults(self, request: Generate) -> Generate:
        temperature = request.temperature
        return replace(
            request,
            stop=(*request.stop, *self._stop),
            max_tokens=request.max_tokens or self._max_tokens,
            temperature=self._temperature if temperature is None else temperature,
        )

    def shared_prompt(self, prompt_tokens: int) -> Usage:
        """What reading a prompt costs."""
        return self._inner.shared_prompt(prompt_tokens)

    async def close(self) -> None:
        """Release the inner generator."""
        await self._inner.close()


@register_model("dwell")
class DwellLM(LM):
    """What the harness calls: it answers every `generate_until` request by a strategy.

    Args:
        base_url: the server's address, up to and including the version; None = the model is an
            embedded one.
        model: the model's name.
        strategy: as on the command line, ``majority:n=8`` or ``plan:plan.json``; for the
            harness's `--model_args`, which has commas of its own, with semicolons:
            ``best_of_n:n=8;verifier=agreement``.
        ledger: folder to remember draws in, as any study's; None = nothing is kept.
        checker: how answers are read for votes, as in a task file.
        reference: field of a task's documents with the right answer, so that the folder can be
            replayed and planned on.
        api: "chat" or "completions".
        temperature: None = what the task asks for if it samples, else the server's own: a task's
            greedy decoding would draw the same answer again and again.
        max_tokens: cap on an answer where the task names none.
        samples: at most so many draws a document.
        tokens: at most so many output tokens a document.
        concurrency: calls on the wire.
        api_key_env: name of the environment variable that holds the key.
        seed: decides streams and all randomness; a repeat is a stream.
        generator: makes the draws, in the place of a server's model.
        ignored: the harness's own, such as batch_size.

    Attributes:
        accounts: what was done for each request of the last call, in order.

    Raises:
        UsageError: an unknown strategy or checker, or no model.
    """

    def __init__(
        self,
        base_url: str | None = None,
        model: str | None = None,
        strategy: str | Strategy = "majority:n=8",
        *,
        ledger: str | None = None,
        checker: str = "vote",
        reference: str | None = None,
        api: str = "chat",
        temperature: float | None = None,
        max_tokens: int = 1024,
        samples: int | None = None,
        tokens: int | None = None,
        concurrency: int = 32,
        api_key_env: str = "OPENAI_API_KEY",
        seed: int = 0,
        generator: Generator | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__()
        if unknown := sorted(set(ignored) - {"batch_size", "max_batch_size", "device"}):
            raise UsageError(
                f"`--model dwell` takes the arguments that its documentation lists, but got "
                f"{', '.join(unknown)}. Leave them out."
            )
        _check_numbers(temperature=temperature, max_tokens=max_tokens, concurrency=concurrency,
                       seed=seed)  # fmt: skip
        self._generator = generator or _generator(
            base_url, model, max_tokens,
            {"api": api, "concurrency": concurrency, "api_key_env": api_key_env},
        )  # fmt: skip
        self._strategy = _strategy(strategy)
        self._study = HostedStudy(None if ledger is None else str(ledger), seed=seed)
        self._checker, self._reference = str(checker), reference
        HostedTask("", self._checker)  # refused before anything is asked
        self._temperature = temperature
        self._limits = limits_of(samples=samples, tokens=tokens)
        self._unknown: set[str] = set()
        self._window = max(4 * concurrency, 64)
        self.accounts: list[dict[str, Any]] = []

    @property
    def tokenizer_name(self) -> str:
        """What the harness names its caches of requests after."""
        return f"dwell-{self._generator.info['name']}"

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as JSON; the server knows its own template."""
        return json.dumps(chat_history, ensure_ascii=False)

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        """Refused: a strategy has no likelihoods."""
        raise UsageError(
            "A strategy answers `generate_until` tasks, but this task asks for log-likelihoods. "
            "Choose its generative variant (gsm8k, mmlu_generative, *_cot), or evaluate the model "
            "itself with --model local-completions."
        )

    def loglikelihood_rolling(self, requests: list[Instance]) -> NoReturn:
        """Refused: a strategy has no likelihoods."""
        self.loglikelihood(requests)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The chosen completion of each request, in order.

        Raises:
            UsageError: the strategy cannot be run on this model.
            GeneratorError: the server refuses every call, or cannot be reached.
        """
        runs = asyncio.run(self._all(requests, disable_tqdm))
        self.accounts = [ran.account() for ran in runs]
        return [ran.chosen.text for ran in runs]

    async def _all(self, requests: Sequence[Instance], quiet: bool) -> list[Ran]:
        verifiers = {
            name: make_verifier(name, scorer=weak_scorer)
            for name in sorted(self._strategy.verifiers())
        }
        seen: Counter[str] = Counter()
        room = asyncio.Semaphore(self._window)
        if "partial" in self._strategy.needs and isinstance(self._generator, Continues):
            await self._generator.find_continuation()
        bar = tqdm(total=len(requests), desc=self._strategy.spec(), disable=quiet)
        tasks = []
        for request in requests:
            problem, task = self._problem(request)
            repetition, seen[problem.id] = seen[problem.id], seen[problem.id] + 1
            sampled = self._sampled(request.args[1])
            work = self._one(room, problem, task, sampled, repetition, verifiers)
            tasks.append(asyncio.ensure_future(work))
            tasks[-1].add_done_callback(lambda _: bar.update())
        try:
            return list(await asyncio.gather(*tasks))
        finally:  # where one failed, the others are not paid for in vain
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._generator.close()
            bar.close()

    async def _one(
        self,
        room: asyncio.Semaphore,
        problem: Problem,
        task: HostedTask,
        generator: Generator,
        repetition: int,
        verifiers: Mapping[str, Verifier],
    ) -> Ran:
        async with room:
            return await self._study.solve(
                problem, self._strategy, generator, task, verifiers=verifiers,
                limits=self._limits, repetition=repetition,
            )  # fmt: skip

    def _problem(self, request: Instance) -> tuple[Problem, HostedTask]:
        """A request as a problem of the harness's task."""
        name = request.task_name or "lm_eval"
        name = f"{name} of lm-eval" if name in TASKS else name
        task = HostedTask(name, self._checker)
        messages = _messages(request.args[0])
        reference = None
        if self._reference is not None:
            right = _field(request.doc, self._reference)
            reference = None if right is None else task.extract(Problem(id="", prompt=""), right)
        digest = hashlib.sha256(repr(messages).encode("utf-8", "surrogatepass")).hexdigest()[:8]
        problem = Problem(
            id=f"{name}/{request.doc_id}-{digest}",
            prompt=messages[-1][1],
            task=name,
            reference=reference,
            messages=messages,
        )
        return problem, task

    def _sampled(self, options: Mapping[str, Any]) -> Sampled:
        """The model as a task samples it."""
        if unknown := sorted(set(options) - _KNOWN - self._unknown):
            self._unknown |= set(unknown)
            logger.warning("dwell does not pass on %s of the task", ", ".join(unknown))
        until = options.get("until") or ()
        temperature = self._temperature
        if temperature is None and options.get("do_sample") and options.get("temperature"):
            temperature = float(options["temperature"])
        return Sampled(
            self._generator,
            stop=(until,) if isinstance(until, str) else tuple(until),
            max_tokens=options.get("max_gen_toks") or options.get("max_tokens"),
            temperature=temperature,
        )


def _check_numbers(**given: Any) -> None:
    """Refuse what the harness's `--model_args` made of a text that is no number."""
    for name, value in given.items():
        if name == "temperature":
            fits = value is None or (isinstance(value, int | float) and value >= 0)
            what = "a number of at least 0"
        else:
            least = 0 if name == "seed" else 1
            fits = isinstance(value, int) and value >= least
            what = f"a whole number of at least {least}"
        if not fits:
            raise UsageError(f"`{name}` must be {what}, but got {value!r}. Mend it.")


def _strategy(given: str | Strategy) -> Strategy:
    """A strategy, whose verifiers can be made here."""
    chosen = parse(given.replace(";", ",")) if isinstance(given, str) else given
    if not isinstance(chosen, Strategy):
        raise UsageError(f"`strategy` must be one or its name, but got {given!r}. Name one.")
    for name in sorted(chosen.verifiers()):
        make_verifier(name, scorer=weak_scorer)
    return chosen


def _field(document: Mapping[str, Any], name: str) -> str | None:
    """A document's single right answer; None where it has several or none.

    Raises:
        UsageError: it has no such field.
    """
    if name not in document:
        raise UsageError(
            f"`reference` must be a field of the task's documents ({', '.join(document)}), but "
            f"got {name!r}. Name one of those."
        )
    value = document[name]
    if isinstance(value, list | tuple):
        value = value[0] if len(value) == 1 else None
    return None if value is None else str(value)


def _generator(
    base_url: str | None, model: str | None, max_tokens: int, options: Mapping[str, Any]
) -> Generator:
    """A server's model, or an embedded one where there is no server."""
    if model is None:
        raise UsageError(
            "`--model dwell` needs the name of a model, but got none. Write for example "
            "--model_args base_url=http://localhost:8000/v1,model=NAME,strategy=majority:n=8"
        )
    model = str(model)
    if base_url is None:
        return make_generator(model, max_tokens=max_tokens)
    return make_generator(f"openai:{model}", base_url=base_url, max_tokens=max_tokens, **options)


def _messages(context: str) -> tuple[tuple[Role, str], ...]:
    """The messages of a request: of a chat as `apply_chat_template` wrote it, or one text."""
    if context.startswith("["):
        try:
            history = json.loads(context)
            return tuple((_ROLES[one["role"]], str(one["content"])) for one in history)
        except (ValueError, TypeError, KeyError):
            pass  # a prompt that only looks like one
    return (("user", context),)


def main() -> None:
    """The harness's own command line; what dwell refuses is one line, as from its own commands."""
    try:
        cli_evaluate()
    except DwellError as error:
        print(f"dwell: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

"""What a client asks: a request's body and headers, checked.

Everything that the protocol defines and we do not is passed on to the model as it came. Ours are
the field `dwell` of the body (`extra_body` of the OpenAI client), and headers of the same names.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dwell.errors import UsageError
from dwell.protocols import Strategy
from dwell.serve.settings import Settings
from dwell.strategies import parse

#: Field of `dwell` in a body -> the header that says the same.
HEADERS = {
    "strategy": "X-Dwell-Strategy",
    "samples": "X-Dwell-Samples",
    "tokens": "X-Dwell-Tokens",
    "usd": "X-Dwell-Usd",
    "ms": "X-Dwell-Deadline-Ms",
    "abstain": "X-Dwell-Abstain",
}
#: Fields of a body that are ours to serve, not the model's.
_OURS = frozenset({"model", "n", "seed", "stream", "stream_options", "dwell", "best_of", "store"})
#: Largest whole number that a client's strategy may name: it may size an array.
MOST_PARAMETER = 65_536
MOST_SEED = 2**63
_ROLES = {"developer": "system"}


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        code: the error's name in the protocol's form.
        headers: of the reply.
        dwell: what is known of the run, if there was one.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        dwell: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers, self.dwell = status, code, headers or {}, dwell


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request.

    Attributes:
        id: names the request, its run and, without a seed, its stream of draws.
        chat: chat completions, else completions.
        body: what every draw sends on: the client's body without what is ours.
        text: the last message of the user, or the prompt.
        n: how many choices the reply shall have.
        seed: the client's seed.
        stream: whether the reply is a stream of events.
        include_usage: whether that stream ends with the usage.
        strategy: what to run.
        limits: hard limits by kind of usage: "calls", "output_tokens", "usd".
        deadline_seconds: from arrival to reply; None = none.
        abstain: whether the client takes "not sure" for an answer.
        choice: which of the `n` this one is.
    """

    id: str
    chat: bool
    body: Mapping[str, Any]
    text: str
    n: int = 1
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    strategy: Strategy
    limits: Mapping[str, float] = field(default_factory=dict)
    deadline_seconds: float | None = None
    abstain: bool = False
    choice: int = 0

    @property
    def as_json(self) -> bool:
        """Whether JSON was asked for."""
        kind = self.body.get("response_format")
        return isinstance(kind, Mapping) and kind.get("type") in ("json_object", "json_schema")

    @property
    def max_tokens(self) -> int | None:
        """The client's cap on a completion."""
        found = self.body.get("max_completion_tokens")
        found = self.body.get("max_tokens") if found is None else found
        return found if isinstance(found, int) else None

    @property
    def stops(self) -> tuple[str, ...]:
        """The client's stop texts."""
        given = self.body.get("stop") or ()
        return (given,) if isinstance(given, str) else tuple(given)

    @property
    def plain(self) -> bool:
        """Whether a draw a choice answers it: there is nothing to decide between them."""
        return _is_plain(self.strategy)

    def messages(self) -> list[tuple[str, str]]:
        """(role, text) of the conversation, for models that read text alone.

        Raises:
            Refused: a message has another form, or tools or log-probabilities are asked for.
        """
        if self.body.get("logprobs"):
            raise Refused(400, "unsupported", "This model tells no log-probabilities.")
        if not self.chat:
            return [("user", self.text)]
        if self.as_json or any(self.body.get(name) for name in ("tools", "functions")):
            raise Refused(400, "unsupported", "This model has no tools and no JSON mode.")
        found = []
        for message in self.body["messages"]:
            role = _ROLES.get(message["role"], message["role"])
            text = text_of(message.get("content"))
            if role not in ("system", "user", "assistant") or text is None:
                raise Refused(400, "unsupported", "This model reads messages of text alone.")
            found.append((role, text))
        return found


def text_of(content: Any) -> str | None:
    """The text of a message's content: a text, or parts of text; None for anything else."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in content
    ):
        return "".join(part["text"] for part in content)
    return None


def read_asked(raw: bytes, headers: Mapping[str, str], *, chat: bool, settings: Settings) -> Asked:
    """The request in a body and its headers.

    Raises:
        Refused: it is malformed, or asks for more than the server gives.
    """
    body = _object(raw)
    _check_model(body, settings)
    wanted = _wanted(body, headers)
    strategy = _strategy(wanted.get("strategy"), settings)
    seed, n, stream = body.get("seed"), body.get("n"), body.get("stream")
    if seed is not None and not (_whole(seed) and -MOST_SEED <= seed < MOST_SEED):
        raise Refused(400, "invalid_seed", "`seed` must be a whole number of 64 bits.")
    if stream is not None and not isinstance(stream, bool):
        raise Refused(400, "invalid_stream", "`stream` must be true or false.")
    most = settings.most_samples if _is_plain(strategy) else settings.most_choices
    if n is not None and not (_whole(n) and 1 <= n <= most):
        raise Refused(400, "invalid_n", f"`n` must be from 1 to {most}.")
    _check_numbers(body)
    _check_stop(body.get("stop"))
    text = _text(body, chat)
    options = body.get("stream_options")
    return Asked(
        id=f"{'chatcmpl' if chat else 'cmpl'}-{os.urandom(12).hex()}",
        chat=chat,
        body={key: value for key, value in body.items() if key not in _OURS},
        text=text,
        n=n or 1,
        seed=seed,
        stream=bool(stream),
        include_usage=isinstance(options, Mapping) and bool(options.get("include_usage")),
        strategy=strategy,
        limits=_limits(wanted, settings),
        deadline_seconds=_deadline(wanted, settings),
        abstain=_flag(wanted.get("abstain"), "abstain"),
    )


def _is_plain(strategy: Strategy) -> bool:
    return strategy.name == "sample" and strategy.params()["n"] == 1


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "invalid_json", "The body must be a JSON object.") from error
    if not isinstance(body, dict):
        raise Refused(400, "invalid_json", "The body must be a JSON object.")
    return body


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _check_model(body: Mapping[str, Any], settings: Settings) -> None:
    model = body.get("model", settings.model)
    if model != settings.model:
        raise Refused(404, "model_not_found", f"This server serves {settings.model}.")


def _check_numbers(body: Mapping[str, Any]) -> None:
    """Refuse values that would be refused by every draw."""
    for name in ("max_tokens", "max_completion_tokens"):
        value = body.get(name)
        if value is not None and not (_whole(value) and value >= 1):
            raise Refused(400, "invalid_max_tokens", f"`{name}` must be a whole number above 0.")
    temperature = body.get("temperature")
    if temperature is not None and not (_number(temperature) and temperature >= 0):
        raise Refused(400, "invalid_temperature", "`temperature` must be at least 0.")


def _check_stop(stop: Any) -> None:
    texts = stop if isinstance(stop, list) else [stop or ""]
    if not all(isinstance(text, str) for text in texts) or "" in texts[1:]:
        raise Refused(400, "invalid_stop", "`stop` must be a text or a list of texts.")


def _text(body: Mapping[str, Any], chat: bool) -> str:
    if not chat:
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            raise Refused(400, "invalid_prompt", "`prompt` must be one text.")
        return prompt
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "invalid_messages", "`messages` must be a list with a message.")
    if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
        raise Refused(400, "invalid_messages", "Every message needs a `role`.")
    if not all(isinstance(m.get("content"), str | list | None) for m in messages):
        raise Refused(400, "invalid_messages", "`content` must be a text or a list of parts.")
    texts = [text_of(m.get("content")) for m in messages if m["role"] == "user"]
    return (texts[-1] or "") if texts else ""


def _wanted(body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """Our fields; the body says what counts where both speak."""
    given = body.get("dwell") or {}
    if not isinstance(given, Mapping) or (unknown := sorted(set(given) - set(HEADERS))):
        known = ", ".join(HEADERS)
        what = f"not {', '.join(unknown)}" if isinstance(given, Mapping) else "an object"
        raise Refused(400, "invalid_dwell", f"`dwell` takes {known}: {what}.")
    said = {name: headers[header] for name, header in HEADERS.items() if header in headers}
    return {**said, **{name: value for name, value in given.items() if value is not None}}


def _strategy(wanted: Any, settings: Settings) -> Strategy:
    if wanted is None:
        return settings.strategy
    if not settings.client_strategies:
        raise Refused(403, "strategy_fixed", "This server's strategy cannot be changed.")
    # A plan is a file: which one is read is the operator's to say.
    if not isinstance(wanted, str) or wanted.strip().startswith("plan"):
        raise Refused(400, "invalid_strategy", "`strategy` must name a strategy, not a plan.")
    try:
        strategy = parse(wanted)
    except (UsageError, TypeError) as error:
        raise Refused(400, "invalid_strategy", str(error)) from error
    sizes = [value for value in strategy.params().values() if isinstance(value, int)]
    if strategy.pooled or "exact" in strategy.verifiers():
        raise Refused(400, "invalid_strategy", f"`{strategy.name}` cannot serve one request.")
    if any(size > MOST_PARAMETER for size in sizes):
        raise Refused(400, "invalid_strategy", f"Parameters end at {MOST_PARAMETER}.")
    return strategy


def _limits(wanted: Mapping[str, Any], settings: Settings) -> dict[str, float]:
    samples = _amount(wanted, "samples")
    if samples is not None and samples < 1:
        raise Refused(400, "invalid_samples", "`samples` must be at least 1.")
    limits: dict[str, float] = {"calls": min(samples or math.inf, settings.most_samples)}
    if (tokens := _amount(wanted, "tokens")) is not None:
        limits["output_tokens"] = tokens
    if (usd := _amount(wanted, "usd")) is not None:
        if not settings.priced:
            raise Refused(400, "no_prices", "A budget in dollars needs prices on the server.")
        limits["usd"] = usd
    return limits


def _deadline(wanted: Mapping[str, Any], settings: Settings) -> float | None:
    ms = _amount(wanted, "ms")
    return settings.deadline_seconds if ms is None else ms / 1e3


def _amount(wanted: Mapping[str, Any], name: str) -> float | None:
    """A positive number, from JSON or a header."""
    given = wanted.get(name)
    if given is None:
        return None
    try:
        value = float(given) if isinstance(given, str) or _number(given) else 0.0
    except (ValueError, OverflowError):
        value = 0.0
    if not 0 < value < math.inf:
        raise Refused(400, f"invalid_{name}", f"`{name}` must be a number above 0.")
    return value


def _flag(value: Any, name: str) -> bool:
    """Yes or no, from JSON or a header."""
    said = str(value).lower()
    if value is not None and said not in ("1", "true", "yes", "0", "false", "no"):
        raise Refused(400, f"invalid_{name}", f"`{name}` must be true or false.")
    return said in ("1", "true", "yes")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def roles(messages: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    """(role, text) pairs in the protocol's form."""
    return [{"role": role, "content": text} for role, text in messages]

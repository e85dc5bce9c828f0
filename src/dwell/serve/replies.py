"""What goes back to a client: completions, streams of events and errors in the protocol's form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dwell.accounts import SHOWN, confidence_shown, scores_shown, votes_shown
from dwell.protocols import Strategy
from dwell.records import Usage
from dwell.serve.asking import Asked, Refused
from dwell.serve.ended import Ended

#: Characters of a streamed piece.
PIECE = 256
DONE = b"data: [DONE]\n\n"
NOT_SURE = "not sure"


def seconds_now() -> int:
    """Seconds since 1970."""
    return int(datetime.now(UTC).timestamp())


def account(asked: Asked, ended: Ended) -> dict[str, Any]:
    """The `dwell` object of a reply: what was done, what it says, what it cost."""
    charged = plain(ended.charged)
    spent = charged if ended.spent is ended.charged else plain(ended.spent)
    return {
        "id": asked.id,
        "strategy": spec_shown(asked.strategy),
        "status": ended.status,
        "draws": len(ended.draws),
        "failed_draws": sum(draw.status == "failed" for draw in ended.draws),
        "answer": None if ended.answer is None else ended.answer[:SHOWN],
        "votes": votes_shown(ended.votes),
        "scores": scores_shown(ended.scores[:256]),
        "confidence": confidence_shown(ended.confidence, ended.answer, ended.votes),
        "abstained": abstained(asked, ended),
        "usage": {"charged": charged, "spent": spent},
        "seconds": round(ended.seconds, 4),
    }


def spec_shown(strategy: Strategy) -> str:
    """A strategy as clients may know it: a plan by what it does, not by where its file lies."""
    digest = strategy.params().get("digest")
    return f"plan({digest=})" if strategy.name == "plan" else strategy.spec()


def abstained(asked: Asked, ended: Ended) -> bool:
    """Whether the strategy declined to answer."""
    ran = not ended.status.startswith("failed")
    return asked.strategy.abstains and ran and ended.answer is None


def plain(usage: Usage) -> dict[str, float]:
    """A usage without what is 0."""
    return {kind: round(value, 9) for kind, value in usage.items() if value}


def billed(runs: Sequence[Ended]) -> dict[str, int]:
    """The usage of the protocol: tokens of every draw, not of the one that is shown."""
    prompt = sum(int(run.spent.prompt_tokens) for run in runs)
    output = sum(int(run.spent.output_tokens) for run in runs)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }


def choice_of(asked: Asked, ended: Ended) -> dict[str, Any]:
    """The completion that is shown, as the model wrote it."""
    assert ended.chosen is not None
    choice = {**ended.chosen.choice, "index": asked.choice}
    if not asked.body.get("logprobs"):
        choice.pop("logprobs", None)
    if asked.abstain and abstained(asked, ended):
        choice["finish_reason"] = "stop"
        if asked.chat:
            choice["message"] = {"role": "assistant", "content": "", "refusal": NOT_SURE}
        else:
            choice["text"] = ""
    return choice


def completion(asked: Asked, model: str, runs: Sequence[tuple[Asked, Ended]]) -> dict[str, Any]:
    """The whole reply."""
    accounts = [account(one, ended) for one, ended in runs]
    return {
        "id": asked.id,
        "object": "chat.completion" if asked.chat else "text_completion",
        "created": seconds_now(),
        "model": model,
        "choices": [choice_of(one, ended) for one, ended in runs],
        "usage": billed([ended for _, ended in runs]),
        "dwell": accounts[0] if len(accounts) == 1 else {"choices": accounts},
    }


def headers(runs: Sequence[tuple[Asked, Ended]]) -> dict[str, str]:
    """What a client without a look at the body may want to know."""
    found = {
        "X-Dwell-Id": runs[0][0].id,
        "X-Dwell-Status": runs[0][1].status.partition(":")[0],
    }
    if any(abstained(asked, ended) for asked, ended in runs):
        found["X-Dwell-Abstained"] = "true"
    return found


def as_bytes(data: Mapping[str, Any]) -> bytes:
    """A reply as JSON."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")


def event(data: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + as_bytes(data) + b"\n\n"


def events(asked: Asked, model: str, runs: Sequence[tuple[Asked, Ended]]) -> Iterator[bytes]:
    """A whole reply as a stream of events; the last of each choice carries its account."""
    head = chunk_head(asked, model)
    for one, ended in runs:
        yield from events_of_choice(one, ended, head)
    yield from closing(asked, [ended for _, ended in runs], head)


def events_of_choice(asked: Asked, ended: Ended, head: Mapping[str, Any]) -> Iterator[bytes]:
    """A whole completion as events."""
    choice = choice_of(asked, ended)
    for delta in _deltas(choice, asked.chat):
        yield event({**head, "choices": [{"index": asked.choice, "finish_reason": None, **delta}]})
    last: dict[str, Any] = {"delta": {}} if asked.chat else {"text": ""}
    reason = choice.get("finish_reason") or "stop"
    end = {"index": asked.choice, **last, "finish_reason": reason}
    if "logprobs" in choice:
        end["logprobs"] = choice["logprobs"]
    yield event({**head, "choices": [end], "dwell": account(asked, ended)})


def closing(asked: Asked, runs: Sequence[Ended], head: Mapping[str, Any]) -> Iterator[bytes]:
    """The last events of a stream."""
    if asked.include_usage:
        yield event({**head, "choices": [], "usage": billed(runs)})
    yield DONE


def chunk_head(asked: Asked, model: str) -> dict[str, Any]:
    """What all events of a stream have."""
    kind = "chat.completion.chunk" if asked.chat else "text_completion"
    return {"id": asked.id, "object": kind, "created": seconds_now(), "model": model}


def _deltas(choice: Mapping[str, Any], chat: bool) -> Iterator[dict[str, Any]]:
    if not chat:
        for piece in _pieces(choice.get("text") or ""):
            yield {"text": piece}
        return
    message = dict(choice["message"])
    content, calls = message.pop("content", None) or "", message.pop("tool_calls", None)
    yield {"delta": {**message, "role": "assistant", "content": ""}}
    for piece in _pieces(content):
        yield {"delta": {"content": piece}}
    if calls:
        yield {"delta": {"tool_calls": [{**call, "index": k} for k, call in enumerate(calls)]}}


def _pieces(text: str) -> Iterator[str]:
    return (text[k : k + PIECE] for k in range(0, len(text), PIECE))


def error_body(refused: Refused) -> dict[str, Any]:
    """An error in the protocol's form."""
    kind = "invalid_request_error" if refused.status < 500 else "server_error"
    body: dict[str, Any] = {
        "error": {"message": str(refused), "type": kind, "param": None, "code": refused.code}
    }
    if refused.dwell is not None:
        body["dwell"] = refused.dwell
    return body

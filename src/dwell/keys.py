"""Names for draws: the key's hash, the stream, and the seed of each draw.

A key is the hash of (source fingerprint, operation, subject, parameters, stream). How many draws
are asked for, which statistics are wanted and who asked are not part of it, so every strategy
that asks the same thing shares the same draws.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from dwell.records import Candidate, Context
from dwell.requests import Generate, Perturb, Run, Verify

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def stream_id(seed: int, repetition: int = 0) -> str:
    """The name of an independent sequence of draws: one per repetition of a study."""
    return blake2b(f"stream:{seed}:{repetition}".encode(), digest_size=8).hexdigest()


def rng_seed(problem_id: str, strategy_spec: str, stream: str) -> int:
    """The seed of a run's random numbers: never its position in the study."""
    text = "\0".join(("rng", problem_id, strategy_spec, stream))
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "little")


def draw_seeds(key_hash: bytes, first: int, count: int) -> list[int]:
    """Unsigned 64-bit seeds of draws ``first .. first + count - 1`` of a key (splitmix64)."""
    base = int.from_bytes(key_hash[:8], "little")
    return [_mix((base + (i + 1) * _GOLDEN) & _MASK) for i in range(first, first + count)]


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal for equal values."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def key_hash(fingerprint: str, op: str, subject: Any, params: Any, stream: str) -> bytes:
    """The 16-byte hash that names a key. `subject` and `params` are tuples of plain values."""
    text = repr((fingerprint, op, subject, params, stream))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def context_subject(context: Context) -> tuple[Any, ...]:
    """What of a context goes into a key."""
    if context.state is None:
        return (context.messages, context.partial)
    return (context.messages, context.partial, context.state)


def candidate_subject(candidates: Sequence[Candidate]) -> tuple[Any, ...]:
    """The content of candidates: their messages and whole text, not how they came about."""
    return tuple((c.context.messages, c.text) for c in candidates)


def request_params(request: Generate | Verify | Perturb | Run) -> tuple[Any, ...]:
    """The parameters of a request that decide what its draws are."""
    match request:
        case Generate():
            return (
                request.until,
                request.max_tokens,
                request.stop,
                request.forbid_end,
                request.temperature,
            )
        case Verify():
            return (request.mode,)
        case Perturb():
            return (request.kind, request.size)
        case Run():
            return (request.environment,)

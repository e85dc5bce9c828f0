"""Batched sampling from a policy in torch, with surprisals and hidden states.

Training code only: the package's own runtime is plain numpy. Rows of one call must have
prompts of one length, so callers group problems by length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model import HEAD_DIM, Policy, _norm, _rotate
from vocabulary import EOS_ID, PAD_ID, TOKENS, VOCABULARY_SIZE

NUM_KNOWN = sum(1 for token in TOKENS if not token.startswith("<unused"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Rows drawn from a policy.

    Attributes:
        ids: `[B, T]` prompt and continuation, padded on the right.
        surprisal: `[B, T]` nats at temperature 1; 0 on the prompt and on padding.
    """

    ids: Tensor
    surprisal: Tensor


@torch.no_grad()
def sample(
    policy: Policy,
    prompts: Tensor,
    *,
    max_length: int,
    generator: torch.Generator,
) -> Samples:
    """Draws one continuation for each row of `prompts` `[B, P]` at temperature 1."""
    rows, start = prompts.shape
    shape = policy.shape
    keys = torch.zeros(shape.layers, rows, shape.heads, max_length, HEAD_DIM)
    values = torch.zeros_like(keys)
    ids = torch.full((rows, max_length), PAD_ID)
    ids[:, :start] = prompts
    surprisal = torch.zeros(rows, max_length)
    alive = torch.arange(rows)
    chunk, at = prompts, 0
    for length in range(start, max_length):
        hidden = _advance(policy, chunk, at, keys, values)
        logits = F.linear(hidden[:, -1], policy.weights("head"))
        logits[:, NUM_KNOWN:] = -torch.inf
        logits[:, PAD_ID] = -torch.inf
        log_probs = torch.log_softmax(logits, dim=-1)
        drawn = torch.multinomial(log_probs.exp(), 1, generator=generator).squeeze(1)
        ids[alive, length] = drawn
        surprisal[alive, length] = -log_probs.gather(1, drawn[:, None]).squeeze(1)
        going = drawn != EOS_ID
        if not going.any():
            break
        if not going.all():
            alive, keys, values = alive[going], keys[:, going], values[:, going]
        chunk, at = drawn[going][:, None], length
    assert int(ids.max()) < VOCABULARY_SIZE
    return Samples(ids=ids, surprisal=surprisal)


def _advance(policy: Policy, ids: Tensor, at: int, keys: Tensor, values: Tensor) -> Tensor:
    """Runs tokens `[B, T]` at positions from `at`, filling the caches; returns hidden states."""
    rows, length = ids.shape
    stop = at + length
    cos, sin = policy.cos[at:stop], policy.sin[at:stop]
    qkv, out = policy.weights("qkv"), policy.weights("out")
    gate_up, down = policy.weights("gate_up"), policy.weights("down")
    x = F.embedding(ids, policy.embed)
    for k in range(policy.shape.layers):
        split = F.linear(_norm(x), qkv[k]).view(rows, length, 3, policy.shape.heads, HEAD_DIM)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        keys[k, :, :, at:stop] = _rotate(key, cos, sin)
        values[k, :, :, at:stop] = value
        mixed = F.scaled_dot_product_attention(
            _rotate(query, cos, sin),
            keys[k, :, :, :stop],
            values[k, :, :, :stop],
            is_causal=at == 0,
        )
        x = x + F.linear(mixed.transpose(1, 2).reshape(rows, length, -1), out[k])
        gate, up = F.linear(_norm(x), gate_up[k]).chunk(2, dim=-1)
        x = x + F.linear(F.silu(gate) * up, down[k])
    return _norm(x)

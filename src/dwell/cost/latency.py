"""Bytes moved and the least time they take: a lower bound on latency, step by step.

A step of decoding streams the weights once for the whole batch and reads every sample's cache. It
takes at least `max(flops / peak, bytes / bandwidth)`; the additive variant, their sum, is what
Kinetics (Sadhukhan et al., 2025) assumes. Kernel efficiency and scheduling are not modelled: real
systems are slower. Nothing here was measured.

Symbols as in `dwell.cost.shape`; kappa = bytes of keys and values for a token, W = bytes of
weights that a step streams, Pi = peak FLOP/s, B = bytes/s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dwell.cost.layers import Reach
from dwell.cost.shape import ModelShape, attended
from dwell.cost.tables import DTYPE_BYTES, Hardware
from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """N samples of one prompt, and what is decoded beside them.

    Attributes:
        prompt_tokens: p.
        output_tokens: o of each sample.
        samples: N.
        shared_prompt: whether the prompt is read and kept once for all samples.
        batch: sequences that one step decodes; None = N. Beyond N, other prompts with equal
            samples share the weights' stream; below N, the samples come in waves.
    """

    prompt_tokens: int
    output_tokens: int
    samples: int = 1
    shared_prompt: bool = True
    batch: int | None = None

    def __post_init__(self) -> None:
        least = {"prompt_tokens": 0, "output_tokens": 1, "samples": 1, "batch": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"`{name}` must be at least {low}, but got {name}={value}.")

    @property
    def waves(self) -> tuple[int, ...]:
        """Samples that are decoded together, wave after wave."""
        size = min(self.batch or self.samples, self.samples)
        whole, rest = divmod(self.samples, size)
        return (size,) * whole + ((rest,) if rest else ())

    @property
    def companions(self) -> float:
        """Groups like this one that a step serves, itself included."""
        return max((self.batch or self.samples) / self.samples, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Types of weights and of cached values; keys of `DTYPE_BYTES`."""

    weights: str = "bf16"
    cache: str = "bf16"

    def __post_init__(self) -> None:
        for name in (self.weights, self.cache):
            if name not in DTYPE_BYTES:
                raise UsageError(
                    f"a type must be one of {', '.join(DTYPE_BYTES)}, but got {name!r}."
                )

    @property
    def weight_bytes(self) -> float:
        """Bytes of a weight, w."""
        return DTYPE_BYTES[self.weights]

    @property
    def cache_bytes(self) -> float:
        """Bytes of a cached value, b."""
        return DTYPE_BYTES[self.cache]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes that decoding a whole workload moves.

    Attributes:
        weights: streamed weights, this workload's share when others are in the batch.
        cache_reads: keys and values read.
        cache_writes: keys and values written.
        states: recurrent states read and written.
    """

    weights: float
    cache_reads: float
    cache_writes: float
    states: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.weights + self.cache_reads + self.cache_writes + self.states


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Lower bounds in seconds.

    Attributes:
        prefill: reading the prompt, `max(F / Pi, W / B)`.
        decode: the sum over steps of `max(flops / Pi, bytes / B)`.
        additive: the same with the sum of both instead of the larger.
        exchange: the part of `decode` and `additive` in which devices exchange activations.
    """

    prefill: float
    decode: float
    additive: float
    exchange: float

    @property
    def total(self) -> float:
        """Prefill and decode."""
        return self.prefill + self.decode


def cache_read_tokens(reach: Reach, work: Workload, samples: int) -> FloatArray:
    """`[o]` cached tokens that each step reads, for `samples` samples in one layer.

    Shared: the prefix once and each sample's own tokens, `p + N t`; else `N (p + t)`. Where a
    sample chooses its tokens, nothing is read for all.
    """
    step = np.arange(1, work.output_tokens + 1, dtype=np.float64)
    context = work.prompt_tokens + step
    seen = context if reach.limit is None else np.minimum(context, reach.limit)
    if reach.chosen or not work.shared_prompt:
        return samples * seen
    own = step if reach.limit is None else np.minimum(step, reach.limit)
    return np.asarray((seen - own) + samples * own, np.float64)


def traffic(shape: ModelShape, work: Workload, precision: Precision | None = None) -> Traffic:
    """Bytes that decoding moves.

    Weights `o W N / batch`; cache reads `kappa (p o + N o (o + 1) / 2)` shared and
    `N kappa (p o + o (o + 1) / 2)` unshared; writes `N kappa o`.
    """
    of = precision or Precision()
    o, p = work.output_tokens, work.prompt_tokens
    reads = weights = 0.0
    for samples in work.waves:
        for count, reach in shape.reaches():
            both = float(attended(p, o, reach.limit))
            own = float(attended(0, o, reach.limit))
            alone = reach.chosen or not work.shared_prompt
            tokens = samples * both if alone else (both - own) + samples * own
            reads += of.cache_bytes * count * reach.values * tokens
        sequences = samples * work.companions
        weights += o * of.weight_bytes * shape.weights_read(sequences) / work.companions
    return Traffic(
        weights=weights,
        cache_reads=reads,
        cache_writes=work.samples * shape.kv_bytes_per_token(of.cache_bytes) * o,
        states=2.0 * work.samples * o * shape.state_bytes(of.cache_bytes),
    )


def latency(
    shape: ModelShape,
    work: Workload,
    hardware: Hardware,
    precision: Precision | None = None,
    *,
    devices: int = 1,
) -> Latency:
    """Lower bounds on the time of a workload.

    Args:
        shape: the model.
        work: what is decoded.
        hardware: one device.
        precision: types of weights and cache.
        devices: g devices in tensor parallel: FLOPs and bytes are divided by g (a cache by no
            more than its heads), and each layer exchanges its activations twice, a ring of
            `2 (g - 1) / g` times their size.

    Raises:
        UsageError: `devices` is below 1.
    """
    if devices < 1:
        raise UsageError(f"`devices` must be at least 1, but got {devices}.")
    of = precision or Precision()
    peak, rate = devices * hardware.peak_flops(of.weights), hardware.bytes_per_second
    decode = additive = exchange = prefill = 0.0
    step = np.arange(1, work.output_tokens + 1, dtype=np.float64)
    flops = shape.token_flops(work.prompt_tokens + step)
    link = hardware.link_bytes_per_second
    ring = 2 * shape.num_layers * 2.0 * shape.width * 2 * (devices - 1) / devices / link
    for samples in work.waves:
        sequences = samples * work.companions
        compute = sequences * flops / peak
        move = _step_bytes(shape, work, samples, of, devices) / rate
        talk = sequences * ring * work.output_tokens
        decode += float(np.maximum(compute, move).sum()) + talk
        additive += float((compute + move).sum()) + talk
        exchange += talk
    copies = work.companions * (1 if work.shared_prompt else work.samples)
    if work.prompt_tokens:
        read = copies * work.prompt_tokens
        weights = of.weight_bytes * shape.weights_read(read) / devices
        prompt = copies * float(shape.prefill_flops(work.prompt_tokens))
        prefill = max(prompt / peak, weights / rate) + read * ring
    return Latency(prefill=prefill, decode=decode, additive=additive, exchange=exchange)


def _step_bytes(
    shape: ModelShape, work: Workload, samples: int, of: Precision, devices: int
) -> FloatArray:
    """`[o]` bytes that each device moves in each step."""
    sequences = samples * work.companions
    weights = of.weight_bytes * shape.weights_read(sequences) / devices
    states = 2.0 * sequences * shape.state_bytes(of.cache_bytes) / devices
    moved = np.full(work.output_tokens, weights + states)
    for count, reach in shape.reaches():
        tokens = work.companions * cache_read_tokens(reach, work, samples) + sequences
        share = min(devices, reach.heads)
        moved += of.cache_bytes * count * reach.values / share * tokens
    return moved


def balance_batch(
    shape: ModelShape, hardware: Hardware, precision: Precision | None = None
) -> float:
    """Sequences at which streaming the weights takes as long as multiplying with them.

    `(W / B) / (2 P_mm / Pi)`; for experts W is that of one token.
    """
    of = precision or Precision()
    stream = of.weight_bytes * shape.weights_read() / hardware.bytes_per_second
    return stream / (2.0 * shape.product_weights / hardware.peak_flops(of.weights))


def speculative_seconds(
    target_step: float, draft_step: float, draft_tokens: int, accepted: float
) -> float:
    """Seconds for one token with speculative decoding (Leviathan et al., 2023).

    `(draft_tokens draft_step + target_step) / accepted`: the draft proposes, the target checks
    all proposals in one step.

    Args:
        target_step: seconds of a step of the target, of `draft_tokens + 1` tokens.
        draft_step: seconds of a step of the draft.
        draft_tokens: proposals in a round, at least 1.
        accepted: mean tokens that a round yields, in `[1, draft_tokens + 1]`.

    Raises:
        UsageError: a round cannot yield so many tokens.
    """
    if draft_tokens < 1 or not 1 <= accepted <= draft_tokens + 1:
        raise UsageError(
            "a round of speculation must yield 1 to `draft_tokens + 1` tokens, but got "
            f"accepted={accepted} with draft_tokens={draft_tokens}."
        )
    return (draft_tokens * draft_step + target_step) / accepted

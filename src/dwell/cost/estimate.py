"""Everything that a workload costs on a model and a device, in one record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dwell.cost.dollars import samples_usd, self_hosted_usd_per_mtok
from dwell.cost.equivalent import equivalent_flops
from dwell.cost.latency import (
    Latency,
    Precision,
    Traffic,
    Workload,
    balance_batch,
    latency,
    traffic,
)
from dwell.cost.shape import ModelShape
from dwell.cost.tables import Hardware, Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where a model runs, and what that costs.

    Attributes:
        hardware: one device.
        precision: types of weights and cache.
        devices: in tensor parallel.
        intensity: FLOP/byte of equivalent FLOPs; None = the hardware's own at the weights' type.
        parameter_reads: whether equivalent FLOPs count the streaming of the weights.
        block_top_k: tokens kept by block-sparse attention, whose search equivalent FLOPs count.
        price: of an endpoint's tokens, if known.
        usd_per_hour: of one device, if known.
    """

    hardware: Hardware
    precision: Precision
    devices: int = 1
    intensity: float | None = None
    parameter_reads: bool = False
    block_top_k: int | None = None
    price: Price | None = None
    usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a workload costs; times are lower bounds.

    Attributes:
        total_parameters: all weights.
        active_parameters: those that serve one token.
        weight_bytes: of all weights.
        prefill_flops: of the prompt, once if shared.
        decode_flops: of all samples.
        cache_bytes_per_token: kappa.
        state_bytes: of recurrent states, one sample.
        cache_bytes_peak: keys, values and states of all samples that are held at once.
        fits: whether weights and cache fit the devices' memory.
        traffic: bytes that decoding moves.
        latency: seconds.
        tokens_per_second: of one sample while decoding.
        tokens_per_second_batch: of all sequences in the batch.
        balance_batch: sequences at which weights' stream and products take equal time.
        intensity: FLOP/byte used for equivalent FLOPs.
        equivalent_compute: FLOPs part.
        equivalent_memory: memory part.
        usd: dollars of all samples by way of billing; empty if no price is known.
        self_hosted_usd: of all samples, a floor; None if no hourly price is known.
        self_hosted_usd_per_mtok: the same for a million output tokens.
    """

    total_parameters: int
    active_parameters: int
    weight_bytes: float
    prefill_flops: float
    decode_flops: float
    cache_bytes_per_token: float
    state_bytes: float
    cache_bytes_peak: float
    fits: bool
    traffic: Traffic
    latency: Latency
    tokens_per_second: float
    tokens_per_second_batch: float
    balance_batch: float
    intensity: float
    equivalent_compute: float
    equivalent_memory: float
    usd: dict[str, float]
    self_hosted_usd: float | None
    self_hosted_usd_per_mtok: float | None

    @property
    def equivalent_flops(self) -> float:
        """Compute and memory together."""
        return self.equivalent_compute + self.equivalent_memory

    def as_json(self) -> dict[str, Any]:
        """The record as plain objects."""
        return asdict(self) | {"equivalent_flops": self.equivalent_flops}


def estimate(shape: ModelShape, work: Workload, where: Deployment) -> Estimate:
    """What a workload costs.

    Args:
        shape: the model.
        work: N samples of one prompt.
        where: hardware, types, prices.
    """
    of, device = where.precision, where.hardware
    p, o, n = work.prompt_tokens, work.output_tokens, work.samples
    times = latency(shape, work, device, of, devices=where.devices)
    together = max(work.waves) * work.companions
    peak = work.companions * shape.kv_bytes(
        p, np.full(max(work.waves), o), shared_prompt=work.shared_prompt,
        bytes_per_value=of.cache_bytes,
    )  # fmt: skip
    weights = of.weight_bytes * shape.num_parameters
    intensity = where.intensity or device.intensity(of.weights)
    equivalent = equivalent_flops(
        shape, p, o, n, intensity=intensity, shared_prompt=work.shared_prompt,
        parameter_reads=where.parameter_reads, bytes_per_value=of.cache_bytes,
        bytes_per_weight=of.weight_bytes, block_top_k=where.block_top_k,
    )  # fmt: skip
    rate = o * len(work.waves) / times.decode
    hosted = None
    if where.usd_per_hour is not None:
        hosted = self_hosted_usd_per_mtok(
            where.usd_per_hour * where.devices, times.total / work.companions, n * o
        )
    billings = ("separate", "cached", "together")
    return Estimate(
        total_parameters=shape.num_parameters,
        active_parameters=shape.active_parameters,
        weight_bytes=weights,
        prefill_flops=float(shape.prefill_flops(p)) * (1 if work.shared_prompt else n),
        decode_flops=n * float(shape.decode_flops(p, o)),
        cache_bytes_per_token=shape.kv_bytes_per_token(of.cache_bytes),
        state_bytes=shape.state_bytes(of.cache_bytes),
        cache_bytes_peak=peak,
        fits=weights + peak <= where.devices * device.memory_bytes,
        traffic=traffic(shape, work, of),
        latency=times,
        tokens_per_second=rate,
        tokens_per_second_batch=rate * together,
        balance_batch=balance_batch(shape, device, of),
        intensity=intensity,
        equivalent_compute=float(equivalent.compute),
        equivalent_memory=float(equivalent.memory),
        usd={}
        if where.price is None
        else {way: samples_usd(where.price, p, o, n, billing=way) for way in billings},
        self_hosted_usd=None if hosted is None else hosted * n * o / 1e6,
        self_hosted_usd_per_mtok=hosted,
    )

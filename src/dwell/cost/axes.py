"""Other axes for measured curves: FLOPs, equivalent FLOPs, seconds, dollars from tokens.

A results object holds, for each point, mean tokens and draws per problem. With the model's shape,
a device and a price the other costs follow. What was measured is never overwritten. A point's
tokens are taken as equal draws of the mean length, so costs that grow with the square of the
length read a little low where lengths vary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dwell.cost.dollars import call_usd
from dwell.cost.equivalent import KINETICS_INTENSITY, equivalent_flops
from dwell.cost.latency import Precision, Workload, latency
from dwell.cost.shape import ModelShape
from dwell.cost.tables import Hardware, Price

#: The key of `pricings` that serves every model which has none of its own.
ANY_MODEL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """What is known of a model, to turn its tokens into other costs.

    Attributes:
        shape: for FLOPs, equivalent FLOPs and seconds.
        hardware: for seconds and the intensity of equivalent FLOPs.
        price: for dollars.
        prompt_tokens: p of a problem; None = as each point has it, 0 where it was not recorded.
        shared_prompt: whether all draws of a problem share it; if not, each call pays it.
        precision: types of weights and cache.
        devices: in tensor parallel.
    """

    shape: ModelShape | None = None
    hardware: Hardware | None = None
    price: Price | None = None
    prompt_tokens: int | None = None
    shared_prompt: bool = True
    precision: Precision = field(default_factory=Precision)
    devices: int = 1

    @property
    def intensity(self) -> float:
        """FLOP/byte: the hardware's, else the one of Kinetics."""
        if self.hardware is None:
            return KINETICS_INTENSITY
        return self.hardware.intensity(self.precision.weights)


def with_axes(results: Mapping[str, Any], pricings: Mapping[str, Pricing]) -> dict[str, Any]:
    """The results with more costs at each point, and a note of where each is from.

    Args:
        results: what `dwell show --json` or `dwell replay --json` prints.
        pricings: model's name -> what is known of it; "*" for all others.

    Returns:
        A copy, whose points have `flops`, `eflops`, `seconds` and `usd` where they follow from
        what is known, and whose "axes" says how each was had.
    """
    notes: dict[str, str] = dict(results.get("axes") or {})
    curves = []
    for curve in results.get("curves") or ():
        pricing = pricings.get(str(curve.get("model"))) or pricings.get(ANY_MODEL)
        if pricing is None:
            curves.append(curve)
            continue
        points = [_priced(curve, point, pricing, notes) for point in curve.get("points") or ()]
        curves.append({**curve, "points": points})
    return {**results, "curves": curves, "axes": notes}


def _priced(
    curve: Mapping[str, Any], point: Mapping[str, Any], pricing: Pricing, notes: dict[str, str]
) -> dict[str, Any]:
    """A point with the costs that it lacks."""
    draws, length = _draws(curve, point)
    if not length:
        return dict(point)
    p = float(point.get("prompt_tokens") or 0.0)
    if pricing.prompt_tokens is not None:
        p = float(pricing.prompt_tokens)
    found = {
        **_compute(pricing, p, draws, length),
        **_seconds(pricing, p, draws, length),
        **_dollars(pricing, p, draws, length),
    }
    added = {}
    for key, (value, note) in found.items():
        if not point.get(key):  # 0 stands for a cost that is not known
            added[key] = value
            notes.setdefault(key, f"{note}; {_prompt_note(pricing, p)}")
    return {**point, **added}


def _prompt_note(pricing: Pricing, p: float) -> str:
    """How prompts were counted, in words."""
    if not p:
        return "prompts not counted"
    size = "as recorded" if pricing.prompt_tokens is None else f"of {p:.0f} tokens"
    return f"prompts {size}, {'shared' if pricing.shared_prompt else 'read by each draw'}"


def _compute(
    pricing: Pricing, p: float, draws: float, length: float
) -> dict[str, tuple[float, str]]:
    """FLOPs and equivalent FLOPs, each with where it is from."""
    shape = pricing.shape
    if shape is None:
        return {}
    reads = 1.0 if pricing.shared_prompt else draws
    flops = draws * float(shape.decode_flops(p, length)) + reads * float(shape.prefill_flops(p))
    equivalent = equivalent_flops(
        shape, p, length, draws, intensity=pricing.intensity,
        shared_prompt=pricing.shared_prompt, bytes_per_value=pricing.precision.cache_bytes,
    )  # fmt: skip
    note = f"operations plus memory access at {pricing.intensity:.4g} FLOP/byte"
    return {
        "flops": (flops, "computed from mean tokens and the model's config"),
        "eflops": (float(equivalent.total), note),
    }


def _seconds(
    pricing: Pricing, p: float, draws: float, length: float
) -> dict[str, tuple[float, str]]:
    """A lower bound on the time."""
    shape, device = pricing.shape, pricing.hardware
    if shape is None or device is None:
        return {}
    work = Workload(
        prompt_tokens=round(p),
        output_tokens=max(round(length), 1),
        samples=max(round(draws), 1),
        shared_prompt=pricing.shared_prompt,
    )
    bound = latency(shape, work, device, pricing.precision, devices=pricing.devices)
    return {"seconds": (bound.total, f"a lower bound on {device.title}, all draws at once")}


def _dollars(
    pricing: Pricing, p: float, draws: float, length: float
) -> dict[str, tuple[float, str]]:
    """Dollars of an endpoint: one call for all draws, or one for each."""
    asked = pricing.price
    if asked is None:
        return {}
    prompts = p if pricing.shared_prompt else p * draws
    usd = float(call_usd(asked, prompts, draws * length))
    return {"usd": (usd, f"{asked.model} at the price of {asked.date} ({asked.source})")}


def _draws(curve: Mapping[str, Any], point: Mapping[str, Any]) -> tuple[float, float]:
    """(mean draws, mean tokens of a draw) of a point; no tokens where they were not recorded."""
    tokens = point.get("tokens_charged")
    if not tokens:
        return 0.0, 0.0
    draws = point.get("draws")
    if not draws:
        draws = point.get("n") if curve.get("scale") in (None, "n") else 1
    draws = max(float(draws or 1), 1.0)
    return draws, float(tokens) / draws

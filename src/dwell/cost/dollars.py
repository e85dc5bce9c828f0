"""What tokens and hours cost in US dollars. Prices are arguments, never constants."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dwell.cost.tables import Price
from dwell.errors import UsageError

FloatArray = npt.NDArray[np.float64]


def call_usd(
    price: Price,
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    cached_tokens: npt.ArrayLike = 0,
) -> FloatArray:
    """Dollars of calls: `[(prompt - cached) pi + cached pc + out po] / 1e6`.

    Args:
        price: pi, pc and po.
        prompt_tokens: tokens of the prompt, the cached ones included.
        output_tokens: tokens that came back, reasoning included.
        cached_tokens: of the prompt, those that the provider had cached.

    Returns:
        The broadcast shape: one amount a call.
    """
    prompt, out, cached = (
        np.asarray(v, np.float64) for v in (prompt_tokens, output_tokens, cached_tokens)
    )
    fresh = (prompt - cached) * price.input_usd
    return np.asarray((fresh + cached * price.cached_usd + out * price.output_usd) / 1e6)


def samples_usd(
    price: Price, prompt_tokens: float, output_tokens: float, samples: int, *, billing: str
) -> float:
    """Dollars of N samples of one prompt.

    Args:
        price: of the model.
        prompt_tokens: p.
        output_tokens: o of each sample.
        samples: N.
        billing: "separate" (each call pays the prompt), "cached" (each after the first finds it
            cached) or "together" (one call with n choices pays it once).

    Raises:
        UsageError: `billing` is none of the three.
    """
    if billing not in ("separate", "cached", "together"):
        raise UsageError(f"`billing` must be separate, cached or together, but got {billing!r}.")
    if billing == "together":
        return float(call_usd(price, prompt_tokens, output_tokens * samples))
    cached = np.full(samples, prompt_tokens if billing == "cached" else 0.0)
    cached[:1] = 0.0
    return float(call_usd(price, prompt_tokens, output_tokens, cached).sum())


def self_hosted_usd_per_mtok(
    usd_per_hour: float, seconds: float, tokens: float, utilisation: float = 1.0
) -> float:
    """Dollars for a million tokens on rented hardware: `hourly / 3600 s / tokens 1e6`.

    With a lower bound for the seconds this is a floor: divide by the measured utilisation.

    Args:
        usd_per_hour: of all devices together.
        seconds: that the tokens took.
        tokens: output tokens.
        utilisation: measured share of the bound's speed, in `(0, 1]`.
    """
    if not 0 < utilisation <= 1:
        raise UsageError(f"`utilisation` must be in (0, 1], but got {utilisation}.")
    return usd_per_hour / 3600.0 * seconds / tokens * 1e6 / utilisation

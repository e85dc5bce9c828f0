"""Turns the numbers of a study into text: always with their interval, in the field's words.

Knows nothing of HTML. The page's script says the same things in the same way
(`assets/data.js`), so the two must be changed together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"  # stands where a number is not known

_SUFFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def is_number(value: Any) -> TypeGuard[float]:
    """Whether the value is a finite number (a bool is not)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def compact(value: Any) -> str:
    """Writes a count in three significant digits, "3.41 M"; a dash where it is not known."""
    if not is_number(value):
        return DASH
    if abs(value) < 999.5:
        return f"{value:.3g}"
    for scale, suffix in _SUFFIXES:
        # 999 600 is 1.00 M, not 1e+03 k: compare what three digits will show.
        if abs(value) >= 0.9995 * scale:
            return f"{value / scale:.3g} {suffix}"
    raise AssertionError(value)


def percent(prob: Any) -> str:
    """Writes a probability as a percentage with one decimal."""
    return f"{100 * prob:.1f}%" if is_number(prob) else DASH


def interval(low: Any, high: Any) -> str:
    """Writes the two ends of an interval of probabilities in percent, "[48.1, 66.0]"."""
    if not (is_number(low) and is_number(high)):
        return "[no interval]"
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def signed(prob: Any) -> str:
    """Writes a difference of probabilities in points with its sign, "+12.3"."""
    if not is_number(prob):
        return DASH
    text = f"{100 * prob:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", MINUS)


def seconds(value: Any) -> str:
    """Writes a time in the unit that suits its size."""
    if not is_number(value):
        return DASH
    if value < 1e-3:
        return f"{1e6 * value:.3g} µs"
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"


def dollars(value: Any) -> str:
    """Writes an amount of US dollars in three significant digits, "$0.0132"."""
    if not is_number(value):
        return DASH
    if value and abs(value) < 1e-3:
        return f"${value:.2e}"
    return f"${value:,.0f}" if abs(value) >= 1000 else f"${value:.3g}"


def amount(kind: str, value: Any) -> str:
    """Writes a cost in its unit; `kind` is its key in a point of a curve."""
    return {"seconds": seconds, "usd": dollars}.get(kind, compact)(value)


def plural(count: int, noun: str) -> str:
    """Writes a count with its noun, "1 draw", "2 draws"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def spent_and_charged(cost: Mapping[str, Any], *, recorded: bool = False) -> str:
    """Explains in a sentence or two how the tokens spent relate to the tokens charged.

    Args:
        cost: with `tokens_charged` (what the strategies would have used, each as if alone) and
            `tokens_spent` (what was newly generated).
        recorded: whether the draws are a recording's, not a ledger's.
    """
    charged, spent = cost.get("tokens_charged"), cost.get("tokens_spent")
    if recorded:
        return (
            "No model was called. A strategy is charged for the recorded draws that it would have "
            "asked for, each as if alone."
        )
    if not (is_number(charged) and is_number(spent)):
        return "The tokens charged and spent were not both recorded."
    if spent == 0:
        return (
            f"Nothing was generated anew: all {compact(charged)} tokens that the strategies are "
            "charged for were in the ledger already."
        )
    ratio = charged / spent
    if ratio < 1:
        return (
            f"More was spent than the strategies are charged for ({ratio:.2f} tokens charged for "
            "each one spent): cancelled or failed calls are paid for, but charged to no strategy."
        )
    if ratio < 1.05:
        return "Hardly any draw was shared: what was spent is what the strategies are charged."
    return (
        f"Each token that was generated served {ratio:.1f} tokens charged. A strategy is charged "
        "for all it would have used alone; draws that several strategies and budgets share are "
        "generated once and then read from the ledger."
    )

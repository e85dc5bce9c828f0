"""A plan in words: its policy, its promise and its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dwell.strategies.policy import Condition, Policy, short_spec

#: A difference of accuracy that nobody would pay for: one point.
POINT = 0.01
#: A saving that is worth another policy: a tenth.
SAVING = 0.1
_NAMES = {
    "leader_votes": "votes for the first answer",
    "runner_up_votes": "votes for the second",
    "distinct_answers": "different answers",
}


def policy_lines(policy: Policy, shares: Sequence[float] = ()) -> list[str]:
    """The policy as sentences, one a route."""
    if not policy.probe:
        return [f"For every question: {short_spec(policy.routes[0].strategy)}"]
    lines = [f"Draw {policy.probe} answers, look, and go on (these draws are used again):"]
    for number, route in enumerate(policy.routes):
        when = " and ".join(condition_text(c, policy) for c in route.when) or "otherwise"
        share = f" ({100 * shares[number]:.0f} % of questions)" if len(shares) else ""
        lines.append(f"  {when}: {short_spec(route.strategy)}{share}")
    return lines


def condition_text(condition: Condition, policy: Policy) -> str:
    """A condition in words, such as "3-4 votes for the leading answer"."""
    low, high = condition.at_least, condition.below
    if condition.feature == "top_score":
        name = f"best {policy.score}"
        if math.isinf(low):
            return f"{name} < {high:g}"
        return f"{name} >= {low:g}" if math.isinf(high) else f"{low:g} <= {name} < {high:g}"
    first = 0 if math.isinf(low) else math.ceil(low)
    last = policy.probe if math.isinf(high) else math.ceil(high) - 1
    count = f"{first}" if first == last else f"{first}-{last}"
    return f"{count} {_NAMES[condition.feature]}"


def cost_text(cost: float, unit: str) -> str:
    """A cost with its unit."""
    if unit == "usd":
        return f"${cost:.4g}"
    return f"{cost:,.0f} {unit}" if cost >= 100 else f"{cost:.1f} {unit}"


def points(value: float) -> str:
    """A difference in points, with its sign."""
    return f"{100 * value:+.1f}"


def promise_sentence(promise: Mapping[str, Any], unit: str) -> str:
    """What is promised, in a sentence."""
    return (
        f"Promise: {100 * promise['accuracy']:.1f} % right [{100 * promise['low']:.1f}, "
        f"{100 * promise['high']:.1f}] at {cost_text(promise['cost'], unit)} a question "
        f"[{cost_text(promise['cost_low'], unit)}, {cost_text(promise['cost_high'], unit)}]."
    )


def paired_sentence(paired: Mapping[str, Any], unit: str) -> str:
    """The difference to the best fixed choice, in a sentence."""
    return (
        f"Paired with the best fixed choice at this budget ({paired['against']}, "
        f"{100 * paired['fixed_accuracy']:.1f} % for {cost_text(paired['fixed_cost'], unit)}): "
        f"the search differs by {points(paired['difference'])} points "
        f"[{points(paired['low'])}, {points(paired['high'])}]."
    )


def worth_having(
    promise: Mapping[str, Any], paired: Mapping[str, Any]
) -> Literal["better", "cheaper", "no"]:
    """Whether a plan is better than the best fixed choice, or as good and cheaper.

    "better": the interval of the paired difference is above 0. "cheaper": it costs at least a
    tenth less, and the interval excludes a loss of more than a point.
    """
    if paired["low"] > 0:
        return "better"
    saved = 1 - promise["cost"] / paired["fixed_cost"]
    return "cheaper" if saved >= SAVING and paired["low"] >= -POINT else "no"


def verdict_of(promise: Mapping[str, Any], paired: Mapping[str, Any], unit: str) -> str:
    """The verdict on what was found: more accurate, as accurate for less, or no better."""
    fixed = paired["against"]
    difference = (
        f"{points(paired['difference'])} points "
        f"[{points(paired['low'])}, {points(paired['high'])}]"
    )
    worth = worth_having(promise, paired)
    if worth == "better":
        return f"The plan beats {fixed} at this budget: {difference}."
    text = f"No plan beats {fixed} here: the best that was found differs by {difference}."
    if worth == "no":
        return f"{text} So the plan is {fixed}."
    saved = 1 - promise["cost"] / paired["fixed_cost"]
    return (
        f"{text} But it costs {100 * saved:.0f} % less ({cost_text(promise['cost'], unit)} "
        f"instead of {cost_text(paired['fixed_cost'], unit)}), so it is the plan."
    )


def knee_sentence(knee: float | None, unit: str) -> str:
    """Where doubling stops to pay, in a sentence."""
    if knee is None:
        return "Knee: none in this record; the last doubling still bought a point or more."
    return f"Knee: {cost_text(knee, unit)}; from there on no doubling buys a point."


def doubling_sentence(doubling: Mapping[str, Any] | None, unit: str) -> str:
    """What twice the budget would buy, in a sentence."""
    if doubling is None:
        return "Next doubling: not in this record; draw more to know."
    return (
        f"Next doubling (to {cost_text(doubling['budget'], unit)}): "
        f"{points(doubling['gain'])} points [{points(doubling['low'])}, "
        f"{points(doubling['high'])}]."
    )

"""The report's part on a plan: its policy, what it promises, and what else the money buys."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from dwell.report.tables import Html, Row, estimate, table
from dwell.report.wording import DASH, compact, dollars, is_number, percent, seconds, signed

CHART = (
    '<figure><div class="chart" id="plan-chart" role="img" aria-label="Accuracy of the plan and '
    'of the best fixed choice at each cost; a table follows"></div>'
    '<div class="legend" id="plan-legend"></div></figure>'
)


def plan_section(results: Mapping[str, Any]) -> str:
    """Returns verdict, policy, promise and frontier of the plan; "" where there is none."""
    plan = results.get("plan")
    if not isinstance(plan, Mapping) or not plan:
        return held_since(results)
    unit = str((plan.get("goal") or {}).get("unit") or "")
    parts = []
    if plan.get("verdict"):
        parts.append(f'<p class="advice">{escape(str(plan["verdict"]))}</p>')
    if plan.get("policy"):
        parts.append(f'<pre tabindex="0">{escape(str(plan["policy"]))}</pre>')
    parts += [promise(plan, unit), confidence(plan), paired(plan, unit), measured_on(plan)]
    rows = frontier_rows(plan, unit)
    if rows:
        heads = [
            "Budget", "Policy", "Its cost", "Its accuracy",
            "Best fixed choice", "Its cost", "Its accuracy",
        ]  # fmt: skip
        caption = "The promise at other budgets, on questions that it was not chosen on"
        parts.append(CHART)
        parts.append(table(heads, rows, caption=caption, num_text_columns=2, name="plan-table"))
    return "\n".join(part for part in (*parts, held_since(results)) if part)


def held_since(results: Mapping[str, Any]) -> str:
    """Returns what plans among the strategies said of their answers here, and what was so."""
    found = [one for one in results.get("confidence") or () if isinstance(one, Mapping)]
    return "\n".join(f"<p><b>Confidence here</b> {escape(str(one['text']))}</p>" for one in found)


def cost(value: Any, unit: str) -> str:
    """Writes a cost in the plan's unit."""
    if unit == "usd":
        return dollars(value)
    return seconds(value) if unit == "seconds" else f"{compact(value)} {unit}".strip()


def promise(plan: Mapping[str, Any], unit: str) -> str:
    """Returns what is promised, in a sentence."""
    found = plan.get("promise")
    if not isinstance(found, Mapping) or not is_number(found.get("accuracy")):
        return ""
    spent = ""
    if is_number(found.get("cost")):
        ends = [found.get("cost_low"), found.get("cost_high")]
        band = ""
        if all(map(is_number, ends)):
            band = f" [{cost(ends[0], unit)}, {cost(ends[1], unit)}]"

        spent = f" at {escape(cost(found['cost'], unit) + band)} a question"
    accuracy, _ = estimate(found)
    return f"<p><b>Promise</b> {accuracy} right{spent}.</p>"


def confidence(plan: Mapping[str, Any]) -> str:
    """Returns what the plan's confidence is worth on questions that it was not fitted on."""
    found = plan.get("confidence")
    held = found.get("held_out") if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or not isinstance(held, Mapping):
        return ""
    sentences = [f"<p><b>Confidence</b> {escape(line)}</p>" for line in found.get("in_words", ())]
    rows: list[Row] = [
        (
            {},
            [
                f"{percent(one['share'])} of answers",
                *map(share, (one["confidence"], one["accuracy"])),
            ],
        )
        for one in held.get("bins", ())
    ]
    heads = ["The least sure first", "Confidence", "Right"]
    caption = "What the plan's confidence means, on questions that it was not fitted on"
    return "\n".join([*sentences, table(heads, rows, caption=caption, num_text_columns=1)])


def share(value: float) -> tuple[str, float]:
    """Returns a share in per cent, and the value to sort by."""
    return percent(value), value


def paired(plan: Mapping[str, Any], unit: str) -> str:
    """Returns the paired difference to the best fixed choice, in a sentence."""
    found = plan.get("paired")
    if not isinstance(found, Mapping) or not is_number(found.get("difference")):
        return ""
    against = escape(str(found.get("against") or "the best fixed choice"))
    band = f"[{signed(found.get('low'))}, {signed(found.get('high'))}]"
    return (
        f"<p><b>Paired with {against}</b> {signed(found['difference'])} points "
        f'<span class="interval">{band}</span>, question by question.</p>'
    )


def measured_on(plan: Mapping[str, Any]) -> str:
    """Returns what the promise was measured on."""
    found = plan.get("measured_on")
    if isinstance(found, Mapping):
        facts = [(k, v) for k, v in found.items() if isinstance(v, str | int | float) and v != ""]
        items = "".join(
            f"<div><dt>{escape(str(k).replace('_', ' '))}</dt><dd>{escape(value(v))}</dd></div>"
            for k, v in facts
        )
        return f"<dl>{items}</dl>" if items else ""
    return f'<p class="small">Measured on {escape(str(found))}.</p>' if found else ""


def value(fact: Any) -> str:
    """Writes a fact."""
    return f"{fact:,}" if isinstance(fact, int) and not isinstance(fact, bool) else str(fact)


def frontier_rows(plan: Mapping[str, Any], unit: str) -> list[Row]:
    """Returns a row for each budget that was planned for."""
    rows: list[Row] = []
    for point in plan.get("frontier") or []:
        if not isinstance(point, Mapping):
            continue
        fixed = point.get("fixed") or {}
        accuracy = fixed.get("accuracy")
        cells = [
            (cost(point.get("budget"), unit), point.get("budget")),
            str(point.get("label") or DASH), (cost(point.get("cost"), unit), point.get("cost")),
            estimate(point), str(fixed.get("label") or DASH),
            (cost(fixed.get("cost"), unit) if is_number(fixed.get("cost")) else DASH,
             fixed.get("cost")),
            estimate(fixed) if is_number(accuracy) else Html(DASH),
        ]  # fmt: skip
        rows.append(({}, cells))
    return rows

"""Two tables of what accuracy costs: a right answer's price, and the frontier of all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dwell.report.tables import (
    COSTS,
    Html,
    Row,
    budget,
    count,
    estimate,
    known_costs,
    label_of,
    named,
    place,
    records,
    table,
    tabled,
)
from dwell.report.wording import DASH, amount, is_number

#: Costs on which models are compared, the first that is known.
FRONTIER_COSTS = ("flops", "tokens_charged", "usd", "seconds", "draws")


#: Costs of a right answer that are shown; draws where tokens are not known of every point.
RIGHT_COSTS = ("tokens_charged", "flops", "usd")


def right_answer_table(results: Mapping[str, Any]) -> str:
    """Returns the cost of one right answer, cost / accuracy, at each point.

    The interval is that of the accuracy, turned over: `[cost / high, cost / low]`. The mean cost
    itself is taken as known.
    """
    curves, note = tabled([c for c in records(results, "curves") if not c.get("oracle")])
    known = known_costs(curves)
    costs = [key for key in RIGHT_COSTS if key in known]
    if any(not p.get("tokens_charged") for c in curves for p in points(c)):
        costs.insert(0, "draws")
    rows: list[Row] = [
        (
            place(curve),
            [
                named(curve), curve.get("task", ""), curve.get("model", ""),
                budget(p.get("n"), curve.get("scale")), estimate(p),
                *(per_right(key, p) for key in costs),
            ],
        )
        for curve in curves
        for p in points(curve)
        if is_number(p.get("accuracy"))
    ]  # fmt: skip
    if not rows or not any(is_number(p.get(k)) for c in curves for p in points(c) for k in costs):
        return ""
    heads = ["Strategy", "Task", "Model", "N", "Accuracy", *(COSTS[key] for key in costs)]
    caption = "Cost of one right answer"
    return note + table(heads, rows, caption=caption, num_text_columns=3, name="right-table")


def points(curve: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the points of a curve; an absent list is empty."""
    return curve.get("points") or []


def per_right(key: str, point: Mapping[str, Any]) -> tuple[Html, Any]:
    """Returns a cost per right answer with its interval, and the value to sort by."""
    cost, accuracy = point.get(key), point.get("accuracy")
    if not is_number(cost) or not cost or not accuracy:
        return Html(DASH), None
    low, high = (point.get(end) for end in ("low", "high"))
    # With an accuracy that may be 0 there is no upper end.
    top = amount(key, cost / low) if is_number(low) and low > 0 else "\N{INFINITY}"
    bottom = amount(key, cost / high) if is_number(high) and high > 0 else DASH
    ends = f"[{bottom}, {top}]" if is_number(low) and is_number(high) else "[no interval]"
    return Html(f'{amount(key, cost / accuracy)} <span class="interval">{ends}</span>'), (
        cost / accuracy
    )


def frontier_points(results: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Returns the cost that models are compared on, and every task's points that lead on it."""
    curves = [
        c
        for c in records(results, "curves")
        if not c.get("oracle") and not c.get("mean_over_runs")
    ]
    known = known_costs(curves)
    key = next((k for k in FRONTIER_COSTS if k in known), "draws")
    if len({c.get("model") for c in curves}) < 2:
        return "", []
    rows = [
        {"curve": c, "point": p}
        for c in curves
        for p in points(c)
        if is_number(p.get(key)) and p[key] > 0 and is_number(p.get("accuracy"))
    ]
    rows.sort(key=lambda r: (r["point"][key], -r["point"]["accuracy"]))
    best: dict[str, float] = {}
    leading = []
    for row in rows:
        task = str(row["curve"].get("task", ""))
        if row["point"]["accuracy"] > best.get(task, -1.0):
            best[task] = row["point"]["accuracy"]
            leading.append(row)
    leading.sort(key=lambda r: (str(r["curve"].get("task", "")), r["point"][key]))
    return key, leading


def frontier_table(results: Mapping[str, Any]) -> str:
    """Returns the points that no cheaper point beats, cheapest first, for each task."""
    key, leading = frontier_points(results)
    if not leading:
        return ""
    sizes = {r.get("model"): r.get("num_parameters") for r in records(results, "frontier")}
    sizes |= {
        m.get("name"): m.get("num_parameters")
        for m in (results.get("study") or {}).get("models") or []
    }
    others = [k for k in known_costs([r["curve"] for r in leading]) if k != key]
    cells: list[Row] = [frontier_row(row, key, others, sizes) for row in leading]
    heads = [
        "Model", "Strategy", "Task", "Parameters", "N", COSTS[key],
        *(COSTS[k] for k in others), "Accuracy",
    ]  # fmt: skip
    caption = f"On the frontier in {COSTS[key]}, cheapest first; costs are means per problem"
    return table(heads, cells, caption=caption, num_text_columns=3, name="frontier-table")


def frontier_row(
    row: Mapping[str, Any], key: str, others: Sequence[str], sizes: Mapping[Any, Any]
) -> Row:
    """Returns one row of the frontier's table."""
    curve, point = row["curve"], row["point"]
    return (
        {"task": curve.get("task", "")},
        [
            curve.get("model", ""), label_of(curve), curve.get("task", ""),
            count(sizes.get(curve.get("model"))), budget(point.get("n"), curve.get("scale")),
            *((amount(k, point.get(k)), point.get(k)) for k in (key, *others)),
            estimate(point),
        ],
    )  # fmt: skip

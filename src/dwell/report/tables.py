"""The tables of the report: every number of the charts, readable without them.

All text from outside passes through `escape`: a label or a problem is never markup. A row's
`data-task` and `data-model` are how the page's script shows the rows of the reader's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

from dwell.report.wording import DASH, compact, interval, is_number, percent, seconds

# The attributes of a table's row, and its cells.
Row: TypeAlias = tuple[Mapping[str, Any], Sequence[Any]]

MAX_FAILURES = 200  # rows shown; more would bury the page, and all are in the results


class Html(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


BOUND = Html('<span class="bound">upper bound</span>')


def records(results: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Returns a list of records by name; an absent or null list is empty."""
    return list(results.get(name) or [])


def label_of(record: Mapping[str, Any]) -> str:
    """Returns the name under which the reader sees a strategy."""
    return str(record.get("label") or record.get("strategy") or "unnamed")


def named(curve: Mapping[str, Any]) -> Html:
    """Returns the name of a curve's strategy, marked where it is an upper bound."""
    return Html(escape(label_of(curve)) + (f" {BOUND}" if curve.get("oracle") else ""))


def place(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row attributes by which the script selects a task and a model."""
    return {"task": record.get("task", ""), "model": record.get("model", "")}


def budget(n: Any, scale: Any) -> tuple[str, Any]:
    """Returns a budget, and the value to sort by; one that is not of draws says what it is of."""
    return (compact(n) if scale in (None, "n") else f"{scale} = {compact(n)}"), n


def estimate(record: Mapping[str, Any], key: str = "accuracy") -> tuple[Html, Any]:
    """Returns a probability with its interval, and the value to sort by."""
    value = record.get(key)
    if not is_number(value):
        return Html(DASH), None
    ends = interval(record.get("low"), record.get("high"))
    return Html(f'{percent(value)} <span class="interval">{ends}</span>'), value


def count(value: Any) -> tuple[str, Any]:
    """Returns a count in short, and the value to sort by."""
    return compact(value), value


def table(
    heads: Sequence[str],
    rows: Iterable[Row],
    *,
    caption: str,
    num_text_columns: int,
    name: str = "",
) -> Html:
    """Returns a table whose first columns are text and whose other columns are numbers.

    Args:
        heads: one heading a column.
        rows: (attributes, cells) of each row; an attribute becomes `data-...`. A cell is a text
            or a number, or a tuple (text, value to sort by).
        caption: what the table holds, read aloud before it.
        num_text_columns: how many columns, from the left, are text.
        name: the `id` of the table, for the script.
    """
    kinds = ["" if i < num_text_columns else ' class="number"' for i in range(len(heads))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(h)}</th>' for kind, h in zip(kinds, heads, strict=True)
    )
    lines = []
    for attributes, cells in rows:
        data = "".join(f' data-{k}="{escape(str(v))}"' for k, v in attributes.items())
        row = "".join(
            cell(*pair, first=i == 0) for i, pair in enumerate(zip(kinds, cells, strict=True))
        )
        lines.append(f"<tr{data}>{row}</tr>")
    return Html(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table{f' id={name}' if name else ''}><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(lines) + "\n</tbody></table></div>"
    )


def cell(kind: str, value: Any, *, first: bool) -> str:
    """Returns one cell of a table; the first of a row is its heading."""
    text, key = value if isinstance(value, tuple) else (value, None)
    html = text if isinstance(text, Html) else escape(str(text))
    sort = f' data-sort="{escape(str(key))}"' if key is not None else ""
    return f'<th scope="row"{sort}>{html}</th>' if first else f"<td{kind}{sort}>{html}</td>"


def curves_table(results: Mapping[str, Any]) -> str:
    """Returns every measured point of every curve."""
    rows: list[Row] = []
    for curve in records(results, "curves"):
        estimator = "oracle" if curve.get("oracle") else curve.get("estimator") or DASH
        for p in curve.get("points") or []:
            cells = [
                named(curve), curve.get("task", ""), curve.get("model", ""), estimator,
                budget(p.get("n"), curve.get("scale")), estimate(p),
                count(p.get("tokens_charged")), count(p.get("flops")),
                (seconds(p.get("seconds")), p.get("seconds")), count(p.get("problems")),
            ]  # fmt: skip
            rows.append((place(curve), cells))
    heads = [
        "Strategy", "Task", "Model", "Estimator",
        "N", "Accuracy", "Tokens", "FLOPs", "Time", "Problems",
    ]  # fmt: skip
    caption = "Every measured point; tokens, FLOPs and time are means per problem"
    if not rows:
        return ""
    return table(heads, rows, caption=caption, num_text_columns=4, name="curves-table")


def laws_table(results: Mapping[str, Any]) -> str:
    """Returns the fitted laws with their asymptote, saturation and held-out error."""
    rows: list[Row] = []
    for curve in records(results, "curves"):
        law = curve.get("law")
        if not law:
            continue
        params = ", ".join(f"{k} = {parameter(v)}" for k, v in (law.get("params") or {}).items())
        error = law.get("holdout_error")
        where = ", ".join(str(v) for v in place(curve).values() if v)
        cells = [
            Html(f"{named(curve)}<br><small>{escape(where)}</small>"),
            Html(f"{escape(words(law.get('name')))}<br><small>{escape(params)}</small>"),
            verdict(law), estimate(law, "asymptote"), saturation(law),
            (f"{100 * error:.1f} points", error) if is_number(error) else DASH,
            f"{span(law.get('fitted_n'))} / {span(law.get('holdout_n'))}",
        ]  # fmt: skip
        rows.append((place(curve), cells))
    heads = [
        "Strategy", "Law and its parameters", "The data", "Asymptote",
        "Saturates at N", "Error on held-out N", "N fitted / held out",
    ]  # fmt: skip
    caption = "Fitted laws, each checked on budgets that it was not fitted to"
    if not rows:
        return ""
    return table(heads, rows, caption=caption, num_text_columns=3, name="laws-table")


def frontier_table(results: Mapping[str, Any]) -> str:
    """Returns the points that no cheaper point beats, cheapest first, for each task."""
    scales = {label_of(c): c.get("scale") for c in records(results, "curves")}
    rows = [r for r in records(results, "frontier") if r.get("on_frontier")]
    rows.sort(key=lambda r: (str(r.get("task", "")), r.get("flops") or 0))
    cells: list[Row] = [
        (
            {"task": r.get("task", "")},
            [
                r.get("model", ""), label_of(r), r.get("task", ""),
                count(r.get("num_parameters")), budget(r.get("n"), scales.get(label_of(r))),
                count(r.get("flops")),
                count(r.get("tokens_charged")), estimate(r),
            ],
        )
        for r in rows
    ]  # fmt: skip
    if not cells:
        return ""
    heads = ["Model", "Strategy", "Task", "Parameters", "N", "FLOPs", "Tokens", "Accuracy"]
    caption = "On the frontier, cheapest first; FLOPs and tokens are means per problem"
    return table(heads, cells, caption=caption, num_text_columns=3, name="frontier-table")


def failures_table(results: Mapping[str, Any]) -> str:
    """Returns what failed, and why, folded."""
    rows = records(results, "failures")
    if not rows:
        return ""
    heads = ["Problem", "Task", "Model", "Strategy", "What happened"]
    cells: list[Row] = [
        (
            {},
            [
                *(r.get(k, "") for k in ("problem", "task", "model")),
                label_of(r),
                r.get("message", ""),
            ],
        )
        for r in rows[:MAX_FAILURES]
    ]
    more = len(rows) - MAX_FAILURES
    rest = f'<p class="small">And {more:,} more, in the results.</p>' if more > 0 else ""
    body = table(heads, cells, caption="Failures", num_text_columns=5)
    unfolded = " open" if len(rows) <= 5 else ""
    return f"<details{unfolded}><summary>What failed</summary>{body}{rest}</details>"


def verdict(law: Mapping[str, Any]) -> Html:
    """Returns what the data say of a law's parameters, and why, in words."""
    said = words(law.get("verdict"))
    plain = {
        "identified": "determine it",
        "weakly identified": "determine it only roughly",
        "not identified": "do not determine it",
    }.get(said, said)
    reasons = "; ".join(map(str, law.get("reasons") or []))
    return Html(escape(plain) + (f"<br><small>{escape(reasons)}</small>" if reasons else ""))


def saturation(law: Mapping[str, Any]) -> tuple[Html, Any]:
    """Returns the saturation point with its interval where one is given."""
    value, low, high = (law.get(f"saturation{end}") for end in ("", "_low", "_high"))
    if not is_number(value):
        return Html(DASH), None
    ends = f"[{compact(low)}, {compact(high)}]" if is_number(low) and is_number(high) else ""
    return Html(f'{compact(value)} <span class="interval">{ends}</span>'), value


def words(name: Any) -> str:
    """Writes a name from the code in words, "exponentiated_power" as "exponentiated power"."""
    return str(name).replace("_", " ") if name else DASH


def parameter(value: Any) -> str:
    """Writes one parameter of a law in short."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def span(values: Sequence[Any] | None) -> str:
    """Writes the range of a list of counts, "1 to 16"."""
    known = sorted(v for v in values or [] if is_number(v))
    if not known:
        return DASH
    return compact(known[0]) if len(known) == 1 else f"{compact(known[0])} to {compact(known[-1])}"

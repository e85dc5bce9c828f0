"""The tables of the report: every number of the charts, readable without them.

All text from outside passes through `escape`: a label or a problem is never markup. A row's
`data-task` and `data-model` are how the page's script shows the rows of the reader's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

from dwell.report.wording import DASH, amount, compact, interval, is_number, percent

# The attributes of a table's row, and its cells.
Row: TypeAlias = tuple[Mapping[str, Any], Sequence[Any]]

#: Key of a point's cost -> heading of its column.
COSTS: Mapping[str, str] = {
    "draws": "Draws used", "tokens_charged": "Tokens", "flops": "FLOPs", "eflops": "eFLOPs",
    "seconds": "Time", "usd": "USD",
}  # fmt: skip
#: With more points than this the tables hold the means over runs alone: a page must open quickly.
MAX_POINTS = 1500
MAX_FAILURES = 200  # rows shown; more would bury the page, and all are in the results


def known_costs(curves: Iterable[Mapping[str, Any]]) -> list[str]:
    """Returns the keys of the costs that any point has; 0 stands for one that is not known.

    Draws used count as a cost of their own where a strategy stops before N.
    """
    points = [p for c in curves for p in c.get("points") or []]
    return [
        key
        for key in COSTS
        if any(
            is_number(p.get(key)) and p[key] > 0 and (key != "draws" or p[key] != p.get("n"))
            for p in points
        )
    ]


def tabled(curves: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Returns the curves that tables hold, and a note where those of single runs are left out."""
    means = [c for c in curves if c.get("mean_over_runs")]
    if not means or sum(len(c.get("points") or []) for c in curves) <= MAX_POINTS:
        return curves, ""
    left = len({str(c.get("model")) for c in curves}) - len({str(c.get("model")) for c in means})
    return means, (
        f'<p class="small">The table holds the mean over runs. Choose one of {left} runs above '
        "to see its curve; the CSV file has every number.</p>"
    )


class Html(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


#: What curves that read the true grades are, where they are no upper bound.
BOUNDS = {"worst": "lower bound", "average": "no choice made", "turns": "by the true grade"}


def records(results: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Returns a list of records by name; an absent or null list is empty."""
    return list(results.get(name) or [])


def label_of(record: Mapping[str, Any]) -> str:
    """Returns the name under which the reader sees a strategy."""
    return str(record.get("label") or record.get("strategy") or "unnamed")


def named(curve: Mapping[str, Any]) -> Html:
    """Returns the name of a curve's strategy, marked where it is an upper bound."""
    mark = BOUNDS.get(str(curve.get("strategy")), "upper bound")
    bound = f' <span class="bound">{mark}</span>' if curve.get("oracle") else ""
    return Html(escape(label_of(curve)) + bound)


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
    curves, note = tabled(records(results, "curves"))
    costs = known_costs(curves)
    rows: list[Row] = []
    for curve in curves:
        estimator = "oracle" if curve.get("oracle") else curve.get("estimator") or DASH
        for p in curve.get("points") or []:
            cells = [
                named(curve), curve.get("task", ""), curve.get("model", ""), estimator,
                budget(p.get("n"), curve.get("scale")), estimate(p),
                *((amount(key, p.get(key)), p.get(key)) for key in costs),
                count(p.get("problems")),
            ]  # fmt: skip
            rows.append((place(curve), cells))
    heads = [
        "Strategy", "Task", "Model", "Estimator", "N", "Accuracy",
        *(COSTS[key] for key in costs), "Problems",
    ]  # fmt: skip
    caption = "Every measured point; costs are means per problem"
    if not rows:
        return ""
    return note + table(heads, rows, caption=caption, num_text_columns=4, name="curves-table")


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

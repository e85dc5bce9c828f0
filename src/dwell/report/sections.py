"""The parts of the report in order: headline, cost, the places of the charts, the study.

Each function returns the HTML of one part, or "" where the results hold nothing for it. The
charts themselves are drawn by the page's script (`assets/*.js`) from the same results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from dwell.report.costs import frontier_table, right_answer_table
from dwell.report.plan import plan_section
from dwell.report.recording import recording_section
from dwell.report.tables import (
    Html,
    Row,
    count,
    curves_table,
    estimate,
    failures_table,
    label_of,
    laws_table,
    place,
    records,
    table,
    tabled,
)
from dwell.report.wording import DASH, compact, is_number, plural, spent_and_charged

LONG_ADVICE = 240  # characters; longer advice, one sentence a task, is set smaller


def all_sections(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Returns (id, heading, HTML) of each section after the headline; empty ones have no HTML."""
    curves = records(results, "curves")
    failed = len(records(results, "failures"))
    return [
        ("plan", "The plan", plan_section(results)),
        ("curves", "Accuracy against compute", curves_section(curves)),
        ("levels", "By difficulty", LEVELS if records(results, "levels") else ""),
        (
            "frontier",
            "Which model, how many draws",
            optional(FRONTIER, frontier_table(results)),
        ),
        ("paired", "Paired differences", PAIRED if records(results, "paired") else ""),
        ("laws", "Laws", optional(LAWS, laws_table(results))),
        ("right", "What a right answer costs", optional(RIGHT, right_answer_table(results))),
        ("data", "The numbers", optional(DATA, curves_table(results))),
        ("failures", plural(failed, "failure"), failures_table(results)),
        ("recording", "The recording", recording_section(results)),
        ("reproduce", "Reproduce", reproduce(results)),
    ]


def optional(before: str, html: str) -> str:
    """Returns an introduction and what it introduces, or nothing."""
    return before + html if html else ""


def curves_section(curves: Sequence[Mapping[str, Any]]) -> str:
    """Returns the place of the main chart, with what its reader must know of this study."""
    drawn = [c for c in curves if c.get("points")]
    if not drawn:
        return ""
    intro = "Mean accuracy over the problems, with its interval, as the compute per problem grows."
    if any(c.get("law") for c in drawn):
        intro += (
            " A dashed line is a law fitted to the filled points; the open points were held out "
            "to check it."
        )
    if any(c.get("oracle") for c in drawn):
        intro += (
            " A dotted line reads the true grades. An upper bound is such an oracle: it tells how "
            "often a correct draw exists, not what can be reached without knowing the answer."
        )
    return f"<p>{intro}</p>{CURVES}"


def chart(name: str, what: str) -> str:
    """Returns the place of a chart, with its controls, its legend and a note for the script."""
    return (
        f'<div class="controls" id="{name}-controls"></div>'
        f'<figure><div class="chart" id="{name}-chart" role="img" aria-label="{what}"></div>'
        f'<div class="legend" id="{name}-legend" role="group" aria-label="Strategies"></div>'
        f'<figcaption id="{name}-caption"></figcaption></figure>'
    )


CURVES = chart("curves", "Accuracy against compute; the table under The numbers holds every point")

LEVELS = (
    "<p>The same strategies, split by the difficulty of the problem. Each panel shows one "
    "strategy with its intervals, and the others in grey.</p>"
    '<div class="controls" id="levels-controls"></div>'
    '<div class="panels" id="levels-panels"></div>'
    '<p class="small" id="levels-caption"></p>'
)

FRONTIER = (
    "<p>Where a small model with many draws beats a larger model with few, and where it does "
    "not. Each line is one strategy of one model as the number of draws grows; the stepped line "
    "joins the points that nothing cheaper beats, as measured: where intervals overlap, the order "
    "of two points may be chance, and the best of many points reads a little high.</p>"
) + chart("frontier", "Accuracy against cost per problem for each model; a table follows")

PAIRED = (
    "<p>Strategies compared problem by problem on the same draws, which cancels the luck that "
    "they share. Positive: the first is better. Where the interval covers 0, no difference is "
    "shown.</p>"
    '<div class="controls" id="paired-controls"></div>'
    '<div class="scroll" tabindex="0" role="region" aria-label="Paired differences">'
    '<table id="paired-table"></table></div><p class="small" id="paired-caption"></p>'
)

LAWS = (
    "<p>A law is fitted to the smaller budgets and checked on the larger ones, which it did not "
    "see. The asymptote is the accuracy that no number of draws exceeds; at saturation, further "
    "draws add next to nothing. Read both only where the data determine the law.</p>"
)

RIGHT = (
    "<p>Mean cost of a problem over the share that is right: what is paid for each right answer, "
    "wrong ones included. The interval is that of the accuracy; the mean cost is taken as known. "
    "One draw is nearly always the cheapest way to a right answer: the table tells what a higher "
    "share of them costs.</p>"
)

DATA = '<div class="controls" id="data-controls"></div>'


def facts(results: Mapping[str, Any]) -> list[str]:
    """Returns what stands under the title: when, by which version, on what."""
    curves, study = records(results, "curves"), results.get("study") or {}
    found = []
    if results.get("created"):
        found.append(str(results["created"])[:16].replace("T", " "))
    if results.get("dwell_version"):
        found.append(f"dwell {results['dwell_version']}")
    if is_number(study.get("problems")):
        found.append(plural(study["problems"], "problem"))
    single = [c for c in curves if not c.get("mean_over_runs")]
    for key, noun in (("task", "task"), ("model", "model")):
        number = len({c.get(key) for c in single})
        if number:
            found.append(plural(number, noun))
    read = results.get("recording") or {}
    if read.get("rows"):
        found.append(plural(int(read["rows"]), "recorded draw"))
    if read.get("skipped"):
        found.append(plural(int(read["skipped"]), "bad row") + " left out")
    strategies = len({label_of(c) for c in curves})
    if strategies:
        found.append("1 strategy" if strategies == 1 else f"{strategies} strategies")
    return found


def headline(results: Mapping[str, Any]) -> str:
    """Returns the advice, the note on the demonstration, and the numbers at a glance."""
    parts = []
    if results.get("advice"):
        advice = str(results["advice"])
        kind = "advice" if len(advice) < LONG_ADVICE else "advice long"
        parts.append(f'<p class="{kind}">{escape(advice)}</p>')
    if results.get("demo_note"):
        parts.append(f'<p class="note">{escape(str(results["demo_note"]))}</p>')
    parts.append(at_a_glance(records(results, "curves")))
    return "\n".join(part for part in parts if part)


def at_a_glance(curves: Sequence[Mapping[str, Any]]) -> str:
    """Returns, for each task and model, one draw, the highest strategy and the upper bound."""
    rows: list[Row] = []
    curves, _ = tabled(curves)
    for key in dict.fromkeys(tuple(place(c).values()) for c in curves):
        here = [c for c in curves if tuple(place(c).values()) == key]
        single = single_draw(here)
        best = highest([c for c in here if not c.get("oracle")])
        bound = highest([c for c in here if c.get("oracle")])
        if best is None:
            continue
        curve, point = best
        scale = "N" if curve.get("scale") in (None, "n") else curve["scale"]
        at = f"{scale} = {compact(point['n'])}, " if is_number(point.get("n")) else ""
        used = ("tokens_charged", "tokens") if point.get("tokens_charged") else ("draws", "draws")
        tokens = f"{compact(point.get(used[0]))} {used[1]}" if point.get(used[0]) else ""
        task, model = (escape(str(part)) for part in key)
        cells = [
            Html(f"{task}<br><small>{model}</small>"),
            estimate(single) if single else DASH,
            estimate(point),
            Html(f'{escape(label_of(curve))} <span class="interval">{escape(at + tokens)}</span>'),
            estimate(bound[1]) if bound else DASH,
        ]
        rows.append(({}, cells))
    if not rows:
        return ""
    heads = ["Task and model", "One draw", "Highest measured", "by", "Upper bound"]
    caption = "Accuracy at a glance"
    return table(heads, rows, caption=caption, num_text_columns=1, name="glance") + (
        '<p class="small">Every accuracy stands with its interval. The highest of many measured '
        "points reads a little high; the paired differences compare strategies fairly.</p>"
    )


def highest(
    curves: Sequence[Mapping[str, Any]],
) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Returns the curve and point of the highest accuracy; the cheaper one on a tie."""
    found = [(c, p) for c in curves for p in c.get("points") or [] if is_number(p.get("accuracy"))]

    def rank(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> tuple[float, float]:
        tokens = pair[1].get("tokens_charged")
        return pair[1]["accuracy"], -tokens if is_number(tokens) else -math.inf

    return max(found, key=rank) if found else None


def single_draw(curves: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns the point of one draw: of the strategy `sample`, else of an exact curve at N = 1.

    With one draw there is nothing to choose, so an exact estimator at N = 1, the oracle's too,
    is the mean accuracy of a draw. A measured strategy at N = 1 may be another thing.
    """
    points = [
        (c.get("strategy") == "sample", c.get("estimator") in ("exact", "oracle"), p)
        for c in curves
        for p in c.get("points") or []
        if p.get("n") == 1 and c.get("scale") in (None, "n") and is_number(p.get("accuracy"))
    ]
    by_sample = [p for sample, _, p in points if sample]
    exact = [p for _, is_exact, p in points if is_exact]
    return next(iter(by_sample + exact), None)


def cost_box(results: Mapping[str, Any]) -> str:
    """Returns what was charged and what was spent, and why they differ."""
    cost = results.get("cost") or {}
    if not cost:
        return ""
    amounts = {name: cost.get(f"tokens_{name}") for name in ("charged", "spent")}
    most: float = max((a for a in amounts.values() if is_number(a)), default=0)
    if results.get("recording") and not most:  # a recording without tokens
        amounts = {}
    bars = "".join(
        f'<div class="bar"><span>Tokens {name}</span><b>{compact(amount)}</b>'
        f'<i class="{name}" style="width:{100 * amount / most if most and amount else 0:.1f}%">'
        "</i></div>"
        for name, amount in amounts.items()
    )
    facts = {
        "FLOPs charged": cost.get("flops_charged"),
        "FLOPs spent": cost.get("flops_spent"),
        "draws recorded": cost.get("draws"),
        "draws served again": cost.get("cache_hits"),
    }
    return (
        '<aside class="cost" aria-labelledby="cost-title">'
        f'<h2 id="cost-title">Spent and charged</h2>{bars}'
        f"<p>{escape(spent_and_charged(cost, recorded=bool(results.get('recording'))))}</p>"
        + definitions({k: compact(v) for k, v in facts.items() if is_number(v) and v})
        + charged_by_strategy(cost.get("by_strategy") or [])
        + "</aside>"
    )


def charged_by_strategy(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a folded table of the tokens that each strategy is charged."""
    if not rows:
        return ""
    ordered = sorted(rows, key=lambda r: -(r.get("tokens_charged") or 0))
    cells: list[Row] = [({}, [label_of(r), count(r.get("tokens_charged"))]) for r in ordered]
    body = table(["Strategy", "Tokens"], cells, caption="Tokens charged", num_text_columns=1)
    return f"<details><summary>Charged by strategy</summary>{body}</details>"


def definitions(pairs: Mapping[str, Any]) -> str:
    """Returns a list of names with their values."""
    items = "".join(
        f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>" for k, v in pairs.items()
    )
    return f"<dl>{items}</dl>" if items else ""


def reproduce(results: Mapping[str, Any]) -> str:
    """Returns the study's file, its seed, the versions and the models' fingerprints."""
    study = results.get("study") or {}
    facts = {k: study[k] for k in ("seed", "problems") if study.get(k) is not None}
    models: list[Row] = [
        (
            {},
            [
                m.get("name", ""),
                Html(f"<code>{escape(str(m.get('fingerprint') or DASH))}</code>"),
                count(m.get("num_parameters")),
            ],
        )
        for m in study.get("models") or []
    ]
    heads = ["Model", "Fingerprint", "Parameters"]
    return (
        study_file(study.get("text"))
        + definitions({**facts, **(study.get("versions") or {})})
        + (table(heads, models, caption="Models", num_text_columns=2) if models else "")
    )


def study_file(text: Any) -> str:
    """Returns the study's file, and how to run it again."""
    if not text:
        return ""
    return (
        "<p>Saved as <code>study.toml</code>, this file runs the same study with "
        "<code>dwell run study.toml --out DIR</code>; <code>dwell report DIR</code> writes this "
        'page.</p><div class="file"><button type="button" id="copy-study" hidden>Copy</button>'
        f'<pre tabindex="0"><code id="study-text">{escape(str(text))}</code></pre></div>'
    )

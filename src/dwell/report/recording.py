"""The report's part on a recording: what was read, what was left out, how it was estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

from dwell.report.tables import Row, count, records, table
from dwell.report.wording import is_number, plural

MAX_ROWS = 500  # runs or refusals shown; all are in the results


def recording_section(results: Mapping[str, Any]) -> str:
    """Returns the facts of the recording behind a replay; "" where there is none."""
    read = results.get("recording")
    if not isinstance(read, Mapping) or not read:
        return ""
    left_out = records(results, "left_out")
    return "\n".join(
        part
        for part in (
            f"<p>{escape(' '.join(sentences(read)))}</p>",
            skipped(read.get("skipped_by") or {}),
            runs(read.get("runs") or []),
            refused(left_out),
        )
        if part
    )


def sentences(read: Mapping[str, Any]) -> list[str]:
    """Returns what was read and how it was used, a sentence each."""
    rows, left = read.get("rows"), read.get("skipped")
    name = PurePath(str(read.get("path") or "a recording")).name
    found = ["No model was called: every answer was recorded before."]
    if is_number(rows):
        found.append(f"{int(rows):,} rows of {name} were used.")
    if is_number(left):
        found.append(
            f"{int(left):,} bad rows were left out." if left else "No row was left out as bad."
        )
    if read.get("mixed"):
        found.append(
            f"{int(read['mixed']):,} answers are graded both right and wrong: their mean counts."
        )
    if is_number(read.get("orders")):
        found.append(
            "Curves marked exact average over all subsets of the draws; those marked orders over "
            f"{int(read['orders'])} random orders of them."
        )
    return found


def skipped(by_rule: Mapping[str, Any]) -> str:
    """Returns a table of the rows that were left out, by the rule that they break."""
    rows: list[Row] = [({}, [str(rule), count(number)]) for rule, number in by_rule.items()]
    if not rows:
        return ""
    return table(["Why left out", "Rows"], rows, caption="Rows left out", num_text_columns=1)


def runs(found: Sequence[Mapping[str, Any]]) -> str:
    """Returns a folded table of the runs."""
    if not found:
        return ""
    rows: list[Row] = [
        (
            {},
            [
                str(run.get("name") or run.get("run") or ""), str(run.get("dataset") or ""),
                count(run.get("questions")), count(run.get("draws")),
            ],
        )
        for run in found[:MAX_ROWS]
    ]  # fmt: skip
    body = table(
        ["Run", "Dataset", "Questions", "Draws"], rows, caption="Runs", num_text_columns=2
    )
    unfolded = " open" if len(found) <= 5 else ""
    return f"<details{unfolded}><summary>{plural(len(found), 'run')}</summary>{body}</details>"


def refused(left_out: Sequence[Mapping[str, Any]]) -> str:
    """Returns a folded table of the strategies that runs lack the columns for."""
    if not left_out:
        return ""
    rows: list[Row] = [
        ({}, [str(r.get("model", "")), str(r.get("strategy", "")), str(r.get("why", ""))])
        for r in left_out[:MAX_ROWS]
    ]
    heads = ["Run", "Strategy", "Why it could not be replayed"]
    body = table(heads, rows, caption="Not replayed", num_text_columns=3)
    what = f"{plural(len(left_out), 'refusal')} of strategies"
    return f"<details><summary>{what}</summary>{body}</details>"

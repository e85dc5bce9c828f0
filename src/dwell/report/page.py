"""Writes the report: one HTML file that holds its data, its styles, its script and plotly.js.

The page loads nothing: a content security policy forbids every request and every script but the
two whose digests it names, so a text among the results that looks like markup stays text. The
same results give the same bytes. Knows only the results (a JSON object); never the ledger, a
strategy or a generator.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import math
import os
import tempfile
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from dwell.errors import UsageError
from dwell.report import sections

STYLE = "report.css"
# Concatenated in this order into one function, so that nothing becomes global.
SCRIPTS = (
    "data.js",
    "draw.js",
    "curves.js",
    "levels.js",
    "frontier.js",
    "paired.js",
    "plan.js",
    "controls.js",
)
LISTS = ("curves", "levels", "paired", "frontier", "failures")


def render(results: Mapping[str, Any], out: Path) -> Path:
    """Writes the report of a study's results as one HTML file, and returns its path.

    Args:
        results: the JSON object that `dwell show --json` prints. Probabilities are in `[0, 1]`
            and stand with `low` and `high`; tokens, FLOPs and seconds are means per problem. A
            list that is empty or missing leaves its section out; NaN reads as not known.
        out: the file to write; its folder is made. An existing file is replaced whole or not at
            all.

    Raises:
        UsageError: if the results are not such an object, or the file cannot be written.
    """
    html = page(checked(results))
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace(out, html)
    except OSError as error:
        raise UsageError(
            f"The report must be written to a file in a writable folder, but got {str(out)!r} "
            f"({error.strerror}). Name another file."
        ) from error
    return out


def checked(results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the results with every number that is not finite as None.

    Raises:
        UsageError: if they are not an object of lists of objects, or not JSON.
    """
    if not isinstance(results, Mapping):
        raise UsageError(
            f"`results` must be a JSON object, but got {type(results).__name__}. "
            "Pass what `dwell show --json` prints."
        )
    for name in LISTS:
        value = results.get(name)
        if value is not None and not (
            isinstance(value, list | tuple) and all(isinstance(v, Mapping) for v in value)
        ):
            raise UsageError(
                f"`results[{name!r}]` must be a list of objects, but got {type(value).__name__}. "
                "Leave it out if there are none."
            )
    clean: dict[str, Any] = without_nan(results)
    return clean


def without_nan(value: Any) -> Any:
    """Returns a JSON value with NaN and infinity, which JSON lacks, as None.

    Raises:
        UsageError: if a value is not of a JSON type.
    """
    if isinstance(value, Mapping):
        return {str(k): without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(v) for v in value]
    if isinstance(value, float):  # numpy's float64 is one too
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise UsageError(
        f"`results` must hold JSON values only, but got {value!r} of type "
        f"{type(value).__name__}. Convert it to a number, a text or a list."
    )


def page(results: Mapping[str, Any]) -> str:
    """Returns the whole document for results that were checked."""
    library, script = plotly_source(), own_script()
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; "
        f"style-src 'unsafe-inline'; script-src {digest(library)} {digest(script)}"
    )
    title = str(results.get("title") or "A study of test-time compute")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="generator" content="dwell">',
            f"<title>{escape(title)}</title>",
            f"<style>{asset(STYLE)}</style></head><body>",
            body(results, title),
            f'<script type="application/json" id="results">{embedded(results)}</script>',
            f"<script>{library}</script>",
            f"<script>{script}</script>",
            "</body></html>\n",
        ]
    )


def body(results: Mapping[str, Any], title: str) -> str:
    """Returns the visible page: the template with the tables filled in, empty parts left out."""
    facts = " · ".join(escape(fact) for fact in sections.facts(results))
    parts = [
        f'<header class="masthead"><div><p class="eyebrow">dwell report</p>'
        f'<h1>{escape(title)}</h1><p class="facts">{facts}</p></div>'
        '<button type="button" id="theme" hidden>Dark</button></header>',
        '<noscript><p class="note">The charts need JavaScript; the tables hold every number.'
        "</p></noscript>",
        f'<section class="opening" aria-label="Result"><div>{sections.headline(results)}</div>'
        f"{sections.cost_box(results)}</section>",
        '<nav id="places" aria-label="Task and model" hidden></nav>',
    ]
    filled = [part for part in sections.all_sections(results) if part[2]]
    parts += [f'<section id="{n}"><h2>{head}</h2>{html}</section>' for n, head, html in filled]
    if not filled:
        parts.append('<p class="note">These results hold nothing to show yet.</p>')
    parts.append(
        "<footer><p>Made by dwell. Charts: plotly.js, MIT licence. This page loads nothing from "
        "the network.</p></footer>"
    )
    return "<main>\n" + "\n".join(parts) + "\n</main>"


def embedded(results: Mapping[str, Any]) -> str:
    """Returns the results as JSON that no HTML parser can take for markup."""
    text = json.dumps(results, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def own_script() -> str:
    """Returns our own script: the parts in order, inside one function."""
    return "(() => {\n'use strict';\n" + "\n".join(asset(name) for name in SCRIPTS) + "})();"


def asset(name: str) -> str:
    """Returns the text of one of the files in `assets`."""
    return (files("dwell.report") / "assets" / name).read_text(encoding="utf-8")


def plotly_source() -> str:
    """Returns plotly.js from the installed package `plotly`, without importing it.

    Raises:
        UsageError: if the package is not installed, or has no such file.
    """
    found = importlib.util.find_spec("plotly")
    folders = list(found.submodule_search_locations or []) if found else []
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise UsageError(
        "The report must hold plotly.js, but the package `plotly` is not installed, or has no "
        "package_data/plotly.min.js. Install it with: pip install plotly"
    )


def digest(script: str) -> str:
    """Returns the digest of an inline script, as a content security policy names it."""
    raw = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(raw).decode()}'"


def replace(out: Path, text: str) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a part."""
    handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n", errors="replace") as file:
            file.write(text)
        # mkstemp makes a file that only its owner may read; a report is meant to be shared.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, out)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

"""The report as a document: its parts, what it may load, and that no text becomes markup."""

from __future__ import annotations

import copy
import json
import re
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dwell.report.page as page_module
from dwell.errors import UsageError
from dwell.report import render
from dwell.report.page import SCRIPTS, asset, digest, page, plotly_source

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!-- '\" &amp; \u2028"
LOADING = {"src", "srcset", "href", "data", "action", "poster", "background", "formaction"}


class Document(HTMLParser):
    """What a parser makes of a page: its elements, the texts of scripts, the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] == "script":
            self.scripts[-1] += data
        elif not {"script", "style"} & set(self.inside[-1:]):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def ids(self, tag: str) -> list[str]:
        return [a["id"] or "" for t, a in self.elements if t == tag and "id" in a]

    def embedded(self) -> Any:
        return json.loads(self.scripts[0])


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a line in the place of plotly.js, whose five megabytes are slow to parse."""
    monkeypatch.setattr(page_module, "plotly_source", lambda: "const Plotly = {};")


def hostile(value: Any) -> Any:
    """Returns the results with markup appended to every text but a keyword of the format."""
    if isinstance(value, dict):
        return {k: v if k == "estimator" else hostile(v) for k, v in value.items()}
    if isinstance(value, list):
        return [hostile(v) for v in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_full_results_have_every_section_in_order(results: dict[str, Any]) -> None:
    sections = Document(page(results)).ids("section")
    assert sections == [
        "curves", "levels", "frontier", "paired", "laws", "right", "data", "failures",
        "reproduce",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["levels", "paired", "failures"])
def test_a_missing_list_leaves_its_section_out(results: dict[str, Any], name: str) -> None:
    absent = {k: v for k, v in results.items() if k != name}
    html = page(absent)
    sections = Document(html).ids("section")
    assert name not in sections
    assert len(sections) == 8
    for given in ({**results, name: []}, {**results, name: None}):
        assert f'<section id="{name}">' not in page(given)


def test_empty_results_say_that_there_is_nothing() -> None:
    document = Document(page({}))
    assert document.ids("section") == []
    assert "hold nothing to show" in document.text


def test_one_model_has_no_frontier(results: dict[str, Any]) -> None:
    results["curves"] = [c for c in results["curves"] if c["model"] == "synthetic-0.8m"]
    assert "frontier" not in Document(page(results)).ids("section")


def test_curves_without_laws_or_oracles_do_not_explain_them(results: dict[str, Any]) -> None:
    assert "dashed line is a law" in Document(page(results)).text
    results["curves"] = [{**c, "law": None} for c in results["curves"] if not c["oracle"]]
    text = Document(page(results)).text
    assert "dashed line is a law" not in text
    assert "An upper bound is an oracle" not in text


def test_no_element_loads_anything(results: dict[str, Any]) -> None:
    document = Document(page(hostile(results)))
    for tag, attributes in document.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img", "form"}
        assert not LOADING & set(attributes), (tag, attributes)
    for own in (asset("report.css"), *map(asset, SCRIPTS)):
        # A name space is the one address in our own files, and nothing is loaded from it.
        assert re.findall(r"https?://[^\s'\"]+", own) in ([], ["http://www.w3.org/2000/svg"])
        assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|innerHTML|eval\(", own)


def test_policy_allows_only_the_scripts_of_the_page(results: dict[str, Any]) -> None:
    document = Document(page(results))
    (policy,) = [a["content"] or "" for t, a in document.elements if a.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    # The first script is the data, which does not run; the digests are of the exact bytes.
    assert rules["script-src"].split() == [digest(s) for s in document.scripts[1:]]
    assert len(document.scripts) == 3
    assert "http" not in policy


def test_chart_buttons_cannot_upload_the_chart() -> None:
    # plotly.js 4 shows an upload button and knows its maker's server unless it is told not to.
    draw = asset("draw.js")
    assert "showSendToCloud: false" in draw
    assert "plotlyServerURL: ''" in draw


def test_no_text_of_the_results_becomes_markup(results: dict[str, Any]) -> None:
    clean, dirty = Document(page(results)), Document(page(hostile(results)))
    names = [tag for tag, _ in clean.elements]
    assert [tag for tag, _ in dirty.elements] == names
    assert not any("onerror" in attributes for _, attributes in dirty.elements)
    assert dirty.text.count("<script>alert(1)") > 30
    assert dirty.scripts[1:] == clean.scripts[1:]


def test_embedded_results_are_the_results(results: dict[str, Any]) -> None:
    given = hostile(results)
    assert Document(page(given)).embedded() == given


def test_every_accuracy_in_the_tables_has_its_interval(results: dict[str, Any]) -> None:
    html = page(results)
    tables = html[: html.index('<script type="application/json"')]
    shown = re.findall(r">(\d+\.\d%) <span class=\"interval\">\[\d+\.\d, \d+\.\d\]", tables)
    bare = re.findall(r">(\d+\.\d%)(?! <span)", tables)
    points = sum(len(c["points"]) for c in results["curves"])
    assert len(shown) > points
    assert bare == []


def test_an_estimate_without_interval_says_so(results: dict[str, Any]) -> None:
    results["curves"] = results["curves"][:1]
    results["curves"][0]["points"][0].update(low=None, high=None)
    assert "[no interval]" in Document(page(results)).text


def test_oracle_is_marked_wherever_it_is_named(results: dict[str, Any]) -> None:
    html = page(results)
    html = html[html.index("id=laws-table") :]
    cells = re.findall(r"<th scope=\"row\">pass@N \(oracle\)(.*?)</th>", html)
    assert len(cells) == 4 + 4 * 7  # laws, then points
    assert all("upper bound" in cell for cell in cells)


def test_highest_measured_is_never_the_oracle(results: dict[str, Any]) -> None:
    html = page(results)
    glance = html[html.index("id=glance") : html.index("</table>")]
    assert glance.count("best-of-N, good verifier") == 4
    assert "pass@N" not in glance


def test_single_draw_is_not_read_from_a_search_at_n_1(results: dict[str, Any]) -> None:
    curves = [{**c, "estimator": "measured"} for c in results["curves"] if not c["oracle"]]
    glance = page({"curves": curves})
    glance = glance[glance.index("id=glance") : glance.index("</table>")]
    assert glance.count('<td class="number">–</td>') == 2 * 4  # no single draw, no upper bound


def test_a_budget_that_is_not_of_draws_says_of_what() -> None:
    curve = {"strategy": "budget_forcing", "label": "budget forcing", "scale": "waits"}
    point = {"n": 1, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    document = Document(page({"curves": [{**curve, "estimator": "exact", "points": [point]}]}))
    assert "waits = 1" in document.text
    assert "N = 1" not in document.text
    assert document.texts.count("50.0% ") == 2  # highest and point; one wait is not one draw


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        ("identified", "determine it"),
        ("weakly identified", "determine it only roughly"),
        ("not identified", "do not determine it"),
        ("said_otherwise", "said otherwise"),
    ],
)
def test_laws_say_in_words_what_the_data_determine(verdict: str, says: str) -> None:
    law = {"name": "best_of", "verdict": verdict, "reasons": ["c may lie anywhere"]}
    law |= {"saturation": 22.0, "saturation_low": 18.0, "saturation_high": 30.0}
    curve = {"strategy": "best_of_n", "points": [{"n": 1, "accuracy": 0.5}], "law": law}
    document = Document(page({"curves": [curve]}))
    assert says in document.texts
    assert "c may lie anywhere" in document.texts
    assert "22 [18, 30]" in document.text


def test_same_results_give_the_same_bytes(results: dict[str, Any], tmp_path: Path) -> None:
    first = render(results, tmp_path / "a.html").read_bytes()
    again = {k: copy.deepcopy(results[k]) for k in reversed(results)}
    assert render(again, tmp_path / "b.html").read_bytes() == first


def test_nan_reads_as_not_known(results: dict[str, Any], tmp_path: Path) -> None:
    results["curves"][0]["points"][0]["seconds"] = np.float64("nan")
    results["cost"]["flops_spent"] = float("inf")
    html = render(results, tmp_path / "r.html").read_text()
    document = Document(html)
    assert document.embedded()["curves"][0]["points"][0]["seconds"] is None
    assert "FLOPs spent" not in document.text


def test_file_is_made_with_its_folder_and_can_be_shared(tmp_path: Path) -> None:
    out = render({}, tmp_path / "new" / "folder" / "report.html")
    assert out == tmp_path / "new" / "folder" / "report.html"
    assert out.stat().st_mode & stat.S_IRUSR
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]


def test_a_failed_write_keeps_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.html"
    out.write_text("old")

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page_module.os, "replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        render({}, out)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["", "report.html/below.html"])
def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "report.html").write_text("a file, not a folder")
    with pytest.raises(UsageError, match="Name another file"):
        render({}, tmp_path / name)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "must be a JSON object, but got list"),
        ({"curves": {}}, r"`results\['curves'\]` must be a list of objects"),
        ({"curves": [1]}, r"`results\['curves'\]` must be a list of objects"),
        ({"study": {"seed": object()}}, "must hold JSON values only"),
    ],
)
def test_bad_results_are_a_usage_error(results: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        render(results, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_library_is_whole_and_cannot_end_its_script_early() -> None:
    library = plotly_source()
    assert library.lstrip().startswith("/**")  # with its licence
    assert "Plotly" in library
    assert not re.search(r"</script|<!--|[\r\0]", library, re.IGNORECASE)


def test_missing_plotly_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install plotly"):
        plotly_source()


def test_importing_the_report_imports_no_plotly() -> None:
    code = "import sys, dwell.report; print([m for m in sys.modules if m.startswith('plotly')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_long_lists_of_failures_are_cut_and_counted(results: dict[str, Any]) -> None:
    text = Document(page({"failures": results["failures"] * 250})).text
    assert "250 failures" in text
    assert "And 50 more" in text
    assert text.count("the reply was cut at 150 tokens") == 200


def test_study_file_stands_as_it_was(results: dict[str, Any]) -> None:
    document = Document(page(results))
    assert results["study"]["text"] in document.texts
    assert "0000000000030d40" in document.text

"""The report in a real browser: it draws, logs no error, and runs nothing but its own script."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dwell.report import render
from dwell.report.wording import compact, signed

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # a browser on a busy machine
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom",
)  # fmt: skip


def opened(results: dict[str, Any], folder: Path, *flags: str) -> str:
    """Returns the document after its script ran; fails on anything written to the console.

    The page's policy forbids every load, so an attempt at one would be written there too.
    """
    out = render(results, folder / "report.html")
    ran = subprocess.run(
        [str(BROWSER), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, out.as_uri()],
        capture_output=True, text=True, timeout=500, check=True,
    )  # fmt: skip
    assert re.findall(r".*CONSOLE.*", ran.stderr) == []
    dom = ran.stdout
    assert 'data-charts="drawn"' in dom[:500]
    # Only the visible part: the scripts behind it hold the same words.
    return dom[: dom.index('<script type="application/json"')]


def test_every_chart_and_table_is_drawn(large_results: dict[str, Any], tmp_path: Path) -> None:
    html = opened(large_results, tmp_path, "--window-size=1300,1000")
    assert html.count("main-svg") >= 2 * (1 + 9 + 1)  # the curves, nine panels, the frontier
    legend = re.findall(r'class="chip" data-label="([^"]+)"', html)
    assert set(legend) == {c["label"] for c in large_results["curves"]}
    paired = html[html.index('id="paired-table"') :]
    assert paired[: paired.index("</table>")].count("no difference shown") == 3
    assert html.count('class="forest') == 7  # the highest strategy against the seven others


def test_browser_writes_numbers_as_the_tables_do(results: dict[str, Any], tmp_path: Path) -> None:
    html = opened(results, tmp_path)
    shown = [r for r in results["paired"] if (r["task"], r["n"]) == ("chain", 64)]
    shown = [r for r in shown if r["model"] == "synthetic-0.2m"]
    assert len(shown) == 3  # few enough that all pairs are shown, each with the higher one first
    for row in shown:
        gap, low, high = row["difference"], row["low"], row["high"]
        gap, low, high = (gap, low, high) if gap >= 0 else (-gap, -high, -low)
        assert f"{signed(gap)} <span" in html
        assert f"[{signed(low)}, {signed(high)}]" in html
    for model in results["study"]["models"]:
        assert f"<small> {compact(model['num_parameters'])} parameters</small>" in html


def test_sparse_results_are_drawn_without_error(results: dict[str, Any], tmp_path: Path) -> None:
    curve = results["curves"][1]
    curve["points"] = [
        {"n": None, "accuracy": 0.5, "tokens_charged": 50.0},
        {"n": 1, "accuracy": 0.5, "low": 0.4, "high": 0.6},
    ]
    html = opened({"curves": [curve]}, tmp_path, "--window-size=390,844")
    assert 'id="curves-chart"' in html
    assert 'id="levels' not in html


def test_plan_and_recording_are_drawn(
    results: dict[str, Any], plan: dict[str, Any], recording: dict[str, Any], tmp_path: Path
) -> None:
    html = opened(results | {"plan": plan, "recording": recording}, tmp_path)
    part = html[html.index('id="plan-chart"') : html.index('id="plan-table"')]
    assert "main-svg" in part
    assert "best fixed choice" in part
    assert 'id="recording"' in html


def test_many_runs_open_on_their_mean_with_a_selector(
    many_results: dict[str, Any], tmp_path: Path
) -> None:
    html = opened(many_results, tmp_path)
    places = html[html.index('id="places"') : html.index("</nav>")]
    assert places.index("mean over 126 runs") < places.index("run 0")
    assert places.count("<option") == 127
    assert "other runs in grey" in html


def test_only_known_costs_are_offered_as_axes(results: dict[str, Any], tmp_path: Path) -> None:
    for curve in results["curves"]:
        for point in curve["points"]:
            point |= {"usd": 0.001 * point["n"], "seconds": 0.0}
    results["axes"] = {"usd": "at a made-up price"}
    html = opened(results, tmp_path)
    controls = html[html.index('id="curves-controls"') : html.index('id="curves-chart"')]
    assert re.findall(r"<label for=\"axis-\d\">([^<]+)", controls) == [
        "N", "Tokens", "FLOPs", "Dollars",
    ]  # fmt: skip


def test_empty_results_are_drawn_without_error(tmp_path: Path) -> None:
    assert "hold nothing to show" in opened({}, tmp_path)


def test_text_from_outside_never_runs(results: dict[str, Any], tmp_path: Path) -> None:
    attack = "</script><script>document.body.id='broken'</script><img src=x onerror=alert(1)>"
    for name in ("title", "advice", "demo_note"):
        results[name] = attack
    for row in results["curves"] + results["levels"]:
        row["label"] += attack
    results["failures"][0]["problem"] = attack
    html = opened(results, tmp_path)
    assert 'id="broken"' not in html
    assert "<img" not in html
    assert "&lt;script&gt;document.body.id" in html

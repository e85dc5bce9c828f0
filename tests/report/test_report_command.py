"""`dwell report` on saved results: other axes from config, hardware and prices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dwell.cli import cli
from dwell.errors import UsageError
from dwell.report import page as page_module


@pytest.fixture(autouse=True)
def _small_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "plotly_source", lambda: "const Plotly = {};")


@pytest.fixture
def saved(many_results: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "replay.json"
    path.write_text(json.dumps(many_results | {"curves": many_results["curves"][:8]}))
    return path


def embedded(path: Path) -> dict[str, Any]:
    text = path.read_text().split('id="results">')[1].split("</script>")[0]
    found: dict[str, Any] = json.loads(text)
    return found


def run(*words: object) -> str:
    return (
        CliRunner()
        .invoke(cli, ["report", *map(str, words)], catch_exceptions=False)
        .output.strip()
    )


def test_saved_results_become_a_page_beside_them(saved: Path) -> None:
    assert run(saved) == str(saved.with_suffix(".html"))
    points = embedded(saved.with_suffix(".html"))["curves"][0]["points"]
    assert "eflops" not in points[0]


def test_config_hardware_and_price_give_axes(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    run(saved, "--out", out, "--config", "tiny-3m", "--hardware", "l4", "--price-model",
        "example", "--prompt", 100)  # fmt: skip
    found = embedded(out)
    assert set(found["axes"]) == {"flops", "eflops", "seconds", "usd"}
    for curve in found["curves"]:
        usd = [p["usd"] for p in curve["points"]]
        assert usd == pytest.approx(
            [(100 * 0.5 + 500 * p["n"] * 2) / 1e6 for p in curve["points"]]
        )
        assert all(p["eflops"] > p["flops"] > 0 for p in curve["points"])


@pytest.mark.parametrize("text", ["{", "[]", '{"title": "no curves"}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"x\.json"):
        run(path)


def test_a_price_table_needs_a_name(saved: Path) -> None:
    with pytest.raises(UsageError, match="--price-model"):
        run(saved, "--prices", "p.toml")

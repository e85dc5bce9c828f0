"""Writes `docs/laws`: a page and a drawing for each law, from its declaration and its example.

python scripts/law_pages.py            # write them again
python scripts/law_pages.py --check    # exit 1 if some are not up to date
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from dwell.commands.laws import write_pages
from dwell.law_plots import Panel, Series
from dwell.laws import LAWS, Law
from dwell.laws.examples import EXAMPLES, Example, example_rows
from dwell.panel_svg import svg_of

FOLDER = Path(__file__).parents[1] / "docs/laws"
_POINTS = 120


def drawing(name: str) -> str:
    """SVG of a law with its typical parameters.

    One line for each group, or for three values of the second input; the others are held in the
    middle of their ranges (in the logarithm).
    """
    law, example = LAWS[name], EXAMPLES[name]
    if example.table is not None:
        series = _by_schedule(name)
        x_title, log_x = "step", False
    elif example.groups:
        series = [
            _line(law, example, group, {}, i, group) for i, group in enumerate(example.groups)
        ]
        x_title, log_x = law.inputs[0], True
    elif len(law.inputs) > 1:
        second = law.inputs[1]
        series = [
            _line(law, example, "", {second: value}, i, f"{second} = {value:.3g}")
            for i, value in enumerate(_three(example.inputs[second]))
        ]
        x_title, log_x = law.inputs[0], True
    else:
        series = [_line(law, example, "", {}, 0, "")]
        x_title, log_x = law.inputs[0], True
    panel = Panel(title=f"{name}, with typical parameters", x_title=x_title, y_title=law.target,
                  log_x=log_x, series=tuple(series))  # fmt: skip
    return svg_of([panel], f"{name}: {law.target} = {law.text}")


def _three(values: tuple[float, ...]) -> list[float]:
    """Least, middle and largest value."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    if len(values) == 2:
        middle = float(np.sqrt(values[0] * values[1]))
    return [ordered[0], middle, ordered[-1]]


def _line(
    law: Law, example: Example, group: str, held: dict[str, float], colour: int, label: str
) -> Series:
    first = law.inputs[0]
    values = example.inputs[first]
    x = np.geomspace(min(values), max(values), _POINTS)
    inputs = {k: np.full(_POINTS, _three(v)[1]) for k, v in example.inputs.items()}
    inputs |= {k: np.full(_POINTS, v) for k, v in held.items()} | {first: x}
    params = {
        p: example.params.get(p, example.params.get(f"{p}[{group}]", 0.0)) for p in law.params
    }
    return Series(label=label, x=x, y=law.evaluate(inputs, params), colour=colour)


def _by_schedule(name: str) -> list[Series]:
    rows = example_rows(name)
    labels = ("constant", "cosine", "stepwise")
    return [
        Series(label=label, x=rows["step"][rows["schedule"] == i],
               y=rows[LAWS[name].target][rows["schedule"] == i], colour=i)
        for i, label in enumerate(labels)
    ]  # fmt: skip


def write(folder: Path) -> None:
    """Write all drawings and pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(LAWS):
        (folder / f"{name}.svg").write_text(drawing(name), encoding="utf-8")
    write_pages(folder)


def stale(folder: Path) -> list[str]:
    """Names of files in the folder that differ from what would be written."""
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
        fresh = {path.name: path.read_text("utf-8") for path in Path(made).iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in folder.iterdir()}
    return sorted(n for n in fresh.keys() | kept.keys() if not _same(fresh.get(n), kept.get(n)))


def _same(first: str | None, second: str | None) -> bool:
    """Whether two files say the same; numbers of drawings may differ by a fifth of a pixel."""
    if first == second or first is None or second is None or not first.startswith("<svg"):
        return first == second
    texts = [re.split(r"(-?\d+\.\d)", text) for text in (first, second)]
    if texts[0][::2] != texts[1][::2]:
        return False
    places = (np.array(text[1::2], np.float64) for text in texts)
    return bool(np.all(np.abs(np.subtract(*places)) < 0.2))


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        old = stale(FOLDER)
        print("\n".join(f"not up to date: {name}" for name in old) or "up to date")
        sys.exit(1 if old else 0)
    write(FOLDER)

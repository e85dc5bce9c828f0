"""A study in Python: run, read the results, write the report; a second run costs nothing.

python examples/03_study.py
"""

import tempfile
from pathlib import Path

from dwell import Study, analyse
from dwell.report import render
from dwell.study_file import study_from_flags


def main() -> None:
    spec = study_from_flags(
        ["tiny-0.2m"], ["chain:24"], ["majority", "best_of_n", "adaptive_consistency"], [1, 4, 16]
    )
    with tempfile.TemporaryDirectory() as folder:
        first = Study(spec, folder).run()
        again = Study(spec, folder).run()
        print(f"first run: {first.draws_new} draws made; again: {again.draws_new} draws made")
        results = analyse(folder)
        for curve in results["curves"]:
            points = ", ".join(
                f"N={p['n']}: {p['accuracy']:.2f} [{p['low']:.2f}, {p['high']:.2f}]"
                for p in curve["points"]
            )
            print(f"{curve['label']:24s} {points}")
        page = render(results, Path(folder) / "report.html")
        print(f"report: {page.stat().st_size / 1e6:.1f} MB, one file")


if __name__ == "__main__":
    main()

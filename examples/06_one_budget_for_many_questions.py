"""One budget for a pool of questions: a vote that spends its draws where it is unsettled.

python examples/06_one_budget_for_many_questions.py
"""

import tempfile

from dwell import Study
from dwell.curves import panels
from dwell.study_file import check_study

CALLS = 0  # the first kind of usage: draws delivered


def main() -> None:
    spec = check_study(
        {
            "models": [{"name": "tiny-0.8m"}],
            "tasks": [{"name": "chain", "problems": 64, "levels": [2, 3, 4, 5]}],
            "strategies": [
                {"name": "majority"},
                {"name": "pool_vote"},
                {"name": "pool_vote", "order": "gain"},
            ],
            "budgets": [2, 4],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        Study(spec, folder).run()
        (panel,) = panels(folder)
    for curve in panel.curves:
        if curve.name == "coverage":
            continue
        for place, n in enumerate(curve.budgets):
            draws = curve.charged[:, place, CALLS]
            print(
                f"{curve.label:23s} n={n}: {100 * curve.values[:, place].mean():.0f} % right, "
                f"{draws.mean():.0f} draws a question, from {draws.min():.0f} to {draws.max():.0f}"
            )


if __name__ == "__main__":
    main()

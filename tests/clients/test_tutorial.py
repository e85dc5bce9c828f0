"""The tutorial "Evaluate with Inspect" shows the task of the example as it is."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_task_of_the_tutorial_is_that_of_the_example():
    page = (ROOT / "docs" / "tutorials" / "evaluate_with_inspect.md").read_text(encoding="utf-8")
    example = (ROOT / "examples" / "07_evaluate_with_inspect.py").read_text(encoding="utf-8")
    shown = page[page.index("    @task\n") :].split("\n\n")[0]
    assert "\n".join(line.removeprefix("    ") for line in shown.splitlines()) in example

"""The page on predicting from few draws: its example runs on what `dwell.laws` exports."""

import re
from pathlib import Path

import dwell.laws

PAGE = (Path(__file__).parents[2] / "docs" / "prediction.md").read_text()


def test_the_example_runs_and_means_what_its_comments_say():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(compile(code, "prediction.md", "exec"), names)  # the documented example is under test
    rates = names["rates"]
    same, fresh = rates.predict(16), rates.predict(16, same_questions=False)
    assert same.low < same.value < same.high
    assert fresh.high - fresh.low > same.high - same.low
    assert len(rates.chances(16)) == 40


def test_the_names_of_the_page_are_exported():
    named = set(re.findall(r"`dwell\.laws\.(\w+)`", PAGE))
    assert {"fit_success_rates", "fit_answer_rates"} <= named <= set(dwell.laws.__all__)

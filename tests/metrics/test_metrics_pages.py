"""The pages of docs/metrics: every snippet runs and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

import dwell.metrics

FOLDER = Path(__file__).parents[2] / "docs" / "metrics"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.stem != "README")
SNIPPET = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_print_what_the_page_says(page):
    text = page.read_text(encoding="utf-8")
    snippets = SNIPPET.findall(text)
    assert len(snippets) == text.count("```python") >= 1
    for code, expected in snippets:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(page), "exec"), {})
        assert printed.getvalue() == expected


def test_every_function_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    functions = [name for name in dwell.metrics.__all__ if name[0].islower()]
    assert [name for name in functions if name not in text] == []


def test_the_index_links_every_page():
    links = re.findall(r"\]\((\w+\.md)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(links) == [page.name for page in PAGES]

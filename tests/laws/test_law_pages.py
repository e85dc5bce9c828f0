"""`docs/laws` is what the declarations say."""

import importlib.util
import sys
from pathlib import Path

from dwell.laws import LAWS

FILE = Path(__file__).parents[2] / "scripts/law_pages.py"
spec = importlib.util.spec_from_file_location("law_pages", FILE)
pages = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = pages
spec.loader.exec_module(pages)


def test_pages_are_up_to_date():
    assert pages.stale(pages.FOLDER) == [], "run python scripts/law_pages.py"


def test_every_law_says_when_to_use_it_and_where_it_comes_from():
    for name, law in LAWS.items():
        assert law.use, name
        assert law.paper, name
        assert law.equation, name
        assert all(param.meaning for param in law.params.values()), name


def test_a_changed_declaration_makes_its_page_stale(tmp_path):
    pages.write(tmp_path)
    assert pages.stale(tmp_path) == []
    page = tmp_path / "m1.md"
    page.write_text(page.read_text().replace("beta", "gamma"))
    (tmp_path / "m2.svg").unlink()
    assert pages.stale(tmp_path) == ["m1.md", "m2.svg"]


def test_a_fifth_of_a_pixel_is_no_change():
    text = pages.drawing("m1")
    moved = text.replace(".5,", ".6,", 1)
    assert moved != text
    assert pages._same(text, moved)
    assert not pages._same(text, text.replace("m1, with", "m2, with"))

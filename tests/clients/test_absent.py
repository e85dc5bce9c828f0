"""Without the evaluation tools the rest works, and who asks for them is told what to install."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

from dwell.errors import MissingExtraError

PAGE = Path(__file__).parents[2] / "docs" / "evaluation_tools.md"


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("dwell.inspect", "inspect_ai", "inspect"),
        ("dwell.lm_eval", "lm_eval", "lm-eval"),
    ],
)
def test_a_tool_that_is_not_installed_is_named_with_the_command(
    module, package, extra, monkeypatch
):
    for name in list(sys.modules):
        if name.split(".")[0] == package or name in (module, "dwell.inspect_model"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'dwell[{extra}]'")):
        importlib.import_module(module)


@pytest.mark.parametrize(
    ("module", "name", "package", "hidden"),
    [
        ("dwell.inspect", "dwell_solver", "inspect_ai", set()),
        ("dwell.lm_eval", "DwellLM", "lm_eval", {"generator", "ignored"}),
    ],
)
def test_the_page_has_every_argument(module, name, package, hidden):
    pytest.importorskip(package)
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    text = PAGE.read_text(encoding="utf-8")
    assert [p for p in parameters if p not in hidden and f"`{p}`" not in text] == []

"""`__all__`: sorted, complete and true."""

import ast
import importlib
from pathlib import Path

import pytest

import dwell

SRC = Path(dwell.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(SRC.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SRC.rglob("*.py")
    if path.name != "__main__.py"
)


def tree_of(name):
    module = importlib.util.find_spec(name)
    return ast.parse(Path(module.origin).read_text(encoding="utf-8"))


def declared(tree):
    """The names in a module's `__all__`, None where it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def kind(name):
    """Constants first, then classes, then functions: the order that ruff keeps."""
    return (0 if name.isupper() else 1 if name.lstrip("_")[0].isupper() else 2, name)


WITH_NAMES = [name for name in MODULES if declared(tree_of(name)) is not None]


def test_packages_declare_their_names():
    assert "dwell" in WITH_NAMES


@pytest.mark.parametrize("name", WITH_NAMES)
def test_names_are_sorted_once_each_and_there(name):
    names = declared(tree_of(name))
    assert names == sorted(set(names), key=kind)
    module = importlib.import_module(name)
    assert [missing for missing in names if not hasattr(module, missing)] == []


@pytest.mark.parametrize("name", WITH_NAMES)
def test_what_a_package_takes_from_its_own_modules_is_declared(name):
    tree = tree_of(name)
    own = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{name}.")
        for alias in node.names
    }
    assert own <= set(declared(tree))


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dwell.nothing

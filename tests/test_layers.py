"""Who may import whom: every file is parsed and held against the table of layers."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

import dwell

SRC = Path(dwell.__file__).parent
FILES = sorted(SRC.rglob("*.py"))

CORE, MATHS, PLUGINS, MACHINERY, PLANNING, SURFACES = range(6)
LAYERS = {
    "errors": CORE, "records": CORE, "requests": CORE, "protocols": CORE, "budget": CORE,
    "keys": CORE, "streams": CORE,
    "metrics": MATHS, "laws": MATHS, "cost": MATHS, "value_head": MATHS, "tables": MATHS,
    "sandbox": MATHS, "torch_checkpoints": MATHS,
    "strategies": PLUGINS, "generators": PLUGINS, "verifiers": PLUGINS, "tasks": PLUGINS,
    "testing": PLUGINS, "recordings": PLUGINS,
    "ledger": MACHINERY, "driver": MACHINERY,
    "study_file": PLANNING, "study_toml": PLANNING, "study": PLANNING,
    "samples": PLANNING, "curves": PLANNING, "accounts": PLANNING,
    "results": PLANNING, "replays": PLANNING, "plans": PLANNING, "study_recording": PLANNING,
    "exports": PLANNING, "hosted_study": PLANNING, "hosted_files": PLANNING,
    "serve": SURFACES, "report": SURFACES, "law_plots": SURFACES, "panel_svg": SURFACES,
    "cli": SURFACES, "commands": SURFACES, "__main__": SURFACES,
    "inspect": SURFACES, "inspect_model": SURFACES, "lm_eval": SURFACES,
}  # fmt: skip
#: What the machinery may use of the plug-ins: nothing; it knows their protocols.
KNOWN_PLUGINS = ("strategies", "generators", "verifiers", "tasks", "testing")


def module_of(path):
    """The dotted name of a file."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def part_of(module):
    """The layer's name that a module belongs to; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@cache
def imports(path, *, for_types=True):
    """(module, node, whether inside a function) of every import of this package."""
    name = module_of(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []

    def visit(node, inside):
        if is_type_checking(node) and not for_types:
            return
        for target in targets(node, package):
            if target.split(".")[0] == "dwell":
                found.append((target, node, inside))
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def targets(node, package):
    """The modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    home = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        home = ".".join([*above, *([node.module] if node.module else [])])
    whole = [f"{home}.{alias.name}" for alias in node.names]
    return [name if name in MODULES else home for name in whole]


def test_every_file_has_a_layer():
    unknown = {part_of(module_of(path)) for path in FILES} - {"", *LAYERS}
    assert not unknown


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path))
def test_nothing_is_imported_from_a_higher_layer(path):
    part = part_of(module_of(path))
    if part == "":
        return  # the package's own door loads its names lazily
    for target, node, _ in imports(path):
        other = part_of(target)
        if other in ("", part):
            continue
        assert LAYERS[other] <= LAYERS[part], f"{part} imports {target}, line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path))
def test_plug_ins_and_machinery_do_not_import_each_other(path):
    part = part_of(module_of(path))
    for target, node, _ in imports(path):
        other = part_of(target)
        if other == part or other not in LAYERS:
            continue
        plugs_meet = LAYERS.get(part) == PLUGINS and LAYERS[other] == PLUGINS
        machinery_knows = LAYERS.get(part) == MACHINERY and other in KNOWN_PLUGINS
        assert not plugs_meet, f"{part} imports {target}, line {node.lineno}"
        assert not machinery_knows, f"{part} imports {target}, line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path))
def test_functions_do_not_import_the_package(path):
    inside = [(target, node.lineno) for target, node, inside in imports(path) if inside]
    assert not inside


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_of(path))
def test_the_core_needs_no_third_party_but_numpy(path):
    part = part_of(module_of(path))
    if LAYERS.get(part) != CORE:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names <= {"dwell", "numpy", "pydantic", *sys.stdlib_module_names}


def test_there_is_no_circle_of_imports():
    edges = {
        name: {target for target, _, _ in imports(path, for_types=False) if target != name}
        for name, path in MODULES.items()
    }
    done, path = set(), []

    def visit(name):
        if name in done:
            return
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        path.append(name)
        for other in sorted(edges.get(name, ())):
            visit(other)
        path.pop()
        done.add(name)

    for name in edges:
        visit(name)


def test_no_file_is_named_for_nothing():
    banned = {"utils", "helpers", "common", "misc"}
    assert not [path for path in FILES if path.stem in banned]

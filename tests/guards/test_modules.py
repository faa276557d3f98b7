"""Modules: their length, names and docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from guards.repository import PACKAGES, ROOT, name_of, scripts, sources, tree_of

LINES_MAX = 400
LONGER = {
    "features/state.py": "one class: the tables of a partition with apply, expire, store and restore",
    "tests/consumers/test_elastic.py": "a case for each answer of a server",
    "tests/features/test_arrow_rows.py": "a case for each rule of a valid row",
    "tests/features/test_decode.py": "a case for each rule of a valid record",
}
"""Modules that may be longer, and why; none may pass 1.25 times the bound."""

SAYS_NOTHING = ("utils", "util", "helpers", "helper", "manager", "base", "common", "misc")


def bad_name(path: Path) -> bool:
    """Whether a word of a module's name tells nothing of what stands in it."""
    return any(word in SAYS_NOTHING for part in path.with_suffix("").parts for word in part.split("_"))


def undocumented(tree: ast.Module) -> list[str]:
    """The module, and its public classes and functions, that have no docstring."""
    found = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            overload = any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
            if not overload and not ast.get_docstring(node):
                found.append(node.name)
    return found


@pytest.mark.parametrize("path", [*sources(), *scripts()], ids=name_of)
def test_a_module_can_be_read_in_one_sitting(path):
    lines = path.read_text("utf-8").count("\n")
    assert lines <= (LINES_MAX if name_of(path) not in LONGER else LINES_MAX * 1.25)


def test_exceptions_are_needed():
    needless = [n for n in LONGER if (ROOT / n).exists() and (ROOT / n).read_text("utf-8").count("\n") <= LINES_MAX]
    assert [*needless, *(n for n in LONGER if not (ROOT / n).exists())] == []


@pytest.mark.parametrize("path", [*sources(), *scripts()], ids=name_of)
def test_a_name_tells_what_stands_there(path):
    assert not bad_name(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_public_things_are_documented(path):
    assert undocumented(tree_of(path)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


def test_bad_names_are_caught():
    assert bad_name(Path("consumers/kafka_utils.py"))
    assert bad_name(Path("features/base.py"))
    assert not bad_name(Path("features/baseline.py"))


def test_missing_docstrings_are_caught():
    assert undocumented(ast.parse("def f(): ...\ndef _g(): ...\nclass H:\n    '''Is.'''\n")) == ["the module", "f"]

"""Modules: their length, names and docstrings."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from guards.repository import PACKAGES, ROOT, name_of, scripts, sources, tree_of

LINES_MAX = 600
CLASS_LINES_MAX = 300
LONGER_CLASSES = {
    "State": "the tables of a partition with apply, expire, store and restore: each works on all of them",
    "FeaturesConsumer": "the loop: its steps share the partitions that are owned",
    "ArchiveRole": "the loop: its steps share what is staged",
    "Sinks": "what a partition still has to write, by sink: taking and acknowledging are one account",
}
"""Classes that are longer, and why."""

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
def test_module_has_at_most_600_lines(path):
    assert path.read_text("utf-8").count("\n") <= LINES_MAX


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_class_has_at_most_300_lines(path):
    lengths = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    }
    longer = {name for name, length in lengths.items() if length > CLASS_LINES_MAX}
    assert longer <= set(LONGER_CLASSES)


@pytest.mark.parametrize("path", [*sources(), *scripts()], ids=name_of)
def test_file_name_is_not_a_catch_all(path):
    assert not bad_name(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_public_names_are_documented(path):
    assert undocumented(tree_of(path)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_package_has_a_type_marker(package):
    assert (ROOT / package / "py.typed").is_file()


def test_catch_all_file_names_are_detected():
    assert bad_name(Path("consumers/kafka_utils.py"))
    assert bad_name(Path("features/base.py"))
    assert not bad_name(Path("features/baseline.py"))


def test_missing_docstrings_are_detected():
    assert undocumented(ast.parse("def f(): ...\ndef _g(): ...\nclass H:\n    '''Is.'''\n")) == ["the module", "f"]

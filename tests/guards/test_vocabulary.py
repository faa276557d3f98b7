"""Names use the field's words: a list of private words and what to write instead of each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from guards.repository import PACKAGES, ROOT, name_of, sources, tree_of

INSTEAD = {
    "aged": "low_priority",
    "anew": "again",
    "asked": "requested",
    "attendance": "assignment",
    "beside": "the relation: sibling, serve_in_thread",
    "bury": "write_tombstones",
    "casting": "workers",
    "chance": "random stream",
    "crew": "coordinator",
    "emission": "documents",
    "flight": "batch",
    "foretold": "predicted",
    "found": "the name of the thing: rows, match, errors",
    "grave": "tombstone",
    "heard": "messages, received",
    "insist": "commit_with_retry",
    "keeper": "checkpoints",
    "kept": "the name of the thing: stored, retained, rows",
    "landed": "acknowledge",
    "lane": "buffer",
    "learnt": "fitted",
    "ledger": "change log",
    "lesson": "train fold",
    "letter": "dead letter",
    "mart": "customer table",
    "mine": "own",
    "outlet": "sink",
    "place": "position, path, partition",
    "rhythm": "seasonality",
    "said": "message",
    "schooling": "training",
    "stands": "committed",
    "strays": "what they are: misplaced records",
    "tally": "counts",
    "taught": "train split",
    "teaching": "train split",
    "told": "message, reported",
    "trouble": "last_error",
    "wanted": "requested, expected",
    "whoever": "the subject",
    "wiring": "build",
    "wish": "query",
}
"""Word of a name -> what to write instead. Plurals count as the word."""

TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

COMPOUNDS = ("dead_letter", "deadletter", "in_flight", "inflight", "place_of_birth", "add_in_place")
"""Terms of the field that contain such a word."""


def words(name: str) -> list[str]:
    """Split an identifier into lower-case words without the compounds of the field."""
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for compound in COMPOUNDS:
        spelled = spelled.replace(compound, "")
    return [word for word in spelled.split("_") if word]


def private_words(name: str) -> list[str]:
    """Return the private words in an identifier."""
    return [w for word in words(name) if (w := word if word in INSTEAD else word.removesuffix("s")) in INSTEAD]


def defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each class, function, parameter, field and variable that a module defines."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)):
                yield node.lineno, name


def refusals(tree: ast.Module) -> list[str]:
    """Return a line for each defined name with a private word."""
    return [
        f"line {line}: {name}: write {INSTEAD[word]}"
        for line, name in defined_names(tree)
        for word in private_words(name)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_names_of_a_package_hold_no_private_word(package: str) -> None:
    paths = [path for path in sources() if path.relative_to(ROOT).parts[0] == package]
    assert paths
    assert not [f"{name_of(path)} {refusal}" for path in paths for refusal in refusals(tree_of(path))]


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_names_of_tests_hold_no_private_word(path: Path) -> None:
    names = [path.stem, *(name for _, name in defined_names(tree_of(path)) if name.startswith("test_"))]
    assert not [name for name in names if private_words(name)]


def test_files_and_folders_hold_no_private_word() -> None:
    assert not [path.relative_to(ROOT) for path in sources() if private_words(path.stem)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("letters = []", ["line 1: letters: write dead letter"]),
        ("dead_letters = in_flight = []", []),
        ("class Keeper: ...", ["line 1: Keeper: write checkpoints"]),
        ("def f(told): ...", ["line 1: told: write message, reported"]),
        ("self._lanes = 1", ["line 1: _lanes: write buffer"]),
        ("for found in rows: ...", ["line 1: found: write the name of the thing: rows, match, errors"]),
        ("replaced = placement = 1", []),
    ],
)
def test_a_private_word_in_a_definition_is_refused_with_the_replacement(code: str, expected: list[str]) -> None:
    assert refusals(ast.parse(code)) == expected

"""The repository as the guards see it: its files, its sources as syntax trees, its commands, its documents."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import typer

from shopstream.cli import app as cli

ROOT = Path(__file__).resolve().parents[2]
KERNEL = "features"
CONNECTORS = "connectors"
FOLDERS = (CONNECTORS, "producers", "consumers", "features", "training", "dashboards")
PACKAGES = ("shopstream", *FOLDERS)
NOT_SHIPPED = frozenset({"__pycache__", ".DS_Store"})


def name_of(path: Path) -> str:
    """`connectors/kafka/client.py`."""
    return path.relative_to(ROOT).as_posix()


def package_files() -> list[Path]:
    """Every file below the packages, without caches."""
    return sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not NOT_SHIPPED.intersection(path.parts)
    )


def sources() -> list[Path]:
    """Every Python module of the packages."""
    return [path for path in package_files() if path.suffix == ".py"]


def scripts() -> list[Path]:
    """Python that is not shipped: benchmarks, tests, scripts of the documents."""
    return sorted(path for folder in ("benchmarks", "tests", "docs", "tools") for path in (ROOT / folder).rglob("*.py"))


def documents() -> list[Path]:
    """Every Markdown file that readers are meant to read."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("benchmarks/*.md"), *(ROOT / "docs").rglob("*.md")])


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that is imported, at the top or within a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def dotted(node: ast.expr) -> str:
    """`np.random.rand` for the expression that says so; empty for any other kind of expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


@functools.cache
def commands() -> dict[str, typer.core.TyperCommand]:
    """Every command of the command line by its name; one of a group is named `group command`."""
    return cli.load_commands()


def split_command(words: list[str]) -> tuple[str, list[str]]:
    """The name of the command that `words` call, and its arguments.

    Raises:
        ValueError: there is no such command.
    """
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in commands():
            return name, words[length:]
    raise ValueError(f"no such command: {' '.join(words[:2])}")

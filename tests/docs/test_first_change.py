"""`docs/first-change.md`: its edits apply to the repository, and its commands print what it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from guards.repository import ROOT

PAGE = (ROOT / "docs" / "first-change.md").read_text("utf-8")
COPIED = (
    "features",
    "connectors",
    "producers",
    "consumers",
    "training",
    "dashboards",
    "shopstream",
    "docs",
    "requirements",
    "tests",
)
SECTIONS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
BLOCK = re.compile(r"^(?P<before>[^\n]+):?\n\n```(?P<language>\w+)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One fenced block.

    Attributes:
        kind: `edit`, `create` or `run`.
        path: the file, of an edit or a new one.
        body: the text of the block.
    """

    kind: str
    path: str
    body: str


def steps(section: str) -> list[Step]:
    """The blocks of a section in order; the words before a block name its file."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    entries = []
    for match in BLOCK.finditer(text):
        named = re.search(r"`([\w./-]+)`:$", match["before"])
        if match["language"] == "console":
            entries.append(Step("run", "", match["body"]))
        else:
            assert named is not None, f"no file is named before {match['body']!r}"
            entries.append(Step("edit" if match["language"] == "diff" else "create", named[1], match["body"]))
    assert len(entries) == text.count("\n```") // 2
    return entries


def edited(text: str, diff: str) -> str:
    """A text with a diff applied, which has one place where it fits."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(before) == 1, f"{text.count(before)} places for\n{before}"
    return text.replace(before, after)


def commands(body: str) -> Iterator[tuple[str, list[str]]]:
    """Each command line with the lines that it prints."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        line, *printed = part.splitlines()
        yield line, printed


def copy_if_present(source: str, target: str) -> None:
    """Copy a file; other tests may replace a compiled kernel meanwhile."""
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the repository, with an environment that runs the copy's code."""
    for name in COPIED:
        # compiled kernels stay valid: the times of the files are kept
        left_out = None if name == "features" else shutil.ignore_patterns("__pycache__", "generations", "img")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out, copy_function=copy_if_present)
    for path in (*ROOT.glob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"):
        shutil.copy2(path, tmp_path)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, words in (("python", ""), ("shopstream", "-m shopstream")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', "utf-8")
        (binaries / name).chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def run(line: str, folder: Path) -> str:
    """The output of a command line in the copy."""
    stored = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "MAKE"))}
    environment = {
        **stored,
        "PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{stored['PATH']}",
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SHOPSTREAM_HOME": str(folder / "home"),
        "COLUMNS": "120",
    }
    done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def words(text: str) -> str:
    """A text without the borders and spaces of tables."""
    return " ".join(re.sub(r"[│|]", " ", text).split())


@pytest.mark.parametrize("section", SECTIONS)
def test_a_walk_through_works_as_written(section, copy):
    todo = steps(section)
    assert {step.kind for step in todo} >= {"run"}
    for step in todo:
        path = copy / step.path
        if step.kind == "edit":
            path.write_text(edited(path.read_text("utf-8"), step.body), "utf-8")
        elif step.kind == "create":
            assert not path.exists()
            path.write_text(step.body, "utf-8")
        else:
            for line, printed in commands(step.body):
                output = words(run(line, copy))
                assert [shown for shown in printed if words(shown) not in output] == [], output


def test_a_diff_that_does_not_fit_is_refused():
    assert edited("a\nb\n", " a\n-b\n+c\n") == "a\nc\n"
    for text in ("b\n", "a\nb\na\nb\n"):
        with pytest.raises(AssertionError, match="places"):
            edited(text, " a\n-b\n")

"""The built wheel is the tree: every module and data file, nothing else, and it works where nothing else lies."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from guards.repository import PACKAGES, ROOT, name_of, package_files

BUILD = "import sys, uv_build; print(uv_build.build_wheel(sys.argv[1]))"
USE = """
import sys
sys.path[:] = [sys.argv[1], *(p for p in sys.path if p not in ("", sys.argv[2]))]
import shopstream, features, producers.importing.mapping
from shopstream.embedded.artifacts import read_lock
assert all(m.__file__.startswith(sys.argv[1]) for m in (shopstream, features, producers.importing.mapping))
assert read_lock().kafka and producers.importing.mapping.builtin_mappings()
from producers.topic_mapping.ready import ready_examples, ready_mappings
assert ready_mappings() and all(file.is_file() for name in ready_mappings() for file in ready_examples(name))
from shopstream import cli
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built as `pip install .` builds it, with the backend of the environment."""
    folder = tmp_path_factory.mktemp("wheel")
    # the backend looks for its own binary on the PATH
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    (built,) = folder.glob("*.whl")
    return built


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_wheel_holds_every_file_of_the_packages(wheel):
    expected = {name_of(path) for path in package_files()}
    assert len(expected) > 90
    assert expected - content(wheel) == set()


def test_wheel_holds_no_other_file(wheel):
    expected = {name_of(path) for path in package_files()}
    assert {n for n in content(wheel) - expected if not n.startswith("shopstream-0") or ".dist-info/" not in n} == set()


def test_wheel_has_the_command_the_licence_and_the_readme(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = {n.split(".dist-info/")[1]: archive.read(n).decode() for n in archive.namelist() if ".dist-info/" in n}
    assert "shopstream = shopstream.cli.app:main" in info["entry_points.txt"].replace("=", " = ").replace("  ", " ")
    assert "Apache License" in info["licenses/LICENSE"]
    assert (ROOT / "README.md").read_text("utf-8").strip()[:200] in info["METADATA"]


def test_wheel_works_outside_the_source_tree(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    subprocess.run(
        [sys.executable, "-P", "-c", USE, str(tmp_path / "site"), str(ROOT)], cwd=tmp_path, check=True,
        capture_output=True,
    )  # fmt: skip


def test_every_package_of_the_tree_is_declared():
    """A folder with Python beside the packages would be left out of the wheel without a word."""
    not_shipped = {"tests", "benchmarks", "docs", "notebooks", "tools"}
    found = {p.parent.name for p in ROOT.glob("*/*.py") if not p.parent.name.startswith((".", "_"))}
    assert found - not_shipped == set(PACKAGES)

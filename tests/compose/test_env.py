"""`make env`: secrets of its own, for its owner alone, and nothing of yours is lost."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys

import pytest
from compose.reading import ROOT, loaded

OWN = "of my own"
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")


def folder_with_example(tmp_path):
    shutil.copy(ROOT / ".env.example", tmp_path)
    return tmp_path


def test_every_secret_is_generated_and_differs(env_tool):
    expected = {name for name, value in env_tool.settings(EXAMPLE).items() if value in env_tool.OPEN}
    one, other = (env_tool.settings(env_tool.filled(EXAMPLE, "")) for _ in range(2))
    assert len(expected) == 10
    for name in expected:
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", one[name])
    assert len({made[name] for made in (one, other) for name in expected}) == 20


def test_values_that_are_not_secrets_equal_the_example(env_tool):
    example, made = env_tool.settings(EXAMPLE), env_tool.settings(env_tool.filled(EXAMPLE, ""))
    assert made.keys() == example.keys()
    assert {k: v for k, v in made.items() if example[k] not in env_tool.OPEN} == {
        k: v for k, v in example.items() if v not in env_tool.OPEN
    }


def test_existing_values_are_unchanged_and_missing_ones_are_added(env_tool):
    there = f"# mine\nELASTIC_PASSWORD={OWN}\nWEB_PORT=9000\n"
    made = env_tool.filled(EXAMPLE, there)
    assert made.startswith(there)
    assert env_tool.settings(made)["ELASTIC_PASSWORD"] == OWN
    assert env_tool.settings(made)["WEB_PORT"] == "9000"
    assert env_tool.settings(made).keys() == env_tool.settings(EXAMPLE).keys()
    assert env_tool.filled(EXAMPLE, made) == made


@pytest.mark.parametrize("value", ["", "(generated)", " "])
def test_copy_of_the_example_gets_generated_secrets(value, env_tool, tmp_path):
    """`(generated)` means the same as an empty value."""
    folder = folder_with_example(tmp_path)
    names = {name for name, given in env_tool.settings(EXAMPLE).items() if given == ""}
    copied = re.sub(r"^(\w+)=$", rf"\1={value}", EXAMPLE, flags=re.MULTILINE)
    (folder / ".env").write_text(copied)
    assert env_tool.main(folder) == 0
    made = env_tool.settings((folder / ".env").read_text())
    assert len({made[name] for name in names}) == len(names) == 10
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", made[name]) for name in names)
    loaded(made)
    before = (folder / ".env").read_text()
    assert env_tool.main(folder) == 0
    assert (folder / ".env").read_text() == before


def test_empty_value_that_is_not_a_secret_stays_empty(env_tool):
    there = env_tool.filled(EXAMPLE, "").replace("SHOP_SEED=7", "SHOP_SEED=")
    assert env_tool.filled(EXAMPLE, there) == there


def test_file_becomes_readable_by_its_owner_only(env_tool, tmp_path):
    folder = folder_with_example(tmp_path)
    (folder / ".env").write_text("WEB_PORT=9000\n")
    (folder / ".env").chmod(0o644)
    assert env_tool.main(folder) == 0
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert not (folder / ".env.new").exists()


def test_script_needs_only_the_standard_library(tmp_path):
    folder = folder_with_example(tmp_path)
    script = [sys.executable, "-I", "-S", str(ROOT / "tools" / "env.py"), str(folder)]
    output = [subprocess.run(script, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert "is created" in output[0]
    assert "is unchanged" in output[1]
    secrets = [line.partition("=")[2] for line in (folder / ".env").read_text().splitlines() if "PASSWORD" in line]
    assert not any(secret in text for secret in secrets if secret for text in output)


def test_git_and_docker_ignore_the_file():
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    tracked = subprocess.run(["git", "ls-files", ".env"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert tracked.stdout == ""

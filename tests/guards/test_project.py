"""Files around the code: lock files, changelog, recipes."""

from __future__ import annotations

import re
import tomllib

import pytest
from guards.repository import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def blocks(text: str) -> list[str]:
    """Requirements of a lock file, each with its continued lines."""
    return [block for block in re.split(r"\n(?=\S)", text.strip()) if not block.startswith("#")]


def faults(text: str) -> list[str]:
    """Requirements of a lock file that are not pinned by version and SHA-256 alone."""
    found = []
    for block in blocks(text):
        first, *rest = block.replace("\\\n", "\n").splitlines()
        pinned = re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,_-]+\])?==[^\s;]+( ; [^\n]+)?\s*", first)
        hashes = [line.strip() for line in rest if line.strip()]
        if not pinned or not hashes or not all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes):
            found.append(first.strip())
    if "://" in text or re.search(r"^--(index-url|extra-index-url|find-links|trusted-host)", text, re.MULTILINE):
        found.append("an address")
    return found


def canonical(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name.group()).lower()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_pin_by_hash_and_hold_no_address(lock):
    text = lock.read_text("utf-8")
    assert len(blocks(text)) > 10
    assert faults(text) == []


def test_the_lock_has_every_dependency():
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    locked = {canonical(block) for block in blocks((ROOT / "requirements/dev.lock").read_text("utf-8"))}
    assert {canonical(one) for one in wanted} - locked == set()


HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "a==1\n",
        f"a>=1 \\\n    {HASH}\n",
        "a==1 \\\n    --hash=md5:00\n",
        f"--index-url https://somewhere/simple\na==1 \\\n    {HASH}\n",
        f"a @ https://somewhere/a.whl \\\n    {HASH}\n",
    ],
)
def test_faults_of_a_lock_are_detected(text):
    assert faults(text) != []


def test_valid_lock_passes():
    assert (
        faults(f"a==1 ; python_full_version < '3.12' \\\n    {HASH} \\\n    {HASH}\nb-c==2.0.post1 \\\n    {HASH}\n")
        == []
    )


def test_recipes_name_files_that_exist():
    named = set(re.findall(r"-r (\S+\.lock)", MAKEFILE)) | set(re.findall(r"python (\w\S*\.py)", MAKEFILE))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_ci_runs_the_targets_of_the_makefile():
    recipe = [line for line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert recipe[-2:] == ["make lint", "make test"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_changelog_starts_with_the_unreleased_version_and_describes_state():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert titles[0] == "Unreleased"
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"^State: .+", section, re.MULTILINE), f"{section.splitlines()[0]}: must state be rebuilt?"

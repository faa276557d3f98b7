"""The Makefile: `make help` lists every target in a group, and CI runs targets that exist."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml
from guards.repository import ROOT

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.MULTILINE)
GROUPS = ("Start", "Develop", "Check", "Measure")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def described(text: str) -> dict[str, tuple[str, str]]:
    """Target -> group and description."""
    lines = re.findall(r"^([a-z-]+):.*## ([A-Z][a-z]+) \| (.+)$", text, re.MULTILINE)
    return {target: (group, description) for target, group, description in lines}


def unknown_targets(recipe: str) -> set[str]:
    """Targets that a shell recipe makes and the Makefile does not have."""
    lines = re.findall(r"^\s*make\b(.*)$", recipe, re.MULTILINE)
    words = [word for line in lines for word in line.split() if not word.startswith("-") and "=" not in word]
    return set(words) - set(TARGETS)


def recipes(workflow: str) -> list[str]:
    """The shell recipes of a workflow, in order."""
    jobs = yaml.safe_load(workflow)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_a_group_and_a_description(target):
    group, description = described(MAKEFILE)[target]
    assert group in GROUPS
    assert len(description) <= 120
    assert description[0].islower()
    assert not description.endswith(".")


def test_targets_are_phony_and_named_once():
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert sorted(TARGETS) == sorted(phony.split())


def test_help_lists_every_target_below_its_group():
    run = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed: dict[str, list[str]] = {}
    for line in run.stdout.split("\n"):
        if line in GROUPS:
            listed[line] = []
        elif match := re.match(r"  make ([a-z-]+) +\S", line):
            listed[list(listed)[-1]].append(match[1])
    assert tuple(listed) == GROUPS
    assert {(group, target) for group, targets in listed.items() for target in targets} == {
        (group, target) for target, (group, _) in described(MAKEFILE).items()
    }


def test_target_without_a_group_is_detected():
    assert described("a: b  ## Check | run a\nc:  ## run c\nd:\n") == {"a": ("Check", "run a")}


# --- continuous integration -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_only_targets_that_exist(path):
    text = path.read_text("utf-8")
    assert {"lint", "test"} <= {word for recipe in recipes(text) for word in recipe.split()}
    assert [unknown for recipe in recipes(text) for unknown in unknown_targets(recipe)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_ends_in_time(path):
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 120
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/x@v1"))


def test_a_workflow_tests_every_declared_version_of_python():
    declared = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert WORKFLOWS
    for path in WORKFLOWS:
        jobs = yaml.safe_load(path.read_text("utf-8"))["jobs"]
        assert jobs["test"]["strategy"]["matrix"]["python"] == declared


def test_unknown_target_is_detected():
    assert unknown_targets("make lint\nmake JOBS=2 no-such -k\necho make this") == {"no-such"}

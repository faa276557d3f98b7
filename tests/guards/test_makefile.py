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
def jobs_of(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))["jobs"]


def foreign(recipe: str) -> bool:
    """Whether a recipe of a workflow is more than one call of make, which runs at home too."""
    return re.fullmatch(r"make( [a-z][a-z-]*)( [A-Z]+=[\w.-]+)*", recipe) is None


def test_there_is_a_workflow_for_each_part_of_the_delivery():
    assert [path.stem for path in WORKFLOWS] == ["check", "compose", "image", "release", "spark"]
    expected = {
        "check": {"lint", "test", "demo"},
        "compose": {
            "env",
            "compose-images",
            "test-compose",
            "compose-up",
            "test-kibana",
            "compose-logs",
            "compose-down",
        },
        "image": {"image", "image-digests", "image-publish"},
        "release": {"wheel"},
        "spark": {"test-spark"},
    }
    for path in WORKFLOWS:
        assert {recipe.split()[1] for recipe in recipes(path.read_text("utf-8"))} == expected[path.stem]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_each_step_of_a_workflow_is_a_target_that_exists(path):
    assert [recipe for recipe in recipes(path.read_text("utf-8")) if foreign(recipe) or unknown_targets(recipe)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_ends_in_time(path):
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert 0 < job["timeout-minutes"] <= 120
        further = job.get("permissions", {}).items() - workflow["permissions"].items()
        assert further == ({("packages", "write")} if name == "publish" else set())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_their_version(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"(actions|docker)/[a-z-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_one_commit_of_each_action_is_used():
    used = {found for path in WORKFLOWS for found in re.findall(r"uses: (\S+)@(\S+)", path.read_text("utf-8"))}
    assert len({name for name, _ in used}) == len(used)


def test_every_declared_version_of_python_and_system_is_tested():
    text, jobs = (ROOT / "pyproject.toml").read_text("utf-8"), jobs_of("check")
    assert jobs["test"]["strategy"]["matrix"]["python"] == re.findall(r"Python :: (3\.\d+)", text)
    systems = {"Linux": "ubuntu", "MacOS": "macos"}
    declared = {systems[name] for name in re.findall(r"Operating System :: (?:POSIX :: )?(\w+)\"", text)}
    assert {job["runs-on"].partition("-")[0] for job in jobs.values()} == declared


def test_only_a_tag_is_published():
    jobs = jobs_of("image")
    assert jobs["publish"]["if"] == "${{ startsWith(github.ref, 'refs/tags/') }}"
    assert [step["run"] for step in jobs["publish"]["steps"] if "run" in step] == ["make image-publish"]
    assert "publish" not in str(jobs["build"]["steps"])
    for word in ("linux/amd64,linux/arm64", "--provenance mode=max", "--sbom true"):
        assert word in MAKEFILE


@pytest.mark.parametrize("recipe", ["pip install x", "make lint && curl x", "make lint\nmake test", "make $(x)"])
def test_foreign_recipe_is_detected(recipe):
    assert foreign(recipe)


def test_unknown_target_is_detected():
    assert unknown_targets("make lint\nmake JOBS=2 no-such -k\necho make this") == {"no-such"}

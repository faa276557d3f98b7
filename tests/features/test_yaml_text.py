"""YAML that people write: a model's mistakes on their lines, and texts by ready name or by path."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.formats.strict_yaml import find_text, read_yaml
from features.errors import UsageError


class One(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    value: str


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    source: str | One
    many: list[One] = []


def refusal(text: str) -> list[str]:
    read = read_yaml(text, "my.yaml")
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(read.content)
    return read.refusal(caught.value).splitlines()


def test_errors_do_not_name_branches_of_a_union():
    assert refusal("source: 7") == [
        "my.yaml, line 1: source: input should be a valid string.",
        "my.yaml, line 1: source: input should be a valid dictionary or instance of One.",
    ]
    assert "my.yaml, line 2: source.value: input should be a valid string." in refusal("source:\n  value: 3")


def test_errors_are_sorted_by_line_and_a_missing_key_names_its_parent():
    assert refusal("many:\n- value: x\n- vale: y\nsource: s\n") == [
        "my.yaml, line 3: many[1].value: field required.",
        "my.yaml, line 3: many[1].vale: unknown key.",
    ]


def test_name_of_a_supplied_file_wins_over_a_local_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("from a file", "utf-8")
    assert find_text("mine", {"mine": "ready"}, "mapping") == ("ready", "mapping mine")
    assert find_text("mine", {"other": "ready"}, "mapping") == ("from a file", "mine")


def test_unknown_name_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="There is no mapping none: No such file") as caught:
        find_text("none", {"one": "", "two": ""}, "mapping", " (`x --list`)")
    assert caught.value.remedy == "Give a YAML file, or one of one, two (`x --list`)."
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="bytes, line 1: the file is not UTF-8"):
        find_text(str(tmp_path / "bytes"), {}, "mapping")

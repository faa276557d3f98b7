"""Ready mappings of topics: YAML files with examples and their expected results, which are the mapping's tests."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from connectors.formats.money_format import UNSET_MONEY, ShopMoney
from connectors.formats.strict_yaml import builtin_texts, find_text, read_yaml
from features.errors import UsageError
from producers.importing.mapping import ClickMapping, OrderMapping, parse_mapping
from producers.inspection.draft_lines import scalar
from producers.topic_mapping.checks import check_topic_mapping

EXAMPLE_ANSWERS: Final[Mapping[str, str]] = MappingProxyType({"zone": "Europe/Berlin"})
"""Answers with which the examples of the ready mappings are mapped."""
EXAMPLE_SALT: Final = b"example"
"""Key of the guests in these examples."""
_FOLDER: Final = "topic_mappings"


class ReadyMapping(NamedTuple):
    """Ready mapping: its name, kind, topic with format and envelope, and what it reads."""

    name: str
    kind: str
    reads: str
    about: str


def ready_mappings() -> dict[str, str]:
    """Return name -> YAML of each ready mapping of a topic."""
    return builtin_texts("producers", _FOLDER)


def ready_summaries() -> list[ReadyMapping]:
    """Return the ready mappings in the order of their names."""
    rows = []
    for name, text in ready_mappings().items():
        content = read_yaml(text, name).content
        source = content["from"]
        reads = ", ".join([source.get("format", "json"), *([source["envelope"]] if "envelope" in source else [])])
        rows.append(ReadyMapping(name, str(content["kind"]), reads, str(content.get("about", ""))))
    return rows


def topic_mapping_text(name_or_path: str) -> tuple[str, str]:
    """Return text and name, for errors, of a ready mapping or a YAML file. Raises UsageError if it is missing."""
    return find_text(name_or_path, ready_mappings(), "mapping", " (`shopstream map list`)")


class LoadedMapping(NamedTuple):
    """Mapping of a topic with its YAML, and its name for errors: the path of a file."""

    text: str
    origin: str
    mapping: OrderMapping | ClickMapping

    def line(self, *path: str) -> str:
        """Return the line of a part for errors: `clicks.yaml, line 2`."""
        return f"{self.origin}, line {read_yaml(self.text, self.origin).line(path)}"


def read_topic_mapping(
    name_or_path: str, answers: Mapping[str, str] = MappingProxyType({}), shop: ShopMoney = UNSET_MONEY
) -> LoadedMapping:
    """Return a mapping of a topic, from the ready ones or a YAML file.

    Args:
        name_or_path: name of a ready mapping, or path of a YAML file.
        answers: name -> value for each `{ask: name}` of the mapping.
        shop: what the settings say about amounts.

    Raises:
        UsageError: the mapping is missing or invalid, is none of a topic, or asks for a value that is not given.
    """
    text, origin = topic_mapping_text(name_or_path)
    mapping = parse_mapping(text, origin, answers, shop)
    check_topic_mapping(text, origin, mapping)
    return LoadedMapping(text, origin, mapping)


def load_topic_mapping(
    name_or_path: str, answers: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, OrderMapping | ClickMapping]:
    """Return the name and the mapping; arguments and errors as `read_topic_mapping`."""
    return Path(name_or_path).stem, read_topic_mapping(name_or_path, answers).mapping


def ready_examples(name: str) -> tuple[Path, Path] | None:
    """Return the files of examples and expected results of a ready mapping; None if no ready mapping has the name."""
    if name not in ready_mappings():
        return None
    folder = Path(str(resources.files("producers") / _FOLDER))
    return folder / f"{name}.jsonl", folder / f"{name}.expected.jsonl"


def with_topic(text: str, topic: str) -> str:
    """Return the YAML of a mapping with another topic; everything else, comments included, stays as it is.

    Raises:
        UsageError: the text names no topic.
    """
    span = read_yaml(text, "the mapping").span(("from", "topic"))
    if span is None:
        raise UsageError("The mapping names no topic.", "Add `from: {topic: NAME, format: json}`.")
    return text[: span[0]] + scalar(topic) + text[span[1] :]

"""Finds the ready mapping that fits a topic, and maps the sample with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.messages.mapped import Message
from connectors.messages.topic_format import Envelope
from connectors.tables.records import records_batch
from features.errors import UsageError
from producers.importing.mapping import ClickMapping, OrderMapping, questions
from producers.inspection.fit import required_columns
from producers.topic_inspection.personal_data import names_a_person
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import EXAMPLE_ANSWERS, EXAMPLE_SALT, load_topic_mapping, ready_mappings

REQUIRED_FILL_MIN: Final = 0.5
"""Share of the messages that must have one of the paths of every required field."""
_PATHS: Final = re.compile(r"`([^`]+)`: ")
_VALUE_MAX: Final = 80


@dataclass(slots=True)
class ReadyFit:
    """Ready mapping, tried on a sample.

    Attributes:
        name: name of the mapping.
        fill: path of the mapping -> share of the messages with a record that have it.
        mapped: messages that gave records.
        left_out: reason -> messages.
        refused: reason -> messages. Values of people are not in it.
        records: topic of the run -> records.
        requested: name -> question of the values that it asks for.
    """

    name: str
    fill: dict[str, float]
    mapped: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    requested: dict[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        """Messages of the sample."""
        return self.mapped + self.left_out.total() + self.refused.total()

    @property
    def coverage(self) -> float:
        """Share of the paths of the mapping that the sample has."""
        return sum(share > 0 for share in self.fill.values()) / len(self.fill)


def fitting_ready_mappings(
    messages: Sequence[Message],
    records: Sequence[tuple[int, dict[str, Any]]],
    envelope: Envelope | None,
    hidden: Collection[str],
) -> list[ReadyFit]:
    """Return the ready mappings whose required fields the messages have, the best one first.

    Args:
        messages: messages.
        records: number of the message, and its record.
        envelope: envelope of the messages.
        hidden: paths whose values are not shown.
    """
    fits = []
    for name in ready_mappings():
        _, mapping = load_topic_mapping(name, EXAMPLE_ANSWERS)
        if mapping.topic is None or mapping.topic.envelope != envelope:
            continue
        required = required_columns(mapping)
        fill = _fill(mapping, records)
        if all(any(fill.get(path, 0) >= REQUIRED_FILL_MIN for path in paths) for paths in required if paths):
            fits.append(_tried(name, mapping, fill, messages, hidden))
    return sorted(fits, key=lambda one: (-one.coverage, one.refused.total(), one.name))


def _fill(mapping: OrderMapping | ClickMapping, records: Sequence[tuple[int, dict[str, Any]]]) -> dict[str, float]:
    paths = mapping.paths() | ({mapping.list_path} if mapping.list_path else set())
    return {path: _share(path, mapping.list_path, records) for path in sorted(paths)} if records else {}


def _share(path: str, each: str | None, records: Sequence[tuple[int, dict[str, Any]]]) -> float:
    """Return the share of records that have a path. A list, or a value that is not readable, is there."""
    try:
        batch = records_batch(records, [path], each if path.startswith(".") else None)
    except UsageError:
        return 0.0
    values = batch.rows.drop_nulls(path)
    lines = set(values.filter(values[path].str.strip_chars() != "")[batch.rows.columns[0]].to_list())
    return len(lines | {one.line for one in batch.refused}) / len(records)


def _tried(
    name: str, mapping: OrderMapping | ClickMapping, fill: dict[str, float], messages: Sequence[Message],
    hidden: Collection[str],
) -> ReadyFit:  # fmt: skip
    mapped = TopicMapper(name, mapping, EXAMPLE_SALT).map(messages)
    fit = ReadyFit(name, fill, requested=questions(ready_mappings()[name]))
    fit.mapped = len({one.message for one in mapped.records})
    fit.left_out.update(mapped.left_out.values())
    fit.refused.update(shown_reason(reason, hidden) for reason in mapped.refused.values())
    fit.records.update(one.topic for one in mapped.records)
    return fit


def shown_reason(reason: str, hidden: Collection[str]) -> str:
    """Return the reason of a refusal without the value of a person."""
    named = _PATHS.match(reason)
    if named is None or reason.endswith(": missing"):
        return reason
    paths = named[1].split(", ")
    if names_a_person(reason[named.end() :]) or any(
        path in hidden or path.split(".", 1)[-1] in hidden for path in paths
    ):
        return f"`{named[1]}`: the value is not read (not shown)"
    return reason if len(reason) <= _VALUE_MAX + len(named[0]) else f"{reason[: _VALUE_MAX + len(named[0])]}…"

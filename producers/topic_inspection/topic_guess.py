"""Guesses what a topic holds: form, envelope, keys and paths of a sample, and the mapping that fits it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors.clock import iso
from connectors.messages.envelopes import Record, open_content, open_message
from connectors.messages.mapped import Message
from connectors.messages.topic_format import Envelope, TopicFormat
from features.schema import DAY_MS
from producers.inspection.draft import Draft, draft
from producers.inspection.inspection import Group
from producers.topic_inspection.message_form import JSON, NULL, envelope_of, form_of
from producers.topic_inspection.message_keys import KeyFindings, key_findings
from producers.topic_inspection.path_profile import (
    PathProfile,
    group_of,
    path_profiles,
    text_fields,
    typed_json,
    with_texts_opened,
)
from producers.topic_inspection.personal_data import is_personal
from producers.topic_inspection.ready_fit import ReadyFit, fitting_ready_mappings
from producers.topic_mapping.ready import ready_mappings, with_topic

_CHANGE_FIELDS: Final = ("op", "source", "ts_ms", "ts_us", "ts_ns", "transaction")
_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
"""Name of the type of a decimal in a schema of Kafka Connect."""
_SCALES: Final = frozenset(map(str, range(19)))
"""Scales that `base64_scale` of a mapping takes."""
_NUMBER: Final = re.compile(r"(?<=['\"])(\s+(?:#\s*)?)\(line\s+(?:#\s*)?(\d+)\)")
"""Number of a message after an example; the line of a comment may end before or in it."""
_HIDDEN: Final = "…"
"""Instead of a value of a person."""
_WORDS_SHOWN_KINDS: Final = ("words", "boolean")


@dataclass(slots=True)
class TopicGuess:
    """What is known of a topic by a sample.

    Attributes:
        topic: name of the topic.
        messages: messages of the sample.
        forms: what the values are -> messages.
        envelope: envelope of the records.
        envelope_text: the same in words.
        unopened: messages of JSON without a record, by reason, such as heartbeats.
        keys: what the keys are; None for files.
        paths: paths of the records.
        fits: ready mappings that fit, the best one first.
        drafted: drafted mapping; None if a ready mapping fits, or if there is no record.
        words: paths whose distinct values are shown.
    """

    topic: str
    messages: int
    forms: Counter[str]
    envelope: Envelope | None = None
    envelope_text: str = "none"
    unopened: Counter[str] = field(default_factory=Counter)
    keys: KeyFindings | None = None
    paths: list[PathProfile] = field(default_factory=list)
    fits: list[ReadyFit] = field(default_factory=list)
    drafted: Draft | None = None
    words: set[str] = field(default_factory=set)

    @property
    def mapping(self) -> str | None:
        """YAML of the ready mapping that fits best, with the topic, or of the draft; None without a record."""
        if self.fits:
            return with_topic(ready_mappings()[self.fits[0].name], self.topic)
        return None if self.drafted is None else self.drafted.text

    @property
    def complete(self) -> bool:
        """Whether the mapping has every required part."""
        return bool(self.fits) or (self.drafted is not None and self.drafted.complete)


def guess_topic(
    topic: str,
    messages: Sequence[Message],
    keys: Sequence[bytes | None] | None,
    now_ms: int,
    positions: Sequence[str] | None = None,
) -> TopicGuess:
    """Return what a topic holds by a sample of its messages.

    Args:
        topic: name of the topic.
        messages: values with headers.
        keys: key of each message; None if they are unknown.
        now_ms: current time, epoch ms.
        positions: where each message is, for people: `partition 0, offset 17`; by default its line, from 1.
    """
    forms = [form_of(message) for message in messages]
    guess = TopicGuess(topic, len(messages), Counter(forms))
    decoded = [
        (number, typed_json((message.value or b"").decode()))
        for number, (message, form) in enumerate(zip(messages, forms, strict=True))
        if form == JSON
    ]
    guess.envelope, guess.envelope_text = envelope_of(
        [content for _, content in decoded], [messages[number] for number, _ in decoded]
    )
    typed, records = _opened(guess, decoded, messages)
    if keys is not None:
        contents: list[dict[str, Any] | None] = [None] * len(messages)
        for number, record in records:
            contents[number] = record
        guess.keys = key_findings(keys, contents)
    if not records:
        return guess
    fields = text_fields([record for _, record in typed])
    typed = [(number, with_texts_opened(record, fields)) for number, record in typed]
    group = group_of(topic, typed, now_ms + DAY_MS)
    guess.paths = path_profiles([record for _, record in typed], group)
    hidden = {one.path for one in guess.paths if one.hidden}
    guess.fits = fitting_ready_mappings(messages, records, guess.envelope, hidden)
    own = group if guess.envelope != "debezium" else group_of(topic, _rows(typed), now_ms + DAY_MS)
    described = TopicFormat(topic=topic, envelope=guess.envelope, text_fields=_formats_fields(guess.envelope, fields))
    drafted = draft(_without_personal_words(own), described, debezium_scales([content for _, content in decoded]))
    drafted = _with_positions(drafted, positions or [f"line {number + 1}" for number in range(len(messages))])
    columns = drafted.recognition.columns
    named = {columns[name] for name in ("type", "status", "currency", "device") if name in columns}
    guess.words = {one.path for one in guess.paths if _shows_words(one, named)}
    guess.drafted = None if guess.fits else drafted
    return guess


def _formats_fields(envelope: Envelope | None, fields: Sequence[str]) -> tuple[str, ...]:
    return () if envelope == "debezium" else tuple(fields)


def _opened(
    guess: TopicGuess, decoded: Sequence[tuple[int, Any]], messages: Sequence[Message]
) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, dict[str, Any]]]]:
    """Return the records of messages, with their types of JSON and as the mapper reads them."""
    typed, records = [], []
    for number, content in decoded:
        message = messages[number]
        opened = open_message(message.value, message.headers, guess.envelope)
        if not isinstance(opened, Record):
            guess.unopened[opened.reason] += 1
            continue
        records.append((number, opened.content))
        with_types = open_content(content, message.headers, guess.envelope)
        typed.append((number, with_types.content if isinstance(with_types, Record) else opened.content))
    return typed, records


def debezium_scales(contents: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return column -> scale of the decimals of a table, by the schemas that changes of Debezium have."""
    scales: dict[str, int] = {}
    for content in contents:
        for part in _fields(content.get("schema")):
            for column in _fields(part) if part.get("field") in ("before", "after") else ():
                parameters = column.get("parameters")
                scale = parameters.get("scale") if isinstance(parameters, dict) else None
                if column.get("name") == _DECIMAL and isinstance(scale, str) and scale in _SCALES:
                    scales[str(column.get("field"))] = int(scale)
    return scales


def _fields(schema: Any) -> list[dict[str, Any]]:
    fields = schema.get("fields") if isinstance(schema, dict) else None
    return [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []


def _rows(typed: Sequence[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    """Return the rows of changes without the fields that Debezium adds to each."""
    return [
        (number, {name: value for name, value in record.items() if name not in _CHANGE_FIELDS})
        for number, record in typed
    ]


def _without_personal_words(group: Group) -> Group:
    """Return a group in which no column of a person has words or examples, so that a draft cannot have them."""
    for column in (*group.columns, *(one for columns in group.elements.values() for one in columns)):
        personal = is_personal(column.name, (*column.words, *column.examples)) or column.kind == "email"
        if personal:
            column.words, column.examples = {}, ()
        times = () if column.times is None else column.times.readings.values()
        for reading in (*column.numbers.readings.values(), *times):
            value = reading.first_unread
            if value is not None and (personal or is_personal(column.name, [value.value])):
                reading.first_unread = replace(value, value=_HIDDEN)
    return group


def _with_positions(drafted: Draft, positions: Sequence[str]) -> Draft:
    """Return a draft whose examples name the position of their message instead of its number."""

    def named(text: str) -> str:
        return _NUMBER.sub(lambda match: f"{match[1]}({positions[int(match[2])]})", text)

    questions = [replace(one, text=named(one.text), decides=named(one.decides)) for one in drafted.questions]
    return replace(drafted, text=named(drafted.text), questions=questions)


def _shows_words(path: PathProfile, named: set[str]) -> bool:
    column = path.column
    return (
        column is not None
        and not path.hidden
        and bool(column.words)
        and (column.kind in _WORDS_SHOWN_KINDS or path.path in named)
    )


# --- plain values -----------------------------------------------------------------------------------------------------
def time_range(path: PathProfile) -> tuple[str, str, str] | None:
    """Return format, earliest and latest time of a path of times; None for other paths and those of people."""
    column = path.column
    if column is None or path.hidden or column.times is None or not column.is_time:
        return None
    chosen = column.times.chosen()
    reading = None if chosen is None else column.times.readings[chosen]
    if chosen is None or reading is None or reading.low_ms is None or reading.high_ms is None:
        return None
    return chosen, iso(reading.low_ms), iso(reading.high_ms)


def guess_as_dict(guess: TopicGuess) -> dict[str, Any]:
    """Return a guess as plain values."""
    keys = guess.keys
    return {
        "topic": guess.topic,
        "messages": guess.messages,
        "null_values": guess.forms[NULL],
        "formats": dict(guess.forms.most_common()),
        "envelope": guess.envelope,
        "without_record": dict(guess.unopened.most_common()),
        "keys": None if keys is None else {"forms": dict(keys.forms.most_common()), "equal": keys.equal},
        "paths": [_path_as_dict(one, guess.words) for one in guess.paths],
        "ready_mappings": [
            {
                "name": fit.name,
                "fill": fit.fill,
                "mapped": fit.mapped,
                "left_out": dict(fit.left_out.most_common()),
                "refused": dict(fit.refused.most_common()),
                "records": dict(fit.records.most_common()),
                "asks": fit.requested,
            }
            for fit in guess.fits
        ],
        "questions": [] if guess.drafted is None else [one.text for one in guess.drafted.questions],
        "complete": guess.complete,
        "mapping": guess.mapping,
    }


def _path_as_dict(path: PathProfile, words: set[str]) -> dict[str, Any]:
    column, times = path.column, time_range(path)
    described: dict[str, Any] = {
        "path": path.path,
        "filled": path.filled,
        "fill": round(path.fill, 4),
        "types": dict(path.types.most_common()),
        "kind": None if column is None else column.kind,
        "distinct": None if column is None else column.distinct,
        "hidden": path.hidden,
    }
    if column is not None and path.path in words:
        described["values"] = column.words
    if times is not None:
        described["time"] = dict(zip(("format", "lowest", "highest"), times, strict=True))
    elif column is not None and column.is_number and not path.hidden:
        described["lowest"], described["highest"] = column.low, column.high
    return described

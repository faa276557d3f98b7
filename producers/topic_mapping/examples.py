"""Maps examples of messages, and compares their records with those that the shop expects.

A file of examples has the value of one message in each line; `null` is a null value. Values with a schema are bytes:
their lines are objects `{"value": "AAAAAAc=", "headers": {"__value_schema_id": "AQ=="}}` with base64, as a copy of the
topic has them; other keys do not count. A file of expectations has one
JSON object for each of them: `{"line": 3, "records": [{"topic": "orders", "key": "17", "value": {...}}]}`, or with
`left_out` or `refused` instead of `records`: the beginning of the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from connectors.messages.mapped import Mapped, Message
from features.errors import UsageError
from producers.topic_mapping.mapper import TopicMapper

BATCH_MESSAGES = 5_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Example whose result is not the expected one: line, the expected and the mapped result."""

    line: int
    expected: Mapping[str, Any]
    mapped: Mapping[str, Any]


@dataclass(slots=True)
class ExampleReport:
    """Results of examples.

    Attributes:
        results: one for each message, in the form of the expectations.
        differences: results that are not as expected.
        expected: number of examples with an expectation.
    """

    results: list[dict[str, Any]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    expected: int = 0

    @property
    def mapped(self) -> int:
        """Messages that gave records."""
        return sum("records" in one for one in self.results)

    @property
    def records(self) -> Counter[str]:
        """Records by topic."""
        return Counter(record["topic"] for one in self.results for record in one.get("records", ()))

    def reasons(self, outcome: str) -> dict[str, list[int]]:
        """Return reason -> lines of the messages that are `left_out` or `refused`."""
        lines: dict[str, list[int]] = {}
        for one in self.results:
            if outcome in one:
                lines.setdefault(one[outcome], []).append(one["line"])
        return lines


def check_examples(
    mapper: TopicMapper, topic: str, examples: Path, expectations: Path | None, *, with_bytes: bool = False
) -> ExampleReport:
    """Map the examples of a file, and compare them with the expectations.

    Args:
        mapper: mapping of the topic.
        topic: name of the topic, of which ids of events without one are made.
        examples: file of examples.
        expectations: file of expectations, or None.
        with_bytes: whether the lines of the examples have values in base64, and headers.

    Raises:
        UsageError: a file cannot be read, an example has another form, or an expectation is for no example.
    """
    messages = read_examples(examples, topic, with_bytes=with_bytes)
    report = ExampleReport()
    for start in range(0, len(messages), BATCH_MESSAGES):
        batch = messages[start : start + BATCH_MESSAGES]
        report.results += _results(mapper.map(batch), len(batch), start)
    if expectations is not None:
        _compare(report, _expected(expectations, len(messages)))
    return report


def read_examples(file: Path, topic: str, *, with_bytes: bool = False) -> list[Message]:
    """Return the messages of a file: the value of one in each line; `null` is a null value.

    Args:
        file: file of examples.
        topic: name of the topic, of which ids of events without one are made.
        with_bytes: whether the lines have values in base64, and headers.

    Raises:
        UsageError: the file cannot be read or has no message, or a line has another form.
    """
    lines = _lines(file)
    if not lines:
        raise UsageError(f"{file} has no message.", "Write the value of a message in each line.")
    return [
        _with_bytes(text, f"{topic}-0-{number}", f"{file}, line {number + 1}")
        if with_bytes
        else Message(None if text == b"null" else text, f"{topic}-0-{number}")
        for number, text in enumerate(lines)
    ]


def _lines(file: Path) -> list[bytes]:
    try:
        return [line.strip() for line in file.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", "Name a file of messages.") from error


class _Example(msgspec.Struct):
    """Message with bytes, as base64."""

    value: bytes | None
    headers: dict[str, bytes | None] = msgspec.field(default_factory=dict)


def _with_bytes(text: bytes, position: str, where: str) -> Message:
    try:
        example = msgspec.json.decode(text, type=_Example)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{where} is no message with a schema: {error}.",
            'Write {"value": "AAAAAAc=", "headers": {}} with the bytes in base64 in each line.',
        ) from None
    return Message(example.value, position, tuple(example.headers.items()))


def _results(mapped: Mapped, count: int, start: int) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for number in range(count):
        one: dict[str, Any] = {"line": start + number + 1}
        if number in mapped.refused:
            one["refused"] = mapped.refused[number]
        elif number in mapped.left_out:
            one["left_out"] = mapped.left_out[number]
        else:
            one["records"] = []
        results.append(one)
    for record in mapped.records:
        results[record.message]["records"].append(
            {"topic": record.topic, "key": record.key.decode(), "value": msgspec.json.decode(record.value)}
        )
    return results


def _expected(file: Path, count: int) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(_lines(file), start=1):
        where = f"{file}, line {number}"
        try:
            one = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise UsageError(f"{where} is no JSON object: {error}.", "Write one expectation in each line.") from None
        line = one.get("line")
        if not isinstance(line, int) or not 1 <= line <= count:
            raise UsageError(f"{where} is for the message {line!r}, but the examples are 1 to {count}.")
        if sum(name in one for name in ("records", "left_out", "refused")) != 1:
            raise UsageError(f"{where} has no result.", "Give one of records, left_out and refused.")
        yield one


def _compare(report: ExampleReport, expected: Iterator[dict[str, Any]]) -> None:
    for one in expected:
        report.expected += 1
        mapped = report.results[one["line"] - 1]
        if not _agrees(one, mapped):
            report.differences.append(Difference(one["line"], one, mapped))


def _agrees(expected: Mapping[str, Any], mapped: Mapping[str, Any]) -> bool:
    for outcome in ("left_out", "refused"):
        if outcome in expected:
            return str(mapped.get(outcome, "")).startswith(str(expected[outcome])) and outcome in mapped
    return "records" in mapped and _plain(expected["records"]) == _plain(mapped["records"])


def _plain(records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return records for comparison: without nulls and empty lists, numbers by value, in any order."""
    return sorted(msgspec.json.encode(_without_nothing(record), order="deterministic") for record in records)


def _without_nothing(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nothing(one) for name, one in value.items() if one not in (None, [])}
    if isinstance(value, list):
        return [_without_nothing(one) for one in value]
    # 40 and 40.0 are one number
    return int(value) if isinstance(value, float) and value.is_integer() else value

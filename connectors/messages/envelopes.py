"""Takes the records out of the envelopes around them: Debezium, Kafka Connect, CloudEvents.

A value is decoded first, so that an envelope is the same in JSON, Avro and Protobuf.

A message gives one record, or two: a change of Debezium that moves a row from one customer to another has the row
before and the row after it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from connectors.messages.decoder import Decoder, Headers, decode_json_object
from connectors.messages.topic_format import Envelope
from connectors.tables.records import Unreadable, decimal_text

TOMBSTONE: Final = "tombstone"
NOT_A_CHANGE: Final = "not a change"
_CHANGES: Final = {"c": "after", "u": "after", "r": "after", "d": "before"}
"""Operation of Debezium -> part of the message that has the row."""
CHANGE_FIELDS: Final = ("op", "source", "ts_ms", "ts_us", "ts_ns", "transaction")
"""Fields of a change in addition to its rows."""
_SCALE_MAX: Final = 1_000
"""Scale from which a number is no amount, but a text of as many digits."""
_CLOUD_EVENTS: Final = "application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Message without a record, as the envelope has them by design."""

    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """Record of a message.

    Attributes:
        content: fields of the record.
        part: part of the envelope that has the record, for messages to people: `after`.
        deleted: whether the record no longer exists: the row before a deletion.
        former: the row before the change, if the message has it.
    """

    content: dict[str, Any]
    part: str = ""
    deleted: bool = False
    former: dict[str, Any] | None = None


Opened = Record | LeftOut | Unreadable


def open_message(
    value: bytes | None, headers: Headers, envelope: Envelope | None, decode: Decoder = decode_json_object
) -> Opened:
    """Return the record of a message.

    Args:
        value: value of the message; None is a null value.
        headers: headers of the message.
        envelope: frame around the record.
        decode: decoder of values.

    Returns:
        The record; LeftOut for a message that has none by design; Unreadable with the reason otherwise.
    """
    if value is None:
        return LeftOut(TOMBSTONE)
    content = decode(value, headers)
    return content if isinstance(content, Unreadable) else open_content(content, headers, envelope)


def open_content(content: dict[str, Any], headers: Headers, envelope: Envelope | None) -> Opened:
    """Return the record of a decoded value, by the frame around it."""
    return Record(content) if envelope is None else _OPENED[envelope](content, headers)


def _of_connect(content: dict[str, Any], _: Headers) -> Opened:
    """Return the record of a message of Kafka Connect's JSON converter, with its schema or without."""
    if set(content) == {"schema", "payload"}:
        payload = content["payload"]
        if payload is None:
            return LeftOut(TOMBSTONE)
        return Record(payload) if isinstance(payload, dict) else Unreadable("`payload` is no object", str(payload)[:80])
    return Record(content)


def _of_debezium(content: dict[str, Any], headers: Headers) -> Opened:
    """Return the row of a change.

    A heartbeat, a logical message and a change of the schema are no changes of a row. A truncation names no row, so it
    is unreadable: the records of the table's rows would stay.
    """
    opened = _of_connect(content, headers)
    if not isinstance(opened, Record):
        return opened
    op = opened.content.get("op")
    if op is None or op == "m":
        return LeftOut(NOT_A_CHANGE)
    if isinstance(op, str) and op in _CHANGES:
        return _row_of(opened.content, op)
    return Unreadable("the table was emptied (op t)" if op == "t" else f"unknown operation {op!r} of Debezium", "")


def _row_of(change: dict[str, Any], op: str) -> Opened:
    part = _CHANGES[op]
    row, former = change.get(part), change.get("before")
    if not isinstance(row, dict):
        return Unreadable(f"`{part}`: missing", "")
    fields = {name: change[name] for name in CHANGE_FIELDS if name in change}
    try:
        return Record(
            fields | _with_decimals(row),
            part,
            deleted=op == "d",
            former=fields | _with_decimals(former) if op == "u" and isinstance(former, dict) else None,
        )
    except ValueError as error:
        return Unreadable(str(error), "")


def _with_decimals(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with numerics of variable scale, `{scale, value}`, as decimal text with a point."""
    return {name: scaled_text(one["value"], one["scale"]) if _is_scaled(one) else one for name, one in row.items()}


def _is_scaled(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"scale", "value"}:
        return False
    scale = value["scale"]
    return isinstance(value["value"], str) and type(scale) is int and abs(scale) <= _SCALE_MAX


def scaled_text(text: str, scale: int) -> str:
    """Return the decimal of a base64 text as Debezium writes it: big-endian two's complement times 10^-scale.

    The result always has a point, which no base64 text has.

    Raises:
        ValueError: the text is no base64.
    """
    try:
        digits = int.from_bytes(base64.b64decode(text, validate=True), "big", signed=True)
    except binascii.Error:
        raise ValueError(f"{text!r} is no base64") from None
    plain = decimal_text(Decimal((digits < 0, tuple(int(digit) for digit in str(abs(digits))), -scale))) or "0"
    return plain if "." in plain else f"{plain}.0"


def _of_cloud_event(content: dict[str, Any], headers: Headers) -> Opened:
    """Return the data of a CloudEvent with its attributes as `ce_id`, `ce_type` and so on.

    In structured mode the value is the event, in binary mode the value is the data and headers have the attributes.
    """
    given = {name.lower(): (value or b"").decode(errors="replace") for name, value in headers}
    structured = given.get("content-type", "").startswith(_CLOUD_EVENTS) or (
        "specversion" in content and "ce_specversion" not in given
    )
    if structured:
        attributes = {f"ce_{name}": value for name, value in content.items() if name not in ("data", "data_base64")}
        data = content.get("data")
        if data is None:
            return LeftOut("no data")
    else:
        if "ce_specversion" not in given:
            return Unreadable("neither the headers nor the value are those of a CloudEvent", "")
        attributes = {name: value for name, value in given.items() if name.startswith("ce_")}
        data = content
    return Record(attributes | data) if isinstance(data, dict) else Unreadable("`data` is no object", str(data)[:80])


_OPENED: Final[dict[str, Callable[[dict[str, Any], Headers], Opened]]] = {
    "connect": _of_connect, "debezium": _of_debezium, "cloudevents": _of_cloud_event,
}  # fmt: skip

"""Determines what the values of messages are: JSON, records of a schema registry, or text, and their envelope."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from connectors.messages.mapped import Message
from connectors.messages.topic_format import Envelope
from connectors.tables.records import Unreadable, decode_json

JSON: Final = "JSON"
NULL: Final = "null value"
NO_OBJECT: Final = "JSON that is no object"
TEXT: Final = "text, not JSON"
BYTES: Final = "not UTF-8"
_ENVELOPE_SHARE_MIN: Final = 0.5
"""Share of the JSON messages that have an envelope, from which it is that of the topic. Heartbeats have none."""
_ID_BYTES: Final = 4
_GUID_HEADER: Final = "__value_schema_id"
_GUID_BYTES: Final = 17
_CHANGE: Final = frozenset({"op", "source"})
_CLOUD_EVENT: Final = frozenset({"specversion", "id", "type", "source"})


def form_of(message: Message) -> str:
    """Return what the value of a message is: one of the names above, or a record of a registry with its schema id.

    A byte 0 and an id of 4 bytes are the prefix of Confluent's serializers. Behind it JSON is JSON Schema; Avro and
    Protobuf differ in the schema alone. Newer serializers write a byte 1 and a GUID into a header.
    """
    value = message.value
    if value is None:
        return NULL
    guid = next((one for name, one in message.headers if name == _GUID_HEADER), None)
    if guid is not None and len(guid) == _GUID_BYTES and guid[0] == 1:
        return f"{_registry_kind(value)}, schema {guid[1:].hex()} in a header"
    if value[:1] == b"\0" and len(value) > _ID_BYTES:
        number = int.from_bytes(value[1 : 1 + _ID_BYTES], "big")
        return f"{_registry_kind(value[1 + _ID_BYTES :])}, schema id {number}"
    return _plain_form(value)


def _registry_kind(rest: bytes) -> str:
    return "JSON Schema of a registry" if _plain_form(rest) in (JSON, NO_OBJECT) else "Avro or Protobuf of a registry"


def _plain_form(value: bytes) -> str:
    try:
        content = decode_json(value.decode())
    except UnicodeDecodeError:
        return BYTES
    if isinstance(content, Unreadable):
        return TEXT
    return JSON if isinstance(content, dict) else NO_OBJECT


def envelope_of(contents: Sequence[dict[str, Any]], messages: Sequence[Message]) -> tuple[Envelope | None, str]:
    """Return the envelope that at least half of JSON messages have, and what it is in words.

    Args:
        contents: decoded values of JSON messages.
        messages: the messages of these values.
    """
    kinds: Counter[tuple[Envelope | None, str]] = Counter(map(_envelope, contents, messages))
    framed = [(kind, count) for kind, count in kinds.most_common() if kind[0] is not None]
    if framed and sum(count for kind, count in framed if kind[0] == framed[0][0][0]) >= _ENVELOPE_SHARE_MIN * len(
        contents
    ):
        return framed[0][0]
    return None, "none"


def _envelope(content: dict[str, Any], message: Message) -> tuple[Envelope | None, str]:
    with_schema = content.keys() == {"schema", "payload"}
    inner = content["payload"] if with_schema else content
    if isinstance(inner, dict) and inner.keys() >= _CHANGE and inner.keys() & {"before", "after"}:
        return "debezium", f"Debezium, {'with' if with_schema else 'without'} schema"
    if with_schema:
        return "connect", "Kafka Connect, schema and payload"
    if content.keys() >= _CLOUD_EVENT:
        return "cloudevents", "CloudEvents, structured"
    if any(name.lower() == "ce_specversion" for name, _ in message.headers):
        return "cloudevents", "CloudEvents, binary"
    return None, "none"

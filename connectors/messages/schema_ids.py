"""Reads the id of the schema that a value was written with: before the value, or in a header.

Byte 0 and 4 bytes are an id, big-endian. Byte 1 and 16 bytes are a GUID. In the header `__value_schema_id` they leave
the value without a prefix. Message indexes of Protobuf follow the id, wherever it is.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from connectors.messages.decoder import Headers
from connectors.tables.records import Unreadable

HEADER: Final = "__value_schema_id"
PREFIX_BYTES: Final = 5
"""Length of byte 0 and an id."""
_LENGTHS: Final = {0: PREFIX_BYTES, 1: 17}
"""First byte -> length of the byte and the id."""

SchemaId = int | uuid.UUID


@dataclass(frozen=True, slots=True)
class Framed:
    """Value with the id of its schema.

    Attributes:
        schema_id: number or GUID.
        payload: what follows the id in the value; the whole value if the id is in the header.
        header: what follows the id in the header; None if the id is in the value.
    """

    schema_id: SchemaId
    payload: bytes
    header: bytes | None = None


def framed(value: bytes, headers: Headers) -> Framed | Unreadable:
    """Return the id of a value's schema, and the rest of the value. A header precedes the prefix of the value."""
    in_header = [content for name, content in headers if name == HEADER] if headers else []
    if in_header:
        first, *others = in_header
        if any(other != first for other in others):
            return Unreadable(f"several headers {HEADER}", "")
        schema_id = _schema_id(first or b"")
        if isinstance(schema_id, Unreadable):
            return Unreadable(f"header {HEADER}: {schema_id.reason}", schema_id.value)
        assert first is not None
        return Framed(schema_id, value, first[_LENGTHS[first[0]] :])
    schema_id = _schema_id(value)
    return schema_id if isinstance(schema_id, Unreadable) else Framed(schema_id, value[_LENGTHS[value[0]] :])


def _schema_id(content: bytes) -> SchemaId | Unreadable:
    if not content:
        return Unreadable("no schema id: there are no bytes", "")
    if content[0] not in _LENGTHS:
        return Unreadable(f"no schema id: the first byte is 0x{content[0]:02x}", content[:40].hex(" "))
    length = _LENGTHS[content[0]]
    if len(content) < length:
        return Unreadable(f"no schema id: {length} bytes are needed, and there are {len(content)}", content.hex(" "))
    return int.from_bytes(content[1:5], "big") if content[0] == 0 else uuid.UUID(bytes=content[1:17])

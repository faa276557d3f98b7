"""Decodes JSON with an id of a schema before it. Values are not validated: that is the task of the writer."""

from __future__ import annotations

from typing import Final

from connectors.messages.decoder import Decoded, decode_json_object
from connectors.messages.registry import RegisteredSchema
from connectors.messages.schema_decoder import Read, SchemaFormat
from connectors.tables.records import Unreadable


def _compiled(_schema: RegisteredSchema, name: str) -> Read:
    return lambda payload, _header: _decoded(payload, name)


def _decoded(payload: bytes, name: str) -> Decoded:
    content = decode_json_object(payload)
    return Unreadable(f"JSON, {name}: {content.reason}", content.value) if isinstance(content, Unreadable) else content


JSON_SCHEMA: Final = SchemaFormat("JSON", _compiled)

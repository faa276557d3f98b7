"""Decodes Avro by the schema that it was written with, without loss.

Decimals become text with a point, bytes base64, floats of 32 bits their shortest decimal. Times with a logical type
stay integers that know their unit. All of Avro's structures become those of JSON, so that paths lead into them.
"""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import fastavro
import msgspec
import numpy as np
from fastavro.read import LOGICAL_READERS
from fastavro.schema import SchemaParseException, UnknownType

from connectors.formats.schema_times import (
    Days,
    LocalMicros,
    LocalMillis,
    LocalNanos,
    Micros,
    Millis,
    Nanos,
    SchemaTime,
)
from connectors.messages.decoder import Decoded
from connectors.messages.registry import RegisteredSchema, UnusableSchemaError
from connectors.messages.schema_decoder import Read, SchemaFormat
from connectors.tables.columnar import WHOLE_FLOAT32_MAX, short_float
from connectors.tables.records import Unreadable

_OWN: Final = "shopstream-"
"""Prefix of logical types in schemas as they are used here. Those of Avro would lose digits of times and decimals."""
_TIMES: Final[dict[tuple[str, str], type[SchemaTime]]] = {
    ("long", "timestamp-millis"): Millis,
    ("long", "timestamp-micros"): Micros,
    ("long", "timestamp-nanos"): Nanos,
    ("long", "local-timestamp-millis"): LocalMillis,
    ("long", "local-timestamp-micros"): LocalMicros,
    ("long", "local-timestamp-nanos"): LocalNanos,
    ("int", "date"): Days,
}
"""Type and logical type -> type of the value."""
_UUID_BYTES: Final = 16
_PLAIN: Final = ("bytes", "fixed", "float")
"""Types whose values are converted even without a logical type."""


def _decimal(data: bytes, schema: Any, _: Any) -> str:
    """Return a decimal with a point, so that nobody takes its digits for base64."""
    unscaled, scale = int.from_bytes(data, "big", signed=True), schema.get("scale", 0)
    digits = str(abs(unscaled)).zfill(scale + 1)
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}.0"


def _base64(data: bytes, _: Any, __: Any) -> str:
    return base64.b64encode(data).decode()


def _uuid(data: bytes, _: Any, __: Any) -> str:
    return str(uuid.UUID(bytes=data))


def _float(value: float, _: Any, __: Any) -> Any:
    return short_float(value, np.float32, WHOLE_FLOAT32_MAX)


def _time(kind: type[SchemaTime]) -> Callable[[int, Any, Any], SchemaTime]:
    return lambda value, _, __: kind(value)


_READERS: Final[dict[str, Callable[[Any, Any, Any], Any]]] = {
    **{f"{kind}-{_OWN}{logical}": _time(time) for (kind, logical), time in _TIMES.items()},
    **{f"{kind}-{_OWN}decimal": _decimal for kind in ("bytes", "fixed")},
    **{f"{kind}-{_OWN}plain": _base64 for kind in ("bytes", "fixed")},
    f"fixed-{_OWN}uuid": _uuid,
    f"float-{_OWN}plain": _float,
}
"""Key of fastavro for a type and a logical type -> conversion of its values."""


def _with_own_types(schema: Any) -> Any:
    """Return a schema whose types have logical types of `_READERS`, and no others."""
    if isinstance(schema, list):
        return [_with_own_types(one) for one in schema]
    if isinstance(schema, str):
        return {"type": schema, "logicalType": f"{_OWN}plain"} if schema in _PLAIN else schema
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    own = {key: value for key, value in schema.items() if key != "logicalType"}
    if kind in ("record", "error"):
        own["fields"] = [{**field, "type": _with_own_types(field.get("type"))} for field in schema.get("fields", ())]
    elif kind == "array":
        own["items"] = _with_own_types(schema.get("items"))
    elif kind == "map":
        own["values"] = _with_own_types(schema.get("values"))
    elif isinstance(kind, dict | list):
        own["type"] = _with_own_types(kind)
    elif (logical := _own_logical_type(schema, kind)) is not None:
        own["logicalType"] = _OWN + logical
    return own


def _own_logical_type(schema: dict[str, Any], kind: Any) -> str | None:
    """Return the logical type of a type as it is used here. One that Avro does not define for a type means nothing."""
    logical = schema.get("logicalType")
    if (kind, logical) in _TIMES:
        return str(logical)
    if logical == "decimal" and kind in ("bytes", "fixed"):
        scale = schema.get("scale", 0)
        if isinstance(scale, int) and scale >= 0:
            return "decimal"
    if logical == "uuid" and kind == "fixed" and schema.get("size") == _UUID_BYTES:
        return "uuid"
    return "plain" if kind in _PLAIN else None


def _compiled(schema: RegisteredSchema, name: str) -> Read:
    LOGICAL_READERS.update(_READERS)
    names: dict[str, Any] = {}
    try:
        for one in _imported(schema, set()):
            fastavro.parse_schema(_with_own_types(msgspec.json.decode(one.text)), named_schemas=names)
        parsed = fastavro.parse_schema(_with_own_types(msgspec.json.decode(schema.text)), named_schemas=names)
    except (SchemaParseException, UnknownType, msgspec.MsgspecError, ValueError, TypeError, KeyError) as error:
        raise UnusableSchemaError(f"it is no schema of Avro: {error}") from None
    return lambda payload, _header: _decoded(payload, parsed, name)


def _imported(schema: RegisteredSchema, seen: set[str]) -> Iterator[RegisteredSchema]:
    """Yield the schemas that a schema imports, each once and after those that it imports itself."""
    for reference in schema.references:
        yield from _imported(reference.schema, seen)
        if reference.schema.text not in seen:
            seen.add(reference.schema.text)
            yield reference.schema


def _decoded(payload: bytes, schema: Any, name: str) -> Decoded:
    stream = io.BytesIO(payload)
    try:
        content = fastavro.schemaless_reader(stream, schema, None)
    except (EOFError, RecursionError, IndexError, ValueError, OverflowError, MemoryError) as error:
        return Unreadable(f"Avro, {name}: {_reason(error)}", "")
    if (left := len(payload) - stream.tell()) > 0:
        return Unreadable(f"Avro, {name}: {left} {'byte is' if left == 1 else 'bytes are'} left over", "")
    if not isinstance(content, dict):
        return Unreadable(f"Avro, {name}: the value is no record", str(content)[:80])
    return cast("dict[str, Any]", content)


def _reason(error: Exception) -> str:
    # an integer that ends early is an index beyond a string, a symbol or branch that is not there one beyond a list
    if isinstance(error, EOFError) or (isinstance(error, IndexError) and "string" in str(error)):
        return "the message ends early"
    if isinstance(error, UnicodeDecodeError):
        return "a text is not UTF-8"
    if isinstance(error, RecursionError):
        return "the message is nested too deeply"
    return f"the message has another form: {error}"


AVRO: Final = SchemaFormat("AVRO", _compiled)

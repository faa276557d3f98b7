"""Decodes Protobuf by the schema that it was written with, by the rules of its JSON format.

Field names are those of the schema. Numbers of 64 bits keep every digit, bytes are base64, enums are their names, and a
`Timestamp` is ISO 8601 text in UTC. A field without presence has its default value. Any other field is missing where
the message does not set it.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from connectors.messages.decoder import Decoded
from connectors.messages.registry import RegisteredSchema, UnusableSchemaError
from connectors.messages.schema_decoder import Read, SchemaFormat
from connectors.tables.columnar import WHOLE_FLOAT32_MAX
from connectors.tables.records import LOST_DIGITS, Unreadable
from features.errors import ShopstreamError

_OWN_FILE: Final = "value.proto"
"""Name of the file of a value's schema. Registries do not store it, and only imported files are found by name."""
_BUILT_IN: Final = re.compile(r"google/(?:protobuf|type|api|rpc)/[a-z][a-z0-9_]*\.proto")
"""Files that an installed library has as modules, so that writers need not register them."""
_CONFLUENT: Final = {
    "confluent/meta.proto": "confluent_kafka.schema_registry.confluent.meta_pb2",
    "confluent/type/decimal.proto": "confluent_kafka.schema_registry.confluent.type.decimal_pb2",
}
"""Files of Confluent that writers do not register -> modules that have them."""
_VARINT_BYTES_MAX: Final = 10


def _compiled(schema: RegisteredSchema, name: str) -> Read:
    pool = descriptor_pool.DescriptorPool()
    try:
        own = _file(_OWN_FILE, schema.text)
        _add(pool, own, {reference.name: reference.schema for reference in _every_reference(schema)}, set())
        # TypeError is what pools raise for a file that does not fit together
        file = pool.FindFileByName(_OWN_FILE)
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableSchemaError(f"it is no descriptor that fits together: {error}") from None
    top = [file.message_types_by_name[one.name] for one in own.message_type]
    readers: dict[tuple[int, ...], _MessageReader] = {}

    def read(payload: bytes, header: bytes | None) -> Decoded:
        source = payload if header is None else header
        try:
            indexes, at = _indexes(source)
            reader = readers.get(indexes)
            if reader is None:
                reader = readers[indexes] = _MessageReader(_message_at(top, indexes), pool, f"Protobuf, {name}")
        except (IndexError, ValueError):
            return Unreadable(f"Protobuf, {name}: the indexes of the message fit no message of the schema", "")
        if header is not None and at < len(header):
            return Unreadable(f"Protobuf, {name}: {len(header) - at} bytes are left over in the header", "")
        return reader(payload[at:] if header is None else payload)

    return read


def _every_reference(schema: RegisteredSchema) -> Iterator[Any]:
    for reference in schema.references:
        yield reference
        yield from _every_reference(reference.schema)


def _file(name: str, text: str) -> descriptor_pb2.FileDescriptorProto:
    """Return the file of a descriptor as base64.

    Raises:
        ShopstreamError: the registry gave something else. No message of the schema could be read, whatever it is.
    """
    file = descriptor_pb2.FileDescriptorProto()
    try:
        file.ParseFromString(base64.b64decode(text.encode("ascii"), validate=True))
    except (UnicodeEncodeError, binascii.Error, DecodeError):
        start = " ".join(text.split())[:60]
        raise ShopstreamError(
            f"The registry gives no descriptor of the Protobuf schema {start!r} (`format=serialized`).",
            "Use a registry that does, as Confluent's, or register descriptors, as confluent-kafka's serializer does.",
        ) from None
    file.name = name
    return file


def _add(
    pool: descriptor_pool.DescriptorPool,
    file: descriptor_pb2.FileDescriptorProto,
    registered: dict[str, RegisteredSchema],
    added: set[str],
) -> None:
    """Add a file to a pool after the files that it imports. Raises UnusableSchemaError if one is missing."""
    for name in file.dependency:
        if name in added:
            continue
        added.add(name)
        imported = _file(name, registered[name].text) if name in registered else _installed(name)
        _add(pool, imported, registered, added)
    pool.Add(file)


def _installed(name: str) -> descriptor_pb2.FileDescriptorProto:
    module = _CONFLUENT.get(name)
    if module is None and _BUILT_IN.fullmatch(name):
        module = name.removesuffix(".proto").replace("/", ".") + "_pb2"
    try:
        descriptor = importlib.import_module(module).DESCRIPTOR if module else None
    except ModuleNotFoundError:
        descriptor = None
    if descriptor is None:
        raise UnusableSchemaError(f"it imports {name}, which is not one of its references")
    file = descriptor_pb2.FileDescriptorProto()
    file.ParseFromString(descriptor.serialized_pb)
    return file


def _indexes(content: bytes) -> tuple[tuple[int, ...], int]:
    """Return the indexes of a message in its schema, and the position after them. One 0 byte is the first message.

    Raises:
        IndexError, ValueError: there are none.
    """
    count, at = _zigzag(content, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= len(content):
        raise ValueError(count)
    indexes = []
    for _ in range(count):
        index, at = _zigzag(content, at)
        indexes.append(index)
    return tuple(indexes), at


def _zigzag(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for position in range(_VARINT_BYTES_MAX):
        byte = content[at + position]
        number |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + position + 1
    raise ValueError(number)


def _message_at(top: Sequence[Descriptor], indexes: tuple[int, ...]) -> Descriptor:
    if min(indexes) < 0:
        raise IndexError(indexes)
    messages, chosen = top, None
    for index in indexes:
        chosen = messages[index]
        messages = chosen.nested_types
    assert chosen is not None
    return chosen


class _MessageReader:
    """Decodes the bytes of one type of message."""

    def __init__(self, descriptor: Descriptor, pool: descriptor_pool.DescriptorPool, name: str) -> None:
        self._make = message_factory.GetMessageClass(descriptor)
        self._pool = pool
        self._name = name

    def __call__(self, payload: bytes) -> Decoded:
        """Return the fields of a message, or Unreadable."""
        message = self._make()
        try:
            message.ParseFromString(payload)
        except DecodeError:
            return Unreadable(f"{self._name}: the message ends early, or has another form", "")
        if not message.IsInitialized():
            missing = ", ".join(message.FindInitializationErrors())
            return Unreadable(f"{self._name}: required fields are missing: {missing}", "")
        fault = _fault(message, "")
        if fault is not None:
            return Unreadable(f"{self._name}: {fault}", "")
        try:
            content: Any = json_format.MessageToDict(
                message,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                descriptor_pool=self._pool,
            )
        except (json_format.Error, TypeError, ValueError) as error:
            return Unreadable(f"{self._name}: {error}", "")
        if not isinstance(content, dict):  # the message is a well-known type
            return Unreadable(f"{self._name}: the value is no record", str(content)[:80])
        return cast("dict[str, Any]", content)


def _fault(message: Message, path: str) -> str | None:
    """Return why a message would lose something: fields that the schema lacks, or floats without all their digits."""
    for unknown in UnknownFieldSet(message):
        return f"bytes are left over: field {unknown.field_number} of {path or 'the message'} is not in the schema"
    for field, value in message.ListFields():
        inner = f"{path}.{field.name}" if path else field.name
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for one in _messages_in(field, value):
                fault = _fault(one, inner)
                if fault is not None:
                    return fault
        elif field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
            numbers = value if field.is_repeated else (value,)
            if any(WHOLE_FLOAT32_MAX <= abs(number) < float("inf") for number in numbers):
                return f"`{inner}`: {LOST_DIGITS}"
    return None


def _messages_in(field: FieldDescriptor, value: Any) -> Sequence[Message]:
    if not field.is_repeated:
        return (value,)
    entry = field.message_type
    if not entry.GetOptions().map_entry:
        return tuple(value)
    of_values = entry.fields_by_name["value"].cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    return tuple(value.values()) if of_values else ()


PROTOBUF: Final = SchemaFormat("PROTOBUF", _compiled)

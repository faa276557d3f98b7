"""Builds Protobuf schemas in tests, as the compiler would."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2

_T = descriptor_pb2.FieldDescriptorProto
TYPES = {
    name: getattr(_T, f"TYPE_{name.upper()}")
    for name in ("string", "int64", "int32", "uint64", "bytes", "float", "double", "bool", "message", "enum")
}


def file(name: str, *messages: descriptor_pb2.DescriptorProto, imports=(), syntax="proto3", enums=None) -> Any:
    """A file of messages in the package `shop`. `enums`: name -> words."""
    made = descriptor_pb2.FileDescriptorProto(name=name, package="shop", syntax=syntax, dependency=imports)
    made.message_type.extend(messages)
    for enum, words in (enums or {}).items():
        one = made.enum_type.add(name=enum)
        for number, word in enumerate(words):
            one.value.add(name=word, number=number)
    return made


def message(name: str, *fields: tuple[Any, ...], nested=(), oneofs=()) -> Any:
    """A message. A field is name, number, type, options: repeated, optional, required, (of, TYPE), (oneof, INDEX)."""
    made = descriptor_pb2.DescriptorProto(name=name)
    made.nested_type.extend(nested)
    for one in oneofs:
        made.oneof_decl.add(name=one)
    for field_name, number, kind, *options in fields:
        given = dict(option if isinstance(option, tuple) else (option, True) for option in options)
        label = _T.LABEL_REPEATED if "repeated" in given else _T.LABEL_REQUIRED if "required" in given else 1
        field = made.field.add(name=field_name, number=number, type=TYPES[kind], label=label)
        if "of" in given:
            field.type_name = f".{given['of']}"
        if "oneof" in given:
            field.oneof_index = given["oneof"]
        if "optional" in given:
            field.proto3_optional = True
            field.oneof_index = len(made.oneof_decl)
            made.oneof_decl.add(name=f"_{field_name}")
    return made


def entry(name: str, value: str, of: str = "") -> Any:
    """The message of a map from texts."""
    made = message(name, ("key", 1, "string"), ("value", 2, value, *([("of", of)] if of else [])))
    made.options.map_entry = True
    return made


def text_of(made: Any) -> str:
    """A file as registries give it with `format=serialized`."""
    return base64.b64encode(made.SerializeToString()).decode()


def class_of(name: str, *files: Any) -> Any:
    """The class of a message of the last file."""
    pool = descriptor_pool.DescriptorPool()
    for built_in in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(built_in.DESCRIPTOR.serialized_pb)
    for one in files:
        pool.Add(one)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shop.{name}"))

"""Decodes the values of messages: bytes become the object in them, or the reason why they are none.

JSON needs nothing else. Avro, JSON Schema and Protobuf need a schema registry and the extra `registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from connectors.endpoints import RegistryEndpoint
from connectors.messages.topic_format import Format
from connectors.tables.records import Unreadable, decode_json
from features.errors import ShopstreamError

if TYPE_CHECKING:
    from connectors.messages.schema_decoder import SchemaDecoder, SchemaFormat

Headers = Sequence[tuple[str, bytes | None]]
"""Headers of a message, in order. A name may occur more than once."""
Decoded = dict[str, Any] | Unreadable
"""Object in a value, as JSON has it. Bytes are base64, decimals are text."""
Decoder = Callable[[bytes, Headers], Decoded]
"""Decodes a value by its bytes and the headers of its message."""


def decode_json_object(value: bytes, _: Headers = ()) -> Decoded:
    """Return the object of a JSON value, or Unreadable."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Unreadable("not UTF-8", value[:40].hex(" "))
    content = decode_json(text)
    if isinstance(content, Unreadable):
        return Unreadable(content.reason.replace("this is not JSON", "not JSON"), content.value)
    return content if isinstance(content, dict) else Unreadable("the JSON is not an object", text)


def schema_decoder(form: Format, endpoint: RegistryEndpoint, wait: Callable[[float], None]) -> SchemaDecoder:
    """Return the decoder of values that have a schema in a registry.

    Args:
        form: format of the values; not `json`.
        endpoint: address of the registry.
        wait: called with seconds between two attempts while the registry is away.

    Raises:
        ShopstreamError: the extra `registry` is not installed, or the file of the certificate authority is unusable.
    """
    # The extra is imported only where a mapping needs it.
    try:
        from connectors.messages.registry import SchemaRegistry  # noqa: PLC0415
        from connectors.messages.schema_decoder import SchemaDecoder  # noqa: PLC0415

        how: SchemaFormat
        if form == "avro":
            from connectors.messages.avro import AVRO  # noqa: PLC0415

            how = AVRO
        elif form == "protobuf":
            from connectors.messages.protobuf import PROTOBUF  # noqa: PLC0415

            how = PROTOBUF
        else:
            from connectors.messages.json_schema import JSON_SCHEMA  # noqa: PLC0415

            how = JSON_SCHEMA
    except ModuleNotFoundError as error:
        raise ShopstreamError(
            f"Topics with a schema registry need {error.name}, which is not installed.",
            "Run `pip install 'shopstream[registry]'`.",
        ) from error
    return SchemaDecoder(SchemaRegistry(endpoint, wait=wait), how)

"""Decodes values by the schemas they were written with. A schema is compiled once, and its decoder is used for ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connectors.messages.decoder import Decoded, Headers
from connectors.messages.registry import RegisteredSchema, SchemaRegistry, UnusableSchemaError
from connectors.messages.schema_ids import PREFIX_BYTES, Framed, SchemaId, framed
from connectors.tables.records import Unreadable

Read = Callable[[bytes, bytes | None], Decoded]
"""Decodes what follows the id in a value. The second argument follows the id in a header; None without a header."""


@dataclass(frozen=True, slots=True)
class SchemaFormat:
    """Format of values with a schema.

    Attributes:
        kind: type of its schemas in a registry.
        compiled: schema and its name in messages -> function that decodes. Raises UnusableSchemaError.
    """

    kind: str
    compiled: Callable[[RegisteredSchema, str], Read]


class SchemaDecoder:
    """Decodes the values of a topic.

    Args:
        registry: client of the registry.
        how: format of the values.

    Attributes:
        registry: client of the registry.
    """

    def __init__(self, registry: SchemaRegistry, how: SchemaFormat) -> None:
        self.registry = registry
        self._how = how
        self._reads: dict[SchemaId, Read] = {}
        self._by_prefix: dict[bytes, Read] = {}

    def __call__(self, value: bytes, headers: Headers) -> Decoded:
        """Return the object of a value, or Unreadable.

        Raises:
            ShopstreamError: the registry refuses the client, or its address is not one of a registry.
        """
        if not headers:  # nearly every message, and this is the hot path
            read = self._by_prefix.get(value[:PREFIX_BYTES])
            if read is not None:
                return read(value[PREFIX_BYTES:], None)
        message = framed(value, headers)
        if not isinstance(message, Framed):
            return message
        read = self._reads.get(message.schema_id)
        if read is None:
            compiled = self._compiled(message.schema_id)
            if isinstance(compiled, Unreadable):
                return compiled
            read = self._reads[message.schema_id] = compiled
        if message.header is None and value[0] == 0:
            self._by_prefix[value[:PREFIX_BYTES]] = read
        return read(message.payload, message.header)

    def _compiled(self, schema_id: SchemaId) -> Read | Unreadable:
        name = f"schema {schema_id}"
        try:
            schema = self.registry.schema(schema_id, self._how.kind)
            if schema is None:
                return Unreadable(f"{name}: the registry does not know it", "")
            if schema.kind == self._how.kind:
                return self._how.compiled(schema, name)
            reason = f"{name} is {schema.kind}, not {self._how.kind}"
        except UnusableSchemaError as error:
            reason = f"{name} cannot be used: {error}"
        return _refusing(Unreadable(reason, ""))


def _refusing(refusal: Unreadable) -> Read:
    return lambda _payload, _header: refusal

"""Decodes Avro of 15 fields alternately with our decoder and with confluent's deserializer, per second of CPU.

    python benchmarks/decode_avro.py [--messages 50000] [--rounds 5]

No server is needed: the schema is in memory. The result of a round is the ratio of both, so that the load of the
machine counts for neither.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from connectors.messages.avro import AVRO
from connectors.messages.registry import RegisteredSchema
from connectors.messages.schema_decoder import SchemaDecoder

FIELDS = [
    {"name": "id", "type": "string"}, {"name": "user", "type": ["null", "string"]},
    {"name": "visitor", "type": "string"},
    {"name": "session", "type": "string"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["VIEW", "CART", "BUY"]}},
    {"name": "sku", "type": ["null", "string"]}, {"name": "category", "type": ["null", "string"]},
    {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}]},
    {"name": "qty", "type": ["null", "int"]}, {"name": "country", "type": ["null", "string"]},
    {"name": "agent", "type": "string"}, {"name": "referrer", "type": ["null", "string"]},
    {"name": "width", "type": "int"}, {"name": "logged_in", "type": "boolean"},
]  # fmt: skip
RECORD = {
    "id": "5f0e6a1c-8d1b-4f52-9a63-0c1f7d0b4c11", "user": "u-123456",
    "visitor": "v-0123456789", "session": "s-0123456789",
    "at": datetime(2026, 5, 4, 10, tzinfo=UTC), "kind": "CART", "sku": "A-9931", "category": "shoes",
    "price": Decimal("19.99"), "qty": 2, "country": "FR", "agent": "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15",
    "referrer": None, "width": 1440, "logged_in": True,
}  # fmt: skip


class OneSchema:
    """A registry with one schema."""

    def __init__(self, text: str) -> None:
        self._schema = RegisteredSchema("AVRO", text)

    def schema(self, *_: object) -> RegisteredSchema:
        return self._schema


def rate(decode: Callable[[bytes], object], value: bytes, messages: int) -> float:
    """Return messages per second of CPU."""
    started = time.process_time()
    for _ in range(messages):
        decode(value)
    return messages / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    text = json.dumps({"type": "record", "name": "Click", "fields": FIELDS})
    client = SchemaRegistryClient.new_client({"url": "mock://decode"})
    context = SerializationContext("clicks", MessageField.VALUE)
    value = AvroSerializer(client, Schema(text, "AVRO"))(RECORD, context)
    own = SchemaDecoder(OneSchema(text), AVRO)  # type: ignore[arg-type]
    other = AvroDeserializer(client)
    decoders: dict[str, Callable[[bytes], object]] = {
        "shopstream": lambda one: own(one, ()),
        "confluent": lambda one: other(one, context),
    }
    for decode in decoders.values():
        rate(decode, value, 1_000)
    rounds = [
        {name: rate(decode, value, options.messages) for name, decode in decoders.items()}
        for _ in range(options.rounds)
    ]
    print(f"{len(value)} bytes, {len(FIELDS)} fields")
    for name in decoders:
        print(f"{name:10} {statistics.median(one[name] for one in rounds):>10,.0f} messages per second of CPU")
    ratios = [one["shopstream"] / one["confluent"] for one in rounds]
    print(f"ratio      {statistics.median(ratios):>10.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()

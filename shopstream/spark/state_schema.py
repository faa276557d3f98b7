"""Defines the stored state of a Spark bucket, and the writes it emits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from features.errors import ShopstreamError
from features.schema import SCHEMA_VERSION
from features.state.slices import FORM, Slice


class Store(Protocol):
    """Store of a bucket's state; stored values are there for the next batch, or the batch is repeated."""

    def bucket(self) -> bytes | None:
        """Return the last value of `put_bucket`; None if there is none."""

    def put_bucket(self, value: bytes) -> None:
        """Store the bucket."""

    def cell(self, number: int) -> bytes:
        """Return the last value of `put_cell` for a stored cell."""

    def put_cell(self, number: int, value: bytes) -> None:
        """Store a cell."""

    def ids(self, hour: int) -> bytes:
        """Return the last value of `put_ids` for a stored hour."""

    def put_ids(self, hour: int, value: bytes) -> None:
        """Store the event ids of an hour."""

    def drop_ids(self, hour: int) -> None:
        """Delete the event ids of an hour."""


class StoredBucket(msgspec.Struct, array_like=True):
    """Stored values of a bucket besides its cells.

    Attributes:
        form: format version of the slices.
        schema_version: schema version of the rows in the slices.
        cells: number of cells; fixed when the bucket's first record comes.
        high_events, high_orders: max event time of each topic, epoch ms.
        epoch, counter: epoch and counter of the emissions; the counter restarts with each epoch.
        day: UTC day of the last rewrite of all customers.
        bundle: name of the bundle that last scored the rows.
        customers: number of customers seen so far.
        word_lengths, words: u4 lengths and the bytes of the words, in the order of their numbers.
        present: bits of the stored cells.
        due: int64 pairs for each cell with open carts: its number, and when the first cart is abandoned, epoch ms.
        hours: hours with stored event ids, modulo 2^20.
    """

    form: int
    schema_version: int
    cells: int
    high_events: int = 0
    high_orders: int = 0
    epoch: int = 0
    counter: int = 0
    day: int = 0
    bundle: str = ""
    customers: int = 0
    word_lengths: bytes = b""
    words: bytes = b""
    present: bytes = b""
    due: bytes = b""
    hours: list[int] = []


class Cell(msgspec.Struct, array_like=True):
    """Customers of a cell: their slice, the last risk band of each, and profiles of seen and unseen customers."""

    rows: Slice = Slice()
    bands: bytes = b""
    profiles: dict[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Write:
    """A write to Elasticsearch or Kafka.

    Attributes:
        kind: `document`, `row` (of a customer, to the compacted topic), `alert` (to its topic), `letter`.
        target: a document's index, a dead letter's full topic name, else empty.
        id: a document's id, or the customer of a row or an alert.
        body: a document, row or alert as JSON, or a dead letter's value.
        version: external version of a document; None for documents that are created once.
        key: key of a dead letter.
        offset: offset of a dead letter.
        error: reason of a dead letter.
    """

    kind: str
    target: str
    id: str
    body: bytes | None
    version: int | None = None
    key: bytes | None = None
    offset: int = -1
    error: str = ""


def decode_bucket(encoded: bytes) -> StoredBucket:
    """Decode the stored values of a bucket.

    Raises:
        ShopstreamError: another version of the program wrote them.
    """
    form, version = msgspec.msgpack.decode(encoded)[:2]
    if (form, version) != (FORM, SCHEMA_VERSION):
        raise ShopstreamError(
            f"The checkpoint holds state of format {form} and schema {version}; this program reads {FORM} and "
            f"{SCHEMA_VERSION}.",
            "Continue with the version that wrote it, or start a new --run with another --checkpoint, which reads the "
            "topics from their beginning.",
        )
    return msgspec.msgpack.decode(encoded, type=StoredBucket)

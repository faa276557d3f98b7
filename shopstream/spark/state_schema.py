"""What a bucket of a stream on Spark keeps in its store, and what it says is to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from features.errors import ShopstreamError
from features.schema import SCHEMA_VERSION
from features.state.slices import FORM, Slice


class Store(Protocol):
    """Where a bucket's state lies; what was put is there when the next batch comes, or the batch comes again."""

    def bucket(self) -> bytes | None:
        """What `put_bucket` was given last."""

    def put_bucket(self, value: bytes) -> None:
        """Remember a bucket."""

    def cell(self, number: int) -> bytes:
        """What `put_cell` was given last for a cell that has been put."""

    def put_cell(self, number: int, value: bytes) -> None:
        """Remember a cell."""

    def ids(self, hour: int) -> bytes:
        """What `put_ids` was given last for an hour that has been put."""

    def put_ids(self, hour: int, value: bytes) -> None:
        """Remember the event ids of an hour."""

    def drop_ids(self, hour: int) -> None:
        """Forget an hour."""


class Remembered(msgspec.Struct, array_like=True):
    """What a bucket remembers beside its cells.

    Attributes:
        form: of slices.
        schema_version: of the rows that the slices hold.
        cells: how many there are; fixed when the bucket's first record comes.
        high_events, high_orders: highest times, epoch ms.
        epoch, counter: of the emissions; the counter begins anew with an epoch.
        day: the UTC day that customers were last written anew for.
        bundle: that rows were last scored by.
        customers: seen so far.
        word_lengths, words: u4 lengths and the bytes of the words, in the order of their numbers.
        present: bits of the cells that have been put.
        due: for each cell with open carts its number and when the first of them is abandoned, epoch ms; int64 pairs.
        hours: of the event ids, modulo 2^20.
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
    """The customers of a cell: their slice, the risk band held of each, and profiles of seen and unseen ones."""

    rows: Slice = Slice()
    bands: bytes = b""
    profiles: dict[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class Write:
    """Something to be written outside.

    Attributes:
        kind: `document`, `row` (of a customer, to the compacted topic), `alert` (to its topic), `letter`.
        place: a document's index, a letter's full topic name, else empty.
        id: a document's id, the customer of a row or an alert.
        body: a document, row or alert as JSON, a letter's value.
        version: external version of a document; None for those that are made once.
        key: a letter's.
        offset: a letter's.
        error: a letter's reason.
    """

    kind: str
    place: str
    id: str
    body: bytes | None
    version: int | None = None
    key: bytes | None = None
    offset: int = -1
    error: str = ""


def remembered(said: bytes) -> Remembered:
    """What was put last.

    Raises:
        ShopstreamError: by a program of another version.
    """
    form, version = msgspec.msgpack.decode(said)[:2]
    if (form, version) != (FORM, SCHEMA_VERSION):
        raise ShopstreamError(
            f"The checkpoint holds state of form {form} and schema {version}; this program reads {FORM} and "
            f"{SCHEMA_VERSION}.",
            "Go on with the version that wrote it, or start a new --run with another --checkpoint: it reads the topics "
            "from their beginning.",
        )
    return msgspec.msgpack.decode(said, type=Remembered)

"""The tables of a partition's state as plain memory: row types, strings by number, growth.

Rows are packed structs in one NumPy array per table, so that a compiled kernel touches one or two cache lines for a
record, a checkpoint is the array's bytes, and two states can be compared with `==`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kernels import find_strings, intern_strings, rebuild_string_slots

Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Uint8 = npt.NDArray[np.uint8]
Uint64 = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.void]

NEVER_MIN: Final = np.iinfo(np.int64).max
"""Stands for "no time yet" where the minimum is kept."""
NEVER_MAX: Final = np.iinfo(np.int64).min
"""Stands for "no time yet" where the maximum is kept."""
NONE: Final = -1
"""Stands for "no row" and "no string" in int32 columns."""

CUSTOMER: Final = np.dtype(
    [
        ("first_seen", "i8"),  # min ts over events and order records
        ("last_seen", "i8"),  # max ts over events
        (
            "settled_first",
            "i8",
        ),  # ts of the first and last placed order, number and cents of those that have left `orders`
        ("settled_last", "i8"),
        ("settled_cents", "i8"),
        ("settled_orders", "i4"),
        ("order", "i4"),  # head of the customer's chain in `orders`
        ("session", "i4"),  # head of the customer's chain in `sessions`
    ],
    align=True,
)
ORDER: Final = np.dtype(
    [
        ("key", "u8"),  # hash of order_id
        ("ts", "i8"),
        ("updated_ts", "i8"),
        ("cents", "i8"),
        ("customer", "i4"),
        ("lines", "u2"),  # most lines that any winning record of this order had, up to 65,535
        ("status", "u1"),
    ],
    align=True,
)
SESSION: Final = np.dtype(
    [
        ("key", "u8"),  # hash of session_id
        ("start", "i8"),
        ("last", "i8"),
        ("first_view", "i8"),  # earliest event of each stage
        ("first_cart", "i8"),
        ("first_checkout", "i8"),
        ("first_purchase", "i8"),
        ("customer", "i4"),
        ("views", "i4"),  # head of the session's chain in `views`
        ("recent", "i4"),  # row in `recent`, while its strings are still needed
        ("n_page_view", "u4"),
        ("n_search", "u4"),
        ("n_product_view", "u4"),
        ("n_add_to_cart", "u4"),
        ("n_remove_from_cart", "u4"),
        ("n_checkout", "u4"),
        ("n_purchase", "u4"),
        ("channel", "i4"),  # words, of the earliest event
        ("country", "i4"),
        ("device", "u1"),
        ("open_cart", "u1"),  # listed as waiting to become abandoned
    ],
    align=True,
)
VIEW: Final = np.dtype([("category", "i4"), ("count", "u4")], align=True)
RECENT: Final = np.dtype(
    [
        ("session_id", "i8"),  # end offsets are start + length into the bytes of `recent`
        ("event_id", "i8"),  # of the earliest event: breaks ties for the device
        ("session_id_length", "i4"),
        ("event_id_length", "i4"),
        ("session", "i4"),
    ],
    align=True,
)
EVENT_ID: Final = np.dtype([("low", "u8"), ("high", "u8")])
"""128 bits of the hash of an event_id, the lowest 20 of `high` replaced by the UTC hour of ts modulo 2^20; (0, 0) is an
empty slot. 108 bits are left to tell ids apart."""


def grown(array: npt.NDArray[Any], used: int, needed: int) -> npt.NDArray[Any]:
    """`array`, or a copy of its first `used` rows with room for `needed`; grows by a quarter to waste little."""
    if needed <= len(array):
        return array
    # pages that are never touched take no memory: what lies idle here is address space
    larger = np.zeros(max(needed + needed // 4, 1024), array.dtype)
    larger[:used] = array[:used]
    return larger


def take(rows: Rows, index: Int32) -> Rows:
    """rows[index], several times faster: NumPy moves whole words where it would copy structs one at a time."""
    words = rows.dtype.itemsize // 8
    return rows.view(np.uint64).reshape(len(rows), words).take(index, axis=0).view(rows.dtype).reshape(len(index))


def slots_for(rows: int) -> int:
    """Slots of an open-addressing table: a power of two that `rows` fill to two thirds at most."""
    return max(1 << (max(rows, 1) * 3 // 2).bit_length(), 1024)


def string_buffers(strings: pa.StringArray) -> tuple[Int32, Uint8]:
    """Offsets (length n + 1) and bytes of a StringArray."""
    _, offsets, data = strings.buffers()
    starts = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    # whoever made the buffers: compiled code has one type for arrays that may be written and another for the rest
    starts.flags.writeable = text.flags.writeable = False
    return starts, text


@dataclass(slots=True)
class Strings:
    """Distinct strings by number, in the order of their first appearance."""

    count: int = 0
    hashes: Uint64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    offsets: Int64 = field(default_factory=lambda: np.zeros(1, np.int64))
    data: Uint8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    slots: Int32 = field(default_factory=lambda: np.full(1024, NONE, np.int32))

    def codes(self, strings: pa.StringArray) -> Int32:
        """Number of each string, new ones added; no nulls."""
        offsets, data = string_buffers(strings)
        n = len(strings)
        self._reserve(n, int(offsets[-1]) - int(offsets[0]) if n else 0)
        codes = np.empty(n, np.int32)
        self.count = intern_strings(offsets, data, self.slots, self.hashes, self.offsets, self.data, self.count, codes)
        return codes

    def find(self, strings: pa.StringArray) -> Int32:
        """Number of each string, NONE for an unknown one; no nulls."""
        offsets, data = string_buffers(strings)
        codes = np.empty(len(strings), np.int32)
        find_strings(offsets, data, self.slots, self.hashes, self.offsets, self.data, codes)
        return codes

    def take(self, codes: Int32) -> pa.StringArray:
        """The strings of these numbers; null for NONE."""
        return self.array().take(pa.array(codes, mask=codes == NONE))

    def array(self) -> pa.LargeStringArray:
        """All strings, without a copy; valid until the next growth."""
        return pa.LargeStringArray.from_buffers(
            self.count, pa.py_buffer(self.offsets[: self.count + 1]), pa.py_buffer(self.data)
        )

    def _reserve(self, strings: int, size: int) -> None:
        needed = self.count + strings
        used = int(self.offsets[self.count])
        self.hashes = grown(self.hashes, self.count, needed)
        self.offsets = grown(self.offsets, self.count + 1, needed + 1)
        self.data = grown(self.data, used, used + size)
        if slots_for(needed) > len(self.slots):
            self.slots = np.full(slots_for(needed), NONE, np.int32)
            rebuild_string_slots(self.slots, self.hashes, self.count)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a checkpoint keeps; the slots are rebuilt."""
        return {"offsets": self.offsets[: self.count + 1], "data": self.data[: int(self.offsets[self.count])]}

    @classmethod
    def restore(cls, offsets: Int64, data: Uint8) -> Strings:
        """The inverse of `arrays`."""
        strings = cls()
        array = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
        for start in range(0, len(array), 1 << 20):
            strings.codes(array.slice(start, 1 << 20).cast(pa.string()))
        return strings

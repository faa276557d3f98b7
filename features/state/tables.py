"""Defines the tables of a partition's state as plain memory: row types, strings by number, growth.

Rows are packed structs in one NumPy array per table. A compiled kernel therefore touches one or two cache lines per
record. A checkpoint is the array's bytes, and `==` compares two states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.state.hash_index import EMPTY, find_strings, intern_strings, rebuild_string_slots

Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Uint8 = npt.NDArray[np.uint8]
Uint32 = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.void]

NONE: Final = -1
"""Value for "no row" and "no string" in int32 columns."""
OPEN_CART: Final = 1
"""Mark of a session that is listed as waiting to become abandoned."""
SEEN: Final = 2
"""Mark of a session that the current batch has touched. No session has it between batches."""
CARRIED: Final = 4
"""Mark of a session with a count above COUNT_MAX."""
COUNT_MAX: Final = 65_535
"""A count n above it is stored in the row as (n - 1) % COUNT_MAX + 1, so that 0 means none. The rest is carried."""

LINES_MAX: Final = 65_535
"""Most lines that an order's row can count; above the bound of a valid record, schema.ORDER_LINES_MAX."""

CUSTOMER: Final = np.dtype(
    [
        ("settled_cents", "i8"),  # of the placed orders that have left `orders`; a sum may exceed 48 bits
        ("settled_orders", "i4"),  # their number
        ("order", "i4"),  # head of the customer's chain in `orders`
        ("session", "i4"),  # head of the customer's chain in `sessions`
        ("first_seen_low", "u4"),  # min ts over events and order records
        ("last_seen_low", "u4"),  # max ts over events
        ("settled_first_low", "u4"),  # ts of the first and last of the settled orders
        ("settled_last_low", "u4"),
        ("first_seen_high", "u2"),
        ("last_seen_high", "u2"),
        ("settled_first_high", "u2"),
        ("settled_last_high", "u2"),
        ("seen", "u1"),  # 1 for customers of the current batch; 0 between batches
    ],
    align=True,
)
"""48 bytes. `NAME_low` and `NAME_high` form a number of 48 bits, see `features.state.int48`."""
ORDER: Final = np.dtype(
    [
        ("key", "u8"),  # hash of order_id
        ("customer", "i4"),
        ("ts_low", "u4"),
        ("cents_low", "u4"),
        ("change_low", "u4"),  # updated_ts - ts: 400 days at most, 36 bits of 40
        ("ts_high", "u2"),
        ("cents_high", "u2"),
        ("lines", "u2"),  # most lines that any winning record of this order had, see LINES_MAX
        ("change_high", "u1"),
        ("status", "u1"),
    ],
    align=True,
)
"""32 bytes: half a cache line."""
SESSION: Final = np.dtype(
    [
        ("key", "u8"),  # hash of session_id
        ("customer", "i4"),
        ("views", "i4"),  # head of the session's chain in `views`
        ("recent", "i4"),  # row in `recent`, while its strings are still needed
        ("channel", "i4"),  # words, of the earliest event
        ("country", "i4"),
        ("start_low", "u4"),
        ("last_low", "u4"),
        ("first_view_low", "u4"),  # earliest event of each stage
        ("first_cart_low", "u4"),
        ("first_checkout_low", "u4"),
        ("first_purchase_low", "u4"),
        ("start_high", "u2"),
        ("last_high", "u2"),
        ("first_view_high", "u2"),
        ("first_cart_high", "u2"),
        ("first_checkout_high", "u2"),
        ("first_purchase_high", "u2"),
        ("n_page_view", "u2"),  # up to COUNT_MAX; the excess is carried in `views`
        ("n_search", "u2"),
        ("n_product_view", "u2"),
        ("n_add_to_cart", "u2"),
        ("n_remove_from_cart", "u2"),
        ("n_checkout", "u2"),
        ("n_purchase", "u2"),
        ("device", "u1"),
        ("marks", "u1"),  # OPEN_CART, SEEN, CARRIED
    ],
    align=True,
)
"""80 bytes."""
VIEW: Final = np.dtype([("category", "i4"), ("count", "u2")])
"""6 bytes. A count of a session: of product views in a category (a word), or of carries (`carried_word`)."""
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
"""128 bits of the hash of an event_id, the lowest 20 of `high` replaced by the UTC hour of ts modulo 2^20. (0, 0) is an
empty slot. 108 bits distinguish ids; the hour limits how long an id is remembered."""


def carried_word(event_type: int) -> int:
    """Return the value that replaces a category in VIEW: each count is COUNT_MAX events of the given type."""
    return NONE - 1 - event_type


def grown(array: npt.NDArray[Any], used: int, needed: int) -> npt.NDArray[Any]:
    """Return `array`, or a copy of its first `used` rows with room for `needed`; grow by an eighth to waste little."""
    if needed <= len(array):
        return array
    # pages that are never touched use no memory, so the unused part is only address space
    larger = np.zeros(max(needed + needed // 8, 1024), array.dtype)
    larger[:used] = array[:used]
    return larger


def take(rows: Rows, index: Int32) -> Rows:
    """Return rows[index], several times faster: NumPy moves blocks of words instead of copying structs by field."""
    word = np.gcd(rows.dtype.itemsize, 8)
    words = rows.view(f"u{word}").reshape(len(rows), rows.dtype.itemsize // word)
    return words.take(index, axis=0).view(rows.dtype).reshape(len(index))


def crowded(slots: npt.NDArray[Any], rows: int) -> bool:
    """Return whether `rows` would fill more than seven eighths of the slots."""
    return rows * 8 > len(slots) * 7


def empty_slots(rows: int) -> Uint32:
    """Return an open-addressing table that `rows` fill to seven tenths: room for a quarter more."""
    return np.full(max(rows * 10 // 7 + 1, 1024), EMPTY, np.uint32)


def string_buffers(strings: pa.StringArray) -> tuple[Int32, Uint8]:
    """Return offsets (length n + 1) and bytes of a StringArray."""
    _, offsets, data = strings.buffers()
    starts = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    # numba has different types for writable and read-only arrays, so all buffers are read-only, whatever their origin
    starts.flags.writeable = text.flags.writeable = False
    return starts, text


@dataclass(slots=True)
class Strings:
    """Distinct strings by number, in the order of their first appearance."""

    count: int = 0
    offsets: Int64 = field(default_factory=lambda: np.zeros(1, np.int64))
    data: Uint8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    slots: Uint32 = field(default_factory=lambda: empty_slots(0))

    def codes(self, strings: pa.StringArray) -> Int32:
        """Return the number of each string, adding new ones; no nulls."""
        offsets, data = string_buffers(strings)
        n = len(strings)
        self._reserve(n, int(offsets[-1]) - int(offsets[0]) if n else 0)
        codes = np.empty(n, np.int32)
        self.count = intern_strings(offsets, data, self.slots, self.offsets, self.data, self.count, codes)
        return codes

    def find(self, strings: pa.StringArray) -> Int32:
        """Return the number of each string, NONE for an unknown one; no nulls."""
        offsets, data = string_buffers(strings)
        codes = np.empty(len(strings), np.int32)
        find_strings(offsets, data, self.slots, self.offsets, self.data, codes)
        return codes

    def take(self, codes: Int32) -> pa.StringArray:
        """Return the strings of the given numbers; null for NONE."""
        return self.array().take(pa.array(codes, mask=codes == NONE))

    def array(self) -> pa.LargeStringArray:
        """Return all strings, without a copy; valid until the next growth."""
        return pa.LargeStringArray.from_buffers(
            self.count, pa.py_buffer(self.offsets[: self.count + 1]), pa.py_buffer(self.data)
        )

    def _reserve(self, strings: int, size: int) -> None:
        needed = self.count + strings
        used = int(self.offsets[self.count])
        self.offsets = grown(self.offsets, self.count + 1, needed + 1)
        self.data = grown(self.data, used, used + size)
        if crowded(self.slots, needed):
            self.slots = empty_slots(needed)
            rebuild_string_slots(self.slots, self.offsets, self.data, self.count)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays for a checkpoint. The slots are rebuilt."""
        return {"offsets": self.offsets[: self.count + 1], "data": self.data[: int(self.offsets[self.count])]}

    @classmethod
    def restore(cls, offsets: Int64, data: Uint8) -> Strings:
        """Restore the strings from the output of `arrays`."""
        count = len(offsets) - 1
        strings = cls(count, offsets.copy(), data.copy(), empty_slots(count))
        rebuild_string_slots(strings.slots, strings.offsets, strings.data, count)
        return strings

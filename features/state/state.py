"""Holds the state of one partition: compact recent history, independent of arrival order and batch boundaries.

`apply_*` upserts rows of the tables with sums, minima and maxima. `definitions.evaluate` queries them at a time that is
not before the last applied record. The state is plain data: it can be stored, restored and compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.records.columns import EventColumns, OrderColumns
from features.schema import (
    DAY_MS,
    EVENT_LATENESS_MS,
    HOUR_MS,
    ORDER_LATENESS_MS,
    RETURNED_STATUSES,
    SESSION_RETENTION_MS,
    STATUSES,
)
from features.state import hash_index, kernels, row_chains
from features.state.int48 import NEVER_MAX, NEVER_MIN, fill_int48, read_int48
from features.state.tables import (
    CUSTOMER,
    EVENT_ID,
    LINES_MAX,
    NONE,
    OPEN_CART,
    ORDER,
    RECENT,
    SESSION,
    VIEW,
    Int32,
    Rows,
    Strings,
    Uint8,
    Uint32,
    crowded,
    empty_slots,
    grown,
    string_buffers,
    take,
)

SCAN_ROWS_MIN: Final = 16_384
"""Rows of a table below which it is not searched for expired rows."""
PLACED: Final = STATUSES.index("placed")
RETURNED: Final = tuple(STATUSES.index(status) for status in RETURNED_STATUSES)
NOTHING_YET: Final = {
    "first_seen": NEVER_MIN, "last_seen": NEVER_MAX, "settled_first": NEVER_MIN, "settled_last": NEVER_MAX,
}  # fmt: skip
"""Initial values of a customer's times."""
_NO_ROWS: Final = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Touched:
    """Changes of a batch: row numbers, each once."""

    customers: Int32
    sessions: Int32 = field(default_factory=lambda: _NO_ROWS)
    orders: Int32 = field(default_factory=lambda: _NO_ROWS)
    applied: int = 0
    """Records that counted: for events those that were not duplicates."""
    won: Int32 = field(default_factory=lambda: _NO_ROWS)
    """For each order record the row that it won, or NONE."""


@dataclass(frozen=True, slots=True)
class Renumbered:
    """New number of each old row after rows were removed, NONE for removed rows; None if nothing moved."""

    sessions: Int32 | None
    orders: Int32 | None


@dataclass(slots=True)
class State:
    """Tables of a partition. Times are epoch ms, UTC; money is integer cents."""

    customer_ids: Strings = field(default_factory=Strings)
    words: Strings = field(default_factory=Strings)
    """Categories, channels and countries."""
    customers: Rows = field(default_factory=lambda: np.zeros(0, CUSTOMER))
    orders: Rows = field(default_factory=lambda: np.zeros(0, ORDER))
    next_order: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))
    """The customer's next row in `orders`, or NONE; separate from the rows, so a chain walk reads less memory."""
    order_count: int = 0
    sessions: Rows = field(default_factory=lambda: np.zeros(0, SESSION))
    next_session: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))
    session_count: int = 0
    views: Rows = field(default_factory=lambda: np.zeros(0, VIEW))
    next_view: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))
    view_count: int = 0
    recent: Rows = field(default_factory=lambda: np.zeros(0, RECENT))
    recent_count: int = 0
    recent_bytes: Uint8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    recent_size: int = 0
    open_carts: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))
    """Rows of sessions with a cart and no purchase, whose document does not yet have `abandoned`."""
    open_count: int = 0
    high_events: int = 0
    """Highest ts of the events so far; 0 without events. Determines lateness and expiry."""
    high_orders: int = 0
    """Highest updated_ts of the order records so far."""
    ids: Rows = field(default_factory=lambda: np.zeros(1024, EVENT_ID))
    id_count: int = 0
    new_ids: Rows = field(default_factory=lambda: np.zeros(0, EVENT_ID))
    """Ids remembered since the last checkpoint."""
    new_id_count: int = 0
    _scan_at: dict[str, int] = field(default_factory=dict)
    """Rows at which a table is next searched for expired rows: an eighth more than the last search kept."""
    _order_slots: Uint32 = field(default_factory=lambda: empty_slots(0))
    _session_slots: Uint32 = field(default_factory=lambda: empty_slots(0))

    @property
    def customer_count(self) -> int:
        """Number of customers seen so far, in events or in order records."""
        return self.customer_ids.count

    @property
    def max_event_time(self) -> int:
        """Highest ts / updated_ts applied so far; 0 if there is none."""
        return max(self.high_events, self.high_orders)

    def apply_events(self, batch: EventColumns, *, since: int | None = None) -> Touched:
        """Apply a batch of valid events that are not too late; events of a remembered id change nothing.

        Args:
            batch: events in the order of their log, or of an archive.
            since: for events of an archive: their time range begins here, epoch ms, and all events before were applied.
                Within the range the events may be in any order, but of one id the earliest is first.
        """
        n = len(batch)
        if n == 0:
            return Touched(_NO_ROWS)
        codes = self._customer_codes(batch.customer_id)
        category, channel, country = self._word_codes(batch)
        event_id_offsets, event_id_data = string_buffers(batch.event_id)
        session_id_offsets, session_id_data = string_buffers(batch.session_id)
        text = (
            int(event_id_offsets[-1]) - int(event_id_offsets[0]) + int(session_id_offsets[-1] - session_id_offsets[0])
        )
        self._reserve_for_events(n, text, self.high_events if since is None else since)
        touched_customers, touched_sessions = np.empty(n, np.int32), np.empty(n, np.int32)
        (
            applied,
            self.session_count,
            self.view_count,
            self.recent_count,
            self.recent_size,
            self.new_id_count,
            self.open_count,
            customers_touched,
            sessions_touched,
            ids_added,
        ) = kernels.apply_events(
            batch.ts, batch.event_type, batch.device, category, channel, country, codes,
            event_id_offsets, event_id_data, session_id_offsets, session_id_data,
            self.customers, self.sessions, self.next_session, self._session_slots, self.session_count,
            self.views, self.next_view, self.view_count,
            self.recent, self.recent_count, self.recent_bytes, self.recent_size,
            self.ids, self.new_ids, self.new_id_count, self.open_carts, self.open_count,
            touched_customers, touched_sessions, self.high_events, since is None,
        )  # fmt: skip
        self.id_count += ids_added
        self.high_events = max(self.high_events, int(batch.ts.max()))
        return Touched(touched_customers[:customers_touched], touched_sessions[:sessions_touched], applied=applied)

    def apply_orders(self, batch: OrderColumns) -> Touched:
        """Apply a batch of valid order records that are not too late."""
        n = len(batch)
        if n == 0:
            return Touched(_NO_ROWS)
        if batch.lines.max() > LINES_MAX:
            raise ValueError(f"an order of {batch.lines.max()} lines, which no valid record has")
        codes = self._customer_codes(batch.customer_id)
        offsets, data = string_buffers(batch.order_id)
        self.orders = grown(self.orders, self.order_count, self.order_count + n)
        self.next_order = grown(self.next_order, self.order_count, self.order_count + n)
        if crowded(self._order_slots, self.order_count + n):
            self._order_slots = _row_slots(self.orders, self.order_count, self.order_count + n)
        won = np.empty(n, np.int32)
        self.order_count = kernels.apply_orders(
            batch.ts, batch.updated_ts, batch.status, batch.total_cents, batch.lines, codes, offsets, data,
            self.customers, self.orders, self.next_order, self._order_slots, self.order_count, won,
        )  # fmt: skip
        self.high_orders = max(self.high_orders, int(batch.updated_ts.max()))
        return Touched(np.unique(codes), orders=np.unique(won[won != NONE]), applied=n, won=won)

    def known_codes(self, customer_ids: list[str]) -> Int32:
        """Return the numbers of those given customers that were seen in an event or order record, each once."""
        codes = self.customer_ids.find(pa.array(customer_ids, pa.string()))
        return np.unique(codes[codes != NONE])

    def may_expire(self) -> bool:
        """Return whether a table has grown enough since the last search for `expire` to be worth its cost."""
        sizes = {
            "orders": self.order_count,
            "sessions": self.session_count,
            "recent": self.recent_count,
            "ids": self.id_count,
        }
        return any(size >= self._scan_at.get(name, SCAN_ROWS_MIN) for name, size in sizes.items())

    def force_scan(self) -> None:
        """Make the next `expire` search every table, however small: for a state that is a part of a larger one."""
        self._scan_at = dict.fromkeys(("orders", "sessions", "recent", "ids"), 0)

    def expire(self, busy_sessions: Int32, busy_orders: Int32, *, keep_sessions: bool = False) -> Renumbered:
        """Remove rows that no later record may change and no window can reach; cheap if there are few.

        Args:
            busy_sessions: rows whose documents are still to be written; they are kept.
            busy_orders: the same for orders.
            keep_sessions: whether to keep every session (a batch run may need any session at any time).
        """
        self._expire_ids()
        orders = self._expire_orders(busy_orders)
        sessions = None if keep_sessions else self._expire_sessions(busy_sessions)
        busy = busy_sessions if sessions is None else sessions[busy_sessions]
        self._expire_recent(busy[busy != NONE])
        return Renumbered(sessions, orders)

    def abandoned(self, as_of: int, wait_ms: int) -> Int32:
        """Return the rows of sessions that have become abandoned by `as_of`, each only once (see `watch_carts`)."""
        rows = self.open_carts[: self.open_count]
        sessions = take(self.sessions, rows)
        bought = sessions["n_purchase"] > 0
        due = ~bought & (read_int48(sessions, "last") <= as_of - wait_ms)
        done = due | bought
        if not done.any():
            return _NO_ROWS
        self.sessions["marks"][rows[done]] &= ~np.uint8(OPEN_CART)
        abandoned = rows[due].copy()
        still_open = rows[~done]
        self.open_count = len(still_open)
        self.open_carts[: self.open_count] = still_open
        return abandoned

    def watch_carts(self, rows: Int32, as_of: int, wait_ms: int) -> None:
        """Make `abandoned` return these sessions again, where a document of `as_of` has them as not yet abandoned.

        An earlier call may have returned them for a later time: that of the final rows, or the wall clock.
        """
        sessions = take(self.sessions, rows)
        watched = (sessions["n_add_to_cart"] > 0) & (sessions["n_purchase"] == 0) & (sessions["marks"] & OPEN_CART == 0)
        reopened = rows[watched & (read_int48(sessions, "last") > as_of - wait_ms)]
        self.sessions["marks"][reopened] |= np.uint8(OPEN_CART)
        self.open_carts = grown(self.open_carts, self.open_count, self.open_count + len(reopened))
        self.open_carts[self.open_count : self.open_count + len(reopened)] = reopened
        self.open_count += len(reopened)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return everything that a checkpoint stores except the event ids, as views into the tables."""
        arrays = {f"customer_ids.{name}": array for name, array in self.customer_ids.arrays().items()}
        arrays |= {f"words.{name}": array for name, array in self.words.arrays().items()}
        counts = {
            "customers": self.customer_count,
            "orders": self.order_count,
            "next_order": self.order_count,
            "sessions": self.session_count,
            "next_session": self.session_count,
            "views": self.view_count,
            "next_view": self.view_count,
            "recent": self.recent_count,
            "recent_bytes": self.recent_size,
            "open_carts": self.open_count,
        }
        arrays |= {name: getattr(self, name)[:count] for name, count in counts.items()}
        arrays["highs"] = np.array([self.high_events, self.high_orders], np.int64)
        return arrays

    @classmethod
    def restore(cls, arrays: dict[str, npt.NDArray[Any]]) -> State:
        """Restore a state from the output of `arrays`. Event ids are restored by `remember`."""
        state = cls()
        state.customer_ids = Strings.restore(arrays["customer_ids.offsets"], arrays["customer_ids.data"])
        state.words = Strings.restore(arrays["words.offsets"], arrays["words.data"])
        for name in (
            "customers", "orders", "next_order", "sessions", "next_session", "views", "next_view",
            "recent", "recent_bytes", "open_carts",
        ):  # fmt: skip
            setattr(state, name, arrays[name].copy())
        state.order_count, state.session_count = len(state.orders), len(state.sessions)
        state.view_count, state.recent_count = len(state.views), len(state.recent)
        state.recent_size, state.open_count = len(state.recent_bytes), len(state.open_carts)
        state.high_events, state.high_orders = map(int, arrays["highs"])
        state._order_slots = _row_slots(state.orders, state.order_count, state.order_count)
        state._session_slots = _row_slots(state.sessions, state.session_count, state.session_count)
        return state

    def remember(self, ids: Rows) -> None:
        """Restore event ids from a checkpoint; of an id with several hours the latest is kept."""
        if (self.id_count + len(ids)) * 4 > len(self.ids) * 3:
            self._resize_ids(len(ids), self.high_events)
        self.id_count += hash_index.remember_all(self.ids, ids)

    def session_ids(self, rows: Int32) -> list[str]:
        """Return the ids of sessions whose strings are still stored: dirty, in-flight and recent ones."""
        data = self.recent_bytes
        strings = self.recent[self.sessions["recent"][rows]]
        starts, lengths = strings["session_id"].tolist(), strings["session_id_length"].tolist()
        return [data[start : start + length].tobytes().decode() for start, length in zip(starts, lengths, strict=True)]

    def take_new_ids(self) -> Rows:
        """Return the event ids remembered since the last call, for the current checkpoint."""
        new_ids = self.new_ids[: self.new_id_count].copy()
        self.new_id_count = 0
        return new_ids

    def known_ids(self) -> Rows:
        """Return every event id within the horizon, including those of earlier checkpoints."""
        ids = np.empty(self.id_count, EVENT_ID)
        return ids[: hash_index.live_ids(self.ids, (self.high_events - EVENT_LATENESS_MS) // HOUR_MS, ids)]

    def _customer_codes(self, customer_ids: Any) -> Int32:
        before = self.customer_count
        codes = self.customer_ids.codes(customer_ids)
        after = self.customer_count
        if after > before:
            self.customers = grown(self.customers, before, after)
            new = self.customers[before:after]
            for name, never in NOTHING_YET.items():
                fill_int48(new, name, never)
            new["order"] = NONE
            new["session"] = NONE
        return codes

    def _word_codes(self, batch: EventColumns) -> tuple[Int32, Int32, Int32]:
        """Return the batch's words as numbers of this state. Words without a row (all rows too late) are not added."""
        columns = (batch.category, batch.channel, batch.country)
        codes = np.full(len(batch.words) + 1, NONE, np.int32)
        used = np.zeros(len(codes), np.bool_)
        for column in columns:
            used[column] = True
        used[-1] = False
        codes[used] = self.words.codes(batch.words.filter(pa.array(used[:-1])))
        # null has the index -1, and the last element is NONE
        category, channel, country = (codes[column] for column in columns)
        return category, channel, country

    def _reserve_for_events(self, n: int, text: int, clock: int) -> None:
        self.sessions = grown(self.sessions, self.session_count, self.session_count + n)
        self.next_session = grown(self.next_session, self.session_count, self.session_count + n)
        if crowded(self._session_slots, self.session_count + n):
            self._session_slots = _row_slots(self.sessions, self.session_count, self.session_count + n)
        # an event may start a count of its category and one of carries
        self.views = grown(self.views, self.view_count, self.view_count + 2 * n)
        self.next_view = grown(self.next_view, self.view_count, self.view_count + 2 * n)
        self.recent = grown(self.recent, self.recent_count, self.recent_count + n)
        self.recent_bytes = grown(self.recent_bytes, self.recent_size, self.recent_size + text)
        self.open_carts = grown(self.open_carts, self.open_count, self.open_count + n)
        self.new_ids = grown(self.new_ids, self.new_id_count, self.new_id_count + n)
        if (self.id_count + n) * 4 > len(self.ids) * 3:
            self._resize_ids(n, clock)

    def _resize_ids(self, room: int, clock: int) -> None:
        """Resize the id table so that the ids live at `clock` and `room` more fill six tenths: a quarter more fits."""
        living = np.empty(self.id_count, EVENT_ID)
        count = hash_index.live_ids(self.ids, (clock - EVENT_LATENESS_MS) // HOUR_MS, living)
        self.ids = np.zeros(max((count + room) * 5 // 3 + 1, 1024), EVENT_ID)
        self.id_count = hash_index.remember_all(self.ids, living[:count])

    def _expire_ids(self) -> None:
        if self.id_count >= self._scan_at.get("ids", SCAN_ROWS_MIN):
            self._resize_ids(self.id_count // 8, self.high_events)
            self._scan_at["ids"] = max(SCAN_ROWS_MIN, self.id_count + self.id_count // 2)

    def _expire_orders(self, busy: Int32) -> Int32 | None:
        count = self.order_count
        if count < self._scan_at.get("orders", SCAN_ROWS_MIN):
            return None
        keep = read_int48(self.orders[:count], "ts") + ORDER_LATENESS_MS >= self.high_orders
        keep[busy] = True
        self._scan_at["orders"] = _an_eighth_more(int(np.count_nonzero(keep)))
        if keep.all():
            return None
        kernels.finalise_orders(self.customers, self.orders, count, keep, PLACED)
        renumbered, self.order_count = _compacted(self.orders, keep)
        self.customers["order"] = self._relinked(self.orders, self.next_order, self.order_count)
        _refill(self._order_slots, self.orders, self.order_count)
        return renumbered

    def _expire_sessions(self, busy: Int32) -> Int32 | None:
        count = self.session_count
        if count < self._scan_at.get("sessions", SCAN_ROWS_MIN):
            return None
        rows = self.sessions[:count]
        keep = (read_int48(rows, "last") + SESSION_RETENTION_MS >= self.high_events) | (rows["marks"] & OPEN_CART != 0)
        keep[busy] = True
        self._scan_at["sessions"] = _an_eighth_more(int(np.count_nonzero(keep)))
        if keep.all():
            return None
        renumbered, self.session_count = _compacted(self.sessions, keep)
        self.customers["session"] = self._relinked(self.sessions, self.next_session, self.session_count)
        _refill(self._session_slots, self.sessions, self.session_count)
        self._compact_views()
        open_carts = renumbered[self.open_carts[: self.open_count]]
        self.open_carts[: self.open_count] = open_carts
        recent = self.recent[: self.recent_count]
        # a session that ended long ago needs no strings, so its row in `recent`, if any, is removed too
        gone = renumbered[recent["session"]] == NONE
        recent["session"] = np.where(gone, 0, renumbered[recent["session"]])
        self._compact_recent(~gone)
        return renumbered

    def _relinked(self, rows: Rows, following: Int32, count: int) -> Int32:
        """Rebuild the customers' chains: return their heads and write the next row of each row."""
        heads = np.full(len(self.customers), NONE, np.int32)
        row_chains.relink(heads, following, np.ascontiguousarray(rows["customer"][:count]), count)
        return heads

    def _compact_views(self) -> None:
        views, following = np.zeros(self.view_count, VIEW), np.empty(self.view_count, np.int32)
        self.view_count = row_chains.compact_views(
            self.sessions, self.session_count, self.views, self.next_view, views, following
        )
        self.views, self.next_view = views, following

    def _expire_recent(self, busy: Int32) -> None:
        """Remove the strings of sessions that need them neither for earlier events nor for an unwritten document."""
        count = self.recent_count
        if count < self._scan_at.get("recent", SCAN_ROWS_MIN):
            return
        sessions = self.recent["session"][:count]
        needed = np.zeros(self.session_count, bool)
        needed[busy] = True
        needed[self.open_carts[: self.open_count]] = True
        start = read_int48(take(self.sessions, sessions), "start")
        keep = needed[sessions] | (start + EVENT_LATENESS_MS >= self.high_events)
        self._scan_at["recent"] = _an_eighth_more(int(np.count_nonzero(keep)))
        if not keep.all():
            self._compact_recent(keep)

    def _compact_recent(self, keep: npt.NDArray[np.bool_]) -> None:
        rows = np.empty(len(self.recent), RECENT)
        data = np.empty(len(self.recent_bytes), np.uint8)
        owners = self.sessions["recent"].copy()
        self.recent_count, self.recent_size = kernels.compact_recent(
            owners, self.recent, self.recent_count, keep, self.recent_bytes, rows, data
        )
        self.sessions["recent"] = owners
        self.recent, self.recent_bytes = rows, data


def _an_eighth_more(rows: int) -> int:
    return max(SCAN_ROWS_MIN, rows + rows // 8)


def day_of(ts: int) -> int:
    """Return the UTC day as days since 1970-01-01."""
    return ts // DAY_MS


def _row_slots(rows: Rows, count: int, needed: int) -> Uint32:
    slots = empty_slots(needed)
    hash_index.rebuild_row_slots(slots, rows, count)
    return slots


def _refill(table: Uint32, rows: Rows, count: int) -> None:
    table.fill(hash_index.EMPTY)
    hash_index.rebuild_row_slots(table, rows, count)


def _compacted(rows: Rows, keep: npt.NDArray[np.bool_]) -> tuple[Int32, int]:
    """Move the kept rows to the front, in order; return the new number of each old row, and the number kept."""
    renumbered = np.empty(len(keep), np.int32)
    return renumbered, row_chains.compact_rows(rows, len(keep), keep, renumbered)

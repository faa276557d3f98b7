"""Splits a state into slices that a key-value store can hold, and joins the slices that a batch needs.

A slice contains everything about its customers except two shared parts: the words (categories, channels, countries)
that its rows reference by number, and the remembered event ids. Rows of a slice reference each other by position within
it, so any number of slices of one state can be joined in any order.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from features.state import kernels, row_chains
from features.state.state import State
from features.state.tables import (
    CUSTOMER,
    NONE,
    OPEN_CART,
    ORDER,
    RECENT,
    SESSION,
    VIEW,
    Int32,
    Int64,
    Rows,
    Strings,
    take,
)

FORM: Final = 1
"""Version of the slice format; other versions are not read."""


class Slice(msgspec.Struct, frozen=True, array_like=True):
    """Rows of some customers, as the bytes of the tables' rows. `id_lengths` are u4, bytes of each customer's id.

    Differences from a state: `customer` of orders and sessions, and `session` of recent rows, are positions within the
    slice. `views` of a session is the number of its view counts, which follow those of the previous session. The
    strings of a recent row follow those of the previous row.
    """

    id_lengths: bytes = b""
    ids: bytes = b""
    customers: bytes = b""
    orders: bytes = b""
    sessions: bytes = b""
    views: bytes = b""
    recent: bytes = b""
    text: bytes = b""


def split(state: State, group: Int32, groups: int) -> list[Slice]:
    """Return a state's customers as one slice per group.

    Args:
        state: state, which is not changed.
        group: group of each customer, from 0 to `groups` - 1.
        groups: number of slices. A group without customers has an empty slice.
    """
    order = np.argsort(group, kind="stable").astype(np.int32)
    starts = _starts(group, groups)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    local = (rank - starts[group]).astype(np.int32)

    customers = take(state.customers[: state.customer_count], order)
    customers["order"] = customers["session"] = NONE
    ids = state.customer_ids.array().take(order)
    id_ends = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
    id_bytes = np.frombuffer(ids.buffers()[2], np.uint8) if len(ids) else np.zeros(0, np.uint8)

    orders, _, order_starts = _owned(state.orders[: state.order_count], rank, local, group, groups)
    sessions, positions, session_starts = _owned(state.sessions[: state.session_count], rank, local, group, groups)
    recent, text, recent_starts, text_starts = _strings(state, sessions, positions, session_starts)
    views, view_starts = _views(state, sessions)

    lengths = np.diff(id_ends).astype(np.uint32)
    cut_ids = id_ends[starts]
    cut_views = view_starts[session_starts]
    sections = (
        _cut(lengths, starts),
        _cut(id_bytes, cut_ids),
        _cut(customers, starts),
        _cut(orders, order_starts),
        _cut(sessions, session_starts),
        _cut(views, cut_views),
        _cut(recent, recent_starts),
        _cut(text, text_starts),
    )
    return [Slice(*parts) for parts in zip(*sections, strict=True)]


def join(slices: Sequence[Slice], words: Strings, high_events: int, high_orders: int) -> State:
    """Return one state with the customers of some slices, in the order of the slices.

    Args:
        slices: slices of one state, no customer in two.
        words: words of that state; copied.
        high_events: highest ts of events of that state, epoch ms.
        high_orders: highest updated_ts of order records of that state, epoch ms.
    """
    lengths = _joined(slices, "id_lengths", np.dtype(np.uint32))
    customers = _joined(slices, "customers", CUSTOMER)
    orders = _joined(slices, "orders", ORDER)
    sessions = _joined(slices, "sessions", SESSION)
    views = _joined(slices, "views", VIEW)
    recent = _joined(slices, "recent", RECENT)

    customer_starts = _offsets(slices, "customers", CUSTOMER)
    orders["customer"] += np.repeat(customer_starts, _counts(slices, "orders", ORDER))
    sessions["customer"] += np.repeat(customer_starts, _counts(slices, "sessions", SESSION))
    recent["session"] += np.repeat(_offsets(slices, "sessions", SESSION), _counts(slices, "recent", RECENT))
    ends = np.cumsum(recent["session_id_length"].astype(np.int64) + recent["event_id_length"])
    recent["event_id"] = ends - recent["event_id_length"]
    recent["session_id"] = recent["event_id"] - recent["session_id_length"]
    sessions["recent"] = NONE
    sessions["recent"][recent["session"]] = np.arange(len(recent), dtype=np.int32)

    arrays: dict[str, npt.NDArray[Any]] = {
        "customer_ids.offsets": np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        "customer_ids.data": _joined(slices, "ids", np.dtype(np.uint8)),
        "customers": customers,
        "orders": orders,
        "next_order": _linked(customers, "order", orders),
        "sessions": sessions,
        "next_session": _linked(customers, "session", sessions),
        "views": views,
        "next_view": _linked_views(sessions, len(views)),
        "recent": recent,
        "recent_bytes": _joined(slices, "text", np.dtype(np.uint8)),
        "open_carts": np.flatnonzero(sessions["marks"] & OPEN_CART).astype(np.int32),
        "highs": np.array([high_events, high_orders], np.int64),
    }
    arrays |= {f"words.{name}": array for name, array in words.arrays().items()}
    return State.restore(arrays)


def _starts(group: npt.NDArray[Any], groups: int) -> Int64:
    """Return the start of each group for rows sorted by group, and the end of the last group."""
    counts = np.bincount(group, minlength=groups)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _owned(rows: Rows, rank: Int32, local: Int32, group: Int32, groups: int) -> tuple[Rows, Int32, Int64]:
    """Return rows in the new customer order, the new position of each row, and the start of each group's rows."""
    owner = rows["customer"]
    order = np.argsort(rank[owner], kind="stable").astype(np.int32)
    positions = np.empty(len(order), np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    moved = take(rows, order)
    moved["customer"] = local[moved["customer"]]
    return moved, positions, _starts(group[owner], groups)


def _strings(
    state: State, sessions: Rows, positions: Int32, session_starts: Int64
) -> tuple[Rows, npt.NDArray[np.uint8], Int64, Int64]:
    """Return recent rows in the order of their sessions, their strings, and the starts of each group in both."""
    count = state.recent_count
    session = positions[state.recent["session"][:count]]
    order = np.argsort(session, kind="stable").astype(np.int32)
    ordered = take(state.recent[:count], order)
    ordered["session"] = session[order]
    rows, text = np.zeros(count, RECENT), np.empty(state.recent_size, np.uint8)
    keep = np.ones(count, np.bool_)
    owners = np.empty(len(sessions), np.int32)
    _, size = kernels.compact_recent(owners, ordered, count, keep, state.recent_bytes, rows, text)
    sessions["recent"] = NONE
    starts = np.searchsorted(rows["session"], session_starts).astype(np.int64)
    text_starts = np.append(rows["session_id"], size)[starts]
    rows["session"] -= np.repeat(session_starts[:-1], np.diff(starts)).astype(np.int32)
    rows["session_id"] = rows["event_id"] = 0
    return rows, text[:size], starts, text_starts


def _views(state: State, sessions: Rows) -> tuple[Rows, Int64]:
    """Return view counts in session order and the start of each session's; write their numbers to the sessions."""
    views, following = np.zeros(state.view_count, VIEW), np.empty(state.view_count, np.int32)
    used = row_chains.compact_views(sessions, len(sessions), state.views, state.next_view, views, following)
    some = sessions["views"] != NONE
    ends = np.zeros(len(sessions) + 1, np.int64)
    ends[1:][some] = sessions["views"][some] + 1
    np.maximum.accumulate(ends, out=ends)
    sessions["views"] = np.diff(ends)
    return views[:used], ends


def _cut(rows: npt.NDArray[Any], starts: npt.NDArray[Any]) -> list[bytes]:
    """Return the bytes of the rows of each group. Padding bytes are 0, so that equal rows have equal bytes."""
    size = rows.dtype.itemsize
    octets = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), size)
    used = np.zeros(size, np.bool_)
    for dtype, offset in (field[:2] for field in (rows.dtype.fields or {"": (rows.dtype, 0)}).values()):
        used[offset : offset + dtype.itemsize] = True
    if not used.all():
        octets = octets * used
    data = octets.tobytes()
    borders = (starts * size).tolist()
    return [data[start:end] for start, end in itertools.pairwise(borders)]


def _joined(slices: Sequence[Slice], name: str, dtype: np.dtype[Any]) -> Any:
    return np.frombuffer(b"".join(getattr(part, name) for part in slices), dtype).copy()


def _counts(slices: Sequence[Slice], name: str, dtype: np.dtype[Any]) -> Int64:
    return np.array([len(getattr(part, name)) for part in slices], np.int64) // dtype.itemsize


def _offsets(slices: Sequence[Slice], name: str, dtype: np.dtype[Any]) -> Int32:
    """Return the number of rows before those of each slice."""
    counts = _counts(slices, name, dtype)
    return (np.cumsum(counts) - counts).astype(np.int32)


def _linked(customers: Rows, head: str, rows: Rows) -> Int32:
    heads, following = np.full(len(customers), NONE, np.int32), np.empty(len(rows), np.int32)
    row_chains.relink(heads, following, np.ascontiguousarray(rows["customer"]), len(rows))
    customers[head] = heads
    return following


def _linked_views(sessions: Rows, count: int) -> Int32:
    """Return the next view count of each; replace their numbers in the sessions by the positions of the first ones."""
    numbers = sessions["views"].astype(np.int64)
    ends = np.cumsum(numbers)
    following = np.arange(1, count + 1, dtype=np.int32)
    following[ends[numbers > 0] - 1] = NONE
    sessions["views"] = np.where(numbers > 0, ends - numbers, NONE)
    return following

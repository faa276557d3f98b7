"""Measures (f), the memory of the state: 30 orders per customer, and sessions of 90 days as in the synthetic shop.

    python benchmarks/memory.py CUSTOMERS FOLDER

Prints JSON. Measures the tables only: no Kafka, and records are generated as columns.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa

from consumers.checkpoints.recovery import empty, restore, snapshot
from consumers.checkpoints.store import CheckpointStore
from consumers.state.partition import PartitionState
from features.definitions import evaluate
from features.records.columns import EventColumns, Int64, OrderColumns
from features.schema import DAY_MS, EVENT_TYPES, HOUR_MS
from features.state.tables import Strings

PARTITIONS = 4
ORDERS = 30
ORDER_DAYS = 365
SESSION_DAYS = 90
SESSIONS = 7
"""Sessions of a customer in 90 days, as in the synthetic shop."""
VISIT = ("page_view", "search", "product_view", "product_view", "add_to_cart", "page_view", "product_view")
"""A session of the mean length, views in two categories."""
END_MS = 20_000 * DAY_MS
WORDS = pa.array(["electronics", "home", "fashion", "beauty", "sports", "toys", "grocery", "books"])
ROWS = 20_000
"""Records applied at a time, as in the consumer: a table grows by the needs of a batch."""


def build(number: int, customers: int, random: np.random.Generator) -> PartitionState:
    """Build a partition whose customers all have their orders and sessions."""
    partition = empty(number, ["elastic"], contact=False)
    ids = texts(f"c{number}", np.arange(customers))
    for first in range(0, ORDERS * customers, ROWS):
        numbers, who = np.divmod(np.arange(first, min(first + ROWS, ORDERS * customers)), customers)
        ts = END_MS - ORDER_DAYS * DAY_MS + numbers * (ORDER_DAYS * DAY_MS // ORDERS) + who % DAY_MS
        partition.state.apply_orders(orders_of(ids, who, numbers, ts))
    for day in range(SESSION_DAYS):
        begin_ms = END_MS - (SESSION_DAYS - day) * DAY_MS
        today = np.flatnonzero(random.random(customers) < SESSIONS / SESSION_DAYS)
        starts = begin_ms + random.integers(0, DAY_MS - HOUR_MS, len(today))
        for part in np.array_split(np.arange(len(today)), max(1, len(today) * len(VISIT) // ROWS)):
            batch = events_of(ids, today[part], starts[part], day, random)
            partition.state.apply_events(batch)
        nothing = np.zeros(0, np.int32)
        partition.state.abandoned(begin_ms + DAY_MS, DAY_MS // 48)
        partition.state.expire(nothing, nothing)
        if day < SESSION_DAYS - 1:
            partition.state.take_new_ids()  # as checkpoints do
    return partition


def orders_of(ids: pa.StringArray, who: Int64, numbers: Int64, ts: Int64) -> OrderColumns:
    n = len(who)
    return OrderColumns(
        order_id=texts("o", who * ORDERS + numbers),
        customer_id=ids.take(pa.array(who)),
        ts=ts,
        updated_ts=ts,
        status=np.zeros(n, np.uint8),
        total_cents=np.full(n, 4_990),
        lines=np.ones(n, np.int32),
        records=None,
    )


def events_of(ids: pa.StringArray, who: Int64, starts: Int64, day: int, random: np.random.Generator) -> EventColumns:
    length = len(VISIT)
    n = len(who) * length
    kinds = np.tile(np.array([EVENT_TYPES.index(kind) for kind in VISIT], np.uint8), len(who))
    ts = np.repeat(starts, length) + np.tile(np.arange(length) * 60_000, len(who))
    viewed = np.isin(kinds, [EVENT_TYPES.index("product_view"), EVENT_TYPES.index("add_to_cart")])
    two = random.integers(0, len(WORDS), (len(who), 2))
    category = np.repeat(two[:, 0], length)
    category[length - 1 :: length] = two[:, 1]
    customers = pa.array(np.repeat(who, length))
    nothing = np.full(n, -1, np.int32)
    return EventColumns(
        event_id=texts(f"e{day}-", np.repeat(who * length, length) + np.tile(np.arange(length), len(who))),
        customer_id=ids.take(customers),
        session_id=texts(f"s{day}-", np.repeat(who, length)),
        ts=ts,
        event_type=kinds,
        device=np.zeros(n, np.uint8),
        category=np.where(viewed, category, -1).astype(np.int32),
        channel=nothing,
        country=nothing,
        words=WORDS,
    )


def texts(prefix: str, numbers: npt.NDArray[np.int64]) -> pa.StringArray:
    digits = pa.array(numbers).cast(pa.string())
    return pa.compute.binary_join_element_wise(prefix, digits, "")


def sizes(owner: Any, prefix: str = "") -> Counter[str]:
    """Return the bytes reserved by each array of a state."""
    bytes_of: Counter[str] = Counter()
    for item in dataclasses.fields(owner):
        value = getattr(owner, item.name)
        if isinstance(value, np.ndarray):
            bytes_of[prefix + item.name] += value.nbytes
        elif isinstance(value, Strings):
            bytes_of[prefix + item.name] += sizes(value).total()
    return bytes_of


def timed(results: dict[str, Any], name: str, work: Any) -> Any:
    begun = time.perf_counter()
    result = work()
    results[name] = results.get(name, 0.0) + time.perf_counter() - begun
    return result


def main() -> None:
    customers, folder = int(sys.argv[1]), Path(sys.argv[2])
    process = psutil.Process()
    build(0, 100, np.random.default_rng(1))  # compiled code, Polars
    base = process.memory_info().rss
    random = np.random.default_rng(1)
    results: dict[str, Any] = {"customers": customers, "orders each": ORDERS}
    partitions: list[PartitionState] = timed(
        results, "build time, s", lambda: [build(n, customers // PARTITIONS, random) for n in range(PARTITIONS)]
    )
    states = [partition.state for partition in partitions]
    reserved = sum((sizes(state) for state in states), Counter())
    used = sum((Counter({k: v.nbytes for k, v in state.arrays().items()}) for state in states), Counter())
    ids = sum(state.id_count for state in states)
    sessions = sum(state.session_count for state in states)
    per_id = {"ids", "new_ids"}
    strings = {"recent", "recent_bytes"}

    def reserved_by(*names: str) -> int:
        return sum(reserved[name] for name in names)

    results |= {
        "sessions each": sessions / customers,
        "B per customer, reserved": (reserved.total() - reserved_by(*per_id, *strings)) / customers,
        "… of it orders": reserved_by("orders", "next_order", "_order_slots") / customers,
        "… of it sessions": reserved_by("sessions", "next_session", "_session_slots") / customers,
        "… of it category views": reserved_by("views", "next_view") / customers,
        "B per customer, filled (in a checkpoint)": sum(v for k, v in used.items() if k not in strings) / customers,
        "also: B of session strings (48 h) per customer": reserved_by(*strings) / customers,
        "also: stored event ids (48 h) per customer": ids / customers,
        "also: B per event id, table": reserved_by("ids") / ids,
        "also: B per event id, not yet in a checkpoint": reserved_by("new_ids") / ids,
        "GB reserved, total": reserved.total() / 1e9,
        "GB resident": (process.memory_info().rss - base) / 1e9,
    }
    checkpoint(results, partitions, folder)
    results["peak GB of the process, including generation of records"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    )
    some = random.permutation(customers // PARTITIONS)[:50_000].astype(np.int32)
    took: dict[str, float] = {}
    timed(took, "rows", lambda: evaluate(states[0], some, END_MS))
    results["µs per evaluated row, random customers"] = took["rows"] / len(some) * 1e6
    print(json.dumps(results))


def checkpoint(results: dict[str, Any], partitions: list[PartitionState], folder: Path) -> None:
    store = CheckpointStore(str(folder / "memory"), "memory")
    size = 0
    longest = 0.0
    for partition in partitions:
        begun = time.perf_counter()
        made = timed(
            results, "checkpoints: wait of the loop, s", lambda p=partition: snapshot(p, "memory", PARTITIONS, [])
        )
        longest = max(longest, time.perf_counter() - begun)
        _, _, written = timed(results, "checkpoints: background write, s", lambda c=made: store.write(c, 0))
        size += written
        del made
    results["checkpoints: longest wait of the loop, s"] = longest
    results["checkpoints: GB of all partitions"] = size / 1e9
    name = store.names(0)[0]
    timed(results, "checkpoints: one partition loaded, s", lambda: restore(store.read(0, name), ["elastic"]))


if __name__ == "__main__":
    main()

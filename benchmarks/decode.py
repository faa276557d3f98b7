"""Measures the steps from messages to columns: CPU microseconds per message, the best of several rounds.

Run with `.venv/bin/python benchmarks/decode.py [--events 200000]`.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pyarrow as pa

from features.records.archive_rows import event_rows, order_rows
from features.records.decode import CHUNK, decode, decode_events, event_columns, order_columns
from features.records.money import to_cents
from features.schema import DEVICES, EVENT_TYPES, Event, Item, Order, arrow_schema

NOW = 1_700_000_000_000
ROUNDS = 5
CATEGORIES = ("electronics", "home", "fashion", "beauty", "sports", "toys", "grocery", "books")
Batch = tuple[list[bytes], list[bytes], list[int]]


def make_events(n: int) -> list[Event]:
    rng = np.random.default_rng(1)
    kinds = rng.choice(7, n, p=[0.4, 0.1, 0.3, 0.08, 0.02, 0.05, 0.05])
    events = []
    for i in range(n):
        has_product = kinds[i] in (2, 3, 4, 6)
        customer = f"c{rng.integers(20_000):07d}"
        events.append(
            Event(
                event_id=rng.bytes(8).hex(),
                event_type=EVENT_TYPES[kinds[i]],
                customer_id=customer,
                session_id=f"{customer}-{rng.integers(1000)}",
                ts=NOW + i,
                device=DEVICES[rng.integers(3)],
                product_id=f"p{rng.integers(5000):05d}" if has_product else None,
                category=CATEGORIES[rng.integers(8)] if has_product else None,
                price=float(rng.integers(20_000)) / 100 if has_product else None,
                quantity=1 if has_product else None,
                channel=("organic", "paid", "email", "social")[rng.integers(4)],
                country=("DE", "US", "FR", "GB")[rng.integers(4)],
            )
        )
    return events


def make_orders(n: int) -> list[Order]:
    rng = np.random.default_rng(2)
    return [
        Order(
            order_id=f"o{i:09d}",
            customer_id=f"c{rng.integers(20_000):07d}",
            ts=NOW + i,
            updated_ts=NOW + i,
            status="placed",
            total=float(rng.integers(50_000)) / 100,
            items=[
                Item(f"p{rng.integers(5000):05d}", CATEGORIES[rng.integers(8)], 1, float(rng.integers(20_000)) / 100)
                for _ in range(rng.integers(1, 4))
            ],
            country="DE",
            payment_method="card",
        )
        for i in range(n)
    ]


def messages(records: Sequence[Event | Order]) -> Batch:
    values = [msgspec.json.encode(record) for record in records]
    return values, [record.customer_id.encode() for record in records], [record.ts for record in records]


def batches(batch: Batch, size: int) -> list[Batch]:
    borders = [*range(0, len(batch[0]), size), len(batch[0])]
    return [(batch[0][a:b], batch[1][a:b], batch[2][a:b]) for a, b in pairwise(borders)]


def measure(what: str, n: int, work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    print(f"  {what:<64} {best / n * 1e6:7.3f} us")
    return best


def steps(batch: Batch) -> None:
    """Measure each part of `decode_events` alone, on chunks of decoded records."""
    parts = batches(batch, CHUNK)
    records = [decode("events", *part).records for part in parts]
    n, text = len(batch[0]), pa.string()
    print(f"the parts of decode_events, chunks of {CHUNK}, each alone (colder than in the pipeline)")
    measure("all bytes are ASCII", n, lambda: [all(map(bytes.isascii, values)) for values, _, _ in parts])
    measure("ts to int64", n, lambda: [np.array([r.ts for r in chunk], np.int64) for chunk in records])
    measure("append times to int64", n, lambda: [np.asarray(append, np.int64) for _, _, append in parts])
    measure(
        "keys are the customer ids",
        n,
        lambda: [
            b"\n".join(keys) == "\n".join([r.customer_id for r in chunk]).encode()
            for (_, keys, _), chunk in zip(parts, records, strict=True)
        ],
    )
    for name in ("event_id", "customer_id", "session_id", "category", "channel", "country"):
        measure(
            f"{name} to StringArray",
            n,
            lambda name=name: [pa.array([getattr(r, name) for r in chunk], text) for chunk in records],
        )
    codes = {word: code for code, word in enumerate(EVENT_TYPES)}.__getitem__
    measure(
        "event_type to codes",
        n,
        lambda: [np.frombuffer(bytearray(map(codes, [r.event_type for r in chunk])), np.uint8) for chunk in records],
    )


def pipeline(batch: Batch, size: int) -> None:
    parts, n, strict = batches(batch, size), len(batch[0]), msgspec.json.Decoder(Event).decode
    print(f"events in batches of {size:,}")
    measure(
        "floor: typed msgspec decode alone, records kept for the batch",
        n,
        lambda: [list(map(strict, p[0])) for p in parts],
    )
    measure("decode", n, lambda: [decode("events", *p) for p in parts])
    measure("event_columns(decode)", n, lambda: [event_columns(decode("events", *p).records) for p in parts])
    measure("decode_events", n, lambda: [decode_events(*p) for p in parts])


def unusual(batch: Batch) -> None:
    values, keys, append = batch
    n = len(values)
    print("decode_events on unusual messages, batches of 10,000")
    dirty = [v[:-1] if i % 100 == 0 else v for i, v in enumerate(values)]
    measure("1 % broken", n, lambda: [decode_events(*p) for p in batches((dirty, keys, append), 10_000)])
    measure("all broken", n, lambda: [decode_events(*p) for p in batches(([b"{"] * n, keys, append), 10_000)])
    foreign = [v.replace(b'"price"', '"größe":"ü","price"'.encode()) for v in values]
    measure("all with non-ASCII text", n, lambda: [decode_events(*p) for p in batches((foreign, keys, append), 10_000)])
    floats = [v.replace(b'"quantity":1', b'"quantity":1.0') for v in values]
    measure(
        "half with `quantity` as 1.0", n, lambda: [decode_events(*p) for p in batches((floats, keys, append), 10_000)]
    )


def collector(batch: Batch) -> None:
    """Measure the cyclic garbage collector in a process with a million tracked objects."""
    parts, n = batches(batch, 10_000), len(batch[0])
    orders = batches(messages(make_orders(n // 10)), 10_000)
    print("with 1,000,000 lists alive in the process")
    alive = [[i] for i in range(1_000_000)]

    def both() -> None:
        measure("decode_events", n, lambda: [decode_events(*p) for p in parts])
        measure("decode of orders, 1 record kept of each", n // 10, lambda: [decode("orders", *p) for p in orders])

    both()
    gc.freeze()
    print("the same after gc.freeze()")
    both()
    gc.disable()
    print("the same without the collector")
    both()
    gc.enable()
    gc.unfreeze()
    assert len(alive) == 1_000_000


def orders_and_archive(n: int) -> None:
    orders = make_orders(n // 4)
    parts = batches(messages(orders), 10_000)
    print("orders in batches of 10,000")
    measure("decode", len(orders), lambda: [decode("orders", *p) for p in parts])
    measure("order_columns", len(orders), lambda: order_columns(orders, keep_records=True))
    print("archive rows")
    events = pa.Table.from_pylist([msgspec.to_builtins(e) for e in make_events(n)], schema=arrow_schema(Event))
    events = pa.concat_tables([events] * 5)
    best = measure("event_rows", len(events), lambda: event_rows(events))
    print(f"    {len(events) / best / 1e6:.1f} M rows/s")
    table = pa.Table.from_pylist([msgspec.to_builtins(o) for o in orders], schema=arrow_schema(Order))
    table = pa.concat_tables([table] * 5)
    best = measure("order_rows", len(table), lambda: order_rows(table))
    print(f"    {len(table) / best / 1e6:.1f} M rows/s")
    print("money")
    amounts = np.random.default_rng(1).integers(0, 10**7, n) / 100
    measure("to_cents of prices", n, lambda: to_cents(amounts))
    measure("to_cents of halves (each read as a decimal)", n, lambda: to_cents(amounts + 0.005))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    n = parser.parse_args().events
    batch = messages(make_events(n))
    print(f"{n:,} events of {sum(map(len, batch[0])) / n:.0f} bytes")
    for size in (CHUNK, 10_000, 50_000):
        pipeline(batch, size)
    steps(batch)
    unusual(batch)
    orders_and_archive(n)
    collector(batch)


if __name__ == "__main__":
    main()

"""Odd archives: the smallest ones of each kind that a real shop exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.schema import DAY_MS, RECORD_TYPES, arrow_schema
from producers.archive.archive import ArchiveWriter
from producers.archive.known_until import KNOWN_UNTIL_FILE, KnownUntil

HOUR_MS = 3_600_000
DAYS = 42
START = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
Rows = list[dict[str, Any]]


def event(number: int, ts: int, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}", "event_type": "product_view", "customer_id": "ann", "session_id": f"s{number}",
        "ts": ts, "device": "mobile", "product_id": "P1", "category": "Mugs",
    } | fields  # fmt: skip


def order(number: int, ts: int, **fields: Any) -> dict[str, Any]:
    line = {"product_id": "P1", "category": "Mugs", "quantity": 1, "unit_price": 10.0}
    return {
        "order_id": f"o{number}", "customer_id": "ann", "ts": ts, "updated_ts": ts, "status": "placed", "total": 10.0,
        "items": [line],
    } | fields  # fmt: skip


def write(directory: Path, events: Rows = [], orders: Rows = [], dates_until: int | None = None) -> Path:  # noqa: B006
    with ArchiveWriter(directory) as archive:
        for topic, rows in (("events", events), ("orders", orders)):
            schema = pa.schema([field.with_nullable(True) for field in arrow_schema(RECORD_TYPES[topic])])
            archive.write(topic, pa.Table.from_pylist(rows, schema=schema))
        if dates_until is not None:
            archive.write_known_until(KnownUntil(dates_until, dates_only=True))
    if dates_until is not None:
        assert json.loads((directory / KNOWN_UNTIL_FILE).read_text())["dates_only"]
    return directory


def _day(number: float) -> int:
    return START + int(number * DAY_MS)


def _clicks(days: int, customers: int = 7) -> Rows:
    return [
        event(day * 10 + hour, _day(day) + hour * HOUR_MS, customer_id=f"c{(day + hour) % customers}")
        for day in range(days)
        for hour in range(1, 4)
    ]


def _orders(days: int, customers: int = 7, total: Callable[[int], float] = lambda day: 10.0 + day % 5) -> Rows:
    return [
        order(day * 10 + n, _day(day) + (20 + n) * HOUR_MS, customer_id=f"c{(day * (n + 1)) % customers}",
              total=total(day))
        for day in range(days)
        for n in range(1 + day % 2)
    ]  # fmt: skip


def _purchases(days: int) -> Rows:
    """Purchases without any earlier step: what a shop sends that only tracks its thank-you page."""
    return [event(day, _day(day) + HOUR_MS, event_type="purchase", customer_id=f"c{day % 7}") for day in range(days)]


KINDS: dict[str, Callable[[Path], Path]] = {
    "one order": lambda to: write(to, orders=[order(1, _day(0))]),
    "one click": lambda to: write(to, events=[event(1, _day(0))]),
    "one customer": lambda to: write(
        to,
        [one | {"customer_id": "ann"} for one in _clicks(DAYS)],
        [one | {"customer_id": "ann"} for one in _orders(DAYS)],
    ),
    "one day": lambda to: write(to, _clicks(1), [*_orders(1), order(5, _day(0) + HOUR_MS, customer_id="c3")]),
    "clicks only": lambda to: write(to, _clicks(DAYS)),
    "orders only": lambda to: write(to, orders=_orders(DAYS)),
    "purchases only": lambda to: write(to, _purchases(DAYS), _orders(DAYS)),
    "more orders than visits": lambda to: write(to, _clicks(5), _orders(DAYS)),
    "constant": lambda to: write(
        to, orders=[order(day * 7 + n, _day(day), customer_id=f"c{n}") for day in range(DAYS) for n in range(7)]
    ),
    "free": lambda to: write(to, orders=_orders(DAYS, total=lambda _: 0.0)),
    "refunded": lambda to: write(to, orders=[one | {"status": "refunded"} for one in _orders(DAYS)]),
    "three customers": lambda to: write(to, _clicks(30, 3), _orders(30, 3)),
    "future only": lambda to: write(to, orders=[order(n, _day(365 * 200) + n) for n in range(3)]),
    "one future": lambda to: write(
        to, _clicks(DAYS), [*_orders(DAYS), order(9999, _day(365 * 180), customer_id="fay")]
    ),
    "one stray": lambda to: write(to, _clicks(DAYS), [*_orders(DAYS), order(9999, _day(600), customer_id="fay")]),
    "one old": lambda to: write(to, orders=[*_orders(DAYS), order(9999, _day(-9000), customer_id="old")]),
    "dates": lambda to: write(
        to, orders=[order(day, _day(day), customer_id=f"c{day % 7}", total=20.0 + day % 7) for day in range(DAYS)],
        dates_until=_day(DAYS),
    ),
    "namibia": lambda to: write(
        to, orders=[one | {"country": ("NA", "DE", None)[n % 3]} for n, one in enumerate(_orders(DAYS))]
    ),
    "one gone": lambda to: write(
        to, orders=[*(order(n, _day(n)) for n in range(DAYS)), order(9999, _day(3), customer_id="bob")]
    ),
}  # fmt: skip

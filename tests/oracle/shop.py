"""A pen for records: events and orders with every required field, as dicts with the fields of the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from oracle.loops import STATUSES, TYPES
from oracle.rows import Row

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOWS = (7, 30, 90, 365)
DEVICES = ("mobile", "desktop", "tablet")

AWKWARD_AMOUNTS = (
    *(0.005, 0.015, 0.025, 1.005, 1.015, 1.025, 2.675, 1.115, 0.285, 1.255, 8.345, 4.35, 0.1 + 0.2, 1.1 * 3),
    *(0.0, -0.0, 0.0049999, 0.00500000001, 0.994999, 0.995, 1e-7, 5e-324, 3.0, 7, 19.99, 1e6 + 0.005, 33_333_333.335),
    *(1e12, 999_999_999_999.995, 999_999_999_999.985, 123_456_789_012.345),
)
"""Totals that float arithmetic rounds otherwise than their shortest decimal, and the ends of the range."""

AWKWARD_TEXT = (
    *("é", "e\u0301", "z", "Z", "~", "ß", "ÿ", "\u017f", "İ", "中文", "\u05d0\u05d1"),
    *("\uffee", "\U0001f6d2", "\U0001f6d2a", "\u200b", "\u00a0", "x" * 500, "é" * 250),
    *("", " ", "a ", " a", "a\nb", "a\tb", "'", '"', "\\", "a,b", "a/b", "%", "-"),
    *("null", "NULL", "NaN", "None", "1", "01", "1.0", "true"),
)
"""Strings that sort otherwise in UTF-16, in a locale or after folding, or that read as another type."""

AWKWARD_IDS = tuple(text for text in AWKWARD_TEXT if text)
ID_BYTES_MAX, TEXT_BYTES_MAX, LINES_MAX = 512, 1_024, 10_000
LONGEST_IDS = ("x" * ID_BYTES_MAX, "é" * (ID_BYTES_MAX // 2), "\U0001f6d2" * (ID_BYTES_MAX // 4))
LONGEST_TEXT = ("x" * TEXT_BYTES_MAX, "é" * (TEXT_BYTES_MAX // 2), "\U0001f6d2" * (TEXT_BYTES_MAX // 4))
"""Of exactly as many bytes as an id and another text may have."""
TOO_LONG_ID = {"of letters": "x" * (ID_BYTES_MAX + 1), "of few characters": "é" * (ID_BYTES_MAX // 2) + "x"}
TOO_LONG_TEXT = {"of letters": "x" * (TEXT_BYTES_MAX + 1), "of few characters": "é" * (TEXT_BYTES_MAX // 2) + "x"}
"""One byte more, of as many characters and of about half as many."""


@dataclass
class Shop:
    """Collects the records of one archive around a time of interest.

    Args:
        rng: the only source of chance.
        as_of: the time (epoch ms) around which borders are planted.
    """

    rng: np.random.Generator
    as_of: int
    events: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    _serial: int = 0

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of the choices, as the plain Python value it is."""
        return choices[int(self.rng.integers(len(choices)))]

    def between(self, low: int, high: int) -> int:
        """An int in [low, high)."""
        return int(self.rng.integers(low, high))

    def name(self, kind: str) -> str:
        """A new id that no other record of this archive has."""
        self._serial += 1
        tail = self.pick(AWKWARD_IDS) if self.rng.random() < 0.2 else ""
        name = f"{kind}{self._serial}_{tail}"  # the tail may begin with a digit
        return name if len(name.encode()) <= ID_BYTES_MAX else f"{kind}{self._serial}_"

    def event(self, customer: str, session: str, ts: int, event_type: str = "page_view", **fields: Any) -> Row:
        """Adds an event; optional fields that are not given are there, null or awkward by chance."""
        row: Row = {
            "event_id": self.name("e"),
            "event_type": event_type,
            "customer_id": customer,
            "session_id": session,
        }
        row |= {"ts": ts, "device": self.pick(DEVICES)}
        if event_type in ("product_view", "add_to_cart", "remove_from_cart", "purchase"):
            row |= {"product_id": self._maybe(f"p{self.between(0, 9)}"), "category": self._maybe(self.pick("abc"))}
            row |= {"price": self._maybe(self.pick(AWKWARD_AMOUNTS)), "quantity": self._maybe(self.between(1, 9))}
        row |= {"channel": self._maybe(self.pick(AWKWARD_TEXT)), "country": self._maybe(self.pick(("DE", "FR", "")))}
        row |= fields
        self.events.append(row)
        return row

    def order(self, customer: str, ts: int, updated_ts: int | None = None, **fields: Any) -> Row:
        """Adds the record of a new order; with order_id given, another record of the same order."""
        row: Row = {"order_id": self.name("o"), "customer_id": customer, "session_id": self._maybe(self.name("s"))}
        row |= {"ts": ts, "updated_ts": ts if updated_ts is None else updated_ts, "status": "placed"}
        row |= {"total": self.pick(AWKWARD_AMOUNTS), "items": self._items(), "channel": self._maybe("mail")}
        row |= {"country": self._maybe(self.pick(("DE", "FR", ""))), "payment_method": self._maybe("card")}
        row |= fields
        self.orders.append(row)
        return row

    def change(self, order: Row, updated_ts: int, status: str, **fields: Any) -> Row:
        """Adds a later (or competing) record of an order."""
        fields |= {"order_id": order["order_id"], "status": status}
        return self.order(order["customer_id"], order["ts"], updated_ts, **fields)

    def visit(self, customer: str, start_ts: int, length_ms: int, clicks: int, **fields: Any) -> str:
        """Adds a session of random events from start_ts on, both ends included; returns its id."""
        session = self.name("s")
        offsets = [0, length_ms, *(self.between(0, length_ms + 1) for _ in range(clicks - 2))][:clicks]
        for offset in offsets:
            self.event(customer, session, start_ts + offset, self.pick(TYPES), **fields)
        return session

    def random_status(self) -> str:
        """One of the four."""
        return str(self.pick(STATUSES))

    def _maybe(self, value: Any) -> Any:
        return None if self.rng.random() < 0.3 else value

    def _items(self) -> list[Row] | None:
        if self.rng.random() < 0.2:
            return None
        return [
            {
                "product_id": self._maybe(f"p{self.between(0, 9)}"),
                "category": self._maybe(self.pick(AWKWARD_TEXT)),
                "quantity": self._maybe(self.between(1, 9)),
                "unit_price": self._maybe(self.pick(AWKWARD_AMOUNTS)),
            }
            for _ in range(self.between(0, 4))
        ]

"""Groups the records of an archive by their time, and admits those that messages of other systems can say.

Mappings read texts: they drop blanks around a text, and refuse placeholders as ids. A record with such a value would
come back changed, so it is refused here, with the reason. A record that the contract refuses is left out.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Final

import numpy as np
import polars as pl

from connectors.formats.ids import read_ids
from connectors.formats.numbers import FRACTION_DIGITS_MAX
from connectors.tables.records import float_text
from features.records.decode import decode
from features.records.placeholders import RESERVED
from features.schema import DAY_MS, EVENT_LATENESS_MS, HOUR_MS, SOURCE_TOPICS, STAGE_EVENT, TS_MAX, Event, Order
from producers.importing.rows import EVENT_BYTES_MAX
from producers.messages import Messages
from producers.source_shapes.shape import Basket, Moment

TIME_MS_MIN: Final = 2 * DAY_MS
TIME_MS_MAX: Final = TS_MAX - 2 * DAY_MS
"""Times between which clocks may be wrong by hours and zones may shift them, and all times still are readable."""
LINE_ID: Final = "{}#{}"
"""Event id that mappings give a line of a basket: id of the order or the message, and position."""
_LINE_ID_END: Final = r"#[0-9]+$"
_QUANTITY_MAX: Final = 2**53 - 1
_REMEMBERED_HOURS: Final = EVENT_LATENESS_MS // HOUR_MS
_ORDER_IDS_MS: Final = 2 * EVENT_LATENESS_MS
"""Time for which an order id is not used for another basket: longer than consumers remember event ids."""
_PURCHASE: Final = STAGE_EVENT["purchase"]


@dataclass(slots=True)
class Admission:
    """Counts of records that are not written.

    Attributes:
        invalid: records that the contract refuses.
        repeated: repetitions of events.
        refused: reason -> records that no shape can say.
    """

    invalid: int = 0
    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def moments(chunks: Iterable[Messages], admission: Admission) -> Iterator[Moment]:
    """Yield the records of messages by time.

    Args:
        chunks: records as an archive has them, ascending by time.
        admission: counts, which grow.
    """
    purchases = _Purchases(admission)
    repetitions = _Repetitions(admission)
    for time_ms, records in _by_time(chunks, admission):
        events = repetitions.without(sorted((r for r in records if isinstance(r, Event)), key=_EVENT_ORDER))
        orders = sorted((r for r in records if isinstance(r, Order)), key=_ORDER_ORDER)
        clicks = tuple(event for event in events if event.event_type != _PURCHASE)
        yield Moment(time_ms, clicks, purchases.baskets(events, orders), tuple(orders))


_EVENT_ORDER: Final = attrgetter("event_id", "ts")
_ORDER_ORDER: Final = attrgetter("order_id", "customer_id", "updated_ts", "status", "total")


def _by_time(chunks: Iterable[Messages], admission: Admission) -> Iterator[tuple[int, list[Event | Order]]]:
    current: list[Event | Order] = []
    current_ms = -1
    for chunk in chunks:
        for time_ms, record in _admitted(chunk, admission):
            if time_ms != current_ms and current:
                yield current_ms, current
                current = []
            current_ms = time_ms
            current.append(record)
    if current:
        yield current_ms, current


def _admitted(chunk: Messages, admission: Admission) -> list[tuple[int, Event | Order]]:
    """Return time and record of the messages whose records can be written, in their order."""
    admitted: list[tuple[int, int, Event | Order]] = []
    for number, topic in enumerate(SOURCE_TOPICS[:2]):
        rows = np.flatnonzero(chunk.topics == number)
        values, keys = ([column[row] for row in rows.tolist()] for column in (chunk.values, chunk.keys))
        append_ms = np.full(len(rows), TS_MAX)
        read = (
            decode("events", values, keys, append_ms)
            if topic == "events"
            else decode("orders", values, keys, append_ms)
        )
        admission.invalid += len(read.rejected)
        records: list[Event | Order] = list(read.records)
        reasons = _event_reasons(read.records) if topic == "events" else _order_reasons(read.records)  # type: ignore[arg-type]
        for position, record, reason in zip(rows[read.positions].tolist(), records, reasons, strict=True):
            if reason is None:
                admitted.append((position, int(chunk.times[position]), record))
            else:
                admission.refused[reason] += 1
    admitted.sort(key=lambda one: one[0])
    return [(time_ms, record) for _, time_ms, record in admitted]


# --- what a text of a message can say ---------------------------------------------------------------------------------
def _event_reasons(events: Sequence[Event]) -> list[str | None]:
    frame = pl.DataFrame(
        {
            "event_id": [event.event_id for event in events], "customer_id": [event.customer_id for event in events],
            "session_id": [event.session_id for event in events], "product_id": [event.product_id for event in events],
            "category": [event.category for event in events], "channel": [event.channel for event in events],
            "country": [event.country for event in events],
            "purchase": [event.event_type == _PURCHASE for event in events],
            "price": [readable_amount(event.price) for event in events],
            "quantity": [event.quantity is None or event.quantity <= _QUANTITY_MAX for event in events],
            "time": [TIME_MS_MIN <= event.ts <= TIME_MS_MAX for event in events],
        },
        schema={
            **dict.fromkeys(("event_id", "customer_id", "session_id", "product_id", "category", "channel", "country"),
                            pl.String),
            **dict.fromkeys(("purchase", "price", "quantity", "time"), pl.Boolean),
        },
    )  # fmt: skip
    line_id = ~pl.col("purchase") & pl.col("event_id").str.contains(_LINE_ID_END)
    return _first_reason(
        frame,
        {
            **_id_checks("event_id", "session_id", "product_id"),
            **_text_checks("category", "channel", "country"),
            "event_id ends like that of a line of an order": line_id,
            **_value_checks("price", "quantity", "time"),
        },
    )


def _order_reasons(orders: Sequence[Order]) -> list[str | None]:
    changed_ids = _changed_products(orders)
    frame = pl.DataFrame(
        {
            "order_id": [order.order_id for order in orders], "customer_id": [order.customer_id for order in orders],
            "channel": [order.channel for order in orders], "country": [order.country for order in orders],
            "payment_method": [order.payment_method for order in orders],
            "total": [readable_amount(order.total) for order in orders],
            "items": [_readable_items(order, changed_ids) for order in orders],
            "time": [order.ts >= TIME_MS_MIN and order.updated_ts <= TIME_MS_MAX for order in orders],
        },
        schema={
            **dict.fromkeys(("order_id", "customer_id", "channel", "country", "payment_method"), pl.String),
            **dict.fromkeys(("total", "items", "time"), pl.Boolean),
        },
    )  # fmt: skip
    return _first_reason(
        frame,
        {
            **_id_checks("order_id"),
            **_text_checks("channel", "country", "payment_method"),
            **_value_checks("total", "items", "time"),
        },
    )


def readable_amount(amount: float | None) -> bool:
    """Return whether a mapping reads the decimal text of an amount: it has at most 18 digits after the point."""
    return amount is None or len((float_text(amount) or "").partition(".")[2]) <= FRACTION_DIGITS_MAX


def _readable_items(order: Order, changed_ids: frozenset[str]) -> bool:
    """Return whether every line has a product, quantity or price, and none is changed by a mapping."""
    return all(
        (item.product_id, item.quantity, item.unit_price) != (None, None, None)
        and item.product_id not in changed_ids
        and readable_amount(item.unit_price)
        and (item.quantity is None or item.quantity <= _QUANTITY_MAX)
        for item in order.items or ()
    )


def _changed_products(orders: Sequence[Order]) -> frozenset[str]:
    """Return the product ids of lines that a mapping changes or refuses."""
    ids = {item.product_id for order in orders for item in order.items or () if item.product_id is not None}
    frame = pl.DataFrame({"id": sorted(ids)}, schema={"id": pl.String})
    value = read_ids(pl.col("id"), (), ("0",)).struct.field("value")
    return frozenset(frame.filter((value != pl.col("id")).fill_null(True))["id"].to_list())


def _id_checks(*names: str) -> dict[str, pl.Expr]:
    customer = pl.col("customer_id")
    checks = {"customer_id": read_ids(customer)} | {name: read_ids(pl.col(name), (), ("0",)) for name in names}
    return {
        "customer_id begins with ~": customer.str.starts_with(RESERVED),
        **{
            f"{name}: no id in a message": pl.col(name).is_not_null()
            & (read.struct.field("value") != pl.col(name)).fill_null(True)
            for name, read in checks.items()
        },
    }


def _text_checks(*names: str) -> dict[str, pl.Expr]:
    return {
        f"{name}: empty, or blanks around it": (pl.col(name) == "") | (pl.col(name).str.strip_chars() != pl.col(name))
        for name in names
    }


def _value_checks(*names: str) -> dict[str, pl.Expr]:
    return {f"{name}: no value in a message": ~pl.col(name) for name in names}


def _first_reason(frame: pl.DataFrame, checks: dict[str, pl.Expr]) -> list[str | None]:
    if frame.is_empty():
        return []
    reasons = pl.coalesce(*(pl.when(fails.fill_null(False)).then(pl.lit(reason)) for reason, fails in checks.items()))
    return frame.select(reason=reasons)["reason"].to_list()


# --- repeated events and purchases ------------------------------------------------------------------------------------
class _Repetitions:
    """Drops repetitions of events as an archive's readers do: of equal ids the earliest counts, for 48 hours."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._hours: dict[str, int] = {}
        self._expiry: deque[tuple[int, str]] = deque()

    def without(self, events: Iterable[Event]) -> list[Event]:
        """Return the events that are no repetitions."""
        first = []
        for event in events:
            hour = event.ts // HOUR_MS
            while self._expiry and hour - self._expiry[0][0] > _REMEMBERED_HOURS:
                then, event_id = self._expiry.popleft()
                if self._hours.get(event_id) == then:
                    del self._hours[event_id]
            counted = self._hours.get(event.event_id)
            if counted is not None and hour - counted <= _REMEMBERED_HOURS:
                self._admission.repeated += 1
                continue
            self._hours[event.event_id] = hour
            self._expiry.append((hour, event.event_id))
            first.append(event)
        return first


class _Purchases:
    """Groups purchase events to baskets."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._used: dict[str, int] = {}

    def baskets(self, events: Sequence[Event], orders: Sequence[Order]) -> tuple[Basket, ...]:
        """Return the baskets of a moment."""
        bought = [event for event in events if event.event_type == _PURCHASE]
        if not bought:
            return ()
        devices: dict[tuple[str, str, int], set[str]] = {}
        for event in events:
            devices.setdefault((event.customer_id, event.session_id, event.ts), set()).add(event.device)
        placed = {
            (order.customer_id, order.session_id, order.ts): order.order_id
            for order in reversed(orders)
            if order.ts == order.updated_ts
        }
        baskets = []
        for key, lines in groupby(sorted(bought, key=_basket_key), _basket_key):
            of_basket = tuple(lines)
            if len(devices[key[:3]]) > 1:
                # its event ids change, and the device of a session is that of its smallest event id in a tie
                self._admission.refused["purchase at the moment of an event on another device"] += len(of_basket)
                continue
            order_id = placed.get(key[:3])
            if order_id is not None and not self._may_name(order_id, of_basket):
                order_id = None
            if order_id is None and _too_long(of_basket[0].event_id, of_basket):
                self._admission.refused["event_id of a purchase: too long with the position of its line"] += len(
                    of_basket
                )
                continue
            baskets.append(Basket(of_basket[0].event_id, order_id, of_basket))
        return tuple(baskets)

    def _may_name(self, order_id: str, lines: tuple[Event, ...]) -> bool:
        """Return whether an order's id may be in the ids of lines: it is short enough, and was not just used."""
        now_ms = lines[0].ts
        while self._used and now_ms - self._used[first := next(iter(self._used))] >= _ORDER_IDS_MS:
            del self._used[first]
        if order_id in self._used or _too_long(order_id, lines):
            return False
        self._used[order_id] = now_ms
        return True


def _too_long(name: str, lines: Sequence[Event]) -> bool:
    return len(LINE_ID.format(name, len(lines) - 1).encode()) > EVENT_BYTES_MAX["event_id"]


def _basket_key(event: Event) -> tuple[str, str, int, str, str, str]:
    return (
        event.customer_id, event.session_id, event.ts, event.device, event.channel or "", event.country or "",
    )  # fmt: skip

"""Writes order records as changes of a PostgreSQL table `orders`, as Debezium reads it with REPLICA IDENTITY FULL.

The first record of an order is a `c`, later ones are `u`, and `void` is a `d` with its tombstone. An order that passes
to another customer is one `u`, whose row before is the former customer's. Totals are NUMERIC(14, 2) in base64. Times of
the table are TIMESTAMP(6): epoch microseconds of the local time. The key is the primary key.

Not in a row: sessions, lines, and fields that the mapping does not name. Refused: totals of more than two decimals, and
times that a zone has twice, where the mapping takes the earlier one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import Any, Final
from zoneinfo import ZoneInfo

from features.schema import HOUR_MS, SECOND_MS, VOID_STATUS, Order
from producers.source_shapes.draws import DailyDraws
from producers.source_shapes.json_values import amount_text, encode, id_value, iso_text, moment_of
from producers.source_shapes.order_changes import Change, OrderChanges
from producers.source_shapes.shape import Faults, Moment, RawMessage, ShapeReport

SCALE: Final = 2
"""Decimals of the column `total`."""
_WORDS: Final = {"placed": "paid", "cancelled": "cancelled", "refunded": "refunded"}
_READ_AFTER_MS: Final = (5, 500)
_AGAIN_MS: Final = (SECOND_MS, 5 * HOUR_MS)
_LSN_START: Final = 24_000_000

Envelope = dict[str, Any]


def _row(**fields: Any) -> Callable[[Envelope], Envelope]:
    return lambda change: {**change, "after": {**change["after"], **fields}}


LEFT_OUT: Final[dict[str, Callable[[Envelope], Envelope | None]]] = {
    "tombstone": lambda _: None,
    "logical message": lambda change: {**change, "op": "m", "after": None, "message": {"prefix": "", "content": ""}},
    "row without a customer": _row(customer_id=None),
}
"""Kind -> function that makes a message which the mapping leaves out of a `c`."""
BROKEN: Final[dict[str, Callable[[Envelope], Envelope]]] = {
    "table emptied": lambda change: {**change, "op": "t", "after": None},
    "deletion with the key alone": lambda change: {
        **change, "op": "d", "after": None, "before": dict.fromkeys(change["after"]) | {"id": change["after"]["id"]},
    },
    "unknown status": _row(status="lost"),
    "total below 0": _row(total="/w=="),
    "infinite time": _row(placed_at="infinity"),
}  # fmt: skip
"""Kind -> function that makes a message which the mapping refuses of a `c`."""


class DebeziumShape:
    """Changes of the table of orders.

    Args:
        faults: faults to add.
        number: number of the shape, which addresses its random numbers.
        zone: time zone of the table's TIMESTAMP columns.
    """

    def __init__(self, faults: Faults, number: int, zone: ZoneInfo) -> None:
        self._faults = faults
        self._draws = DailyDraws(faults.seed, number)
        self._zone = zone
        self._changes = OrderChanges()
        self._lsn = _LSN_START
        self._seen_ms = 0
        self.report = ShapeReport.empty()

    def messages(self, moment: Moment) -> Iterator[RawMessage]:
        """Yield the changes of a moment."""
        self._draws.begin(moment.time_ms)
        sayable = [order for order in moment.orders if self._is_sayable(order)]
        passed = _passed_orders(sayable)
        former_rows = {id(void) for void, _ in passed.values()}
        for order in sayable:
            if id(order) in former_rows:
                self._changes.add(order)
                continue
            change = self._changes.add(order)
            former = passed.get((order.order_id, order.updated_ts))
            if order.status == VOID_STATUS:
                yield from self._deleted(change)
            else:
                yield from self._written(change, None if former is None else former[0])

    def _is_sayable(self, order: Order) -> bool:
        reason = None
        if len(amount_text(order.total).partition(".")[2]) > SCALE:
            reason = f"total of more than {SCALE} decimals"
        elif not self._occurs_first(order.ts):
            reason = f"ts: local time that {self._zone} has twice"
        if reason is not None:
            self.report.refused[reason] += 1
        return reason is None

    def _occurs_first(self, time_ms: int) -> bool:
        moment = moment_of(time_ms)
        wall = moment.astimezone(self._zone).replace(fold=0)
        return wall.astimezone(UTC) == moment

    # --- changes ---
    def _written(self, change: Change, passed_from: Order | None) -> Iterator[RawMessage]:
        """Yield a row that was inserted or updated."""
        former = change.former if passed_from is None else passed_from
        if former is not None and former.status == VOID_STATUS and passed_from is None:
            former = None
        envelope = self._envelope(change.order, "c" if former is None else "u")
        envelope["before"] = None if former is None else self._row(former)
        envelope["after"] = self._row(change.order)
        yield from self._deliveries(change.order, envelope)

    def _deleted(self, change: Change) -> Iterator[RawMessage]:
        """Yield a deletion and its tombstone. Its record is made of the row before."""
        envelope = self._envelope(change.order, "d") | {"before": self._row(change.order), "after": None}
        arrival_ms = 0
        for message in self._deliveries(change.order, envelope):
            yield message
            arrival_ms = max(arrival_ms, message.arrival_ms)
        self.report.left_out += 1
        self.report.faults["left out: tombstone"] += 1
        yield RawMessage(arrival_ms, _key(change.order.order_id), None)

    def _row(self, order: Order) -> dict[str, Any]:
        wall = moment_of(order.ts).astimezone(self._zone).replace(tzinfo=UTC)
        return {
            "id": id_value(order.order_id),
            "customer_id": id_value(order.customer_id),
            "status": _WORDS.get(order.status, "paid"),
            "total": _numeric(order.total),
            "currency": "EUR",
            "channel": order.channel,
            "country": order.country,
            "payment_method": order.payment_method,
            "placed_at": (wall - moment_of(0)) // (moment_of(1) - moment_of(0)) * 1_000,
            "updated_at": iso_text(order.updated_ts).replace("Z", "000Z"),
        }

    def _envelope(self, order: Order, op: str) -> Envelope:
        self._lsn += 48
        at_ms = order.updated_ts
        # the log is read in its order
        seen_ms = self._seen_ms = max(self._seen_ms, at_ms + self._draws.whole(*_READ_AFTER_MS))
        source = {
            "version": "3.6.1.Final", "connector": "postgresql", "name": "shopdb", "ts_ms": at_ms,
            "ts_us": at_ms * 1_000, "ts_ns": at_ms * 1_000_000, "snapshot": "false", "db": "shop",
            "sequence": f'[null,"{self._lsn}"]', "schema": "public", "table": "orders", "txId": self._lsn // 48,
            "lsn": self._lsn, "xmin": None,
        }  # fmt: skip
        return {
            "before": None, "after": None, "source": source, "transaction": None, "op": op,
            "ts_ms": seen_ms, "ts_us": seen_ms * 1_000, "ts_ns": seen_ms * 1_000_000,
        }  # fmt: skip

    # --- deliveries ---
    def _deliveries(self, order: Order, envelope: Envelope) -> Iterator[RawMessage]:
        draws, dirt = self._draws, self._faults.dirt
        key, arrival_ms = _key(order.order_id), envelope["ts_ms"]
        yield RawMessage(arrival_ms, key, encode(envelope))
        if draws.happens(dirt):
            self.report.faults["delivered again"] += 1
            yield RawMessage(arrival_ms + draws.whole(*_AGAIN_MS), key, encode(envelope))
        if envelope["after"] is None:
            return
        if draws.happens(dirt):
            self.report.faults["snapshot"] += 1
            yield self._snapshot(order, envelope)
        if draws.happens(dirt):
            self.report.left_out += 1
            yield self._variant("left out", LEFT_OUT, order, envelope)
        if draws.happens(self._faults.poison):
            self.report.broken += 1
            yield self._variant("broken", BROKEN, order, envelope)

    def _snapshot(self, order: Order, envelope: Envelope) -> RawMessage:
        """Return the row as a later snapshot reads it: true since its own change, not since the snapshot."""
        at_ms = envelope["ts_ms"] + self._draws.whole(*_AGAIN_MS)
        source = envelope["source"] | {"snapshot": "incremental", "ts_ms": at_ms, "ts_us": at_ms * 1_000}
        source["ts_ns"] = at_ms * 1_000_000
        read = {**envelope, "op": "r", "before": None, "source": source, "ts_ms": at_ms}
        return RawMessage(at_ms, _key(order.order_id), encode(read))

    def _variant(self, outcome: str, variants: Any, order: Order, envelope: Envelope) -> RawMessage:
        kind = self._draws.one_of(tuple(variants))
        self.report.faults[f"{outcome}: {kind}"] += 1
        other_id = f"{order.order_id}-other"
        other = {**envelope, "op": "c", "before": None, "after": {**envelope["after"], "id": other_id}}
        made = variants[kind](other)
        return RawMessage(envelope["ts_ms"], _key(other_id), None if made is None else encode(made))


def _passed_orders(orders: Sequence[Order]) -> dict[tuple[str, int], tuple[Order, Order]]:
    """Return order id and time -> the void record of the former customer and the record of the new one."""
    pairs: dict[tuple[str, int], list[Order]] = {}
    for order in orders:
        pairs.setdefault((order.order_id, order.updated_ts), []).append(order)
    passed = {}
    for key, both in pairs.items():
        voids = [order for order in both if order.status == VOID_STATUS]
        others = [order for order in both if order.status != VOID_STATUS]
        if len(voids) == len(others) == 1 and (voids[0].ts, True) == (
            others[0].ts,
            voids[0].customer_id != others[0].customer_id,
        ):
            passed[key] = (voids[0], others[0])
    return passed


def _numeric(amount: float) -> str:
    """Return an amount as Debezium writes NUMERIC(14, 2): base64 of the cents as big-endian two's complement."""
    whole, _, fraction = amount_text(amount, SCALE).partition(".")
    cents = int(whole + fraction)
    return base64.b64encode(cents.to_bytes(cents.bit_length() // 8 + 1, "big", signed=True)).decode()


def _key(order_id: str) -> bytes:
    return encode({"id": id_value(order_id)})

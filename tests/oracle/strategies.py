"""Hypothesis: small streams of valid records whose times, ids and values clash as often as can be.

stream = streams()              # the records, any of them twice, and an as_of worth asking about
arrivals(stream)                # an order of arrival in which nothing is too late
cuts(n)                         # where to end batches, or to crash
homes(stream, n)                # which partition each customer lives in
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from hypothesis import strategies as st
from oracle.loops import STATUSES, TYPES
from oracle.rows import Row
from oracle.shop import DAY, DEVICES, HOUR, MINUTE, WINDOWS

Arrival: TypeAlias = tuple[Literal["events", "orders"], Row]

EPOCH: Final = 946_684_800_000
"""2000-01-01: the time around which every border lies."""
CUSTOMERS: Final = ("a", "B", "é", "\U0001f6d2")
SESSIONS: Final = ("s", "t")
ORDERS: Final = ("o", "O", "ö", "o ")
IDS: Final = ("a", "B", "z", "é", "\uffee", "\U0001f6d2")
CATEGORIES: Final = (None, "", "a", "Z", "\uffee", "\U0001f6d2")
TOTALS: Final = (0.0, 0.005, 0.015, 1.015, 2.675, 5.0, 7, 1e12)
"""The last record of an order wins by cents, so all but the first two have cents of their own."""
OFFSETS: Final = (0, 0, 0, 1, 2, 30 * MINUTE - 1, 30 * MINUTE, HOUR, DAY)
"""From a session's first event; none lasts longer than a day."""
DELAYS: Final = (0, 0, 1, HOUR, DAY, 400 * DAY)
"""From an order's placing to a record of it."""
STEPS: Final = (-HOUR, -1, 0, 0, 0, 1)
AGAIN: Final = (1, HOUR, DAY, 48 * HOUR, 49 * HOUR - 1, 49 * HOUR, 50 * HOUR, 100 * HOUR)
"""From an event to the same event at another time, which is a new event after 48 hours."""
_Click: TypeAlias = tuple[tuple[str, str], int, str, str, str | None, str]
_BORDERS: Final = tuple(-days * DAY + step for days in (0, *WINDOWS) for step in STEPS)


@dataclass(frozen=True)
class Stream:
    """Valid records in no particular order, some of them twice or more.

    Attributes:
        events: dicts with the fields of the wire.
        orders: likewise; records of one order_id agree on ts. An order may pass to another customer.
        as_of: a time to ask about, often on a border; records may lie after it.
    """

    events: tuple[Row, ...]
    orders: tuple[Row, ...]
    as_of: int

    @property
    def end(self) -> int:
        """The highest time of any record: the earliest as_of that may be asked once all are applied."""
        return int(max([0, *(e["ts"] for e in self.events), *(o["updated_ts"] for o in self.orders)]))

    @property
    def customers(self) -> tuple[str, ...]:
        """Every customer of a record, once."""
        return tuple(dict.fromkeys(row["customer_id"] for row in (*self.events, *self.orders)))


def _events(customers: tuple[str, ...], max_size: int) -> st.SearchStrategy[list[Row]]:
    keys = [(customer, session) for customer in customers for session in SESSIONS]
    starts = st.fixed_dictionaries({key: st.sampled_from(_BORDERS) for key in keys})
    clicks = st.lists(
        st.tuples(
            st.sampled_from(keys),
            st.sampled_from(OFFSETS),
            st.sampled_from(TYPES),
            st.sampled_from(DEVICES),
            st.sampled_from(CATEGORIES),
            st.sampled_from(IDS),
        ),
        max_size=max_size,
    )

    def build(start: dict[tuple[str, str], int], drawn: list[_Click]) -> list[Row]:
        return [
            {
                "event_id": f"{stem}{number}",
                "event_type": event_type,
                "customer_id": key[0],
                "session_id": key[1],
                "ts": EPOCH + start[key] + offset,
                "device": device,
                "category": category,
                "channel": category,
                "country": None,
            }
            for number, (key, offset, event_type, device, category, stem) in enumerate(drawn)
        ]

    return st.builds(build, starts, clicks)


def _orders(customers: tuple[str, ...], max_size: int) -> st.SearchStrategy[list[Row]]:
    placed = st.fixed_dictionaries(
        {name: st.tuples(st.sampled_from(customers), st.sampled_from(_BORDERS)) for name in ORDERS}
    )
    changes = st.lists(
        st.tuples(st.sampled_from(ORDERS), st.sampled_from(DELAYS), st.sampled_from(STATUSES), st.sampled_from(TOTALS)),
        max_size=max_size,
    )

    def build(home: dict[str, tuple[str, int]], drawn: list[tuple[str, int, str, float]]) -> list[Row]:
        return [
            {
                "order_id": name,
                "customer_id": home[name][0],
                "session_id": "s",
                "ts": EPOCH + home[name][1],
                "updated_ts": EPOCH + home[name][1] + delay,
                "status": status,
                "total": total,
                # a function of the total: records that tie on everything that decides are the same record
                "items": [{"product_id": "p", "quantity": 1 + n, "unit_price": total} for n in range(int(total) % 3)],
            }
            for name, delay, status, total in drawn
        ]

    return st.builds(build, placed, changes)


@st.composite
def streams(
    draw: st.DrawFn,
    max_events: int = 14,
    max_orders: int = 8,
    customers: tuple[str, ...] = CUSTOMERS,
    *,
    again: bool = True,
) -> Stream:
    """A small stream; shrinks towards few records, one customer and equal times.

    Args:
        again: whether an event may come again with another ts, so that its place in the log decides.
    """
    events = draw(_events(customers, max_events))
    orders = draw(_orders(customers, max_orders))
    if events:
        events += [dict(e) for e in draw(st.lists(st.sampled_from(events), max_size=3))]
        repeats = st.tuples(st.sampled_from(events), st.sampled_from(range(len(AGAIN))))
        for event, number in draw(st.lists(repeats, max_size=4 if again else 0)):
            # a session lasts a day at most, so the repetition has one of its own
            other = {"ts": event["ts"] + AGAIN[number], "session_id": f"{event['session_id']}{number}"}
            events.append(event | other | {"event_type": TYPES[number % len(TYPES)]})
    if orders:
        orders += [dict(o) for o in draw(st.lists(st.sampled_from(orders), max_size=3))]
        moves = st.lists(st.tuples(st.sampled_from(orders), st.sampled_from(customers)), max_size=3)
        for order, former in draw(moves):
            if former != order["customer_id"]:
                moved = order | {"customer_id": former, "status": "placed", "updated_ts": order["ts"]}
                orders += [moved, order | {"customer_id": former, "status": "void"}]
    as_of = EPOCH + draw(st.sampled_from((0, -1, 1, 7 * DAY, 30 * DAY - 1, -90 * DAY, 365 * DAY)))
    return Stream(tuple(events), tuple(orders), as_of)


@st.composite
def arrivals(draw: st.DrawFn, stream: Stream) -> list[Arrival]:
    """All records of a stream in an order in which none is too late: each is up to two days late by chance.

    A record overtaken by d ms comes when the highest time is at most d ms above its own, hence the bound.
    """
    rows: list[Arrival] = [*(("events", e) for e in stream.events), *(("orders", o) for o in stream.orders)]
    delay = st.one_of(st.just(0), st.sampled_from((1, HOUR, 48 * HOUR)), st.integers(0, 48 * HOUR))
    delays = draw(st.lists(delay, min_size=len(rows), max_size=len(rows)))
    tickets = draw(st.permutations(range(len(rows))))
    times = [row["ts" if topic == "events" else "updated_ts"] for topic, row in rows]
    return [rows[i] for i in sorted(range(len(rows)), key=lambda i: (times[i] + delays[i], tickets[i]))]


def cuts(size: int, max_cuts: int = 5) -> st.SearchStrategy[list[int]]:
    """Where to cut a list of `size` records: sorted places, some at the ends or twice (an empty batch)."""
    return st.lists(st.integers(0, size), max_size=max_cuts).map(sorted)


def homes(stream: Stream, partitions: int) -> st.SearchStrategy[dict[str, int]]:
    """Which partition (0-based) each customer of a stream lives in."""
    return st.fixed_dictionaries({c: st.integers(0, partitions - 1) for c in stream.customers})

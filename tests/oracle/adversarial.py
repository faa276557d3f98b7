"""Seeded archives full of traps: every scenario once, noise, and rows that are no records.

records = adversarial(seed)                 # plain lists of dicts, the same for the same seed
write_archive(directory, records)           # oracle.files: Parquet in many layouts
wire_messages(records.events, ...)          # oracle.wire: bytes for Kafka
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from oracle.rows import Row
from oracle.scenarios import SCENARIOS, shared_session_ids
from oracle.shop import (
    AWKWARD_IDS,
    DAY,
    HOUR,
    LINES_MAX,
    LONGEST_IDS,
    LONGEST_TEXT,
    TOO_LONG_ID,
    TOO_LONG_TEXT,
    WINDOWS,
    Shop,
)

FIRST_AS_OF: Final = 852_076_800_000
"""1997-01-01; every archive's as_of lies between this and 2020, so that no record is ahead of a clock."""


@dataclass(frozen=True)
class Records:
    """What an archive holds. `events` and `orders` are valid, in random order, with duplicates; the broken are not."""

    seed: int
    as_of: int
    events: list[Row]
    orders: list[Row]
    broken_events: list[Row]
    broken_orders: list[Row]

    @property
    def as_ofs(self) -> tuple[int, ...]:
        """Times worth asking about: the borders planted, their neighbours, before everything and after everything."""
        last = max(*(e["ts"] for e in self.events), *(o["updated_ts"] for o in self.orders))
        return (self.as_of, self.as_of - 1, self.as_of + 1, self.as_of + 7 * DAY, self.as_of - 30 * DAY, 1, 0, last)


def adversarial(seed: int, customers: int = 12) -> Records:
    """The records of one archive.

    Args:
        seed: the same seed gives the same records.
        customers: how many customers have several scenarios and noise together, besides one for each scenario.
    """
    rng = np.random.default_rng(seed)
    as_of = FIRST_AS_OF + int(rng.integers(23 * 365)) * DAY
    as_of += (0, DAY - 1, int(rng.integers(DAY)))[int(rng.integers(3))]
    shop = Shop(rng, as_of)
    for scenario in SCENARIOS:
        scenario(shop, shop.name("c"))
    shared_session_ids(shop, (shop.name("c"), shop.name("c")))
    for _ in range(customers):
        _noise(shop, shop.name(shop.pick(AWKWARD_IDS)))
    for text in (*AWKWARD_IDS, *LONGEST_IDS):
        shop.event(text, text, as_of - shop.between(0, DAY), "product_view", category=text)
        shop.order(text, as_of - shop.between(0, DAY), order_id=text, session_id="")
    for name, text in zip(LONGEST_IDS, LONGEST_TEXT, strict=True):
        long = {"product_id": name, "category": text}
        fields = {"channel": text, "country": text}
        shop.event(name, name, as_of - shop.between(0, DAY), "product_view", event_id=name, **long, **fields)
        shop.order(name, as_of - shop.between(0, DAY), session_id=name, items=[long], payment_method=text, **fields)
    broken_events, broken_orders = _broken_events(shop), _broken_orders(shop)
    return Records(
        seed=seed,
        as_of=as_of,
        events=[shop.events[i] for i in rng.permutation(len(shop.events))],
        orders=[shop.orders[i] for i in rng.permutation(len(shop.orders))],
        broken_events=broken_events,
        broken_orders=broken_orders,
    )


def _noise(shop: Shop, customer: str) -> None:
    for number in shop.rng.permutation(len(SCENARIOS))[: shop.between(0, 4)]:
        SCENARIOS[number](shop, customer)
    for _ in range(shop.between(0, 6)):
        days = shop.pick((0, *WINDOWS)) + shop.between(-1, 2)
        shop.visit(customer, shop.as_of - days * DAY + shop.between(-HOUR, HOUR), shop.between(0, HOUR), 5)
    for _ in range(shop.between(0, 6)):
        days = shop.pick((0, *WINDOWS)) + shop.between(-1, 2)
        order = shop.order(customer, shop.as_of - days * DAY + shop.between(-HOUR, HOUR))
        if shop.rng.random() < 0.3:
            shop.change(order, order["ts"] + shop.between(1, 20 * DAY), shop.random_status())


def _breaker(**fields: object) -> Callable[[Row], Row]:
    return lambda row: row | fields


_AMOUNTS: Final = {
    "negative": -0.01,
    "hardly negative": -5e-324,
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "above the bound": math.nextafter(1e12, math.inf),
}

BROKEN_EVENTS: Final[dict[str, Callable[[Row], Row]]] = {
    **{
        f"{field} {value!r}": _breaker(**{field: value})
        for field in ("event_id", "event_type", "customer_id", "session_id", "device")
        for value in (None, "")
    },
    "ts null": _breaker(ts=None),
    "ts 0": _breaker(ts=0),
    "ts negative": _breaker(ts=-DAY),
    "event_type unknown": _breaker(event_type="view"),
    "event_type in capitals": _breaker(event_type="PURCHASE"),
    "device unknown": _breaker(device="watch"),
    "device with a space": _breaker(device="mobile "),
    **{f"price {name}": _breaker(price=amount) for name, amount in _AMOUNTS.items()},
    "quantity 0": _breaker(quantity=0),
    "quantity negative": _breaker(quantity=-1),
    "quantity fractional": _breaker(quantity=1.5),
    "quantity infinite": _breaker(quantity=math.inf),
    **{
        f"{field} too long, {name}": _breaker(**{field: text})
        for fields, texts in (
            (("event_id", "customer_id", "session_id", "product_id"), TOO_LONG_ID),
            (("category", "channel", "country"), TOO_LONG_TEXT),
        )
        for field in fields
        for name, text in texts.items()
    },
}
"""Every way in which a row of an archive's events is no record, each as a change to a valid row."""


def _items(**fields: object) -> Callable[[Row], Row]:
    valid: Row = {"product_id": "p", "category": None, "quantity": 1, "unit_price": 1.0}
    return lambda row: row | {"items": [valid, valid | fields]}


BROKEN_ORDERS: Final[dict[str, Callable[[Row], Row]]] = {
    **{
        f"{field} {value!r}": _breaker(**{field: value})
        for field in ("order_id", "customer_id", "status")
        for value in (None, "")
    },
    "ts null": _breaker(ts=None),
    "ts 0": lambda row: row | {"ts": 0, "updated_ts": 0},
    "ts negative": lambda row: row | {"ts": -1, "updated_ts": 5},
    "updated_ts null": _breaker(updated_ts=None),
    "updated_ts before ts": lambda row: row | {"updated_ts": row["ts"] - 1},
    "updated_ts after 400 days": lambda row: row | {"updated_ts": row["ts"] + 400 * DAY + 1},
    "status unknown": _breaker(status="paid"),
    "status in capitals": _breaker(status="Refunded"),
    "total null": _breaker(total=None),
    "total not a number": _breaker(total=math.nan),
    **{f"total {name}": _breaker(total=amount) for name, amount in _AMOUNTS.items()},
    **{f"unit_price {name}": _items(unit_price=amount) for name, amount in _AMOUNTS.items()},
    "item quantity 0": _items(quantity=0),
    "item quantity negative": _items(quantity=-3),
    "item null": lambda row: row | {"items": [None]},
    "too many items": _breaker(items=[{"quantity": 1}] * (LINES_MAX + 1)),
    **{
        f"{field} too long, {name}": _breaker(**{field: text})
        for fields, texts in (
            (("order_id", "customer_id", "session_id"), TOO_LONG_ID),
            (("channel", "country", "payment_method"), TOO_LONG_TEXT),
        )
        for field in fields
        for name, text in texts.items()
    },
    **{f"item's product_id too long, {name}": _items(product_id=text) for name, text in TOO_LONG_ID.items()},
    **{f"item's category too long, {name}": _items(category=text) for name, text in TOO_LONG_TEXT.items()},
}
"""Every way in which a row of an archive's orders is no record, each as a change to a valid row."""


def _broken_events(shop: Shop) -> list[Row]:
    """Each breakage thrice: a new event, one with the id of a valid event, and a customer with nothing else."""
    rows = []
    valid = [event for event in shop.events if event["ts"] > shop.as_of - 20 * DAY]
    for name, breaker in BROKEN_EVENTS.items():
        event = shop.pick(valid)
        rows.append(breaker(event | {"event_id": f"broken {name}", "event_type": "add_to_cart"}))
        rows.append(breaker(dict(event)))
        rows.append(breaker(event | {"event_id": f"ghost {name}", "customer_id": f"ghost of event {name}"}))
    return rows


def _broken_orders(shop: Shop) -> list[Row]:
    """Each breakage thrice: a new order, a record that would win over a valid one, and a customer with nothing else."""
    rows = []
    valid = [order for order in shop.orders if shop.as_of - 20 * DAY < order["ts"] and order["updated_ts"] < shop.as_of]
    for name, breaker in BROKEN_ORDERS.items():
        order = shop.pick(valid)
        rows.append(breaker(order | {"order_id": f"broken {name}"}))
        rows.append(breaker(order | {"status": "refunded", "updated_ts": shop.as_of}))
        rows.append(breaker(order | {"order_id": f"ghost {name}", "customer_id": f"ghost of order {name}"}))
    return rows

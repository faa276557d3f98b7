"""Converts drawn events and orders to Arrow tables with the columns of `features.schema`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.schema import DEVICES, EVENT_TYPES, ITEM_ARROW, STATUSES, Event, Order, arrow_schema
from producers.shop.catalogue import CATEGORIES, Catalogue
from producers.shop.clicks import Clicks
from producers.shop.ids import decimal_ids, hex_ids
from producers.shop.orders import PAYMENT_METHODS, Orders
from producers.shop.population import CHANNELS, COUNTRY_NAMES, Code, Index, Population
from producers.shop.visits import Visits

EVENTS_SCHEMA = arrow_schema(Event)
ORDERS_SCHEMA = arrow_schema(Order)
_TIME = pa.timestamp("ms", tz="UTC")
_EVENT_DIGITS, _VISIT_DIGITS = 7, 6
_CATEGORY_NAMES = tuple(category.name for category in CATEGORIES)


def customer_ids(numbers: Index) -> pa.StringArray:
    """Return the customer ids: `c0000001` for customer number 1."""
    return decimal_ids("c", numbers, 7)


def _words(codes: Code, words: Sequence[str]) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(codes))


def _times(values_ms: Index) -> pa.Array:
    return pa.array(values_ms, pa.int64()).cast(_TIME)


def _money(cents: Index, absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(cents / 100, pa.float64(), mask=absent)


def events_table(
    clicks: Clicks, visits: Visits, population: Population, catalogue: Catalogue, prefix: str, first_number: int = 0
) -> pa.Table:
    """Return the events in the order of the clicks.

    Args:
        clicks: clicks of one slice, or added to it.
        visits: visits that the clicks refer to.
        population: population that the visits refer to.
        catalogue: catalogue that the clicks refer to.
        prefix: prefix of every id; unique to the slice.
        first_number: number of the first event, if the slice already has events.
    """
    visit = pa.array(clicks.visit)
    no_product = clicks.product < 0
    product = pa.array(np.maximum(clicks.product, 0), mask=no_product)
    category = pa.array(catalogue.category[np.maximum(clicks.product, 0)], mask=no_product)
    columns = {
        "event_id": hex_ids(f"e{prefix}", np.arange(first_number, first_number + len(clicks)), _EVENT_DIGITS),
        "event_type": _words(clicks.kind, EVENT_TYPES),
        "customer_id": customer_ids(visits.customer + 1).take(visit),
        "session_id": hex_ids(f"s{prefix}", np.arange(len(visits)), _VISIT_DIGITS).take(visit),
        "ts": _times(clicks.ts_ms),
        "device": _words(visits.device[clicks.visit], DEVICES),
        "product_id": catalogue.product_id.take(product),
        "category": pa.array(_CATEGORY_NAMES, pa.string()).take(category),
        "price": _money(clicks.price_cents, no_product),
        "quantity": pa.array(clicks.quantity, mask=clicks.quantity < 0),
        "channel": _words(visits.channel[clicks.visit], CHANNELS),
        "country": _words(population.country[visits.customer[clicks.visit]], COUNTRY_NAMES),
    }
    return pa.table([columns[name] for name in EVENTS_SCHEMA.names], schema=EVENTS_SCHEMA)


def orders_table(orders: Orders, visits: Visits, population: Population, catalogue: Catalogue, prefix: str) -> pa.Table:
    """Return the order records, ascending by updated_ts."""
    by_time = np.argsort(orders.updated_ms, kind="stable")
    visit = orders.visit[by_time]
    customer = visits.customer[visit]
    columns = {
        "order_id": hex_ids(f"o{prefix}", visit, _VISIT_DIGITS),
        "customer_id": customer_ids(customer + 1),
        "ts": _times(orders.ts_ms[by_time]),
        "updated_ts": _times(orders.updated_ms[by_time]),
        "status": _words(orders.status[by_time], STATUSES),
        "total": _money(orders.total_cents[by_time]),
        "session_id": hex_ids(f"s{prefix}", visit, _VISIT_DIGITS),
        "items": _items(orders, by_time, catalogue),
        "channel": _words(visits.channel[visit], CHANNELS),
        "country": _words(population.country[customer], COUNTRY_NAMES),
        "payment_method": _words(orders.payment[by_time], PAYMENT_METHODS),
    }
    return pa.table([columns[name] for name in ORDERS_SCHEMA.names], schema=ORDERS_SCHEMA)


def _items(orders: Orders, by_time: Index, catalogue: Catalogue) -> pa.ListArray:
    counts = orders.line_count[by_time]
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    lines = np.arange(total) + np.repeat(orders.first_line[by_time] - (ends - counts), counts)
    product = orders.line_product[lines]
    fields = {
        "product_id": catalogue.product_id.take(pa.array(product)),
        "category": _words(catalogue.category[product], _CATEGORY_NAMES),
        "quantity": pa.array(orders.line_quantity[lines]),
        "unit_price": _money(orders.line_price_cents[lines]),
    }
    items = pa.StructArray.from_arrays([fields[field.name] for field in ITEM_ARROW], fields=list(ITEM_ARROW))
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]), pa.int32()), items)

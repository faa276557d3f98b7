"""Times the mapping of messages to records, alternately with a bare loop: CPU seconds of one core, without Kafka.

The floor decodes the needed fields with msgspec and encodes a record of them. It checks nothing: no id, no amount, no
time, no key that an object has twice. `of the floor` is the rate as a share of the floor's.

    python benchmarks/map.py
    python benchmarks/map.py --only segment --profile
"""

from __future__ import annotations

import argparse
import base64
import cProfile
import json
import pstats
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np

from connectors.messages.mapped import Message
from consumers.collector import tune_collector
from features.schema import Event, Item, Order
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper

START: Final = datetime(2026, 5, 4, 8, tzinfo=UTC).timestamp()
BATCH: Final = 2_000
AGENTS: Final = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
)  # fmt: skip
WORDS: Final = ("Product Viewed", "Product Viewed", "Product Added", "Checkout Started", "Order Completed")

SEGMENT: Final = """\
kind: clicks
from: {topic: segment.events, format: json}
time: {path: [originalTimestamp, timestamp], received: receivedAt, sent: sentAt, skew_max: 60}
identity: {user: userId, visitor: anonymousId}
left_out: [{reason: group call, path: type, equals: group}]
click:
  id: messageId
  session: context.sessionId
  type: [event, type]
  types: {page: page_view, Product Viewed: product_view, Product Added: add_to_cart, Checkout Started: checkout,
          Order Completed: purchase, "*": null}
  device: {path: context.userAgent, device: true}
  channel: {path: context.campaign.medium, words: {cpc: paid_search, email: email, "*": null}}
  product: [properties.product_id, properties.sku]
  category: properties.category
  price: properties.price
  quantity: properties.quantity
  lines: {types: [purchase], list: properties.products, id: "{properties.order_id}#{i}",
          product: [.product_id, .sku], category: .category, price: .price, quantity: .quantity}
"""
DEBEZIUM: Final = """\
kind: orders
from: {topic: shopdb.public.orders, format: json, envelope: debezium}
time: {path: placed_at, format: epoch_us, local: Europe/Berlin}
left_out: [{reason: no customer, path: customer_id, in: [null, 0]}]
order:
  rows: order
  id: id
  customer: customer_id
  updated: [{path: updated_at, when: {path: op, equals: r}}, {path: source.ts_ms, format: epoch_ms}]
  status: {path: status, words: {paid: placed, shipped: placed, cancelled: cancelled, refunded: refunded}}
  total: {path: total, base64_scale: 2}
  deleted: void
"""
SHOPIFY: Final = """\
kind: orders
from: {topic: shopify.orders, format: json}
time: {path: created_at}
left_out:
  - {reason: test order, path: test, equals: true}
  - {reason: no customer, path: [customer.id, email, contact_email], missing: true}
order:
  rows: order
  id: id
  customer: [customer.id, {path: [email, contact_email], guest: true}]
  updated: {path: updated_at}
  status:
    - {value: cancelled, when: {path: cancelled_at, missing: false}}
    - {path: financial_status, words: {paid: placed, pending: placed, partially_refunded: placed, refunded: refunded}}
  total: current_total_price
  channel: source_name
  country: [shipping_address.country_code, billing_address.country_code]
  payment_method: payment_gateway_names[0]
  lines: {list: line_items, left_out: {path: .current_quantity, at_most: 0}, product: [.product_id, .sku],
          quantity: .current_quantity, unit_price: .price}
"""


# --- messages ---------------------------------------------------------------------------------------------------------
def _iso(seconds: float, zone: str = "Z", unit: str = "milliseconds") -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=unit)[:-6] + zone


def _product(random: np.random.Generator) -> dict[str, Any]:
    number = int(random.integers(5_000))
    price = int(random.integers(100, 90_000)) / 100
    return {
        "product_id": f"P-{number:05d}", "sku": f"SKU-{number:05d}-DE", "category": ("Games", "Toys")[number % 2],
        "name": f"Product number {number} of the shop", "brand": "A brand", "variant": "blue", "price": price,
        "quantity": int(random.integers(1, 4)), "currency": "EUR", "position": 3,
        "url": f"https://shop.example/products/{number}", "image_url": f"https://cdn.shop.example/{number}.png",
    }  # fmt: skip


def segment_message(random: np.random.Generator, number: int) -> bytes:
    """Return a track call of analytics.js of about 1.6 KB; one in five has the lines of an order."""
    at, customer = START + number * 0.05, int(random.integers(20_000))
    name = WORDS[number % len(WORDS)]
    agent = AGENTS[customer % len(AGENTS)]
    properties = _product(random)
    if name == "Order Completed":
        lines = [{k: v for k, v in _product(random).items() if not k.endswith("url")} for _ in range(2)]
        properties = {"order_id": f"o{number}", "total": 41.5, "currency": "EUR", "products": lines}
    message = {
        "anonymousId": f"5f1c2a90-0d1b-4c7e-9a57-{customer:012x}", "channel": "client",
        "context": {
            "library": {"name": "analytics.js", "version": "npm:next-1.70.0"}, "userAgent": agent,
            "userAgentData": {"mobile": False, "platform": "macOS", "brands": [{"brand": "Chromium"}]},
            "page": {
                "path": "/games/monopoly", "referrer": "https://www.google.com/", "search": "?utm_source=google",
                "title": "Monopoly, the game of the shop", "url": "https://shop.example/games/monopoly?utm_source=google",
            },
            "campaign": {"source": "google", "medium": "cpc", "name": "spring sale", "term": "games"},
            "locale": "de-DE", "timezone": "Europe/Berlin", "ip": "203.0.113.7",
            "sessionId": f"{customer}-{number // 9}",
            "screen": {"width": 1512, "height": 982, "density": 2},
        },
        "event": name, "integrations": {"All": True}, "messageId": f"ajs-next-{number:032x}",
        "originalTimestamp": _iso(at), "properties": properties, "receivedAt": _iso(at + 0.9), "sentAt": _iso(at + 0.4),
        "timestamp": _iso(at + 0.5), "type": "track", "userId": f"u-{customer:07d}", "version": "2", "projectId": "p7x",
    }  # fmt: skip
    return json.dumps(message, separators=(",", ":")).encode()


_ROW_FIELDS: Final = {
    "id": "int64", "customer_id": "int64", "total": "bytes", "currency": "string", "status": "string",
    "placed_at": "int64", "updated_at": "string",
}  # fmt: skip
_SCHEMA: Final = {
    "type": "struct", "optional": False, "name": "shopdb.public.orders.Envelope", "version": 1,
    "fields": [
        *(
            {
                "type": "struct", "optional": True, "name": "shopdb.public.orders.Value", "field": part,
                "fields": [
                    {"type": kind, "optional": True, "field": name, "name": f"io.debezium.types.{name}", "version": 1,
                     "parameters": {"scale": "2", "connect.decimal.precision": "12", "source.column.type": kind}}
                    for name, kind in _ROW_FIELDS.items()
                ],
            }
            for part in ("before", "after")
        ),
        *(
            {"type": "string", "optional": True, "default": "", "field": f"field_of_source_{number}",
             "name": "io.debezium.connector.postgresql.Source", "version": 1}
            for number in range(14)
        ),
    ],
}  # fmt: skip


def debezium_message(random: np.random.Generator, number: int) -> bytes:
    """Return a change of an order as Debezium's JSON converter writes it without schemas."""
    return json.dumps(_change(random, number), separators=(",", ":")).encode()


def debezium_schema_message(random: np.random.Generator, number: int) -> bytes:
    """Return the same with the schema in the message: about 6 KB."""
    return json.dumps({"schema": _SCHEMA, "payload": _change(random, number)}, separators=(",", ":")).encode()


def _change(random: np.random.Generator, number: int) -> dict[str, Any]:
    at_ms = int(START * 1_000) + number * 40
    cents = int(random.integers(100, 90_000))
    row = {
        "id": number, "customer_id": int(random.integers(1, 20_000)),
        "total": base64.b64encode(cents.to_bytes(3, "big")).decode(), "currency": "EUR", "status": "paid",
        "placed_at": at_ms * 1_000, "updated_at": _iso(at_ms / 1_000, unit="microseconds"),
    }  # fmt: skip
    source = {
        "version": "3.6.1.Final", "connector": "postgresql", "name": "shopdb", "ts_ms": at_ms, "ts_us": at_ms * 1_000,
        "ts_ns": at_ms * 1_000_000, "snapshot": "false", "db": "shop", "sequence": '["100","200"]', "schema": "public",
        "table": "orders", "txId": number, "lsn": number * 40, "xmin": None,
    }  # fmt: skip
    before = row | {"status": "open"} if number % 2 else None
    return {
        "before": before, "after": row, "source": source, "transaction": None, "op": "u" if number % 2 else "c",
        "ts_ms": at_ms + 400, "ts_us": (at_ms + 400) * 1_000, "ts_ns": (at_ms + 400) * 1_000_000,
    }  # fmt: skip


def _money(amount: str) -> dict[str, Any]:
    one = {"amount": amount, "currency_code": "EUR"}
    return {"shop_money": one, "presentment_money": one}


def shopify_message(random: np.random.Generator, number: int) -> bytes:
    """Return the webhook of an order with three lines: about 7 KB."""
    at, customer = START + number, int(random.integers(1, 20_000))
    address = {
        "first_name": "Bob", "last_name": "Norman", "address1": "Chestnut Street 92", "address2": "",
        "city": "Louisville",
        "zip": "40202", "phone": "+1(502)-459-2181", "province": "Kentucky", "country": "Germany", "country_code": "DE",
        "province_code": "KY", "company": None, "latitude": 45.41634, "longitude": -75.6868, "name": "Bob Norman",
    }  # fmt: skip
    lines = []
    for line in range(3):
        price = f"{int(random.integers(100, 9_000)) / 100:.2f}"
        lines.append(
            {
                "id": number * 10 + line, "admin_graphql_api_id": f"gid://shopify/LineItem/{number * 10 + line}",
                "product_id": int(random.integers(632_910_392, 632_915_392)),
                "variant_id": 39_072_856, "sku": "IPOD-342-N",
                "title": "IPod Nano - 8gb", "name": "IPod Nano - 8gb - green", "vendor": None, "price": price,
                "price_set": _money(price), "quantity": 1, "current_quantity": 1, "fulfillable_quantity": 1,
                "fulfillment_service": "manual", "fulfillment_status": None, "gift_card": False, "grams": 200,
                "product_exists": True, "requires_shipping": True, "taxable": True, "total_discount": "0.00",
                "total_discount_set": _money("0.00"), "variant_inventory_management": "shopify", "properties": [],
                "tax_lines": [{"title": "State Tax", "price": "3.98", "rate": 0.06, "price_set": _money("3.98")}],
                "discount_allocations": [{"amount": "3.34", "amount_set": _money("3.34"), "discount": 0}],
                "duties": [],
            }
        )  # fmt: skip
    totals = ("subtotal_price", "total_discounts", "total_line_items_price", "total_price", "total_tax")
    message = {
        "id": 450_789_469_000 + number, "admin_graphql_api_id": f"gid://shopify/Order/{number}", "app_id": 580_111,
        "browser_ip": "203.0.113.5", "buyer_accepts_marketing": False, "cancel_reason": None, "cancelled_at": None,
        "cart_token": "68778783ad298f1c80c3bafcddeea02f", "checkout_token": "bd5a8aa1ecd019dd3520ff791ee3a24c",
        "client_details": {"accept_language": "de", "browser_ip": "203.0.113.5", "user_agent": AGENTS[0]},
        "contact_email": "bob.norman@mail.example.com", "confirmed": True, "created_at": _iso(at, "+02:00", "seconds"),
        "currency": "EUR", "current_total_price": "120.00",
        **{f"current_{name}_set": _money("120.00") for name in totals}, **dict.fromkeys(totals, "120.00"),
        **{f"{name}_set": _money("120.00") for name in totals},
        "discount_codes": [{"code": "TENOFF", "amount": "10.00"}],
        "email": "bob.norman@mail.example.com", "financial_status": "paid", "fulfillment_status": None,
        "gateway": "authorize_net", "landing_site": "http://www.example.com?source=abc", "name": f"#{number}",
        "note_attributes": [{"name": "custom name", "value": "custom value"}], "order_number": number,
        "payment_gateway_names": ["shopify_payments"], "presentment_currency": "EUR", "source_name": "web",
        "processed_at": _iso(at, "+02:00", "seconds"), "referring_site": "http://www.otherexample.com", "tags": "",
        "test": False, "updated_at": _iso(at + 2, "+02:00", "seconds"), "billing_address": address,
        "shipping_address": address, "refunds": [], "line_items": lines,
        "customer": {
            "id": customer, "email": "bob.norman@mail.example.com", "created_at": "2025-07-02T11:29:59-05:00",
            "first_name": "Bob", "last_name": "Norman", "state": "disabled", "tags": "", "currency": "EUR",
            "default_address": address, "tax_exemptions": [], "verified_email": True,
        },
        "shipping_lines": [{"id": 1, "code": "Free Shipping", "price": "0.00", "price_set": _money("0.00")}],
    }  # fmt: skip
    return json.dumps(message, separators=(",", ":")).encode()


# --- the floor --------------------------------------------------------------------------------------------------------
class _Campaign(msgspec.Struct, gc=False):
    medium: str | None = None


class _Context(msgspec.Struct, gc=False, rename="camel"):
    user_agent: str | None = None
    session_id: str | None = None
    campaign: _Campaign | None = None


class _Product(msgspec.Struct, gc=False):
    product_id: str | None = None
    category: str | None = None
    price: float | None = None
    quantity: int | None = None


class _Properties(msgspec.Struct, gc=False):
    order_id: str | None = None
    products: list[_Product] | None = None
    product_id: str | None = None
    category: str | None = None
    price: float | None = None
    quantity: int | None = None


class _Call(msgspec.Struct, gc=False, rename="camel"):
    message_id: str
    event: str
    user_id: str
    anonymous_id: str
    original_timestamp: datetime
    received_at: datetime
    sent_at: datetime
    context: _Context
    properties: _Properties


class _Row(msgspec.Struct, gc=False):
    id: int
    customer_id: int
    total: str
    status: str
    placed_at: int
    updated_at: str


class _Source(msgspec.Struct, gc=False):
    ts_ms: int


class _Change(msgspec.Struct, gc=False):
    op: str
    source: _Source
    after: _Row
    before: _Row | None = None


class _WithSchema(msgspec.Struct, gc=False):
    payload: _Change


class _Line(msgspec.Struct, gc=False):
    product_id: int
    price: str
    current_quantity: int


class _Customer(msgspec.Struct, gc=False):
    id: int


class _Address(msgspec.Struct, gc=False):
    country_code: str


class _Order(msgspec.Struct, gc=False):
    id: int
    customer: _Customer
    created_at: datetime
    updated_at: datetime
    financial_status: str
    current_total_price: str
    source_name: str
    shipping_address: _Address
    payment_gateway_names: list[str]
    line_items: list[_Line]


Floor = Callable[[Sequence[bytes]], list[tuple[bytes, bytes]]]
_EVENT_OF: Final = {
    "Product Viewed": "product_view", "Product Added": "add_to_cart", "Checkout Started": "checkout",
    "Order Completed": "purchase",
}  # fmt: skip
_encode: Final = msgspec.json.Encoder().encode


def _segment_floor(values: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    decode = msgspec.json.Decoder(_Call).decode
    records = []
    for value in values:
        call = decode(value)
        ts, own = int(call.original_timestamp.timestamp() * 1_000), call.properties
        for number, line in enumerate(own.products or (own,)):
            event_id = f"{own.order_id}#{number}" if own.products else call.message_id
            event = Event(
                event_id, _EVENT_OF[call.event], call.user_id, call.context.session_id or "", ts, "desktop",
                line.product_id, line.category, line.price, line.quantity, "paid_search",
            )  # type: ignore[arg-type]  # fmt: skip
            records.append((call.user_id.encode(), _encode(event)))
    return records


def _order_of(change: _Change) -> tuple[bytes, bytes]:
    row = change.after
    customer = str(row.customer_id)
    total = int.from_bytes(base64.b64decode(row.total), "big", signed=True) / 100
    order = Order(str(row.id), customer, row.placed_at // 1_000, change.source.ts_ms, "placed", total)
    return customer.encode(), _encode(order)


def _debezium_floor(values: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    decode = msgspec.json.Decoder(_Change).decode
    return [_order_of(decode(value)) for value in values]


def _debezium_schema_floor(values: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    decode = msgspec.json.Decoder(_WithSchema).decode
    return [_order_of(decode(value).payload) for value in values]


def _shopify_floor(values: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    decode = msgspec.json.Decoder(_Order).decode
    records = []
    for value in values:
        one = decode(value)
        customer = str(one.customer.id)
        items = [Item(str(x.product_id), None, x.current_quantity, float(x.price)) for x in one.line_items]
        order = Order(
            str(one.id), customer, int(one.created_at.timestamp() * 1_000), int(one.updated_at.timestamp() * 1_000),
            "placed", float(one.current_total_price), None, items, one.source_name, one.shipping_address.country_code,
            one.payment_gateway_names[0],
        )  # fmt: skip
        records.append((customer.encode(), _encode(order)))
    return records


# --- measurement ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Shape:
    """Messages of one source.

    Attributes:
        mapping: YAML.
        message: makes the n-th message.
        floor: the bare loop.
        aim: messages per CPU second.
        records: records per 1,000 messages, a check of the results.
    """

    mapping: str
    message: Callable[[np.random.Generator, int], bytes]
    floor: Floor
    aim: int
    records: int


SHAPES: Final = {
    "segment": Shape(SEGMENT, segment_message, _segment_floor, 60_000, 1_200),
    "debezium": Shape(DEBEZIUM, debezium_message, _debezium_floor, 60_000, 1_000),
    "debezium with schema": Shape(DEBEZIUM, debezium_schema_message, _debezium_schema_floor, 20_000, 1_000),
    "shopify": Shape(SHOPIFY, shopify_message, _shopify_floor, 12_000, 1_000),
}


def _mapper(shape: Shape) -> TopicMapper:
    return TopicMapper("bench", parse_mapping(shape.mapping, "bench"), b"salt")


def _map(mapper: TopicMapper, values: Sequence[bytes], batch: int) -> int:
    records = 0
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        mapped = mapper.map([Message(value, f"t-0-{start + at}") for at, value in enumerate(part)])
        if mapped.refused or mapped.left_out:
            raise SystemExit(f"not every message is mapped: {[*mapped.refused.values(), *mapped.left_out.values()][0]}")
        records += len(mapped.records)
    return records


def _cpu_s(work: Callable[[], object]) -> float:
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def measure(name: str, shape: Shape, count: int, repeat: int, batch: int, *, profile: bool) -> None:
    """Print the rates of the mapper and of the floor."""
    random = np.random.default_rng(5)
    values = [shape.message(random, number) for number in range(count)]
    mapper = _mapper(shape)
    for records in (_map(mapper, values[:1_000], batch), len(shape.floor(values[:1_000]))):
        if records != shape.records:
            raise SystemExit(f"{name}: {records} records of 1,000 messages, not {shape.records}")
    if profile:
        profiler = cProfile.Profile()
        profiler.runcall(_map, mapper, values, batch)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
    laps = [(_cpu_s(lambda: _map(mapper, values, batch)), _cpu_s(lambda: shape.floor(values))) for _ in range(repeat)]
    mapped, floor = (count / median(lap[side] for lap in laps) for side in (0, 1))
    share = median(lap[1] / lap[0] for lap in laps)
    size = sum(map(len, values)) / count
    print(
        f"{name:<22} {size:>7,.0f} {mapped:>12,.0f} {floor:>10,.0f} {share:>13.3f} {shape.aim:>8,} "
        f"{mapped / shape.aim:>7.2f}"
    )


def main() -> None:
    """Generate messages and print the rates per CPU second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="beginning of the names of shapes")
    parser.add_argument("--profile", action="store_true", help="print where the mapper's time goes")
    options = parser.parse_args()
    if not any(name.startswith(options.only) for name in SHAPES):
        parser.error(f"--only {options.only}: there are {', '.join(SHAPES)}")
    tune_collector()
    print(
        f"{'source':<22} {'bytes':>7} {'messages/s':>12} {'floor/s':>10} {'of the floor':>13} {'aim':>8} {'of aim':>7}"
    )
    for name, shape in SHAPES.items():
        if name.startswith(options.only):
            measure(name, shape, options.messages, options.repeat, options.batch, profile=options.profile)


if __name__ == "__main__":
    main()

"""Writes events as enriched events of Snowplow, flattened to JSON as its analytics SDKs do, with e-commerce actions.

Each event has its id, and the session is `domain_sessionid`. The products of an action are entities. The purchases of a
moment are one `transaction`. The mapping gives them the ids `ORDER#0`, `ORDER#1`, …; all other ids stay. The key is the
`domain_userid`, so that the events of a browser are in one partition.

Not in a message: products of page views, searches and checkouts, and countries without an ISO code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from connectors.formats.country_codes import country_codes
from features.schema import Event
from producers.source_shapes.clicks import ROBOT, CallTimes, Clients
from producers.source_shapes.draws import DailyDraws
from producers.source_shapes.json_values import encode, iso_text, number, without_nulls
from producers.source_shapes.shape import Basket, Faults, Moment, RawMessage, ShapeReport

ACTION: Final = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
PRODUCTS: Final = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"
TRANSACTION: Final = "contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1"
_WITH_PRODUCT: Final = ("product_view", "add_to_cart", "remove_from_cart")
_ACTIONS: Final = {"checkout": "checkout_step"} | {name: name for name in _WITH_PRODUCT}
"""Event type -> type of the e-commerce action."""
_NAMES: Final = {"page_view": "page_view", "search": "site_search"}
"""Event type -> name of the event, for events that are no e-commerce action."""

Fields = dict[str, Any]


def _changed(**fields: Any) -> Callable[[Fields], bytes]:
    return lambda event: encode({**event, **fields})


POISON: Final[Mapping[str, Callable[[Fields], bytes]]] = {
    "truncated": lambda event: encode(event)[:-20],
    "time in words": _changed(derived_tstamp="yesterday"),
    "user without an id": _changed(user_id="undefined"),
    "price below 0": _changed(**{PRODUCTS: [{"id": "none", "price": -5}]}),
    "products are no list": _changed(**{PRODUCTS: "none"}),
}
"""Kind -> function that makes a broken message of a `product_view`."""


class SnowplowShape:
    """Enriched events of Snowplow.

    Args:
        faults: faults to add.
        number: number of the shape, which addresses its random numbers.
    """

    def __init__(self, faults: Faults, number: int) -> None:
        self._faults = faults
        self._draws = DailyDraws(faults.seed, number)
        self._clients = Clients(faults, self._draws)
        self.report = ShapeReport.empty()

    def messages(self, moment: Moment) -> Iterator[RawMessage]:
        """Yield the enriched events of a moment."""
        if self._draws.begin(moment.time_ms):
            self._clients.begin_day()
        for event in moment.clicks:
            products = [event] if event.event_type in _WITH_PRODUCT else []
            yield from self._deliveries(event, self._fields(event, event.event_id) | _products(products))
        for basket in moment.baskets:
            yield from self._basket(basket)

    def _basket(self, basket: Basket) -> Iterator[RawMessage]:
        first = basket.lines[0]
        fields = self._fields(first, basket.message_id) | _products(basket.lines)
        if basket.order_id is not None:
            fields[TRANSACTION] = [{"transaction_id": basket.order_id, "currency": "EUR"}]
        yield from self._deliveries(first, fields)

    def _fields(self, event: Event, event_id: str) -> Fields:
        action = "transaction" if event.event_type == "purchase" else _ACTIONS.get(event.event_type)
        name = _NAMES.get(event.event_type, "snowplow_ecommerce_action")
        fields = {
            "app_id": "shop", "platform": "web", "v_tracker": "js-3.23.0",
            "event": "page_view" if name == "page_view" else "unstruct",
            "event_name": name,
            "event_id": event_id,
            "user_id": event.customer_id,
            "domain_userid": self._clients.visitor(event),
            "network_userid": "00000000-0000-0000-0000-000000000000",
            "domain_sessionid": event.session_id,
            "useragent": self._clients.user_agent(event),
            "geo_country": event.country if event.country in country_codes() else None,
            "mkt_medium": event.channel,
            "page_urlhost": "shop.example",
            ACTION: None if action is None else {"type": action},
        }  # fmt: skip
        return without_nulls(fields)

    # --- deliveries ---
    def _deliveries(self, event: Event, fields: Fields) -> Iterator[RawMessage]:
        visitor = fields["domain_userid"]
        times = self._clients.times(visitor, event.ts)
        yield _message(fields, times, event.ts)
        if self._draws.happens(self._faults.dirt):
            self.report.faults["retry"] += 1
            yield _message(fields, self._clients.retry(times, event.ts), event.ts)
        if self._draws.happens(self._faults.dirt):
            yield self._no_click(event, fields, times)
        if self._draws.happens(self._faults.poison):
            yield self._broken(event, fields, times)

    def _no_click(self, event: Event, fields: Fields, times: CallTimes) -> RawMessage:
        """Return an event that is no event of a customer."""
        kind = self._draws.one_of(("page ping", "list view", "robot", "anonymous tracking"))
        fields = {name: value for name, value in fields.items() if name not in (ACTION, PRODUCTS, TRANSACTION)}
        fields |= {"event_id": f"{event.event_id}-other"}
        if kind == "page ping":
            fields |= {"event": "page_ping", "event_name": "page_ping"}
        elif kind == "list view":
            fields |= {"event": "unstruct", "event_name": "snowplow_ecommerce_action", ACTION: {"type": "list_view"}}
        else:
            fields |= {"event": "page_view", "event_name": "page_view", "user_id": None}
            fields["domain_userid"] = self._clients.stranger(event) if kind == "robot" else None
            fields["useragent"] = ROBOT if kind == "robot" else fields["useragent"]
        self.report.left_out += 1
        self.report.faults[f"left out: {kind}"] += 1
        return _message(fields, times, event.ts)

    def _broken(self, event: Event, fields: Fields, times: CallTimes) -> RawMessage:
        kind = self._draws.one_of(tuple(POISON))
        fields = fields | {
            "event": "unstruct", "event_name": "snowplow_ecommerce_action", ACTION: {"type": "product_view"},
            "event_id": f"{event.event_id}-broken", PRODUCTS: [{"id": "none"}],
        }  # fmt: skip
        fields.pop(TRANSACTION, None)
        if kind == "user without an id":
            fields["domain_userid"] = "undefined"
        self.report.broken += 1
        self.report.faults[f"broken: {kind}"] += 1
        key = self._clients.visitor(event).encode()
        return RawMessage(times.received_ms, key, POISON[kind](_timed(fields, times, event.ts)))


def _products(lines: tuple[Event, ...] | list[Event]) -> Fields:
    entities = [
        without_nulls(
            {
                "id": line.product_id, "category": line.category, "quantity": line.quantity,
                "price": None if line.price is None else number(line.price), "currency": "EUR",
            }
        )
        for line in lines
    ]  # fmt: skip
    return {PRODUCTS: entities} if entities else {}


def _message(fields: Fields, times: CallTimes, ts_ms: int) -> RawMessage:
    key = (fields["domain_userid"] or fields["network_userid"]).encode()
    return RawMessage(times.received_ms, key, encode(_timed(fields, times, ts_ms)))


def _timed(fields: Fields, times: CallTimes, ts_ms: int) -> Fields:
    """Return an event with its times: derived = collector - (sent - created)."""
    created_ms = ts_ms - (times.received_ms - times.sent_ms)
    return {
        **fields,
        "dvce_created_tstamp": iso_text(created_ms),
        "dvce_sent_tstamp": iso_text(times.sent_ms),
        "collector_tstamp": iso_text(times.received_ms),
        "etl_tstamp": iso_text(times.received_ms + 1_000),
        "derived_tstamp": iso_text(ts_ms),
    }

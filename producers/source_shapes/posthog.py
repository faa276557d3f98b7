"""Writes events as PostHog has them on its topic `clickhouse_events_json`: `properties` is a text that holds JSON.

The purchases of a moment are one `Order Completed` with `products`. The mapping gives them the ids `ORDER#0`,
`ORDER#1`, …; all other ids stay. The key is the `distinct_id`, which is the customer after a login.

Not in a message: channels, and countries without an ISO code.
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

NAMES: Final = {
    "page_view": "$pageview", "search": "Products Searched", "product_view": "Product Viewed",
    "add_to_cart": "Product Added", "remove_from_cart": "Product Removed", "checkout": "Checkout Started",
    "purchase": "Order Completed",
}  # fmt: skip
"""Event type -> name of the event."""
_DEVICES: Final = {"desktop": "Desktop", "mobile": "Mobile", "tablet": "Tablet"}

Fields = dict[str, Any]


def _with_property(name: str, value: Any) -> Callable[[Fields], Fields]:
    return lambda event: event | {"properties": event["properties"] | {name: value}}


POISON: Final[Mapping[str, Callable[[Fields], Fields]]] = {
    "time in words": lambda event: event | {"timestamp": "yesterday"},
    "no user and no device": _with_property("$device_id", "undefined"),
    "price below 0": _with_property("price", -5),
    "quantity 0": _with_property("quantity", 0),
}
"""Kind -> function that breaks a `Product Viewed` event."""


class PosthogShape:
    """Events of PostHog.

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
        """Yield the events of a moment."""
        if self._draws.begin(moment.time_ms):
            self._clients.begin_day()
        for event in moment.clicks:
            yield from self._deliveries(event, self._fields(event, event.event_id, _product(event)))
        for basket in moment.baskets:
            yield from self._basket(basket)

    def _basket(self, basket: Basket) -> Iterator[RawMessage]:
        first = basket.lines[0]
        properties = without_nulls({"order_id": basket.order_id}) | {
            "products": [_product(one) for one in basket.lines]
        }
        yield from self._deliveries(first, self._fields(first, basket.message_id, properties))

    def _fields(self, event: Event, event_id: str, properties: Fields) -> Fields:
        own = {
            "$user_id": event.customer_id,
            "$device_id": self._clients.visitor(event),
            "$session_id": event.session_id,
            "$device_type": _DEVICES[event.device],
            "$raw_user_agent": self._clients.user_agent(event),
            "$geoip_country_code": event.country if event.country in country_codes() else None,
            "$current_url": "https://shop.example/",
            "$lib": "web",
        }
        return {
            "uuid": event_id,
            "event": NAMES[event.event_type],
            "distinct_id": event.customer_id,
            "team_id": 1,
            "timestamp": _time_text(event.ts),
            "properties": without_nulls(own) | properties,
        }

    # --- deliveries ---
    def _deliveries(self, event: Event, fields: Fields) -> Iterator[RawMessage]:
        times = self._clients.times(fields["properties"]["$device_id"], event.ts)
        yield _message(fields, times)
        if self._draws.happens(self._faults.dirt):
            self.report.faults["retry"] += 1
            yield _message(fields, self._clients.retry(times, event.ts))
        if self._draws.happens(self._faults.dirt):
            yield self._no_click(event, fields, times)
        if self._draws.happens(self._faults.poison):
            yield self._broken(event, fields, times)

    def _no_click(self, event: Event, fields: Fields, times: CallTimes) -> RawMessage:
        """Return an event that is no event of a customer."""
        kind = self._draws.one_of(("identify", "autocapture", "visitor", "robot"))
        visitor = self._clients.stranger(event)
        properties = {name: value for name, value in fields["properties"].items() if name.startswith("$")}
        fields = fields | {"uuid": f"{event.event_id}-other", "event": f"${kind}", "properties": properties}
        if kind == "identify":
            properties["$anon_distinct_id"] = visitor
        elif kind != "autocapture":
            del properties["$user_id"]
            properties["$device_id"] = visitor
            properties["$raw_user_agent"] = ROBOT if kind == "robot" else properties["$raw_user_agent"]
            fields |= {"event": "$pageview", "distinct_id": visitor}
        self.report.left_out += 1
        self.report.faults[f"left out: {kind}"] += 1
        return _message(fields, times)

    def _broken(self, event: Event, fields: Fields, times: CallTimes) -> RawMessage:
        kind = self._draws.one_of((*POISON, "truncated", "properties are no JSON"))
        fields = fields | {"uuid": f"{event.event_id}-broken", "event": "Product Viewed"}
        fields["properties"] = {
            name: value for name, value in fields["properties"].items() if name not in ("order_id", "products")
        }
        if kind == "no user and no device":
            del fields["properties"]["$user_id"]
        self.report.broken += 1
        self.report.faults[f"broken: {kind}"] += 1
        message = _message(POISON[kind](fields) if kind in POISON else fields, times)
        if kind == "truncated":
            return message._replace(value=(message.value or b"")[:-20])
        if kind == "properties are no JSON":
            return message._replace(value=encode(_timed(fields, times) | {"properties": "none"}))
        return message


def _product(line: Event) -> Fields:
    fields = {
        "product_id": line.product_id, "category": line.category, "quantity": line.quantity,
        "price": None if line.price is None else number(line.price),
    }  # fmt: skip
    return without_nulls(fields)


def _message(fields: Fields, times: CallTimes) -> RawMessage:
    return RawMessage(times.received_ms, str(fields["distinct_id"]).encode(), encode(_timed(fields, times)))


def _timed(fields: Fields, times: CallTimes) -> Fields:
    """Return an event with the time of its ingestion. PostHog has corrected its timestamp already."""
    return {
        **fields,
        "created_at": _time_text(times.received_ms),
        "properties": encode(fields["properties"] | {"$sent_at": iso_text(times.sent_ms)}).decode(),
    }


def _time_text(time_ms: int) -> str:
    """Return `2026-05-04 10:00:00.123000`, UTC."""
    return f"{iso_text(time_ms)[:-1].replace('T', ' ')}000"

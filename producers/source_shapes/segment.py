"""Writes events as calls of Segment or RudderStack, with the names of the e-commerce specification, version 2.

An event is a `page` or `track` call. The purchases of a moment are one `Order Completed` with `products`. The mapping
gives them the ids `ORDER#0`, `ORDER#1`, …; all other ids stay. The session is `context.sessionId`, as RudderStack has
it. The key is the `anonymousId`, so that the calls of a browser are in one partition.

Not in a call: a country that the mapping reads, and channels but paid search and e-mail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from features.schema import Event
from producers.source_shapes.clicks import MEDIA, MINUTE_MS, ROBOT, USER_AGENTS, CallTimes, Clients
from producers.source_shapes.draws import DailyDraws
from producers.source_shapes.json_values import amount_text, encode, iso_text, number, without_nulls
from producers.source_shapes.profiles import Profile
from producers.source_shapes.shape import DELIVERY_MS_MAX, Basket, Faults, Moment, RawMessage, ShapeReport

NAMES: Final[dict[str, str | None]] = {
    "page_view": None, "search": "Products Searched", "product_view": "Product Viewed",
    "add_to_cart": "Product Added", "remove_from_cart": "Product Removed", "checkout": "Checkout Started",
}  # fmt: skip
"""Event type -> name of the `track` call; None is a `page` call."""
_READABLE_CHANNELS: Final = ("paid_search", "email")
_OTHER_MEDIA: Final = {channel: medium for channel, medium in MEDIA.items() if channel not in _READABLE_CHANNELS}
_TEXT_PRICE_SHARE: Final = 0.25
_RELOAD_MS: Final = (5_000, 30 * MINUTE_MS)

Call = dict[str, Any]


def _changed(**fields: Any) -> Callable[[Call], bytes]:
    return lambda call: encode({**call, **fields})


def _with_property(name: str, value: Any) -> Callable[[Call], bytes]:
    return lambda call: encode({**call, "properties": {**call["properties"], name: value}})


POISON: Final[dict[str, Callable[[Call], bytes]]] = {
    "truncated": lambda call: encode(call)[:-20],
    "an array": lambda call: b"[" + encode(call) + b"]",
    "time in words": _changed(originalTimestamp="yesterday"),
    "no user and no visitor": _changed(userId=None, anonymousId="undefined"),
    "price below 0": _with_property("price", "-5.00"),
    "price with a comma": _with_property("price", "12,50"),
    "quantity 0": _with_property("quantity", 0),
}
"""Kind -> function that makes a broken message of a `Product Viewed` call."""


class SegmentShape:
    """Calls of Segment.

    Args:
        faults: faults to add.
        number: number of the shape, which addresses its random numbers.
        profiles: names and e-mail addresses for `identify` calls.
    """

    def __init__(self, faults: Faults, number: int, profiles: Mapping[str, Profile]) -> None:
        self._faults = faults
        self._profiles = profiles
        self._draws = DailyDraws(faults.seed, number)
        self._clients = Clients(faults, self._draws)
        self.report = ShapeReport.empty()

    def messages(self, moment: Moment) -> Iterator[RawMessage]:
        """Yield the calls of a moment."""
        if self._draws.begin(moment.time_ms):
            self._clients.begin_day()
        for event in moment.clicks:
            yield from self._click(event)
        for basket in moment.baskets:
            yield from self._basket(basket)

    # --- calls of records ---
    def _click(self, event: Event) -> Iterator[RawMessage]:
        name = NAMES[event.event_type]
        kind = {"type": "page"} if name is None else {"type": "track", "event": name}
        call = self._call(event, event.event_id) | kind | {"properties": self._properties(event)}
        times = self._clients.times(call["anonymousId"], event.ts)
        yield from self._sent(call, times, event.ts)
        if self._draws.happens(self._faults.dirt):
            yield from self._no_click(event, call, times)
        if self._draws.happens(self._faults.poison):
            yield self._broken(event, call, times)

    def _basket(self, basket: Basket) -> Iterator[RawMessage]:
        first = basket.lines[0]
        total = sum((line.price or 0.0) * (line.quantity or 1) for line in basket.lines)
        call = self._call(first, basket.message_id) | {
            "type": "track",
            "event": "Order Completed",
            "properties": without_nulls({"order_id": basket.order_id})
            | {"total": round(total, 2), "products": [self._product(line) for line in basket.lines]},
        }
        times = self._clients.times(call["anonymousId"], first.ts)
        yield from self._sent(call, times, first.ts)
        if basket.order_id is not None and self._draws.happens(self._faults.dirt):
            yield self._reloaded(call, times, first.ts)
        if self._draws.happens(self._faults.poison):
            yield self._broken(first, call, times)

    def _call(self, event: Event, message_id: str) -> Call:
        medium = MEDIA.get(event.channel or "")
        context = {
            "library": {"name": "analytics.js", "version": "npm:next-1.70.0"},
            "userAgent": self._clients.user_agent(event),
            "sessionId": event.session_id,
            "campaign": None if medium is None else {"source": "shop", "medium": medium, "name": "always-on"},
            "location": None if event.country is None else {"country": event.country},
            "page": {"path": "/", "url": "https://shop.example/"},
            "locale": "en-GB",
        }
        return {
            "anonymousId": self._clients.visitor(event),
            "userId": event.customer_id,
            "messageId": message_id,
            "context": without_nulls(context),
            "integrations": {},
        }

    def _properties(self, event: Event) -> dict[str, Any]:
        page = {"path": "/", "title": "Shop"} if event.event_type == "page_view" else {}
        return page | self._product(event)

    def _product(self, line: Event) -> dict[str, Any]:
        fields = {
            "product_id": line.product_id, "category": line.category, "price": self._price(line.price),
            "quantity": line.quantity,
        }  # fmt: skip
        return without_nulls(fields)

    def _price(self, price: float | None) -> Any:
        """Return a price as number or as text: libraries send both."""
        if price is None:
            return None
        return amount_text(price, 2) if self._draws.happens(_TEXT_PRICE_SHARE) else number(price)

    # --- deliveries ---
    def _sent(self, call: Call, times: CallTimes, ts_ms: int) -> Iterator[RawMessage]:
        """Yield a call, and a retry of it."""
        yield self._message(call, times)
        if self._draws.happens(self._faults.dirt):
            self.report.faults["retry"] += 1
            yield self._message(call, self._clients.retry(times, ts_ms))

    def _message(self, call: Call, times: CallTimes) -> RawMessage:
        return RawMessage(times.received_ms, call["anonymousId"].encode(), encode(_timed(call, times)))

    def _reloaded(self, call: Call, times: CallTimes, ts_ms: int) -> RawMessage:
        """Return the call of a page that was loaded again: another message and time, and the same order.

        It arrives after the first one, on the same partition, so that its events are the repetitions.
        """
        after_ms = self._draws.whole(*_RELOAD_MS)
        again = CallTimes(times.original_ms + after_ms, times.sent_ms + after_ms, times.received_ms + after_ms)
        assert again.received_ms <= ts_ms + DELIVERY_MS_MAX
        self.report.faults["order page loaded again"] += 1
        return self._message({**call, "messageId": f"{call['messageId']}-reload"}, again)

    def _no_click(self, event: Event, call: Call, times: CallTimes) -> Iterator[RawMessage]:
        """Yield a call that is no event of a customer."""
        kind = self._draws.one_of(("identify", "group", "robot", "visitor", "list"))
        call = {**call, "messageId": f"{event.event_id}-{kind}"}
        if kind == "identify":
            profile = self._profiles.get(event.customer_id, Profile())
            call |= {"type": "identify", "properties": {}, "traits": without_nulls(profile._asdict())}
        elif kind == "group":
            call |= {"type": "group", "properties": {}, "groupId": "customers"}
        elif kind == "list":
            call |= {"type": "track", "event": "Product List Viewed", "properties": {"list_id": "new"}}
        else:
            agent = ROBOT if kind == "robot" else USER_AGENTS["mobile"][0]
            call |= {
                "type": "page", "userId": None, "anonymousId": self._clients.stranger(event),
                "context": {**call["context"], "userAgent": agent},
            }  # fmt: skip
        call.pop("event", None) if call["type"] != "track" else None
        self.report.left_out += 1
        self.report.faults[f"left out: {kind}"] += 1
        yield self._message(call, times)

    def _broken(self, event: Event, call: Call, times: CallTimes) -> RawMessage:
        kind = self._draws.one_of(tuple(POISON))
        call = {
            **call, "type": "track", "event": "Product Viewed", "messageId": f"{event.event_id}-broken",
            "properties": {"product_id": event.product_id or "none"},
        }  # fmt: skip
        self.report.broken += 1
        self.report.faults[f"broken: {kind}"] += 1
        key = call["anonymousId"].encode()
        return RawMessage(times.received_ms, key, POISON[kind](_timed(call, times)))


def _timed(call: Call, times: CallTimes) -> Call:
    return {
        **call,
        "originalTimestamp": iso_text(times.original_ms),
        "sentAt": iso_text(times.sent_ms),
        "receivedAt": iso_text(times.received_ms),
        "timestamp": iso_text(times.corrected_ms),
    }

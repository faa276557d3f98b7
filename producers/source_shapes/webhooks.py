"""Delivers webhooks of orders: late, again and out of order, with messages that are no orders among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from features.schema import HOUR_MS, SECOND_MS
from producers.source_shapes.draws import DailyDraws
from producers.source_shapes.json_values import encode
from producers.source_shapes.order_changes import Change, OrderChanges
from producers.source_shapes.shape import Faults, Moment, RawMessage, ShapeReport

Body = dict[str, Any]
Variant = Callable[[Body], bytes]

_DELIVERED_AFTER_MS: Final = (200, 5 * SECOND_MS)
_DELAYED_MS: Final = (60 * SECOND_MS, 5 * HOUR_MS)
"""A shop tries again for hours where the receiver did not answer. Later changes then arrive earlier."""


class OrderBodies(Protocol):
    """Bodies of the webhooks of one shop system.

    Attributes:
        refused: status that the system cannot say -> reason.
        left_out: kind -> function that makes a message which the mapping leaves out.
        broken: kind -> function that makes a message which the mapping refuses.
    """

    refused: Mapping[str, str]
    left_out: Mapping[str, Variant]
    broken: Mapping[str, Variant]

    def body(self, change: Change, draws: DailyDraws) -> Body:
        """Return the body of the webhook of a record."""

    def stranger(self, body: Body, change: Change) -> Body:
        """Return the body of another order, which no record has."""


class WebhookShape:
    """Messages with the bodies of webhooks. The key is the id of the order.

    Args:
        faults: faults to add.
        number: number of the shape, which addresses its random numbers.
        bodies: bodies of the shop system.
    """

    def __init__(self, faults: Faults, number: int, bodies: OrderBodies) -> None:
        self._faults = faults
        self._draws = DailyDraws(faults.seed, number)
        self._bodies = bodies
        self._changes = OrderChanges()
        self.report = ShapeReport.empty()

    def messages(self, moment: Moment) -> Iterator[RawMessage]:
        """Yield the webhooks of a moment."""
        self._draws.begin(moment.time_ms)
        for order in moment.orders:
            change = self._changes.add(order)
            reason = self._bodies.refused.get(order.status)
            if reason is None:
                yield from self._deliveries(change)
            else:
                self.report.refused[reason] += 1

    def _deliveries(self, change: Change) -> Iterator[RawMessage]:
        draws, dirt = self._draws, self._faults.dirt
        body = self._bodies.body(change, draws)
        key, value = change.order.order_id.encode(), encode(body)
        arrival_ms = change.order.updated_ts + draws.whole(*_DELIVERED_AFTER_MS)
        if draws.happens(dirt):
            self.report.faults["delivered late"] += 1
            arrival_ms += draws.whole(*_DELAYED_MS)
        yield RawMessage(arrival_ms, key, value)
        if draws.happens(dirt):
            self.report.faults["delivered again"] += 1
            yield RawMessage(arrival_ms + draws.whole(*_DELAYED_MS), key, value)
        if draws.happens(dirt):
            self.report.left_out += 1
            yield self._variant("left out", self._bodies.left_out, body, change, arrival_ms)
        if draws.happens(self._faults.poison):
            self.report.broken += 1
            yield self._variant("broken", self._bodies.broken, body, change, arrival_ms)

    def _variant(
        self, outcome: str, variants: Mapping[str, Variant], body: Body, change: Change, arrival_ms: int
    ) -> RawMessage:
        kind = self._draws.one_of(tuple(variants))
        self.report.faults[f"{outcome}: {kind}"] += 1
        other = self._bodies.stranger(body, change)
        return RawMessage(arrival_ms, str(other["id"]).encode(), variants[kind](other))


def changed(**fields: Any) -> Variant:
    """Return a function that replaces fields of a body."""
    return lambda body: encode({**body, **fields})


def truncated(body: Body) -> bytes:
    """Return a body that ends in the middle."""
    return encode(body)[:-20]

"""Defines what a source shape is: records of a moment in, messages of another system out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from features.schema import HOUR_MS, Event, Order

DELIVERY_MS_MAX: Final = 12 * HOUR_MS
"""Longest time from a record to the last delivery of its message. Events count until they are 48 hours late."""


class RawMessage(NamedTuple):
    """Message of another system: the time at which the topic gets it (epoch ms), key and value."""

    arrival_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Basket:
    """Purchase events of one moment of a session, which click systems send as one message.

    The mappings make the event ids `ORDER#0`, `ORDER#1`, … of it, or `MESSAGE#0`, … without an order id.

    Attributes:
        message_id: id of the message: the smallest event id.
        order_id: id of the order that was placed in this session at this time, if the archive has it.
        lines: purchase events, ascending by event id.
    """

    message_id: str
    order_id: str | None
    lines: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """Records of one time, each of which its shapes can write.

    Attributes:
        time_ms: epoch ms.
        clicks: events but purchases, ascending by id.
        baskets: purchases.
        orders: order records.
    """

    time_ms: int
    clicks: tuple[Event, ...]
    baskets: tuple[Basket, ...]
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults that a source has.

    Args:
        dirt: share of the messages with dirt that a mapping cleans: retries, wrong clocks, late deliveries, and
            messages that are no records.
        poison: share of the messages that a broken message follows, which a mapping refuses.
        seed: seed of the faults, of delays and of made-up ids.
    """

    dirt: float = 0.0
    poison: float = 0.0
    seed: int = 1


@dataclass(slots=True)
class ShapeReport:
    """What a shape wrote.

    Attributes:
        faults: kind -> number of messages with dirt or poison.
        left_out: messages that a mapping leaves out.
        broken: messages that a mapping refuses.
        refused: reason -> records that the shape cannot say, and did not write.
    """

    faults: Counter[str]
    left_out: int
    broken: int
    refused: Counter[str]

    @classmethod
    def empty(cls) -> ShapeReport:
        """Return a report without messages."""
        return cls(Counter(), 0, 0, Counter())


class SourceShape(Protocol):
    """Messages of one system. Arrivals are never before the moment's time."""

    @property
    def report(self) -> ShapeReport:
        """Counts so far."""

    def messages(self, moment: Moment) -> Iterator[RawMessage]:
        """Yield the messages of a moment. Moments ascend in time."""

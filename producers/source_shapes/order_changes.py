"""Remembers orders as they were placed, for messages that also name what was ordered before a return."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from features.schema import ORDER_CHANGE_MS_MAX, Item, Order


class Line(NamedTuple):
    """Line of an order: the item, the quantity as ordered, and the quantity that remains."""

    item: Item
    ordered: int | None
    remaining: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """Order record with what came before it.

    Attributes:
        order: the record.
        first: the first record of the order that was seen; the record itself if it is the first.
        former: the last record before this one.
    """

    order: Order
    first: Order
    former: Order | None

    @property
    def given_back(self) -> float:
        """Amount by which the total is below that of the first record; 0 if it is not."""
        return max(0.0, round(self.first.total - self.order.total, 2))

    @property
    def lines(self) -> tuple[Line, ...]:
        """Lines that remain, as in the record, then those that were returned."""
        ordered = list(self.first.items or ())
        lines = []
        for item in self.order.items or ():
            same = _first_of(ordered, item)
            if same is not None:
                ordered.remove(same)
            before = item.quantity if same is None else same.quantity
            lines.append(Line(item, before, item.quantity))
        return (*lines, *(Line(item, item.quantity, 0) for item in ordered))


def _first_of(items: Sequence[Item], item: Item) -> Item | None:
    return next((one for one in items if (one.product_id, one.unit_price) == (item.product_id, item.unit_price)), None)


class OrderChanges:
    """First and last record of each order, by customer and order. About a kilobyte for each order.

    An order is forgotten 400 days after it was placed: after that it has no more changes.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[Order, Order]] = {}
        self._expiry: deque[tuple[int, tuple[str, str]]] = deque()

    def add(self, order: Order) -> Change:
        """Return a record with what came before it. Records ascend by updated_ts."""
        while self._expiry and self._expiry[0][0] < order.updated_ts:
            self._seen.pop(self._expiry.popleft()[1], None)
        key = (order.customer_id, order.order_id)
        first, former = self._seen.get(key, (order, None))
        if former is None:
            self._expiry.append((order.updated_ts + ORDER_CHANGE_MS_MAX, key))
        self._seen[key] = (first, order)
        return Change(order, first, former)

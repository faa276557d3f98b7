"""Lists the source shapes, and opens them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo

from producers.source_shapes.debezium import DebeziumShape
from producers.source_shapes.posthog import PosthogShape
from producers.source_shapes.profiles import Profile
from producers.source_shapes.segment import SegmentShape
from producers.source_shapes.shape import Faults, SourceShape
from producers.source_shapes.shopify import ShopifyOrders
from producers.source_shapes.snowplow import SnowplowShape
from producers.source_shapes.webhooks import WebhookShape
from producers.source_shapes.woocommerce import WooCommerceOrders


@dataclass(frozen=True, slots=True)
class ShapeOptions:
    """What the shapes of a shop have in common.

    Args:
        faults: faults of the sources.
        zone: time zone of the shop.
        profiles: names and e-mail addresses by customer id.
    """

    faults: Faults
    zone: ZoneInfo
    profiles: Mapping[str, Profile] = field(default_factory=dict)


def _segment(options: ShapeOptions, number: int) -> SourceShape:
    return SegmentShape(options.faults, number, options.profiles)


def _shopify(options: ShapeOptions, number: int) -> SourceShape:
    return WebhookShape(options.faults, number, ShopifyOrders(options.zone, options.profiles))


def _woocommerce(options: ShapeOptions, number: int) -> SourceShape:
    return WebhookShape(options.faults, number, WooCommerceOrders(options.zone, options.profiles))


def _debezium(options: ShapeOptions, number: int) -> SourceShape:
    return DebeziumShape(options.faults, number, options.zone)


def _snowplow(options: ShapeOptions, number: int) -> SourceShape:
    return SnowplowShape(options.faults, number)


def _posthog(options: ShapeOptions, number: int) -> SourceShape:
    return PosthogShape(options.faults, number)


_OPEN: Final[dict[str, tuple[str, str, Callable[[ShapeOptions, int], SourceShape]]]] = {
    "segment": ("events", "segment", _segment),
    "shopify": ("orders", "shopify-orders", _shopify),
    "woocommerce": ("orders", "woocommerce-orders", _woocommerce),
    "debezium": ("orders", "debezium-orders", _debezium),
    "snowplow": ("events", "snowplow", _snowplow),
    "posthog": ("events", "posthog", _posthog),
}
"""Name -> records that it has, ready mapping, and how it is opened. The order is that of the random streams."""

SHAPES: Final = tuple(_OPEN)
"""Names of the shapes."""


def records_of(shape: str) -> str:
    """Return the records that a shape has: `events` or `orders`."""
    return _OPEN[shape][0]


def mapping_of(shape: str) -> str:
    """Return the name of the ready mapping that reads a shape."""
    return _OPEN[shape][1]


def open_shapes(names: Sequence[str], options: ShapeOptions) -> list[SourceShape]:
    """Return new shapes, in the order of the names."""
    return [_OPEN[name][2](options, SHAPES.index(name)) for name in names]

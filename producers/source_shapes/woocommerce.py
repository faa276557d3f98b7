"""Writes order records as webhooks of WooCommerce: `order.created` and `order.updated`, in the form of the REST API v3.

`total` stays as it was sold, and `refunds` have negative totals. An order that is put into the bin (`trash`) is void.
Times have milliseconds where the record has them, which WooCommerce's own have not.

Not in a message: sessions of orders and categories of lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from connectors.formats.country_codes import country_codes
from features.schema import Item
from producers.source_shapes.draws import DailyDraws
from producers.source_shapes.json_values import amount_text, encode, id_value, local_text, number
from producers.source_shapes.order_changes import Change
from producers.source_shapes.profiles import Profile
from producers.source_shapes.webhooks import Body, Variant, changed, truncated

_CURRENCY: Final = "EUR"
_STATUS: Final = {"cancelled": "cancelled", "refunded": "refunded", "void": "trash"}
_CHANNEL_KEY: Final = "_wc_order_attribution_utm_source"


class WooCommerceOrders:
    """Bodies of WooCommerce's webhooks.

    Args:
        zone: time zone of the site, for the times without an offset.
        profiles: names and e-mail addresses of customers.
    """

    refused: Mapping[str, str] = {}
    left_out: Mapping[str, Variant] = {
        "pending": changed(status="pending"),
        "failed": changed(status="failed"),
        "checkout-draft": changed(status="checkout-draft"),
        "currency without a rate": changed(currency="XTS"),
    }
    broken: Mapping[str, Variant] = {
        "truncated": truncated,
        "ping of the webhook": lambda _: b"webhook_id=12",
        "deleted order": lambda body: encode({"id": body["id"]}),
        "status of a plugin": changed(status="shipped"),
        "total in words": changed(total="ten"),
    }

    def __init__(self, zone: ZoneInfo, profiles: Mapping[str, Profile]) -> None:
        self._zone = zone
        self._profiles = profiles

    def body(self, change: Change, draws: DailyDraws) -> Body:
        """Return the order object."""
        order = change.order
        profile = self._profiles.get(order.customer_id, Profile())
        first_name, _, last_name = (profile.name or "").partition(" ")
        country = order.country if order.country in country_codes() else ""
        sold, given_back = _sold(change)
        attribution = [] if order.channel is None else [{"id": 1, "key": _CHANNEL_KEY, "value": order.channel}]
        return {
            "id": id_value(order.order_id),
            "parent_id": 0,
            "number": order.order_id,
            "created_via": "checkout",
            "version": "9.8.1",
            "status": _STATUS.get(order.status) or draws.one_of(("processing", "on-hold", "completed")),
            "currency": _CURRENCY,
            **self._times("date_created", order.ts),
            **self._times("date_modified", order.updated_ts),
            "discount_total": "0.00",
            "shipping_total": "0.00",
            "total_tax": "0.00",
            "total": sold,
            "customer_id": id_value(order.customer_id),
            "billing": {
                "first_name": first_name, "last_name": last_name, "country": country, "email": profile.email or "",
            },
            "shipping": {"country": country},
            "payment_method": order.payment_method or "",
            "meta_data": [{"id": 2, "key": "_order_key", "value": "shop"}, *attribution],
            "line_items": [_line_item(line, item) for line, item in enumerate(order.items or (), start=1)],
            "refunds": [{"id": 900, "reason": "", "total": f"-{given_back}"}] if given_back else [],
        }  # fmt: skip

    def _times(self, name: str, time_ms: int) -> dict[str, str]:
        local, utc = (local_text(time_ms, zone, offset=False) for zone in (self._zone, _UTC))
        return {name: local, f"{name}_gmt": utc}

    def stranger(self, body: Body, change: Change) -> Body:
        """Return the body of another order."""
        return {**body, "id": f"{change.order.order_id}-other"}


_UTC: Final = ZoneInfo("UTC")


def _sold(change: Change) -> tuple[str, str | None]:
    """Return the total as sold and the amount given back, as text: their difference is the record's total, exactly."""
    total, first = (Decimal(amount_text(order.total)) for order in (change.order, change.first))
    if first <= total or change.order.status not in ("placed", "refunded"):
        return amount_text(change.order.total, 2), None
    return amount_text(change.first.total, 2), format(first - total, "f")


def _line_item(line: int, item: Item) -> dict[str, Any]:
    return {
        "id": line,
        "name": item.category,
        "product_id": None if item.product_id is None else id_value(item.product_id),
        "variation_id": 0,
        "quantity": item.quantity,
        "sku": item.product_id or "",
        "price": None if item.unit_price is None else number(item.unit_price),
    }

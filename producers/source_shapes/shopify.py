"""Writes order records as webhooks of Shopify: `orders/create` and `orders/updated`, in the form of the REST Admin API.

A part that was given back lowers `current_total_price` and the `current_quantity` of its lines, and is in `refunds`.
Times have milliseconds where the record has them, which Shopify's own have not.

Not in a message: sessions of orders and categories of lines. A `void` record is refused, because Shopify's
`orders/delete` names no customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from connectors.formats.country_codes import country_codes
from features.schema import VOID_STATUS
from producers.source_shapes.draws import DailyDraws
from producers.source_shapes.json_values import amount_text, encode, id_value, local_text
from producers.source_shapes.order_changes import Change, Line
from producers.source_shapes.profiles import Profile
from producers.source_shapes.webhooks import Body, Variant, changed, truncated

_CURRENCY: Final = "EUR"
_UNPAID: Final = ("invoice", "bank_transfer")
_FINANCIAL: Final = {"cancelled": "voided", "refunded": "refunded"}


class ShopifyOrders:
    """Bodies of Shopify's webhooks.

    Args:
        zone: time zone of the shop, in whose offset times are written.
        profiles: names and e-mail addresses of customers.
    """

    refused: Mapping[str, str] = {VOID_STATUS: "void: Shopify names no customer of a deleted order"}
    left_out: Mapping[str, Variant] = {
        "test order": changed(test=True),
        "sale at a till": changed(customer=None, email="", contact_email=None),
    }
    broken: Mapping[str, Variant] = {
        # orders/delete has the id alone
        "deleted order": lambda body: encode({"id": body["id"]}),
        "truncated": truncated,
        "unknown status": changed(financial_status="on_credit"),
        "total below 0": changed(current_total_price="-1.00"),
        "total in words": changed(current_total_price="ten"),
        "no time": changed(created_at=None),
        "changed before it was placed": changed(updated_at="1999-12-31T23:59:59Z"),
    }

    def __init__(self, zone: ZoneInfo, profiles: Mapping[str, Profile]) -> None:
        self._zone = zone
        self._profiles = profiles

    def body(self, change: Change, draws: DailyDraws) -> Body:
        """Return the order object."""
        order = change.order
        profile = self._profiles.get(order.customer_id, Profile())
        first_name, _, last_name = (profile.name or "").partition(" ")
        updated_at = local_text(order.updated_ts, self._zone, offset=True)
        address = None if order.country not in country_codes() else {"country_code": order.country}
        return {
            "id": id_value(order.order_id),
            "admin_graphql_api_id": f"gid://shopify/Order/{order.order_id}",
            "name": f"#{order.order_id}",
            "test": False,
            "confirmed": True,
            "created_at": local_text(order.ts, self._zone, offset=True),
            "processed_at": local_text(order.ts, self._zone, offset=True),
            "updated_at": updated_at,
            "cancelled_at": updated_at if order.status == "cancelled" else None,
            "cancel_reason": "customer" if order.status == "cancelled" else None,
            "financial_status": self._financial_status(change, draws),
            "fulfillment_status": None if order.updated_ts == order.ts else "fulfilled",
            "currency": _CURRENCY,
            "presentment_currency": _CURRENCY,
            **_money("total_price", max(order.total, change.first.total)),
            **_money("current_total_price", order.total),
            "source_name": order.channel,
            "payment_gateway_names": [] if order.payment_method is None else [order.payment_method],
            "email": profile.email,
            "contact_email": profile.email,
            "customer": {
                "id": id_value(order.customer_id), "email": profile.email,
                "first_name": first_name or None, "last_name": last_name or None, "currency": _CURRENCY,
            },
            "shipping_address": address,
            "billing_address": address,
            "line_items": [_line_item(number, line) for number, line in enumerate(change.lines, start=1)],
            "refunds": self._refunds(change, updated_at),
        }  # fmt: skip

    def _financial_status(self, change: Change, draws: DailyDraws) -> str:
        order = change.order
        if order.status in _FINANCIAL:
            return _FINANCIAL[order.status]
        if change.given_back:
            return "partially_refunded"
        if change.former is None and order.payment_method in _UNPAID:
            return draws.one_of(("pending", "authorized", "partially_paid"))
        return "paid"

    def _refunds(self, change: Change, updated_at: str) -> list[dict[str, Any]]:
        order = change.order
        amount = change.given_back if order.status == "placed" else order.total if order.status == "refunded" else 0.0
        if not amount:
            return []
        returned = [
            {"quantity": (line.ordered or 0) - (line.remaining or 0), "line_item_id": number, "restock_type": "return"}
            for number, line in enumerate(change.lines, start=1)
            if (line.ordered or 0) > (line.remaining or 0)
        ]
        return [
            {
                "id": 1, "created_at": updated_at, "note": None, "refund_line_items": returned,
                "transactions": [{"kind": "refund", "status": "success", "amount": amount_text(amount, 2)}],
            }
        ]  # fmt: skip

    def stranger(self, body: Body, change: Change) -> Body:
        """Return the body of another order."""
        return {**body, "id": f"{change.order.order_id}-other", "name": f"#{change.order.order_id}-other"}


def _money(name: str, amount: float) -> dict[str, Any]:
    money = {"amount": amount_text(amount, 2), "currency_code": _CURRENCY}
    return {name: money["amount"], f"{name}_set": {"shop_money": money, "presentment_money": money}}


def _line_item(number: int, line: Line) -> dict[str, Any]:
    price = line.item.unit_price
    return {
        "id": number,
        "product_id": None if line.item.product_id is None else id_value(line.item.product_id),
        "sku": line.item.product_id,
        "title": line.item.category,
        "price": None if price is None else amount_text(price, 2),
        "quantity": line.ordered,
        "current_quantity": line.remaining,
        "gift_card": False,
        "taxable": True,
        "tax_lines": [],
        "discount_allocations": [],
    }

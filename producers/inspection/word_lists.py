"""Proposes the status or event type that a word of a file means. A word that is not listed gets no proposal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from producers.inspection.field_names import normal_name

_STATUSES: Final[Mapping[str, str]] = {
    "placed": "placed paid complete completed shipped delivered fulfilled closed processing invoiced approved confirmed"
    " created new ok success successful captured settled partially_shipped bezahlt versendet geliefert abgeschlossen"
    " paye expedie livre pagado enviado entregado pagato spedito",
    "cancelled": "cancelled canceled cancel void voided failed declined expired unavailable rejected abandoned"
    " storniert annule cancelado annullato",
    "refunded": "refunded refund returned return chargeback reversed charged_back erstattet retourniert rembourse"
    " reembolsado devuelto rimborsato",
}
"""Status of the contract -> words of files."""

DOUBTFUL: Final[Mapping[str, str]] = {
    "pending": "not paid yet", "on_hold": "not paid yet", "authorized": "not paid yet", "authorised": "not paid yet",
    "partially_refunded": "a part is paid back", "partially_paid": "a part is paid", "draft": "no order yet",
    "unpaid": "not paid", "open": "not paid yet", "pending_payment": "not paid yet", "offen": "not paid yet",
}  # fmt: skip
"""Words whose meaning depends on the shop, with the reason."""

_TYPES: Final[Mapping[str, str]] = {
    "page_view": "page_view pageview page home visit landing session_start page_viewed screen_view screen",
    "search": "search site_search products_searched view_search_results internal_search query searched",
    "product_view": "product_view view view_item detail product_viewed item_view viewed_product product_detail"
    " productview viewcontent view_content pdp click_item",
    "add_to_cart": "add_to_cart addtocart cart add product_added add_to_basket basket added_to_cart",
    "remove_from_cart": "remove_from_cart removefromcart remove product_removed delete removed_from_cart",
    "checkout": "checkout begin_checkout checkout_started initiate_checkout initiatecheckout start_checkout"
    " checkout_step_viewed",
    "purchase": "purchase transaction buy order order_completed order_placed ordered purchased sale conversion"
    " checkout_completed complete_payment",
}
"""Event type of the contract -> words of files."""

_STATUS_OF: Final = {word: status for status, words in _STATUSES.items() for word in words.split()}
_TYPE_OF: Final = {word: kind for kind, words in _TYPES.items() for word in words.split()}


def status_of(word: str) -> str | None:
    """Return the proposed status for a word of a file; None without a proposal."""
    return _STATUS_OF.get(normal_name(word))


def event_type_of(word: str) -> str | None:
    """Return the proposed event type for a word of a file; None without a proposal."""
    normal = normal_name(word)
    return _TYPE_OF.get(normal) or _TYPE_OF.get(normal.replace("_", ""))


def normal_status(word: str) -> str:
    """Return a word as DOUBTFUL lists it."""
    return normal_name(word)

"""Recognises the fields of records by the names of columns, in English and common variants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

ORDER_ID: Final = (
    "order_id", "order_number", "order_no", "order_nr", "orderid", "ordernumber", "name", "invoice_no", "invoiceno",
    "invoice", "invoice_id", "invoice_number", "invoice_nr", "order", "transaction_id", "transactionid", "receipt_id",
    "receipt_no", "increment_id", "purchase_id", "sale_id", "reference", "order_ref", "bestellnummer", "bestellnr",
    "bestell_nr", "auftragsnummer", "auftrag", "rechnungsnummer", "belegnummer", "commande", "numero_commande",
    "no_commande", "pedido", "numero_pedido", "num_pedido", "ordine", "ordernr", "bestelling", "no", "id",
)  # fmt: skip
CUSTOMER: Final = (
    "customer_id", "customerid", "customer_no", "customer_nr", "customer_number", "cust_id", "custid", "client_id",
    "user_id", "userid", "member_id", "memberid", "visitor_id", "visitorid", "account_id", "buyer_id", "shopper_id",
    "person_id", "distinct_id", "user_pseudo_id", "customer_unique_id", "master_id", "contact_id", "uid", "cid",
    "customer", "customer_email", "email", "e_mail", "email_address", "user_email", "billing_email", "mail", "user",
    "client", "buyer", "member", "visitor", "shopper", "account", "person", "who", "kunde", "kundennummer", "kundennr",
    "kunden_nr", "kunden_id", "kundenid", "client_email", "cliente", "id_cliente", "klant", "klantnummer",
    "anonymous_id",
)  # fmt: skip
TOTAL: Final = (
    "total", "order_total", "total_price", "total_amount", "grand_total", "total_paid", "amount", "order_amount",
    "order_value", "total_value", "revenue", "sales", "sale_amount", "payment_value", "paid_amount", "amount_paid",
    "net_total", "invoice_total", "turnover", "value", "sum", "price_total", "betrag", "gesamtbetrag", "summe",
    "gesamt", "gesamtsumme", "umsatz", "rechnungsbetrag", "montant", "total_ttc", "montant_total", "importe",
    "importe_total", "totale", "importo", "bedrag", "totaal", "dollars", "subtotal",
)  # fmt: skip
QUANTITY: Final = (
    "quantity", "qty", "lineitem_quantity", "item_quantity", "units", "pieces", "number_of_items", "n_items", "count",
    "items_count", "menge", "anzahl", "stueck", "stück", "quantite", "quantité", "cantidad", "quantita", "aantal",
    "cds", "n",
)  # fmt: skip
UNIT_PRICE: Final = (
    "unit_price", "unitprice", "price", "lineitem_price", "item_price", "item_cost", "price_each", "each", "unit_cost",
    "selling_price", "product_price", "einzelpreis", "preis", "stueckpreis", "stückpreis", "prix", "prix_unitaire",
    "precio", "precio_unitario", "prezzo", "prijs",
)  # fmt: skip
PRODUCT: Final = (
    "product_id", "productid", "sku", "product_sku", "lineitem_sku", "item_sku", "item_id", "itemid", "stock_code",
    "stockcode", "article_id", "article_no", "asin", "ean", "variant_id", "product_code", "product_no", "product",
    "item", "article", "lineitem_name", "product_name", "item_name", "artikel", "artikelnummer", "artikel_nr", "artnr",
    "produkt", "produit", "article_ref", "producto", "prodotto", "description",
)  # fmt: skip
CATEGORY: Final = (
    "category", "product_category", "category_code", "category_name", "category_id", "categoryid", "item_category",
    "product_type", "department", "kategorie", "warengruppe", "categorie", "catégorie", "categoria",
)  # fmt: skip
TIME: Final = (
    "created_at", "order_date", "orderdate", "ordered_at", "placed_at", "order_time", "order_timestamp",
    "order_purchase_timestamp", "order_created_at", "purchase_date", "purchased_at", "purchase_time", "created",
    "date_created", "date_created_gmt", "creation_date", "invoice_date", "invoicedate", "transaction_date",
    "transaction_time", "event_time", "eventtime", "event_timestamp", "timestamp", "server_timestamp",
    "original_timestamp", "sent_at", "date_time", "datetime", "time", "date", "day", "at", "ts", "when", "paid_at",
    "date_paid", "processed_at", "bestelldatum", "auftragsdatum", "rechnungsdatum", "datum", "zeitpunkt", "zeit",
    "date_commande", "fecha", "fecha_pedido", "data", "data_ordine", "besteldatum",
)  # fmt: skip
CLICK_TIME: Final = (
    "event_time", "event_timestamp", "eventtime", "timestamp", "client_timestamp", "server_timestamp", "occurred_at",
    "original_timestamp",
)  # fmt: skip
UPDATED: Final = (
    "updated_at", "modified_at", "date_modified", "last_modified", "last_updated", "updated", "changed_at",
    "geaendert_am", "date_modified_gmt",
)  # fmt: skip
STATUS: Final = (
    "status", "order_status", "financial_status", "payment_status", "state", "order_state", "fulfillment_status",
    "bestellstatus", "zustand", "statut", "etat", "état", "estado", "stato",
)  # fmt: skip
CURRENCY: Final = (
    "currency", "currency_code", "order_currency", "waehrung", "währung", "devise", "moneda", "valuta",
)  # fmt: skip
CHANNEL: Final = (
    "channel", "sales_channel", "source", "utm_source", "medium", "utm_medium", "traffic_source", "source_name",
    "referring_channel", "kanal", "canal",
)  # fmt: skip
COUNTRY: Final = (
    "country", "country_code", "shipping_country", "billing_country", "shipping_country_code", "billing_country_code",
    "ship_country", "land", "pays", "pais", "país", "paese", "geo_country",
)  # fmt: skip
PAYMENT: Final = (
    "payment_method", "payment_type", "payment_method_title", "payment", "zahlungsart", "zahlart", "zahlungsmethode",
)  # fmt: skip
SESSION: Final = (
    "session_id", "sessionid", "session", "user_session", "visit_id", "visitid", "id_visit", "ga_session_id", "sitzung",
)  # fmt: skip
EVENT_TYPE: Final = (
    "event_type", "eventtype", "event_name", "eventname", "event", "action", "event_action", "type", "ereignis",
)  # fmt: skip
EVENT_ID: Final = (
    "event_id", "eventid", "message_id", "uuid", "hit_id", "insert_id", "id",
)  # fmt: skip
DEVICE: Final = (
    "device", "device_type", "device_category", "platform", "device_class", "geraet", "gerät",
)  # fmt: skip

ORDER_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "id": ORDER_ID, "customer": CUSTOMER, "total": TOTAL, "time": TIME, "quantity": QUANTITY, "unit_price": UNIT_PRICE,
    "product": PRODUCT, "category": CATEGORY, "status": STATUS, "updated": UPDATED, "currency": CURRENCY,
    "session": SESSION, "channel": CHANNEL, "country": COUNTRY, "payment_method": PAYMENT,
}  # fmt: skip
CLICK_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "type": EVENT_TYPE, "customer": CUSTOMER, "time": (*CLICK_TIME, *TIME), "id": EVENT_ID, "session": SESSION,
    "device": DEVICE, "product": PRODUCT, "category": CATEGORY, "price": UNIT_PRICE, "quantity": QUANTITY,
    "currency": CURRENCY, "channel": CHANNEL, "country": COUNTRY,
}  # fmt: skip
LINES: Final = (
    "line_items", "lineitems", "order_lines", "orderlines", "lines", "order_items", "products", "items", "cart_items",
    "basket", "positions", "positionen",
)  # fmt: skip
"""Names of a list of lines within a JSON record."""

_TIME_WORDS: Final = re.compile(
    r"(?:^|_)(?:time|times|timestamp|date|datetime|day|ts|at|on|when|created|updated|modified|placed|datum|fecha|zeit|gmt|utc)(?:_|$)"
)
_ID_WORDS: Final = re.compile(
    r"(?:^|_)(?:id|ids|no|nr|number|nummer|code|sku|key|ref|uuid|ean|asin|phone|zip|plz|postal)(?:_|$)"
)


PART_OF_NAME: Final = 1_000
"""Ranks from here on are those of names that contain a field's name."""


def normal_name(name: str) -> str:
    """Return a name in small letters with `_` between its words: `Customer ID`, `customerId` become `customer_id`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    return re.sub(r"[^\w]+|_+", "_", spaced.casefold()).strip("_")


def name_rank(name: str, field_names: Sequence[str]) -> int | None:
    """Return the rank of a column's name among the names of a field, 0 for the best; None if it is none of them.

    Args:
        name: name or path of a column. The last steps of a path count: `customer.id` is `customer_id`. A name with
            all words of a field's name and others, such as `Order Total Amount`, has a rank of PART_OF_NAME or more.
        field_names: names of the field, the best first.
    """
    normal = normal_name(name)
    spellings = [normal, normal.replace("_", "")]
    parts = normal.split("_")
    if "." in name:
        spellings += ["_".join(parts[-2:])]
        if len(parts) <= 3 or parts[0] in ("properties", "data", "payload", "order"):
            spellings.append(normal_name(name.rsplit(".", 1)[-1]))
    joined = {one.replace("_", ""): rank for rank, one in reversed(list(enumerate(field_names)))}
    ranks = [joined[key] for one in spellings if (key := one.replace("_", "")) in joined]
    if not ranks:
        words = set(parts)
        ranks = [
            PART_OF_NAME + rank
            for rank, one in enumerate(field_names)
            if "_" in one and words.issuperset(one.split("_"))
        ]
    return min(ranks, default=None)


def is_known_name(name: str) -> bool:
    """Return whether a name is that of a field of orders or clicks."""
    return any(name_rank(name, names) is not None for names in (*ORDER_FIELDS.values(), *CLICK_FIELDS.values()))


def names_a_time(name: str) -> bool:
    """Return whether a column's name is that of a time or date."""
    return bool(_TIME_WORDS.search(normal_name(name))) or name_rank(name, (*TIME, *UPDATED)) is not None


def names_an_id(name: str) -> bool:
    """Return whether a column's name is that of an id or code."""
    normal = normal_name(name)
    return bool(_ID_WORDS.search(normal)) or normal.endswith(("id", "nr", "nummer", "number"))

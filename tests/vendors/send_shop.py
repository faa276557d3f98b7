"""Sends the events of a little shop by the client library of a vendor: `send_shop.py segment http://127.0.0.1:8000`.

It runs in the environment of the clients and imports nothing of Shopstream. Ids and times are given, where a shop would
give them; the rest is what the library makes of it.
"""

import sys
from datetime import UTC, datetime, timedelta, timezone

from posthog import Posthog, identify_context, new_context, set_context_session
from rudderstack.analytics.client import Client as RudderStack
from segment.analytics.client import Client as Segment

AT = datetime(2026, 3, 2, 9, 0, 0, 250_000, tzinfo=UTC)
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
LAPTOP = "Mozilla/5.0 (X11; Linux x86_64) Firefox/135.0"
BERLIN = timezone(timedelta(hours=1))
PRODUCTS = [
    {"product_id": "K-10", "category": "Kitchen", "price": 24.9, "quantity": 2},
    {"sku": "C-7", "category": "Caf\u00e9 \u2615", "price": "9.95", "quantity": 1},
]


def at(minutes, zone=UTC):
    return (AT + timedelta(minutes=minutes)).astimezone(zone)


def send_calls(client):
    """Send calls of the specification that Segment and RudderStack have in common."""
    web = {"sessionId": 1772442000, "userAgent": LAPTOP, "campaign": {"medium": "cpc", "source": "google"}}

    def call(make, minutes, message_id, *, zone=UTC, agent=LAPTOP, **more):
        # a copy: the libraries write into the context that they are given
        make(context={**web, "userAgent": agent}, timestamp=at(minutes, zone), message_id=message_id, **more)

    call(client.page, 0, "m-0", anonymous_id="a-1", name="Home")
    call(client.identify, 1, "m-1", user_id="u-1", anonymous_id="a-1", traits={"email": "anna@example.com"})
    call(client.alias, 1, "m-2", user_id="u-1", previous_id="a-1")
    call(client.group, 1, "m-3", user_id="u-1", group_id="g-1")
    call(client.page, 2, "m-4", user_id="u-1", anonymous_id="a-1", category="Shop", name="Kitchen")
    call(client.track, 3, "m-5", user_id="u-1", event="Products Searched", properties={"query": "kettle"}, zone=BERLIN)
    viewed = {"product_id": "K-10", "category": "Kitchen", "price": 24.9}
    call(client.track, 4, "m-6", user_id="u-1", event="Product Viewed", properties=viewed, agent=PHONE)
    added = {"sku": 9007199254740993, "price": "24.90", "quantity": 2}
    call(client.track, 5, "m-7", user_id="u-1", event="Product Added", properties=added)
    call(client.track, 6, "m-8", user_id="u-1", event="Checkout Started", properties={"products": PRODUCTS})
    order = {"order_id": "R-1", "total": 59.75, "currency": "EUR", "products": PRODUCTS}
    call(client.track, 7, "m-9", user_id="u-1", event="Order Completed", properties=order)
    call(client.track, 8, None, user_id="u-1", event="Order Completed", properties=order)
    call(client.track, 9, "m-11", user_id="u-1", event="Newsletter Opened")
    call(client.screen, 10, "m-12", user_id=4711, name="Start", agent=PHONE)
    client.track(user_id="u-2", event="Product Viewed", timestamp=at(11), message_id="m-13", properties=viewed)


def send_by_segment(url):
    client = Segment("write-key", host=url, gzip=False, max_retries=3)
    send_calls(client)
    client.shutdown()


def send_by_rudderstack(url):
    client = RudderStack("write-key", host=url, gzip=True, max_retries=3)
    send_calls(client)
    client.shutdown()


def send_by_posthog(url):
    client = Posthog("project-key", host=url, flush_at=50, flush_interval=0.2, max_retries=3)

    def uuid(number):
        return f"0195f8a0-0000-7000-8000-{number:012d}"

    def capture(number, event, properties=None, **more):
        client.capture(event, properties=properties, timestamp=at(number), uuid=uuid(number), **more)

    session = {"$session_id": "s-1"}
    capture(0, "$pageview", {**session, "$current_url": "https://shop.example/"})
    client.alias("a-1", "u-1", timestamp=at(1), uuid=uuid(1))
    client.set(distinct_id="u-1", properties={"email": "anna@example.com"}, timestamp=at(1), uuid=uuid(2))
    with new_context():
        identify_context("u-1")
        set_context_session("s-1")
        capture(3, "$pageview", {"$current_url": "https://shop.example/kitchen"})
        viewed = {"product_id": "K-10", "category": "Kitchen", "price": 24.9, "$device_type": "Mobile"}
        capture(4, "Product Viewed", viewed)
        capture(5, "Product Added", {"sku": 9007199254740993, "price": "24.90", "quantity": 2})
        capture(6, "Checkout Started", {"products": PRODUCTS})
        order = {"order_id": "R-1", "total": 59.75, "products": PRODUCTS}
        capture(7, "Order Completed", order)
        client.capture("Order Completed", properties=order, timestamp=at(8))
        capture(9, "newsletter opened")
    capture(10, "Product Viewed", {**session, "product_id": "K-10"}, distinct_id=4711)
    capture(11, "Product Viewed", {"product_id": "K-10"}, distinct_id="u-2")
    client.shutdown()


if __name__ == "__main__":
    {"segment": send_by_segment, "rudderstack": send_by_rudderstack, "posthog": send_by_posthog}[sys.argv[1]](
        sys.argv[2]
    )

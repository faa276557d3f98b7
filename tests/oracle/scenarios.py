"""The traps: each function plants one into a shop for one customer and is named by what it plants.

Times are written as distances from `as_of`, so a border is a border to the millisecond. Borders of a window of W days:

      (as_of - W) is outside        as_of is inside
    ----------)[================================](--------> ts
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from oracle.loops import STATUSES
from oracle.shop import AWKWARD_AMOUNTS, AWKWARD_TEXT, DAY, DEVICES, HOUR, MINUTE, WINDOWS, Shop

BORDERS: Final = (*(-days * DAY for days in WINDOWS), 0)


def orders_at_every_border(shop: Shop, customer: str) -> None:
    for border in BORDERS:
        for step in (-1, 0, 1):
            shop.order(customer, shop.as_of + border + step)


def returns_at_every_border(shop: Shop, customer: str) -> None:
    for border in BORDERS:
        for step in (-1, 0, 1):
            order = shop.order(customer, shop.as_of + border + step)
            shop.change(order, order["ts"] + shop.between(1, 2 * DAY), shop.random_status())


def sessions_at_every_border(shop: Shop, customer: str) -> None:
    for border in BORDERS:
        for step in (-1, 0, 1):
            shop.visit(customer, shop.as_of + border + step, shop.pick((0, 1, HOUR)), 3)


def sessions_astride_every_border(shop: Shop, customer: str) -> None:
    for border in BORDERS:
        session = shop.name("s")
        for offset in (-2 * HOUR, -1, 0, 1, 2 * HOUR):
            shop.event(customer, session, shop.as_of + border + offset, shop.pick(("product_view", "add_to_cart")))


def sessions_across_midnight(shop: Shop, customer: str) -> None:
    midnight = shop.as_of // DAY * DAY - shop.between(1, 8) * DAY
    session = shop.name("s")
    for offset in (-HOUR, -1, 0, 1, HOUR):
        shop.event(customer, session, midnight + offset, "product_view", category=shop.pick("ab"))


def a_session_of_a_whole_day(shop: Shop, customer: str) -> None:
    shop.visit(customer, shop.as_of - 7 * DAY - 5, DAY, 4)
    shop.visit(customer, shop.as_of - 30 * DAY + 1, DAY, 4)


def a_session_that_goes_on_after_as_of(shop: Shop, customer: str) -> None:
    session = shop.name("s")
    shop.event(customer, session, shop.as_of - 40 * MINUTE, "add_to_cart")
    shop.event(customer, session, shop.as_of + 1, "purchase")
    shop.event(customer, session, shop.as_of + 2, "product_view", category="later")


def identical_events(shop: Shop, customer: str) -> None:
    shop.visit(customer, shop.as_of - shop.between(0, 40) * DAY, HOUR, 5)
    for event in shop.events[-5:]:
        shop.events.extend(dict(event) for _ in range(shop.between(1, 4)))


def a_whole_session_of_one_repeated_event(shop: Shop, customer: str) -> None:
    event = shop.event(customer, shop.name("s"), shop.as_of - DAY, "add_to_cart")
    shop.events.extend(dict(event) for _ in range(4))


def identical_orders(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - 3 * DAY)
    shop.orders.extend(dict(order) for _ in range(3))


def competing_orders_by_status(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - 3 * DAY, shop.as_of - DAY, status=shop.random_status(), total=9.5)
    for total in shop.rng.permutation(9)[:3]:
        shop.change(order, order["updated_ts"], shop.random_status(), total=float(total))


def competing_orders_by_total(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - 3 * DAY, shop.as_of - DAY, total=5.0)
    for total in (4.99, 5.01, 5.02, 0.0, 9.99, 10.0):
        shop.change(order, order["updated_ts"], "placed", total=total)


def a_refund_of_less_beats_a_sale(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - 2 * DAY, shop.as_of, total=1e12)
    shop.change(order, shop.as_of, "refunded", total=0.0)


def voided_orders(shop: Shop, customer: str) -> None:
    for status in (*STATUSES, None):
        order = shop.order(customer, shop.as_of - shop.between(1, 20) * DAY)
        at = shop.as_of - shop.between(0, 2)
        shop.change(order, at, "void", total=0.0)
        if status is not None:
            shop.change(order, at, status, total=1e6)


def voided_then_placed_again(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - 5 * DAY, status="void")
    shop.change(order, order["ts"] + 1, "placed")


def voided_around_as_of(shop: Shop, customer: str) -> None:
    for step in (-DAY, -1, 0, 1):
        order = shop.order(customer, shop.as_of - 5 * DAY, status=shop.random_status())
        shop.change(order, shop.as_of + step, "void")


def only_a_void_order(shop: Shop, customer: str) -> None:
    shop.order(customer, shop.as_of - shop.between(1, 500) * DAY, status="void")


def orders_that_pass_to_another_customer(shop: Shop, customer: str) -> None:
    other = shop.name("c")
    for step in (-2 * DAY, 0, 1):
        order = shop.order(customer, shop.as_of - shop.between(3, 40) * DAY)
        shop.change(order, shop.as_of + step, "void")
        shop.orders.append(order | {"customer_id": other, "updated_ts": shop.as_of + step})


def events_sent_again_at_another_time(shop: Shop, customer: str) -> None:
    """Each in a session of its own, since a session lasts for a day at most."""
    for later in (1, HOUR - 1, HOUR, DAY, 48 * HOUR, 49 * HOUR - 1, 49 * HOUR, 50 * HOUR):
        ts = shop.as_of - shop.between(3, 35) * DAY
        event = shop.event(customer, shop.name("s"), ts // HOUR * HOUR, "product_view", category="first")
        again = {"session_id": shop.name("s"), "ts": event["ts"] + later, "category": "again"}
        shop.events.append(event | again)


def events_sent_again_and_again(shop: Shop, customer: str) -> None:
    """The second does not count, so the third is measured by the first."""
    ts = (shop.as_of - 5 * DAY) // DAY * DAY
    event = shop.event(customer, shop.name("s"), ts - 47 * HOUR, "add_to_cart")
    for later in (47 * HOUR, 49 * HOUR, 50 * HOUR):
        shop.events.append(event | {"session_id": shop.name("s"), "ts": event["ts"] + later})


def refunds_around_as_of(shop: Shop, customer: str) -> None:
    for step in (-DAY, -1, 0, 1, DAY):
        order = shop.order(customer, shop.as_of - 5 * DAY)
        shop.change(order, shop.as_of + step, shop.pick(("refunded", "cancelled")))


def refunded_then_cancelled(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - 5 * DAY)
    shop.change(order, order["ts"] + HOUR, "refunded")
    shop.change(order, order["ts"] + 2 * HOUR, "cancelled")


def cancelled_then_placed_again(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - 5 * DAY, status="cancelled")
    shop.change(order, order["ts"] + 1, "placed", total=shop.pick(AWKWARD_AMOUNTS))


def placed_before_but_known_after_as_of(shop: Shop, customer: str) -> None:
    shop.order(customer, shop.as_of - 5 * DAY, shop.as_of + 1)
    shop.order(customer, shop.as_of, shop.as_of + 1)


def changed_after_400_days(shop: Shop, customer: str) -> None:
    for since in (399, 400, 401):
        order = shop.order(customer, shop.as_of - since * DAY)
        shop.change(order, order["ts"] + 400 * DAY, "refunded")


def returned_in_its_last_window(shop: Shop, customer: str) -> None:
    for step in (0, 1):
        order = shop.order(customer, shop.as_of - 365 * DAY + step)
        shop.change(order, shop.as_of - step, "refunded")


def only_events(shop: Shop, customer: str) -> None:
    shop.visit(customer, shop.as_of - shop.between(0, 100) * DAY, HOUR, 4)


def only_searches(shop: Shop, customer: str) -> None:
    shop.event(customer, shop.name("s"), shop.as_of - HOUR, "search")


def only_cancelled_orders(shop: Shop, customer: str) -> None:
    for _ in range(2):
        shop.order(customer, shop.as_of - shop.between(1, 500) * DAY, status=shop.pick(("cancelled", "refunded")))


def only_records_after_as_of(shop: Shop, customer: str) -> None:
    shop.visit(customer, shop.as_of + 1, HOUR, 3)
    shop.order(customer, shop.as_of + 1)


def only_an_order_not_known_yet(shop: Shop, customer: str) -> None:
    shop.order(customer, shop.as_of - DAY, shop.as_of + DAY)


def one_order(shop: Shop, customer: str) -> None:
    shop.order(customer, shop.as_of - shop.between(0, 400) * DAY)


def orders_at_one_moment(shop: Shop, customer: str) -> None:
    ts = shop.as_of - 9 * DAY
    for _ in range(3):
        shop.order(customer, ts)


def an_order_older_than_every_event(shop: Shop, customer: str) -> None:
    shop.order(customer, shop.as_of - 60 * DAY, shop.as_of - 50 * DAY, status="cancelled")
    shop.visit(customer, shop.as_of - 59 * DAY, HOUR, 2)


def awkward_totals(shop: Shop, customer: str) -> None:
    for total in AWKWARD_AMOUNTS:
        shop.order(customer, shop.as_of - shop.between(0, 20) * DAY, total=total)


def totals_that_differ_below_a_cent(shop: Shop, customer: str) -> None:
    order = shop.order(customer, shop.as_of - DAY, total=2.671)
    for total in (2.674, 2.665, 2.67):
        shop.orders.append(order | {"total": total})


def ties_of_the_first_event(shop: Shop, customer: str) -> None:
    for names in (("a", "B"), ("é", "z"), ("\uffee", "\U0001f6d2"), ("a", "a "), ("10", "9"), ("e\u0301", "é", "f")):
        session, ts = shop.name("s"), shop.as_of - shop.between(0, 29) * DAY
        stem = shop.name("tie")
        for name, device in zip(shop.rng.permutation(names), shop.rng.permutation(DEVICES), strict=False):
            shop.event(customer, session, ts, event_id=f"{name}{stem}", device=str(device))


def abandoned_to_the_millisecond(shop: Shop, customer: str) -> None:
    for step in (-1, 0, 1):
        session = shop.name("s")
        shop.event(customer, session, shop.as_of - 2 * HOUR, "add_to_cart")
        shop.event(customer, session, shop.as_of - 30 * MINUTE + step, "page_view")


def carts_that_are_not_abandoned(shop: Shop, customer: str) -> None:
    for types in (("add_to_cart", "purchase"), ("purchase", "add_to_cart"), ("purchase",), ("checkout",)):
        session = shop.name("s")
        for minute, event_type in enumerate(types):
            shop.event(customer, session, shop.as_of - 3 * DAY + minute * MINUTE, event_type)
    session = shop.name("s")
    shop.event(customer, session, shop.as_of - 3 * DAY, "add_to_cart")
    shop.event(customer, session, shop.as_of - 3 * DAY + 1, "remove_from_cart")


def ties_of_categories(shop: Shop, customer: str) -> None:
    session, names = shop.name("s"), shop.rng.permutation(AWKWARD_TEXT)[: shop.between(2, 6)]
    for name in (*names, *names):
        ts = shop.as_of - 40 * DAY + shop.between(0, HOUR)
        shop.event(customer, session, ts, "product_view", category=str(name))


def ties_of_two_categories_beyond_the_basic_plane(shop: Shop, customer: str) -> None:
    for category in shop.rng.permutation(["\uffee", "\U0001f6d2"]):
        shop.event(customer, shop.name("s"), shop.as_of - DAY, "product_view", category=str(category))


def categories_empty_and_null(shop: Shop, customer: str) -> None:
    for category in (None, None, None, "", "a"):
        shop.event(customer, shop.name("s"), shop.as_of - DAY, "product_view", category=category)
    shop.event(customer, shop.name("s"), shop.as_of - DAY, "add_to_cart", category="zzz")


def categories_all_null(shop: Shop, customer: str) -> None:
    shop.event(customer, shop.name("s"), shop.as_of - DAY, "product_view", category=None)


def categories_of_a_session_astride_90_days(shop: Shop, customer: str) -> None:
    for start, category in ((0, "out"), (1, "in")):
        session = shop.name("s")
        for offset in range(3 - start):
            ts = shop.as_of - 90 * DAY + start + offset * HOUR
            shop.event(customer, session, ts, "product_view", category=category)


def the_beginning_of_time(shop: Shop, customer: str) -> None:
    shop.event(customer, shop.name("s"), 1, "product_view", category="old")
    shop.order(customer, 1)


SCENARIOS: Final[tuple[Callable[[Shop, str], None], ...]] = (
    orders_at_every_border,
    returns_at_every_border,
    sessions_at_every_border,
    sessions_astride_every_border,
    sessions_across_midnight,
    a_session_of_a_whole_day,
    a_session_that_goes_on_after_as_of,
    identical_events,
    a_whole_session_of_one_repeated_event,
    identical_orders,
    competing_orders_by_status,
    competing_orders_by_total,
    a_refund_of_less_beats_a_sale,
    voided_orders,
    voided_then_placed_again,
    voided_around_as_of,
    only_a_void_order,
    orders_that_pass_to_another_customer,
    events_sent_again_at_another_time,
    events_sent_again_and_again,
    refunds_around_as_of,
    refunded_then_cancelled,
    cancelled_then_placed_again,
    placed_before_but_known_after_as_of,
    changed_after_400_days,
    returned_in_its_last_window,
    only_events,
    only_searches,
    only_cancelled_orders,
    only_records_after_as_of,
    only_an_order_not_known_yet,
    one_order,
    orders_at_one_moment,
    an_order_older_than_every_event,
    awkward_totals,
    totals_that_differ_below_a_cent,
    ties_of_the_first_event,
    abandoned_to_the_millisecond,
    carts_that_are_not_abandoned,
    ties_of_categories,
    ties_of_two_categories_beyond_the_basic_plane,
    categories_empty_and_null,
    categories_all_null,
    categories_of_a_session_astride_90_days,
    the_beginning_of_time,
)
"""Every trap. An archive holds each of them at least once, each for a customer of its own and some piled up on one."""


def shared_session_ids(shop: Shop, customers: tuple[str, str]) -> None:
    """Two customers with sessions of the same id: two sessions."""
    session = shop.name("s")
    for number, customer in enumerate(customers):
        for offset in (0, 1):
            shop.event(customer, session, shop.as_of - DAY - number * HOUR + offset, "add_to_cart")

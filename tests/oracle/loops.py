"""The slow oracle: the contract as plain loops over lists of valid records, for small cases.

A record is a dict with the fields of the wire (times in epoch milliseconds, a missing optional field reads as None).
The lists may be in any order and hold duplicates. Every function recomputes from nothing.

Which of the events with one id counts depends on where they are: `in_archive` takes them by time, `in_log` by place.
`all_of` is for events of which the repeated ones were dropped before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from oracle.rows import Record, Row, cents

HOUR = 3_600_000
DAY = 24 * HOUR
STATUSES = ["placed", "cancelled", "refunded", "void"]
TYPES = ["page_view", "search", "product_view", "add_to_cart", "remove_from_cart", "checkout", "purchase"]

Counting: TypeAlias = Callable[[Iterable[Record]], list[Record]]
"""Drops the repeated events."""


def in_archive(events: Iterable[Record]) -> list[Record]:
    """The events of an archive that count: of those with one id the earliest, and one of over 48 hours after it."""
    return in_log(sorted(events, key=lambda e: (e["ts"], e["event_id"].encode())))


def in_log(events: Iterable[Record]) -> list[Record]:
    """The events that count, of one partition in the order of its log; none of them is late."""
    counting, hour_of, high = [], {}, 0
    for event in events:
        high = max(high, event["ts"])
        if event["event_id"] not in hour_of or high // HOUR - hour_of[event["event_id"]] > 48:
            hour_of[event["event_id"]] = event["ts"] // HOUR
            counting.append(event)
    return counting


def all_of(events: Iterable[Record]) -> list[Record]:
    """All events."""
    return list(events)


def loop_rows(
    events: Iterable[Record], orders: Iterable[Record], as_of: int, counting: Counting = in_archive
) -> list[Row]:
    """One feature row for each customer seen by `as_of`, in byte order of customer_id."""
    events = known_events(events, as_of, counting)
    orders = list(orders)
    first_seen: dict[str, int] = {}
    last_seen: dict[str, int] = {}
    for record in (*events, *(o for o in orders if o["updated_ts"] <= as_of)):
        customer = record["customer_id"]
        first_seen[customer] = min(record["ts"], first_seen.get(customer, record["ts"]))
        if "event_id" in record:
            last_seen[customer] = max(record["ts"], last_seen.get(customer, 0))
    sessions, winners = defaultdict(list), defaultdict(list)
    for (customer, _), session in _sessions(events).items():
        sessions[customer].append(session)
    for order in winning_orders(orders, as_of):
        winners[order["customer_id"]].append(order)
    return [
        {"customer_id": c, "as_of": as_of, "first_seen_ts": first_seen[c], "tenure_days": (as_of - first_seen[c]) / DAY}
        | _order_features(winners[c], as_of)
        | {"last_seen_ts": last_seen.get(c), "days_since_visit": _over(_less(as_of, last_seen.get(c)), DAY)}
        | _session_features(sessions[c], as_of)
        for c in sorted(first_seen, key=str.encode)
    ]


def known_events(events: Iterable[Record], as_of: int, counting: Counting = in_archive) -> list[Record]:
    """The events known at `as_of`, each once, the earliest first; a tie by the bytes of event_id."""
    known = [event for event in events if event["ts"] <= as_of]
    return sorted(counting(known), key=lambda e: (e["ts"], e["event_id"].encode()))


def winning_orders(orders: Iterable[Record], as_of: int) -> list[Record]:
    """The winning record of each order of each customer known at `as_of`."""
    winner: dict[tuple[str, str], Record] = {}
    for o in sorted(orders, key=lambda o: (o["updated_ts"], STATUSES.index(o["status"]), cents(o["total"]))):
        if o["updated_ts"] <= as_of:
            winner[o["customer_id"], o["order_id"]] = o
    return list(winner.values())


def _sessions(events: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    sessions = defaultdict(list)
    for event in events:
        sessions[event["customer_id"], event["session_id"]].append(event)
    return dict(sessions)


def _order_features(winners: list[Record], as_of: int) -> Row:
    placed = [o for o in winners if o["status"] == "placed"]
    times = [o["ts"] for o in placed]
    last = max(times, default=None)
    gap = _over((max(times) - min(times)) / DAY, len(times) - 1) if times else None
    recency = _over(_less(as_of, last), DAY)
    row: Row = {
        "last_order_ts": last,
        "recency_days": recency,
        "orders_total": len(placed),
        "revenue_total": _sum(placed),
    }
    within = {days: [o for o in placed if o["ts"] > as_of - days * DAY] for days in (7, 30, 90, 365)}
    row |= {f"orders_{days}d": len(one) for days, one in within.items()}
    row |= {f"revenue_{days}d": _sum(one) for days, one in within.items()}
    returned = [o for o in winners if o["status"] in ("cancelled", "refunded") and o["ts"] > as_of - 365 * DAY]
    return row | {
        "avg_order_value_365d": _over(row["revenue_365d"], row["orders_365d"]),
        "order_gap_mean_days": gap,
        "recency_ratio": None if recency is None or not gap else recency / gap,
        "returns_365d": len(returned),
    }


def _session_features(sessions: list[list[Record]], as_of: int) -> Row:
    within = {days: [s for s in sessions if s[0]["ts"] > as_of - days * DAY] for days in (7, 30, 90)}
    month = within[30]
    types = Counter(e["event_type"] for session in month for e in session)
    carts = sum(_has(s, "add_to_cart") for s in month)
    abandoned = sum(_abandoned(s, as_of) for s in month)
    converted = sum(_has(s, "purchase") for s in month)
    views = [e.get("category") for s in within[90] for e in s if e["event_type"] == "product_view"]
    category, views_of_it = _top(views)
    return {
        "sessions_7d": len(within[7]),
        "sessions_30d": len(month),
        "sessions_90d": len(within[90]),
        "events_30d": sum(types.values()),
        "events_per_session_30d": _over(sum(types.values()), len(month)),
        "session_duration_mean_30d": _over(sum(s[-1]["ts"] - s[0]["ts"] for s in month) / 1000, len(month)),
        "product_views_30d": types["product_view"],
        "searches_30d": types["search"],
        "add_to_carts_30d": types["add_to_cart"],
        "cart_sessions_30d": carts,
        "abandoned_carts_30d": abandoned,
        "cart_abandon_rate_30d": _over(abandoned, carts),
        "converted_sessions_30d": converted,
        "conversion_rate_30d": _over(converted, len(month)),
        "mobile_share_30d": _over(sum(s[0]["device"] == "mobile" for s in month), len(month)),
        "visit_trend": _over(len(within[7]), len(month) * 7 / 30),
        "top_category_90d": category,
        "top_category_share_90d": _over(views_of_it, len([c for c in views if c is not None])),
    }


def loop_sessions(events: Iterable[Record], as_of: int, counting: Counting = in_archive) -> list[Row]:
    """The document of every session known at `as_of`; times in epoch milliseconds."""
    rows = []
    for (customer, session), clicks in _sessions(known_events(events, as_of, counting)).items():
        first, last = clicks[0], clicks[-1]
        reached = {
            stage: min((e["ts"] for e in clicks if e["event_type"] == event_type), default=None)
            for stage, event_type in (
                ("view", "product_view"),
                ("cart", "add_to_cart"),
                ("checkout", "checkout"),
                ("purchase", "purchase"),
            )
        }
        row: Row = {"customer_id": customer, "session_id": session, "start_ts": first["ts"], "last_ts": last["ts"]}
        row |= {"duration_s": (last["ts"] - first["ts"]) / 1000, "events": len(clicks)}
        row |= {f"n_{event_type}": sum(e["event_type"] == event_type for e in clicks) for event_type in TYPES}
        row |= {"device": first["device"], "channel": first.get("channel"), "country": first.get("country")}
        row["category"] = _top([e.get("category") for e in clicks if e["event_type"] == "product_view"])[0]
        row["stage"] = ["visit", *(stage for stage, ts in reached.items() if ts is not None)][-1]
        row |= {f"{stage}_ts": ts for stage, ts in reached.items()}
        row["to_view_s"] = _seconds_between(first["ts"], reached["view"])
        row["view_to_cart_s"] = _seconds_between(reached["view"], reached["cart"])
        row["cart_to_checkout_s"] = _seconds_between(reached["cart"], reached["checkout"])
        row["checkout_to_purchase_s"] = _seconds_between(reached["checkout"], reached["purchase"])
        row["to_purchase_s"] = _seconds_between(first["ts"], reached["purchase"])
        rows.append(row | {"converted": _has(clicks, "purchase"), "abandoned": _abandoned(clicks, as_of)})
    return rows


def _seconds_between(earlier: int | None, later: int | None) -> float | None:
    return None if earlier is None or later is None or later < earlier else (later - earlier) / 1000


def loop_orders(orders: Iterable[Record], as_of: int) -> list[Row]:
    """The document of every order known at `as_of`: its winning record, with the number of its lines."""
    fields = ("order_id", "customer_id", "ts", "updated_ts", "status")
    optional = ("session_id", "channel", "country", "payment_method")
    return [
        {name: o[name] for name in fields}
        | {"total": cents(o["total"]) / 100}
        | {name: o.get(name) for name in optional}
        | {"items": len(o.get("items") or [])}
        for o in winning_orders(orders, as_of)
    ]


def loop_order_items(orders: Iterable[Record], as_of: int) -> list[Row]:
    """The document of every line of every winning order record known at `as_of`; `line` counts from 1.

    Lines that only a losing record has are not listed: a document of one, if there is any, has the status `void`.
    """
    rows = []
    for o in winning_orders(orders, as_of):
        for line, item in enumerate(o.get("items") or [], start=1):
            price = None if item.get("unit_price") is None else cents(item["unit_price"])
            quantity = item.get("quantity")
            row: Row = {"order_id": o["order_id"], "line": line, "customer_id": o["customer_id"], "ts": o["ts"]}
            row |= {"status": o["status"], "product_id": item.get("product_id"), "category": item.get("category")}
            row |= {"quantity": quantity, "unit_price": _over(price, 100)}
            row["amount"] = None if price is None or quantity is None else price * quantity / 100
            rows.append(row | {"channel": o.get("channel"), "country": o.get("country")})
    return rows


def _abandoned(session: Sequence[Record], as_of: int) -> bool:
    return _has(session, "add_to_cart") and not _has(session, "purchase") and session[-1]["ts"] <= as_of - 1_800_000


def _has(session: Sequence[Record], event_type: str) -> bool:
    return any(event["event_type"] == event_type for event in session)


def _top(categories: Iterable[str | None]) -> tuple[str | None, int | None]:
    counts = Counter(c for c in categories if c is not None)
    return min(counts.items(), key=lambda pair: (-pair[1], pair[0].encode()), default=(None, None))


def _sum(orders: Iterable[Record]) -> float:
    return sum(cents(o["total"]) for o in orders) / 100


def _less(a: int, b: int | None) -> int | None:
    return None if b is None else a - b


def _over(a: float | None, b: float) -> float | None:
    return None if a is None or b == 0 else a / b

"""Writes the reasons of a churn probability in words, with the numbers of the customer. Pure.

A reason is an input of the model. Its text states what the row contains, never more: "No visit for 35 days (usually
every 6)". An input whose numbers are missing has its label only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.definitions import SESSION_WINDOW_MS
from features.labels import value_label
from features.schema import DAY_MS

Row = Mapping[str, Any]
Sentence = Callable[[Row, MoneyFormat], str]

_VISIT_DAYS: Final = SESSION_WINDOW_MS // DAY_MS
"""Days of the longest window over visits."""
_SPANS: Final = {7: "the last 7 days", 30: "the last 30 days", 90: "the last 90 days", 365: "the last 12 months"}


class _MissingError(Exception):
    """The row lacks a number of the sentence."""


def reason(name: str, row: Row, money: MoneyFormat = PLAIN_MONEY) -> str:
    """Return why an input of the churn model raises the probability of a customer.

    Args:
        name: name of the input, one of `churn_reasons`.
        row: features of the customer.
        money: format of amounts.
    """
    sentence = SENTENCES.get(name)
    try:
        return value_label("churn_reasons", name) if sentence is None else sentence(row, money)
    except _MissingError:
        base, text = WITHOUT.get(name, ("", ""))
        # a rate without a base is null; a base that is missing itself states nothing
        return text if base in row and not row[base] else value_label("churn_reasons", name)


def reasons(row: Row, money: MoneyFormat = PLAIN_MONEY) -> list[str]:
    """Return the reasons of a customer's row in words, the strongest first, each once."""
    return list(dict.fromkeys(reason(name, row, money) for name in row.get("churn_reasons") or ()))


# --- numbers in words -------------------------------------------------------------------------------------------------


def number_text(value: float) -> str:
    """Return a number for people: `1,204`, `35`, `2.7`; at most one decimal, none from ten on."""
    return f"{value:,.0f}" if abs(value) >= 10 or float(value).is_integer() else f"{value:,.1f}".removesuffix(".0")


def days_text(value: float) -> str:
    """Return a number of days for people: `35 days`, `1 day`; hours below one day."""
    if 0 < value < 23.5 / 24:
        return counted(max(1, round(value * 24)), "hour")
    return f"{number_text(value)} {'day' if number_text(value) == '1' else 'days'}"


def counted(count: float, one: str, many: str = "") -> str:
    """Return a count with its noun: `no order`, `1 order`, `1,204 orders`."""
    if count == 0:
        return f"no {one}"
    return f"{number_text(count)} {one if number_text(count) == '1' else many or one + 's'}"


def share_text(share: float) -> str:
    """Return a share for people: `98%`. A share that is neither 0 nor 1 is never written as 0% or 100%."""
    percent = round(share * 100)
    if percent == 0 and share > 0:
        return "below 1%"
    return "above 99%" if percent == 100 and share < 1 else f"{percent}%"


def usual_visit_gap(row: Row) -> float | None:
    """Return the mean days between the visits of the last 90 days before the present pause; None below two visits."""
    visits, pause = row.get("sessions_90d"), row.get("days_since_visit")
    if visits is None or pause is None or visits < 2 or pause >= _VISIT_DAYS:
        return None
    return float((_VISIT_DAYS - pause) / visits)


def _value(row: Row, name: str) -> Any:
    value = row.get(name)
    if value is None:
        raise _MissingError
    return value


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _usual(gap: float | None, pause: float) -> str:
    """Return a usual pause after the present one, with its noun unless both are days; empty without one."""
    if not gap:
        return ""
    return f" (usually every {number_text(gap) if min(gap, pause) >= 1 else days_text(gap)})"


# --- one sentence for each input --------------------------------------------------------------------------------------


def _count(name: str, one: str, many: str, days: int) -> Sentence:
    return lambda row, _: _sentence(f"{counted(_value(row, name), one, many)} in {_SPANS[days]}")


def _orders(days: int) -> Sentence:
    return lambda row, _: _sentence(
        f"{counted(_value(row, f'orders_{days}d'), 'order')} in {_SPANS[days]}"
        + _against(row, "orders", days, number_text)
    )


def _visits(days: int) -> Sentence:
    return lambda row, _: _sentence(
        f"{counted(_value(row, f'sessions_{days}d'), 'visit')} in {_SPANS[days]}"
        + _against(row, "sessions", days, number_text)
    )


def _revenue(days: int) -> Sentence:
    return lambda row, money: (
        f"Revenue of {money.text(_value(row, f'revenue_{days}d'))} in {_SPANS[days]}"
        + _against(row, "revenue", days, money.text)
    )


def _revenue_total(row: Row, money: MoneyFormat) -> str:
    return f"Revenue of {money.text(_value(row, 'revenue_total'))} so far"


def _against(row: Row, name: str, days: int, write: Callable[[float], str]) -> str:
    """Return the same figure of the next longer time, against which it is judged; empty if the row lacks it."""
    longer = {f"{name}_{other}d": f"in {text}" for other, text in _SPANS.items() if other > days}
    for field, text in (longer | {f"{name}_total": "so far"}).items():
        if field in row and row[field] is not None:
            return f", {write(row[field])} {text}"
    return ""


def _share(name: str, text: str) -> Sentence:
    return lambda row, _: _sentence(text.format(share_text(_value(row, name))))


def _tenure(row: Row, _: MoneyFormat) -> str:
    return f"Customer for {days_text(_value(row, 'tenure_days'))}"


def _recency(row: Row, _: MoneyFormat) -> str:
    pause = _value(row, "recency_days")
    return f"No order for {days_text(pause)}{_usual(row.get('order_gap_mean_days'), pause)}"


def _recency_ratio(row: Row, _: MoneyFormat) -> str:
    times = number_text(_value(row, "recency_ratio"))
    return f"No order for {days_text(_value(row, 'recency_days'))}, {times} times the usual gap"


def _order_gap(row: Row, _: MoneyFormat) -> str:
    return f"An order every {days_text(_value(row, 'order_gap_mean_days'))} on average"


def _average_order(row: Row, money: MoneyFormat) -> str:
    return f"Orders of {money.text(_value(row, 'avg_order_value_365d'))} on average in {_SPANS[365]}"


def _returns(row: Row, _: MoneyFormat) -> str:
    count = _value(row, "returns_365d")
    return _sentence(f"{counted(count, 'cancelled or refunded order')} in {_SPANS[365]}")


def _pause(row: Row, _: MoneyFormat) -> str:
    pause = _value(row, "days_since_visit")
    return f"No visit for {days_text(pause)}{_usual(usual_visit_gap(row), pause)}"


def _duration(row: Row, _: MoneyFormat) -> str:
    minutes, seconds = divmod(round(_value(row, "session_duration_mean_30d")), 60)
    text = f"{minutes:,} min {seconds} s" if minutes else f"{seconds} s"
    return f"Visits of {text} on average in {_SPANS[30]}"


def _events_per_visit(row: Row, _: MoneyFormat) -> str:
    return f"{number_text(_value(row, 'events_per_session_30d'))} events per visit in {_SPANS[30]}"


def _visit_trend(row: Row, _: MoneyFormat) -> str:
    usual = number_text(_value(row, "sessions_30d") * 7 / 30)
    return _sentence(f"{counted(_value(row, 'sessions_7d'), 'visit')} in {_SPANS[7]}, {usual} at the pace of 30 days")


def _session_trend(row: Row, _: MoneyFormat) -> str:
    last, visits = _value(row, "sessions_30d"), _value(row, "sessions_90d")
    return _sentence(f"{counted(visits, 'visit')} in {_SPANS[90]}, {number_text(last)} of them in {_SPANS[30]}")


def _top_share(row: Row, _: MoneyFormat) -> str:
    share = share_text(_value(row, "top_category_share_90d"))
    return _sentence(f"{share} of product views in {row.get('top_category_90d') or 'one category'}, {_SPANS[90]}")


def _first_order(row: Row, _: MoneyFormat) -> str:
    repeats = max(_value(row, "orders_total") - 1, 0)
    age = (row.get("order_gap_mean_days") or 0) * repeats + _value(row, "recency_days")
    return f"First order {days_text(age)} ago"


def _pace(row: Row, _: MoneyFormat) -> str:
    repeats = max(_value(row, "orders_total") - 1, 0)
    age = (row.get("order_gap_mean_days") or 0) * repeats + _value(row, "recency_days")
    return _sentence(f"{counted(repeats + 1, 'order')} within {days_text(age)}")


def _purchase_pattern(row: Row, money: MoneyFormat) -> str:
    if not row.get("order_gap_mean_days"):
        return f"One order, {days_text(_value(row, 'recency_days'))} ago"
    return f"Purchase rhythm: {_order_gap(row, money)[:1].lower()}{_order_gap(row, money)[1:]}, none for " + days_text(
        _value(row, "recency_days")
    )


def _orders_and_visits(row: Row, _: MoneyFormat) -> str:
    orders, visits = _value(row, "orders_90d"), _value(row, "sessions_90d")
    return _sentence(f"{counted(orders, 'order')} and {counted(visits, 'visit')} in {_SPANS[90]}")


def _last_month(row: Row, _: MoneyFormat) -> str:
    month, visits = _value(row, "sessions_30d"), _value(row, "sessions_90d")
    return _sentence(
        f"{counted(month, 'visit')} in {_SPANS[30]}; {counted(_value(row, 'orders_90d'), 'order')} and "
        f"{counted(visits, 'visit')} in {_SPANS[90]}"
    )


def _orders_total(row: Row, _: MoneyFormat) -> str:
    return _sentence(f"{counted(_value(row, 'orders_total'), 'order')} so far")


_PER_30_DAYS: Final[Mapping[str, tuple[str, str]]] = {
    "events_30d": ("event", "events"),
    "product_views_30d": ("product view", "product views"),
    "searches_30d": ("search", "searches"),
    "add_to_carts_30d": ("product put in the cart", "products put in the cart"),
    "cart_sessions_30d": ("visit with a cart", "visits with a cart"),
    "abandoned_carts_30d": ("abandoned cart", "abandoned carts"),
    "converted_sessions_30d": ("visit with an order", "visits with an order"),
}

SENTENCES: Final[Mapping[str, Sentence]] = {
    "tenure_days": _tenure,
    "recency_days": _recency,
    "recency_ratio": _recency_ratio,
    "orders_total": _orders_total,
    **{f"orders_{days}d": _orders(days) for days in _SPANS},
    "revenue_total": _revenue_total,
    **{f"revenue_{days}d": _revenue(days) for days in _SPANS},
    "avg_order_value_365d": _average_order,
    "order_gap_mean_days": _order_gap,
    "returns_365d": _returns,
    "days_since_visit": _pause,
    **{f"sessions_{days}d": _visits(days) for days in (7, 30, 90)},
    **{name: _count(name, one, many, 30) for name, (one, many) in _PER_30_DAYS.items()},
    "events_per_session_30d": _events_per_visit,
    "session_duration_mean_30d": _duration,
    "cart_abandon_rate_30d": _share("cart_abandon_rate_30d", f"{{}} of the carts of {_SPANS[30]} abandoned"),
    "conversion_rate_30d": _share("conversion_rate_30d", f"{{}} of the visits of {_SPANS[30]} with an order"),
    "mobile_share_30d": _share("mobile_share_30d", f"{{}} of the visits of {_SPANS[30]} on mobile devices"),
    "visit_trend": _visit_trend,
    "top_category_share_90d": _top_share,
    "days_since_first_order": _first_order,
    "bgnbd_churn": _purchase_pattern,
    "bgnbd_alive": _purchase_pattern,
    "bgnbd_orders": _purchase_pattern,
    "orders_per_day": _pace,
    "recent_orders_per_day": _orders(90),
    "recent_sessions_per_day": _visits(90),
    "visit_pause_ratio": _pause,
    "session_trend": _session_trend,
    "recent_conversion": _orders_and_visits,
    "expected_orders": _orders_and_visits,
    "expected_orders_of_last_month": _last_month,
    "visits_alive": _pause,
    "visits_churn": _orders_and_visits,
    "visits_orders": _orders_and_visits,
}
"""Input of the churn model -> its sentence."""

_NO_VISIT: Final = ("sessions_30d", f"No visit in {_SPANS[30]}")
WITHOUT: Final[Mapping[str, tuple[str, str]]] = {
    "avg_order_value_365d": ("orders_365d", f"No order in {_SPANS[365]}"),
    "events_per_session_30d": _NO_VISIT,
    "session_duration_mean_30d": _NO_VISIT,
    "conversion_rate_30d": _NO_VISIT,
    "mobile_share_30d": _NO_VISIT,
    "visit_trend": _NO_VISIT,
    "cart_abandon_rate_30d": ("cart_sessions_30d", f"No visit with a cart in {_SPANS[30]}"),
    "top_category_share_90d": ("top_category_90d", f"No view of a product with a category in {_SPANS[90]}"),
}
"""Input that is null without a base -> the base, and its sentence then."""

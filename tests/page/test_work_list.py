"""The work list without a server: its order against brute force, who is hidden, and the words of each reason."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page.played_search import PlayedSearch

from connectors.formats.money_format import PLAIN_MONEY, money_format
from connectors.formats.rules_file import builtin_rules, default_rules, parse_rules
from dashboards import reasons as reason_texts
from dashboards.customer_summary import customer_summary
from dashboards.reasons import SENTENCES, reason, reasons, share_text
from dashboards.web import work_list as work_list_routes
from dashboards.web.work_list import hidden_customers, work_list, work_list_csv, work_list_data
from features.calendar import UTC_CALENDAR, Calendar
from features.definitions import FEATURES
from features.errors import UsageError
from features.hold_out import HoldOut
from features.labels import DRIVER_LABELS
from features.workspace import DONE_MS, INACTIVE_AFTER_DAYS
from shopstream.jobs.serve_dashboards import action_texts
from training.predict import COLUMNS, matrix

NOW = 1_779_280_440_000
DAY = 86_400_000

PROBABILITIES = (None, 0.5, 0.6, 0.75, 0.75, 0.9, 0.99, 1.0)
WORTHS = (None, 0.0, 1.0, 2.5, 4.0, 4.0, 7.25, 10.0)
PAUSES = (None, 0.0, 3.0, 30.0, 59.9, 60.0, 60.0, 60.01, 200.0)
CONTACT_TIMES = (NOW - 2 * DAY, NOW - DAY)


def documents_of(seed, count):
    """Customers of few different figures, so that many are equal; their states and alerts."""
    rng = np.random.default_rng(seed)

    def one_of(values):
        return values[int(rng.integers(len(values)))]

    customers, contacts, alerts = [], [], []
    for n in range(count):
        key = f"c{n * 7 % 41:02d}"
        customers.append(
            {
                "customer_id": key, "as_of": NOW, "churn_probability": one_of(PROBABILITIES),
                "churn_risk": one_of(("medium", "high", "critical", "critical")), "days_since_visit": one_of(PAUSES),
                "expected_revenue_90d": one_of(WORTHS), "revenue_365d": one_of(WORTHS),
            }
        )  # fmt: skip
        if rng.random() < 0.4:
            until, as_of = one_of((NOW - 1, NOW, NOW + 1, NOW + DAY)), one_of(CONTACT_TIMES)
            state = one_of(("done", "done", "snoozed"))
            contacts.append({"customer_id": key, "state": state, "until_ts": until, "as_of_ts": as_of, "at_ts": NOW})
        if rng.random() < 0.5:
            alerts.append({"customer_id": key, "ts": one_of(CONTACT_TIMES) + one_of((0, 1))})
    return customers, contacts, alerts


def brute_force(customers, contacts, alerts):
    """The whole ranking, by its definition."""
    hidden = {
        one["customer_id"]
        for one in contacts
        if one["until_ts"] > NOW
        and not (
            one["state"] == "done"
            and any(a["customer_id"] == one["customer_id"] and a["ts"] > one["as_of_ts"] for a in alerts)
        )
    }
    ranked = []
    for one in customers:
        expected, past = one["expected_revenue_90d"], one["revenue_365d"]
        if (
            one["churn_probability"] is None
            or one["churn_risk"] == "medium"
            or one["days_since_visit"] is None
            or one["days_since_visit"] > 60
            or one["customer_id"] in hidden
        ):
            continue
        worth = expected if expected is not None else (past or 0.0) * (90 / 365)
        ranked.append((-(one["churn_probability"] * worth), one["customer_id"]))
    return [key for _, key in sorted(ranked)]


@given(st.integers(0, 2**32), st.integers(0, 41), st.integers(0, 6), st.integers(0, 9), st.integers(1, 5))
def test_part_of_the_list_equals_that_of_the_whole_ranking(seed, count, first, size, batch):
    customers, contacts, alerts = documents_of(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work_list_routes, "BATCH", batch)
        patch.setattr(work_list_routes, "STATES_BATCH", batch)
        ranked = work_list(PlayedSearch(customers, contacts, alerts), NOW, first, size)
    whole = set(brute_force(customers, contacts, alerts))
    assert ranked.total == len(whole)
    assert ranked.history == sum(
        one["customer_id"] in whole and one["expected_revenue_90d"] is None for one in customers
    )
    assert [one.customer_id for one in ranked.rows] == brute_force(customers, contacts, alerts)[first : first + size]
    at_risk = [one for one in customers if one["churn_risk"] != "medium" and one["churn_probability"] is not None]
    visits = [one["days_since_visit"] for one in at_risk]
    assert ranked.inactive == sum(days is None or days > INACTIVE_AFTER_DAYS for days in visits)


def customer(key, worth, probability=0.9, **more):
    return {
        "customer_id": key, "expected_revenue_90d": worth, "churn_probability": probability, "churn_risk": "high",
        "days_since_visit": 5.0, "as_of": NOW, **more,
    }  # fmt: skip


def test_hold_out_customers_are_never_listed_but_count_as_at_risk():
    rule = HoldOut(0.5, "test")
    customers = [customer(f"c{n:03d}", 500.0 - n) for n in range(300)]
    search = PlayedSearch(customers)
    ranked = work_list(search, NOW, 0, 500, rule)
    expected = [one["customer_id"] for one in customers if not rule.contains(one["customer_id"])]
    assert [one.customer_id for one in ranked.rows] == expected
    assert 100 < len(expected) < 200
    assert ranked.total == 300
    data = work_list_data({}, search, NOW, PLAIN_MONEY, {}, "", rule, "Effect of a contact: not yet known")
    assert data["hold_out"].startswith("50% of all customers are the hold-out group")
    assert data["effect"] == "Effect of a contact: not yet known"
    assert not any(rule.contains(row["id"]) for row in data["rows"])
    assert work_list_data({}, search, NOW, PLAIN_MONEY, {})["hold_out"] == ""


def test_reading_ends_when_no_unread_customer_can_be_among_the_first():
    search = PlayedSearch([customer(f"c{n:05d}", 10_000.0 - n) for n in range(10_000)])
    ranked = work_list(search, NOW)
    assert [one.customer_id for one in ranked.rows] == [f"c{n:05d}" for n in range(20)]
    assert (ranked.total, search.batches) == (10_000, 7)


def test_customer_of_less_worth_but_higher_probability_comes_first():
    search = PlayedSearch([customer("rich", 100.0, 0.6), customer("sure", 90.0, 0.99)])
    assert [one.customer_id for one in work_list(search, NOW).rows] == ["sure", "rich"]


def test_unread_customer_of_an_equal_product_comes_before_a_later_id():
    search = PlayedSearch([customer("z", 10.0, 0.5), customer("b", 5.0, 0.5), customer("c", 5.0, 1.0)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work_list_routes, "BATCH", 2)
        assert [one.customer_id for one in work_list(search, NOW, size=1).rows] == ["c"]


def test_alert_at_the_time_of_the_row_is_not_newer_than_the_contact():
    contacts = [
        {"customer_id": key, "state": "done", "until_ts": NOW + DAY, "as_of_ts": as_of}
        for key, as_of in (("a", NOW - DAY), ("b", NOW - 2 * DAY))
    ]
    alerts = [{"customer_id": "a", "ts": NOW - DAY}]
    assert hidden_customers(PlayedSearch(alerts=alerts), contacts, NOW) == {"a", "b"}


@pytest.mark.parametrize(
    ("contact", "alert_ts", "is_hidden"),
    [
        ({"state": "snoozed", "until_ts": NOW + 1}, None, True),
        ({"state": "snoozed", "until_ts": NOW}, None, False),
        ({"state": "snoozed", "until_ts": NOW + 1}, NOW, True),
        ({"state": "done", "until_ts": NOW + DONE_MS}, None, True),
        ({"state": "done", "until_ts": NOW + DONE_MS}, NOW - DAY, True),
        ({"state": "done", "until_ts": NOW + DONE_MS}, NOW - DAY + 1, False),
        ({"state": "done", "until_ts": NOW - 1}, None, False),
    ],
)
def test_state_hides_a_customer_until_its_end_or_a_newer_alert(contact, alert_ts, is_hidden):
    document = {"customer_id": "a", "as_of_ts": NOW - DAY, **contact}
    alerts = [] if alert_ts is None else [{"customer_id": "a", "ts": alert_ts}, {"customer_id": "b", "ts": NOW}]
    assert hidden_customers(PlayedSearch(alerts=alerts), [document], NOW) == ({"a"} if is_hidden else set())


@pytest.mark.parametrize(
    ("customers", "text"),
    [
        ([customer("a", 1.0)], "expected revenue of the next 90 days"),
        ([customer("a", None, revenue_365d=365.0)], "there is no next-purchase model"),
        ([customer("a", None, revenue_365d=365.0), customer("b", 1.0)], "for the 1 customer without it"),
        ([], "expected revenue of the next 90 days"),
    ],
)
def test_list_names_the_worth_that_it_ranks_by(customers, text):
    data = work_list_data({}, PlayedSearch(customers), NOW, PLAIN_MONEY, {})
    assert text in data["worth"]
    if customers and customers[0]["expected_revenue_90d"] is None:
        assert (data["rows"][0]["worth"], data["rows"][0]["basis"]) == (90.0, "history")


def test_csv_has_one_row_for_each_customer_with_reasons_and_the_text_of_the_action():
    row = customer("=1+1", 12.5, churn_reasons=["days_since_visit"], recommended_action="let_go", sessions_90d=11)
    data = work_list_data({}, PlayedSearch([row]), NOW, money_format("EUR", "de-DE"), action_texts())
    head, cells = csv.reader(io.StringIO(work_list_csv(data, money_format("EUR", None))))
    assert head[:3] == ["Customer", "Savable revenue (EUR)", "Worth, 90 days (EUR)"]
    assert cells[:3] == ["'=1+1", "11.25", "12.50"]
    assert "No visit for 5 days (usually every 7.7)" in cells
    assert "no paid contact" in cells


@pytest.mark.parametrize(
    "parameters", [{"size": ["501"]}, {"first": ["2001"]}, {"first": ["-1"]}, {"size": ["1", "2"]}]
)
def test_range_of_rows_out_of_bounds_is_refused(parameters):
    with pytest.raises(UsageError):
        work_list_data(parameters, PlayedSearch(), NOW, PLAIN_MONEY, {})


# --- reasons in words -------------------------------------------------------------------------------------------------
ROW = {
    "tenure_days": 400.2, "recency_days": 35.4, "orders_total": 12, "revenue_total": 1234.5, "orders_7d": 0,
    "orders_30d": 0, "orders_90d": 3, "orders_365d": 11, "revenue_7d": 0.0, "revenue_30d": 0.0, "revenue_90d": 150.0,
    "revenue_365d": 1100.0, "avg_order_value_365d": 100.0, "order_gap_mean_days": 6.2, "recency_ratio": 5.7,
    "returns_365d": 1, "days_since_visit": 35.0, "sessions_7d": 0, "sessions_30d": 1, "sessions_90d": 9,
    "events_30d": 4, "events_per_session_30d": 4.0, "session_duration_mean_30d": 95.0, "product_views_30d": 2,
    "searches_30d": 1, "add_to_carts_30d": 1, "cart_sessions_30d": 1, "abandoned_carts_30d": 1,
    "cart_abandon_rate_30d": 1.0, "converted_sessions_30d": 0, "conversion_rate_30d": 0.0, "mobile_share_30d": 0.4,
    "visit_trend": 0.0, "top_category_90d": "Books", "top_category_share_90d": 0.8,
}  # fmt: skip


def model_inputs():
    columns = {name: np.ones(1) for name in COLUMNS}
    visits = {"r": 1.0, "alpha": 1.0, "s": 1.0, "beta": 2.0, "orders": 1.0, "misses": 1.0}
    return matrix(columns, {"r": 1.0, "alpha": 1.0, "a": 1.0, "b": 1.0, "visits": visits}, 90.0)[1]


@pytest.mark.parametrize("name", model_inputs())
def test_every_input_of_the_model_has_a_sentence_with_a_number_of_the_customer(name):
    text = reason(name, ROW)
    assert text not in DRIVER_LABELS.values()
    assert any(character.isdigit() for character in text) or text.startswith("No ")
    assert "_" not in text
    assert text[0].isupper() or text[0].isdigit()


@pytest.mark.parametrize("name", model_inputs())
def test_input_without_numbers_has_its_label(name):
    assert reason(name, {"orders_total": 1} if "orders" not in name else {}) in {
        *DRIVER_LABELS.values(),
        "1 order so far",
        reason_texts.value_label("churn_reasons", name),
    }


@pytest.mark.parametrize(
    ("name", "row", "text"),
    [
        ("days_since_visit", ROW, "No visit for 35 days (usually every 6.1)"),
        ("days_since_visit", {"days_since_visit": 235.49, "sessions_90d": 0}, "No visit for 235 days"),
        (
            "days_since_visit",
            {"days_since_visit": 0.3, "sessions_90d": 180},
            "No visit for 7 hours (usually every 12 hours)",
        ),
        ("recency_days", {"recency_days": 1.0, "order_gap_mean_days": None}, "No order for 1 day"),
        ("bgnbd_churn", ROW, "Purchase rhythm: an order every 6.2 days on average, none for 35 days"),
        ("bgnbd_churn", {"orders_total": 1, "recency_days": 40.0}, "One order, 40 days ago"),
        ("orders_90d", {"orders_90d": 0}, "No order in the last 90 days"),
        ("revenue_365d", ROW, "Revenue of €1,100.00 in the last 12 months, €1,234.50 so far"),
        (
            "conversion_rate_30d",
            {"conversion_rate_30d": 0.004},
            "Below 1% of the visits of the last 30 days with an order",
        ),
        ("session_duration_mean_30d", ROW, "Visits of 1 min 35 s on average in the last 30 days"),
        ("something_else", ROW, "Something else"),
        ("conversion_rate_30d", {"sessions_30d": 0, "conversion_rate_30d": None}, "No visit in the last 30 days"),
        ("conversion_rate_30d", {}, DRIVER_LABELS["conversion_rate_30d"]),
        ("cart_abandon_rate_30d", {"cart_sessions_30d": 0}, "No visit with a cart in the last 30 days"),
    ],
)  # fmt: skip
def test_reason_has_the_numbers_of_the_customer(name, row, text):
    assert reason(name, row, money_format("EUR", None)) == text


def test_reasons_of_equal_words_appear_once():
    row = ROW | {"churn_reasons": ["visit_pause_ratio", "days_since_visit", "orders_90d"]}
    assert reasons(row) == [
        "No visit for 35 days (usually every 6.1)",
        "3 orders in the last 90 days, 11 in the last 12 months",
    ]
    assert reasons({}) == []


def test_share_that_is_not_certain_is_never_written_as_certain():
    assert [share_text(share) for share in (0.0, 0.001, 0.5, 0.996, 0.9999, 1.0)] == [
        "0%", "below 1%", "50%", "above 99%", "above 99%", "100%",
    ]  # fmt: skip


def test_every_reason_uses_fields_of_a_row_only():
    class Row(dict):
        def get(self, name, default=None):
            assert name in {feature.name for feature in FEATURES}
            return super().get(name, default)

    for name in SENTENCES:
        reason(name, Row(ROW))


def test_every_action_of_the_built_in_rules_has_its_text():
    texts = action_texts()
    for name, text in builtin_rules().items():
        assert parse_rules(text, name).document.actions.keys() <= texts.keys()
    assert dict(default_rules().document.actions).items() <= texts.items()


# --- the sentence about a customer ------------------------------------------------------------------------------------
LAST = 1_774_310_400_000  # 2026-03-24T00:00Z


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"orders_total": 8, "last_order_ts": LAST, "last_seen_ts": LAST, "order_gap_mean_days": 6.0,
             "churn_probability": 0.98, "bundle": "churn-90d-0123456789"},
            "Bought every 6 days until 24 Mar 2026, silent for 235 days; 98% likely not to order within 90 days.",
        ),
        (
            {"orders_total": 8, "last_order_ts": LAST, "last_seen_ts": LAST + 225 * DAY, "order_gap_mean_days": 6.0,
             "churn_probability": 0.98, "bundle": "churn-30d-0123456789"},
            (
                "Bought every 6 days until 24 Mar 2026, no order for 235 days, last visit 10 days ago; "
                "98% likely not to order within 30 days."
            ),
        ),
        (
            {"orders_total": 1, "last_order_ts": LAST, "churn_probability": 0.5},
            (
                "Bought once, on 24 Mar 2026, silent for 235 days; "
                "50% likely not to order within the horizon of the model."
            ),
        ),
        (
            {"orders_total": 3, "last_order_ts": LAST, "order_gap_mean_days": 300.0},
            "Buys every 300 days, last on 24 Mar 2026; without a churn model yet.",
        ),
        ({"orders_total": 2, "last_order_ts": LAST, "order_gap_mean_days": 0.0},
         "Bought 2 times, on 24 Mar 2026, silent for 235 days; without a churn model yet."),
        ({"orders_total": 0, "last_seen_ts": LAST + 235 * DAY},
         "Has not ordered yet; last visit today; without a churn score until the first order."),
    ],
)  # fmt: skip
def test_sentence_states_the_history_and_the_outlook_of_a_customer(row, text):
    assert customer_summary(row, LAST + 235 * DAY, UTC_CALENDAR) == text


def test_dates_of_the_sentence_are_days_of_the_shop():
    row = {"orders_total": 1, "last_order_ts": LAST - 1, "last_seen_ts": None}
    assert "on 23 Mar 2026" in customer_summary(row, LAST, UTC_CALENDAR)
    assert "on 24 Mar 2026" in customer_summary(row, LAST, Calendar("Europe/Berlin"))

"""The equations of the summary, the state of the demo in a run, and the shop that its options request."""

from __future__ import annotations

import dataclasses
import io

import msgspec
import pytest
from rich.console import Console

from connectors.formats.money_format import PLAIN_MONEY
from consumers.audit import AuditResult, TopicAudit
from dashboards.queries import fields_of
from features.calendar import Calendar, day_number
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, STAGES
from producers.shop.shop import Shop
from shopstream.demo.demo import Demo, demo_state
from shopstream.demo.queries import FUNNEL, PRODUCTS, REVENUE, RISK, SEGMENTS, DocumentCounts, _with_months
from shopstream.demo.summary import Audit, Equation, Round, equations, print_summary
from shopstream.jobs.check_dashboards import declared_kinds
from shopstream.jobs.seed_history import HistoryState, same_size, write_state
from shopstream.runtime.supervisor import RunOutcome
from shopstream.settings import Settings

SHOP = Shop(end_ms=20_000 * DAY_MS, seed=7, customers=10, events=100, days=30)


def an_audit(**changes):
    indices = {"events": 100, "customers": 9, "sessions": 20, "orders": 5, "order-items": 8} | changes.pop(
        "indices", {}
    )
    topics = {
        "events": TopicAudit(messages=103, dead_letters=2, distinct=100),
        "orders": TopicAudit(messages=6, dead_letters=0, distinct=5),
        "customers": TopicAudit(messages=10, dead_letters=0, distinct=10),
    } | changes.pop("topics", {})
    seen = {"customers": 9, "profiles_unseen": 1, "sessions": 20, "feature_rows": 9}
    counts = {"with_profile": 9, "order_lines": 8, "trends": {}, "alerts": 0, "scored": None}
    seen |= {name: value for name, value in changes.items() if name in seen}
    counts |= {name: value for name, value in changes.items() if name in counts}
    return Audit(AuditResult(topics, **seen), DocumentCounts(indices, **counts))


SENT = HistoryState(SHOP, SHOP.end_ms, {"events": 103, "orders": 6, "customers": 10}, whole=True)


def with_unknown(delivered):
    return msgspec.structs.replace(SENT.with_delivered(delivered), sent_unknown=True)


def wrong(audit, state=SENT):
    return [equation.what for equation in equations(audit, state) if not equation.holds]


def test_consistent_counts_give_no_error():
    assert wrong(an_audit()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"indices": {"events": 99}}, ["events"]),
        ({"indices": {"events": 101}}, ["events"]),
        ({"topics": {"events": TopicAudit(103, 2, 101)}}, ["events"]),
        ({"indices": {"orders": 6}}, ["orders"]),
        ({"indices": {"customers": 10}}, ["customers"]),
        ({"with_profile": 10}, ["profiles"]),
        ({"feature_rows": 8}, ["rows in Kafka"]),
        ({"sessions": 21}, ["sessions"]),
        ({"scored": 8}, ["scored"]),
        ({"scored": 9}, []),
        ({"order_lines": 9}, ["order lines"]),
    ],
)
def test_count_that_differs_is_named(changes, expected):
    assert wrong(an_audit(**changes)) == expected


def test_records_sent_but_not_in_kafka_are_reported():
    assert wrong(an_audit(), SENT.with_delivered({"events": 1})) == ["events"]


def test_number_sent_is_unknown_after_a_killed_live_shop():
    assert wrong(an_audit(), with_unknown({"events": 1})) == []
    assert [equation.sent for equation in equations(an_audit(), with_unknown({}))[:3]] == [None, None, None]


def test_dead_letters_and_duplicates_are_part_of_the_sums():
    assert Equation("events", 10, 5, sent=10, dead_letters=3, repeated=2).holds
    assert not Equation("events", 10, 6, sent=10, dead_letters=3, repeated=2).holds


def test_compacted_records_may_have_been_tombstones():
    topics = {"customers": TopicAudit(messages=11, dead_letters=0, distinct=9, compacted=2)}
    assert wrong(an_audit(topics=topics, with_profile=8)) == []
    assert wrong(an_audit(topics=topics, with_profile=9)) == ["profiles"]
    lost = {"customers": TopicAudit(messages=9, dead_letters=0, distinct=9, compacted=0)}
    assert wrong(an_audit(topics=lost, with_profile=8)) == ["profiles"]


# --- the tables ---

ROWS = {
    FUNNEL.id: [
        {"stage": stage, "Sessions": count} for stage, count in zip(STAGES, (200, 100, 40, 20, 10), strict=False)
    ],
    REVENUE.id: [
        {"month": "2025-01", "revenue": 1_234.5, "orders": 7},
        {"month": "2025-02", "revenue": 617.25, "orders": 3},
    ],
    PRODUCTS.id: [{"product": "p1", "category": "toys", "order lines": 3, "units": 1_004, "revenue": 9.5}],
}


def printed(audit):
    out = Console(file=io.StringIO(), width=120)
    outcome = RunOutcome((), (), None, interrupted=False, seconds=1.0)
    holds = print_summary(out, audit, Round(outcome, None, 0), SENT, 2.0, PLAIN_MONEY)
    return holds, [line.split() for line in out.file.getvalue().splitlines()]


def test_the_summary_shows_the_rows_of_its_panels():
    holds, lines_of_words = printed(dataclasses.replace(an_audit(), rows=ROWS))
    assert holds
    assert [STAGES[0], "200", "100.0%", "100.0%", "█" * 24] in lines_of_words
    assert [STAGES[2], "40", "20.0%", "40.0%", "█" * 5] in lines_of_words
    assert ["2025-01", "1,234.50", "7", "█" * 24] in lines_of_words
    assert ["2025-02", "617.25", "3", "█" * 12] in lines_of_words
    assert ["p1", "toys", "3", "1,004", "9.50"] in lines_of_words


def test_months_of_the_summary_are_those_of_the_shop_zone():
    start = Calendar("Europe/Berlin").day_start_ms(day_number("2025-02-01"))
    row = {"month": start, "revenue": 1.0, "orders": 1}
    assert _with_months(REVENUE, row, Calendar("Europe/Berlin"))["month"] == "2025-02"
    assert _with_months(REVENUE, row, Calendar())["month"] == "2025-01"
    assert _with_months(PRODUCTS, {"product": "p1"}, Calendar()) == {"product": "p1"}


def test_the_summary_names_counts_that_do_not_agree():
    holds, lines_of_words = printed(dataclasses.replace(an_audit(sessions=21), rows=ROWS))
    assert not holds
    assert ["✗", "the", "counts", "of", "sessions", "do", "not", "agree"] in lines_of_words


@pytest.mark.parametrize("panel", [FUNNEL, REVENUE, PRODUCTS, RISK, SEGMENTS], ids=lambda panel: panel.id)
def test_panels_of_the_summary_use_declared_fields(panel):
    assert set(fields_of(panel)) <= set(declared_kinds()[panel.data.index])


# --- the state of a run ---


def settings(home, run="one"):
    (home / "demo").mkdir(exist_ok=True)
    return Settings(home=home, run=run)


def file_of_format_1(home, run="one"):
    return home / "demo" / f"{run}.json"


def test_each_run_has_its_own_state(tmp_path):
    write_state(settings(tmp_path).home / "demo", "one", SENT)
    assert demo_state(settings(tmp_path)) == SENT
    assert demo_state(settings(tmp_path, "other")) is None


def test_damaged_state_file_is_an_error(tmp_path):
    (settings(tmp_path).home / "demo" / "sent-one.json").write_text("{")
    with pytest.raises(ShopstreamError, match="damaged"):
        demo_state(settings(tmp_path))


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"phase": "replayed", "until_ms": SHOP.end_ms}, {"until_ms": SHOP.end_ms, "whole": True}),
        ({"phase": "replayed"}, {"until_ms": SHOP.end_ms, "whole": True}),
        ({"phase": "replaying", "until_ms": 7}, {"until_ms": 7}),
        ({"phase": "replaying", "until_ms": 7, "live_open": True}, {"until_ms": 7, "sent_unknown": True}),
    ],
)
def test_a_state_of_format_1_is_read_once(tmp_path, fields, state):
    file = file_of_format_1(settings(tmp_path).home)
    file.write_bytes(msgspec.json.encode({"shop": SHOP, "sent": {"events": 5}} | fields))
    expected = HistoryState(SHOP, **{"delivered": {"events": 5}} | state)
    assert demo_state(settings(tmp_path)) == expected
    assert not file.exists()
    assert demo_state(settings(tmp_path)) == expected


def test_a_state_of_format_1_without_position_is_refused(tmp_path):
    file = file_of_format_1(settings(tmp_path).home)
    file.write_bytes(msgspec.json.encode({"shop": SHOP, "phase": "replaying"}))
    with pytest.raises(UsageError, match="has format 1"):
        demo_state(settings(tmp_path))
    assert file.exists()


# --- the shop ---


def test_history_ends_at_a_midnight_14_days_ago():
    shop = Demo(customers=10, events=100, days=30).shop(20_014 * DAY_MS + 12_345)
    assert shop.end_ms == 20_000 * DAY_MS
    assert shop == SHOP


def test_shop_generated_on_another_day_is_the_same_demo():
    demo = Demo(customers=10, events=100, days=30)
    assert same_size(demo.shop(20_900 * DAY_MS), SHOP)
    assert not same_size(Demo(customers=10, events=100, days=31).shop(20_900 * DAY_MS), SHOP)


def test_an_impossible_shop_is_a_usage_error():
    with pytest.raises(UsageError):
        Demo(customers=0).shop(20_000 * DAY_MS)

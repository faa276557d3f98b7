"""Digests: figures against sums over the documents by hand, once for each period and target."""

import json
import threading

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from notifications.receivers import WebReceiver, until

from connectors.clock import iso
from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.mappings import month_indices, write_index
from connectors.formats.money_format import money_format
from consumers.index_definitions import run_definitions
from features.calendar import Calendar
from features.errors import ShopstreamError
from shopstream.jobs import digest as digest_job
from shopstream.jobs.digest import DigestRequest, last_period, send_digests, state_file
from shopstream.settings import (
    ElasticsearchSettings,
    HoldOutSettings,
    NotifySettings,
    Settings,
    ShopSettings,
    TargetSettings,
)

BERLIN = Calendar("Europe/Berlin")
NOW = 1_779_280_440_000  # 2026-05-20T12:34:00Z
HOUR = 3_600_000
DAY = 24 * HOUR
TODAY = BERLIN.day_start_ms(BERLIN.day_at(NOW))


@pytest.fixture(scope="module")
def client(servers):
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        yield client


@pytest.fixture(scope="module")
def shop_run(client, shared_run):
    """A run with documents, which no test changes."""
    put(client, shared_run)
    return shared_run


@pytest.fixture
def settings(servers, tmp_path):
    endpoint = servers.elasticsearch
    elastic = ElasticsearchSettings(url=endpoint.url, username=endpoint.username, password=endpoint.password)

    def make(run, **receivers):
        made = {name: TargetSettings(kind="webhook", url=one.url) for name, one in receivers.items()}
        notify = NotifySettings(page_url="https://page.example", targets=made, give_up_after_s=3)
        shop = ShopSettings(time_zone="Europe/Berlin", currency="EUR")
        return Settings(home=tmp_path, run=run, elasticsearch=elastic, notify=notify, shop=shop)

    return make


def put(client, run):
    """Two orders yesterday, one of them refunded; one the day before; some just outside; visits, alerts, customers."""
    install(client, run, run_definitions(contact=False))
    yesterday, before = TODAY - DAY, TODAY - 2 * DAY
    orders = [
        (yesterday, "placed", 10.0), (TODAY - 1, "placed", 32.5), (yesterday + HOUR, "refunded", 99.0),
        (before, "placed", 20.0), (yesterday - 1, "placed", 5.0), (TODAY, "placed", 1_000.0),
    ]  # fmt: skip
    lines = []
    for number, (ts, status, total) in enumerate(orders):
        (index,) = month_indices(run, "orders", np.array([ts]))
        lines += [
            {"index": {"_index": index, "_id": str(number)}},
            {"order_id": str(number), "customer_id": "c", "ts": ts, "status": status, "total": total},
        ]
    stages = [(yesterday, "purchase"), (yesterday + HOUR, "visit"), (yesterday + HOUR, "cart"), (TODAY - 1, "visit")]
    stages += [(before, "purchase"), (before, "visit"), (TODAY, "purchase")]
    for number, (ts, stage) in enumerate(stages):
        document = {"session_id": str(number), "customer_id": "c", "start_ts": ts, "stage": stage}
        lines += [{"index": {"_index": write_index(run, "sessions"), "_id": str(number)}}, document]
    for number, (ts, risk) in enumerate([(yesterday, "high"), (yesterday, "critical"), (yesterday, "medium")]):
        document = {"customer_id": str(number), "churn_risk": risk, "ts": ts, "day": "x"}
        lines += [{"index": {"_index": write_index(run, "alerts"), "_id": str(number)}}, document]
    for number in range(15):
        document = {
            "customer_id": f"c{number:02d}", "as_of": NOW, "churn_probability": 0.5, "churn_risk": "high",
            "days_since_visit": 12.0, "expected_revenue_90d": 100.0 + number, "churn_reasons": ["days_since_visit"],
            "recommended_action": "personal_contact", "segment": "At Risk", "version": 1,
            "bundle": "churn-60d-0123456789",
        }  # fmt: skip
        lines += [{"index": {"_index": write_index(run, "customers"), "_id": f"c{number:02d}"}}, document]
    answer = client.bulk(operations=lines, refresh=True)
    assert not answer["errors"], [item for item in answer["items"] if item["index"].get("error")][:3]


def send(settings, period="day", **more):
    sayings = []
    request = DigestRequest(period, as_of_ms=NOW, **more)
    return send_digests(settings, request, lambda: False, sayings.append), sayings


def test_digest_has_the_figures_of_the_local_day_against_the_day_before(shop_run, settings):
    with WebReceiver() as web:
        assert send(settings(shop_run, web=web))[0] == []
        (body,) = web.bodies()
    assert body["data"]["figures"] == {"revenue": 42.5, "orders": 2, "conversion": 0.25, "alerts": 2}
    assert body["data"]["figures_before"] == {"revenue": 25.0, "orders": 2, "conversion": 0.5, "alerts": 0}
    assert body["facts"] == {
        "Revenue": "€42.50 (+70% vs. previous day)",
        "Orders": "2 (unchanged vs. previous day)",
        "Conversion rate": "25% (-25.0 pp vs. previous day)",
        "Alerts": "2 (none in the day before)",
    }
    assert (body["type"], body["title"]) == ("digest.day", f"Daily digest, 19 May 2026 ({shop_run})")
    customers = body["data"]["customers"]
    assert [one["customer_id"] for one in customers] == [f"c{n:02d}" for n in range(14, 4, -1)]
    assert customers[0]["savable_revenue"] == 57.0
    entry = body["entries"][0]
    assert (entry["title"], entry["url"]) == ("c14", "https://page.example/?view=customer&id=c14")
    assert entry["lines"][0] == "Savable revenue: €57.00; churn probability within 60 days: 50%"
    assert (body["data"]["complete"], body["data"]["data_to_ms"]) == (True, None)
    assert entry["lines"][1] == "No visit for 12 days"
    assert entry["lines"][2].startswith("Personal contact: ")


def test_digest_suggests_nobody_of_the_hold_out_group_and_states_it(shop_run, settings):
    rule = HoldOutSettings(share=0.4, seed="digest")
    with WebReceiver() as web:
        made = settings(shop_run, web=web).model_copy(update={"hold_out": rule})
        assert send(made)[0] == []
        (body,) = web.bodies()
    suggested = [one["customer_id"] for one in body["data"]["customers"]]
    assert suggested
    assert not any(rule.to_rule().contains(one) for one in suggested)
    assert any(rule.to_rule().contains(f"c{n:02d}") for n in range(5, 15))
    assert body["facts"]["Not suggested"] == "the hold-out group, 40% of all customers"


def test_digest_of_a_period_is_sent_once_to_each_target(shop_run, settings):
    with WebReceiver() as one, WebReceiver() as other:
        both = settings(shop_run, one=one, other=other)
        other.answers = [400]
        failed, sayings = send(both)
        assert failed == ["other"]
        assert "other: the digest is not delivered: status 400" in sayings
        # only the one that has none gets it after a restart
        assert send(both)[0] == []
        assert (len(one.seen), len(other.seen)) == (1, 2)
        assert "was sent already" in send(both)[1][0]
        assert (len(one.seen), len(other.seen)) == (1, 2)
        assert send(both, again=True)[0] == []
        assert len(set(one.ids())) == 1
        assert len(one.seen) == 2
        # the week is another digest
        assert send(both, "week")[0] == []
        assert one.bodies()[-1]["title"] == f"Weekly digest, 11 May 2026 to 17 May 2026 ({shop_run})"
        assert len(set(one.ids()) | set(other.ids())) == 4


def test_digest_without_data_says_so(client, run_name, settings):
    install(client, run_name, run_definitions(contact=False))
    with WebReceiver() as web:
        assert send(settings(run_name, web=web))[0] == []
        (body,) = web.bodies()
    assert body["facts"]["Orders"] == "0 (none in the day before)"
    assert body["facts"]["Conversion rate"] == "none"
    assert body["facts"]["Incomplete"].startswith("there are no data, before the end of the period.")
    assert (body["data"]["complete"], body["data"]["data_to_ms"]) == (False, 0)
    assert body["entries"] == []


def test_digest_whose_data_end_early_is_marked_in_title_facts_and_data(client, run_name, settings):
    install(client, run_name, run_definitions(contact=False))
    end = TODAY - 5 * HOUR
    document = {"session_id": "1", "customer_id": "c", "start_ts": end, "last_ts": end, "stage": "visit"}
    client.index(index=write_index(run_name, "sessions"), document=document, refresh=True)
    with WebReceiver() as web:
        send(settings(run_name, web=web))
        (body,) = web.bodies()
    assert body["title"] == f"Daily digest, 19 May 2026 ({run_name}) (incomplete)"
    assert next(iter(body["facts"].items())) == (
        "Incomplete", f"the data end at {iso(end)}, before the end of the period. Figures may be too low.",
    )  # fmt: skip
    assert (body["data"]["complete"], body["data"]["data_to_ms"]) == (False, end)


def test_figures_for_programs_are_rounded_as_those_of_the_text():
    figures = {"revenue": 0.1 + 0.2, "orders": 3, "conversion": 1 / 3, "alerts": None}
    rounded = {"revenue": 0.3, "orders": 3, "conversion": 0.3333, "alerts": None}
    assert digest_job._exact(figures, money_format("EUR", None)) == rounded


@pytest.mark.parametrize(
    ("now", "then", "text"),
    [
        (0.25, 0.5, "25% (-25.0 pp vs. previous day)"),
        (0.031, 0.028, "3% (+0.3 pp vs. previous day)"),
        (0.02, 0.0, "2% (+2.0 pp vs. previous day)"),
        (0.02, 0.02, "2% (unchanged vs. previous day)"),
        (0.02, None, "2% (none in the day before)"),
    ],
)
def test_change_of_a_share_is_in_points_as_on_the_page(now, then, text):
    assert digest_job._compared("conversion", now, then, "day", money_format("EUR", None)) == text


def test_message_about_a_digest_before_a_later_one_names_the_later_one(shop_run, settings):
    with WebReceiver() as web:
        chosen = settings(shop_run, web=web)
        send(chosen)
        sayings = []
        request = DigestRequest("day", as_of_ms=NOW - 3 * DAY)
        assert send_digests(chosen, request, lambda: False, sayings.append) == []
    assert sayings == ["no digest of the day from 2026-05-16: that from 2026-05-19 was sent already (--again sends it)"]


def test_crash_after_a_delivery_repeats_the_same_id(shop_run, settings):
    with WebReceiver() as web:
        chosen = settings(shop_run, web=web)
        send(chosen)
        state_file(chosen).unlink()
        send(chosen)
        assert len(web.seen) == 2
        assert len(set(web.ids())) == 1


def test_schedule_waits_for_elasticsearch_and_reports_it_once(settings, monkeypatch):
    monkeypatch.setattr(digest_job, "CHECK_EVERY_S", 0.05)
    sayings, tries = [], []

    def read(*_):
        tries.append(1)
        raise ShopstreamError("Elasticsearch does not answer.")

    monkeypatch.setattr(digest_job, "_read_and_send", read)
    with WebReceiver() as web:
        send_digests(settings("t", web=web), DigestRequest("day", repeat=True), lambda: len(tries) >= 3, sayings.append)
    assert sayings == ["no digest: Elasticsearch does not answer."]


def test_schedule_sends_a_digest_when_its_period_is_over(shop_run, settings, monkeypatch):
    monkeypatch.setattr(digest_job, "CHECK_EVERY_S", 0.1)
    clock = [TODAY + digest_job.AFTER_MS - 1]
    monkeypatch.setattr(digest_job, "wall_clock_ms", lambda: clock[0])
    stop = threading.Event()
    with WebReceiver() as web:
        chosen = settings(shop_run, web=web)
        thread = threading.Thread(
            target=send_digests, args=(chosen, DigestRequest("day", repeat=True), stop.is_set, lambda _: None)
        )
        thread.start()
        try:
            # the day before yesterday is over, yesterday not yet for ten minutes
            assert until(lambda: len(web.seen) == 1)
            clock[0] += 1
            assert until(lambda: len(web.seen) == 2)
            assert not until(lambda: len(web.seen) > 2, 1.0)
        finally:
            stop.set()
            thread.join(30)
        days = [json.loads(body)["title"].split(" (")[0] for _, body in web.seen]
    assert days == ["Daily digest, 18 May 2026", "Daily digest, 19 May 2026"]


@pytest.mark.parametrize(
    ("period", "before", "first", "days"),
    [
        ("day", NOW, "2026-05-19", 1), ("day", TODAY, "2026-05-19", 1), ("day", TODAY - 1, "2026-05-18", 1),
        ("week", NOW, "2026-05-11", 7), ("week", TODAY - 2 * DAY, "2026-05-11", 7),
        ("week", TODAY - 2 * DAY - 1, "2026-05-04", 7),
    ],
)  # fmt: skip
def test_last_whole_period(period, before, first, days):
    span = last_period(period, before, BERLIN)
    assert (BERLIN.date_of(span.from_ms), span.to_ms - span.from_ms) == (first, days * DAY)


def test_day_of_a_change_of_the_clocks_is_whole():
    span = last_period("day", BERLIN.unit_start_ms("day", 1_774_828_800_000), BERLIN)
    assert (BERLIN.date_of(span.from_ms), span.to_ms - span.from_ms) == ("2026-03-29", 23 * HOUR)

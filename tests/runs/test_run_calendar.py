"""A run keeps the calendar of its trends and refuses another one until they are computed again."""

import polars as pl
import pytest
from elasticsearch import Elasticsearch

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.mappings import write_index
from connectors.elasticsearch.period_writer import Trend
from connectors.elasticsearch.trend_calendars import stored_calendars
from consumers.index_definitions import run_definitions
from features.calendar import Calendar
from features.errors import ShopstreamError, UsageError
from features.schema import SCHEMA_VERSION, TREND_KEYS
from shopstream.jobs.shop_calendar import archive_calendar, run_calendar, trend_calendar
from shopstream.jobs.write_trends import check_part, write_trends
from shopstream.settings import ElasticsearchSettings, Settings, ShopSettings

BERLIN = Calendar("Europe/Berlin", "sunday")
INDEX = "movement"


def movement(calendar, from_ms=None, to_ms=None):
    start = calendar.unit_start_ms("week", 1_700_000_000_000)
    row = {
        "ts": start, "week": calendar.date_of(start), "new": 1, "returning": 0, "reactivated": 0, "lost": 0,
        "net": 1, "active": 1, "lost_after_days": 90, "complete": True,
    }  # fmt: skip
    return Trend(INDEX, pl.DataFrame([row]), from_ms, to_ms)


@pytest.fixture
def settings(servers, run_name, tmp_path):
    endpoint = servers.elasticsearch
    elastic = ElasticsearchSettings(url=endpoint.url, username=endpoint.username, password=endpoint.password)
    return Settings(home=tmp_path, run=run_name, elasticsearch=elastic)


@pytest.fixture
def client(servers):
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        yield client


def test_trends_without_documents_have_no_calendar(settings, client):
    """The indices exist from the run's start: they must not make a shop of Berlin one of UTC."""
    run = settings.run
    install(client, run, run_definitions(contact=False))
    assert client.count(index=[f"{run}-{index}" for index in TREND_KEYS])["count"] == 0
    assert stored_calendars(client, run, list(TREND_KEYS)) == {}
    assert run_calendar(client, run, ShopSettings(time_zone="Europe/Berlin")) == Calendar("Europe/Berlin")
    check_part(settings, list(TREND_KEYS), BERLIN)
    write_trends(settings, [movement(BERLIN, 0, 2_000_000_000_000)], BERLIN)
    install(client, run, run_definitions(contact=False))
    assert stored_calendars(client, run, list(TREND_KEYS)) == {INDEX: BERLIN}


def test_index_from_before_calendars_is_of_utc(settings, client):
    write_trends(settings, [movement(BERLIN)], BERLIN)
    index = write_index(settings.run, INDEX)
    client.indices.put_mapping(index=index, meta={"schema_version": SCHEMA_VERSION})
    assert stored_calendars(client, settings.run, list(TREND_KEYS)) == {INDEX: Calendar()}


def test_trends_have_a_calendar_and_another_one_is_refused(settings, client):
    run = settings.run
    assert run_calendar(client, run, ShopSettings()) == Calendar()
    write_trends(settings, [movement(BERLIN)], BERLIN)
    assert stored_calendars(client, run, list(TREND_KEYS)) == {INDEX: BERLIN}
    # without settings the run's calendar counts; a part of the settings is compared alone
    assert run_calendar(client, run, ShopSettings()) == BERLIN
    assert run_calendar(client, run, ShopSettings(time_zone="Europe/Berlin")) == BERLIN
    with pytest.raises(ShopstreamError, match="by days of Europe/Berlin, weeks from sunday") as raised:
        run_calendar(client, run, ShopSettings(time_zone="Asia/Kolkata"))
    assert "shopstream rollup DIR" in raised.value.remedy
    # commands that write into the run follow it, too, unless the archive has a zone
    assert trend_calendar(settings) == BERLIN
    # a consumer that starts extends the mappings, and keeps the note
    install(client, run, run_definitions(contact=False))
    assert run_calendar(client, run, ShopSettings()) == BERLIN


def test_part_of_the_trends_by_another_calendar_is_refused_and_all_of_them_replace_it(settings, client):
    write_trends(settings, [movement(BERLIN)], BERLIN)
    part = movement(Calendar(), 0, 2_000_000_000_000)
    with pytest.raises(UsageError, match="these would be by days of UTC"):
        check_part(settings, [INDEX], Calendar())
    with pytest.raises(UsageError, match="these would be by days of UTC"):
        write_trends(settings, [part], Calendar())
    assert run_calendar(client, settings.run, ShopSettings()) == BERLIN
    (replaced,) = write_trends(settings, [movement(Calendar())], Calendar())
    assert (replaced.written, replaced.removed) == (1, 1)
    assert run_calendar(client, settings.run, ShopSettings()) == Calendar()


def test_trends_of_two_calendars_are_refused_with_the_command_that_is_missing(settings, client):
    write_trends(settings, [movement(BERLIN)], BERLIN)
    row = {"ts": 0, "day": "1970-01-01", "level": "total", "category": "all", "revenue": 1.0}
    write_trends(settings, [Trend("forecast", pl.DataFrame([row]))], Calendar())
    with pytest.raises(ShopstreamError) as raised:
        run_calendar(client, settings.run, ShopSettings(time_zone="Europe/Berlin", week_start="sunday"))
    assert raised.value.remedy.startswith("Compute them again: `shopstream forecast DIR --index`")


def test_archive_has_the_zone_of_its_import_unless_the_settings_name_one(tmp_path):
    (tmp_path / "import.json").write_text('{"known_until_ms": 5, "time_zone": "Europe/Berlin"}')
    assert archive_calendar(tmp_path) == Calendar("Europe/Berlin")
    assert archive_calendar(tmp_path, ShopSettings(time_zone="UTC", week_start="sunday")) == Calendar("UTC", "sunday")
    assert archive_calendar(tmp_path / "other", ShopSettings(week_start="saturday")) == Calendar("UTC", "saturday")
    assert archive_calendar(tmp_path / "other", ShopSettings(), BERLIN) == BERLIN
    assert archive_calendar(tmp_path, ShopSettings(), Calendar("Asia/Kolkata")).time_zone == "Europe/Berlin"

"""A history that is sent once: whole, cut off anywhere, called again, and into the wrong run."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS, topic_name
from producers.archive.archive import count_rows, days
from producers.shop.shop import Shop
from shopstream.jobs import seed_history
from shopstream.jobs.produce import open_target, wall_clock

END_MS = 1_760_000_000_000 // DAY_MS * DAY_MS
SHOP = Shop(end_ms=END_MS, seed=3, customers=20, events=600, days=7)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("past") / "shop"
    seed_history.ensure_archive(SHOP, folder, lambda _: None)
    return folder


@pytest.fixture
def own(archive, tmp_path):
    """The archive, with notes of its own beside it."""
    link = tmp_path / "shop"
    link.symlink_to(archive)
    return link


@pytest.fixture
def sending(servers, run_name, monkeypatch, server_settings):
    monkeypatch.setenv("SHOPSTREAM_HOME", str(server_settings.home))
    open_target(run_name, Console(quiet=True))

    def made(interrupted=lambda: False):
        return seed_history.SeedTarget(servers.kafka, run_name, wall_clock(), interrupted, lambda _: None)

    return made


def event_ids(servers, run):
    """Of every message in the run's events."""
    consumer = Consumer({**servers.kafka.client_properties(), "group.id": "none", "enable.partition.eof": False})
    name = topic_name(run, "events")
    parts = consumer.list_topics(name, timeout=10).topics[name].partitions
    ends = {part: consumer.get_watermark_offsets(TopicPartition(name, part), timeout=10)[1] for part in parts}
    consumer.assign([TopicPartition(name, part, 0) for part in parts])
    entries = []
    while missing := sum(ends.values()) - len(entries):
        entries += [json.loads(one.value())["event_id"] for one in consumer.consume(missing, 1)]
    consumer.close()
    return entries


def test_repeated_calls_send_the_history_once(own, sending, servers, run_name):
    sent = seed_history.send_history(own, SHOP, sending())
    assert sent.whole
    orders = sum(count_rows(own, "orders", day) for day in days(own, "orders"))
    assert sent.delivered == {"customers": 20, "events": 600} | ({"orders": orders} if orders else {})
    assert seed_history.send_history(own, SHOP, sending()) == sent
    ids = event_ids(servers, run_name)
    assert len(ids) == len(set(ids)) == 600


def test_history_killed_at_any_slice_resumes_without_missing_records(own, sending, servers, run_name, monkeypatch):
    note, calls = seed_history.write_note, []

    def dies(path, sent):
        calls.append(sent.until_ms)
        if len(calls) == 3:  # the slice is acknowledged, and nobody has noted it
            raise KeyboardInterrupt
        note(path, sent)

    with monkeypatch.context() as patch:
        patch.setattr(seed_history, "write_note", dies)
        with pytest.raises(KeyboardInterrupt):
            seed_history.send_history(own, SHOP, sending())
    held = len(event_ids(servers, run_name))
    assert 0 < held < 600
    sent = seed_history.send_history(own, SHOP, sending())
    assert sent.whole
    ids = event_ids(servers, run_name)
    assert len(set(ids)) == 600
    # only the slice that was not noted is there twice; a consumer remembers so many hours of ids
    assert 600 < len(ids) <= 600 + held
    assert seed_history.SLICE_MS == 48 * 3_600_000


def test_interrupted_history_is_incomplete_and_resumes(own, sending):
    requests = []

    def interrupted():
        requests.append(1)
        return len(requests) > 3

    assert not seed_history.send_history(own, SHOP, sending(interrupted)).whole
    assert seed_history.send_history(own, SHOP, sending()).whole


def test_run_with_other_records_is_refused(own, sending, tmp_path):
    seed_history.send_history(own, SHOP, sending())
    (notes,) = tmp_path.glob("sent-*.json")
    notes.unlink()
    with pytest.raises(UsageError, match="600 events from another source"):
        seed_history.send_history(own, SHOP, sending())


def test_a_history_of_another_shop_is_refused(own, sending):
    seed_history.send_history(own, SHOP, sending())
    with pytest.raises(UsageError, match="the history of another shop"):
        seed_history.send_history(own, Shop(end_ms=END_MS, seed=4, customers=20, events=600, days=7), sending())
    with pytest.raises(UsageError, match="--events 600"):
        seed_history.ensure_archive(Shop(end_ms=END_MS, seed=3, customers=20, events=900, days=7), own, lambda _: None)


def test_kafka_without_its_records_receives_the_whole_history(own, sending, tmp_path):
    (tmp_path / seed_history.STATE_FILE.format(run=sending().run)).write_bytes(
        seed_history.msgspec.json.encode(seed_history.HistoryState(SHOP, END_MS, {"events": 600}, whole=True))
    )
    assert seed_history.send_history(own, SHOP, sending()).delivered["events"] == 600


def test_damaged_state_file_is_an_error(own, sending, tmp_path):
    (tmp_path / seed_history.STATE_FILE.format(run=sending().run)).write_text("{")
    with pytest.raises(ShopstreamError, match="is damaged"):
        seed_history.send_history(own, SHOP, sending())


def test_existing_archive_is_not_changed(archive):
    before = {path: path.stat().st_mtime_ns for path in archive.rglob("*")}
    later = Shop(end_ms=END_MS + 30 * DAY_MS, seed=3, customers=20, events=600, days=7)
    assert seed_history.ensure_archive(later, archive, lambda _: None) == SHOP
    assert {path: path.stat().st_mtime_ns for path in archive.rglob("*")} == before

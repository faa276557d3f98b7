"""The archive consumer: every valid record once in the folder of its day, through crashes and beside other workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.kafka import client as kafka
from connectors.kafka import offsets as kafka_offsets
from connectors.kafka.source import Source
from consumers.archive.consumer import TOPICS, ArchiveOptions, ArchiveRole
from consumers.archive.files import ArchiveFolder, split_days, to_arrow
from consumers.archive.staging import MAX_EVENT_TIME, NEXT, TOPIC_ID, Staged, StagingArea, new_token
from features.errors import ShopstreamError
from features.schema import DAY_MS, HOUR_MS, Customer, Event, Item, Order, arrow_schema

DAY_1_MS = 1_772_323_200_000  # 2026-03-01


def customers(**countries: str | None) -> pa.Table:
    records = [Customer(name, country=country) for name, country in countries.items()]
    return pa.Table.from_batches([to_arrow(Customer, records)])


def countries(path: Path) -> dict[str, str | None]:
    table = pq.read_table(path / "customers.parquet")
    return dict(zip(table["customer_id"].to_pylist(), table["country"].to_pylist(), strict=True))


# --- the folder ---


def test_days_are_split_at_utc_midnight_to_the_millisecond():
    times = [DAY_1_MS + DAY_MS, DAY_1_MS - 1, DAY_1_MS, DAY_1_MS + DAY_MS - 1, 1]
    rows = pa.table({"ts": pa.array(times, pa.timestamp("ms", tz="UTC")), "n": range(5)})
    assert [(day, table["n"].to_pylist()) for day, table in split_days(rows, "ts")] == [
        (date(1970, 1, 1), [4]),
        (date(2026, 2, 28), [1]),
        (date(2026, 3, 1), [2, 3]),
        (date(2026, 3, 2), [0]),
    ]
    assert list(split_days(rows.slice(0, 0), "ts")) == []


def test_records_are_written_with_the_columns_of_the_archive():
    order = Order("o", "c", 1, 2, "placed", 5, items=[Item("p", None, 2, 1), Item()])
    rows = to_arrow(Order, [order, Order("o2", "c", 1, 2, "placed", 0.5)])
    assert rows.schema == arrow_schema(Order)
    assert rows["total"].to_pylist() == [5.0, 0.5]
    assert rows["items"].to_pylist() == [
        [
            {"product_id": "p", "category": None, "quantity": 2, "unit_price": 1.0},
            {"product_id": None, "category": None, "quantity": None, "unit_price": None},
        ],
        None,
    ]
    assert to_arrow(Event, []).num_rows == 0


def test_listing_returns_the_files_of_one_run_and_partition_only(tmp_path):
    rows = pa.Table.from_batches([to_arrow(Event, [Event("e", "search", "c", "s", DAY_1_MS, "mobile")])])
    for run in ("a", "a-b", "a-events"):
        folder = ArchiveFolder(tmp_path / "a", run)
        area = StagingArea(folder)
        for number, first in ((0, 100), (0, 200), (1, 300)):
            area.stage(staged := Staged("events", number, first, first + 50, 7, "id", 1, new_token()), rows)
            assert area.list_staged()["events", number] == [_bare(staged)]
            area.publish(staged)
    folder = ArchiveFolder(tmp_path / "a", "a")
    result = folder.published("events")
    assert {number: [(f.first, f.next) for f in files] for number, files in result.items()} == {
        0: [(100, 150), (200, 250)],
        1: [(300, 350)],
    }
    assert folder.metadata(result[1][0].path) == {NEXT: "350", MAX_EVENT_TIME: "7", TOPIC_ID: "id"}
    assert StagingArea(folder).list_staged() == {}
    assert list((tmp_path / "a" / "staged").iterdir()) == []


def _bare(staged: Staged) -> Staged:
    return replace(staged, max_event_time=0, topic_id="")


def test_published_parts_are_joined_and_older_ones_removed(tmp_path):
    folder = ArchiveFolder(tmp_path / "a", "a")
    publish(folder, 0, 10, customers(x="DE", y="FR"))
    publish(folder, 1, 3, customers(z="IT"))
    folder.join_profiles()
    assert countries(tmp_path / "a") == {"x": "DE", "y": "FR", "z": "IT"}
    publish(folder, 0, 20, customers(x="AT", w=None))
    folder.join_profiles()
    assert countries(tmp_path / "a") == {"x": "AT", "w": None, "z": "IT"}
    assert folder.newest_part(0, 19).num_rows == 2
    assert folder.newest_part(0, 9) is None
    folder.remove_old_parts(0, 20)
    parts = sorted(path.name for path in (tmp_path / "a/customers.parts").iterdir())
    assert parts == ["a-p00000-00000000000000000020.parquet", "a-p00001-00000000000000000003.parquet"]


def publish(folder: ArchiveFolder, number: int, after: int, profiles: pa.Table) -> None:
    staged = Staged("customers", number, 0, after, 0, "", 1, new_token())
    StagingArea(folder).stage(staged, profiles)
    StagingArea(folder).publish(staged)


def test_concurrent_merges_by_workers_lose_no_part(tmp_path):
    """Each writes its own parts and joins, thirty times; the last to join has seen all."""
    folder = ArchiveFolder(tmp_path / "a", "a")
    errors = []

    def work(number: int) -> None:
        try:
            for step in range(1, 31):
                publish(folder, number, step, customers(**{f"c{number}": str(step)}))
                folder.join_profiles()
                folder.remove_old_parts(number, step)
        except (OSError, ShopstreamError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert countries(tmp_path / "a") == {"c0": "30", "c1": "30", "c2": "30"}


def test_archive_folder_of_another_program_is_refused(tmp_path):
    (tmp_path / "events").mkdir()
    with pytest.raises(ShopstreamError, match="twice"):
        ArchiveFolder(tmp_path, "a")
    with pytest.raises(ShopstreamError, match="cannot be opened"):
        ArchiveFolder("nosuch://x", "a")


def test_archive_folder_opens_by_uri(tmp_path):
    publish(ArchiveFolder((tmp_path / "a").as_uri(), "a"), 0, 1, customers(x="DE"))
    ArchiveFolder(tmp_path / "a", "a").join_profiles()
    assert countries(tmp_path / "a") == {"x": "DE"}


# --- the real broker ---


def event(n: int, ts: int) -> dict:
    return {
        "event_id": f"e-{n}",
        "event_type": "purchase",
        "customer_id": f"c-{n % 40}",
        "session_id": f"s-{n}",
        "ts": ts,
        "device": "desktop",
        "price": 1.5,
        "quantity": 2,
    }


def order(n: int, ts: int, updated_ts: int) -> dict:
    return {
        "order_id": f"o-{n}",
        "customer_id": f"c-{n % 40}",
        "ts": ts,
        "updated_ts": updated_ts,
        "status": "refunded" if updated_ts > ts else "placed",
        "total": n + 0.25,
        "items": [{"product_id": "p", "quantity": 1, "unit_price": 2}] if n % 2 else None,
    }


class Bench:
    def __init__(self, servers, run: str, directory: Path, partitions: int = 3) -> None:
        self.run, self.directory = run, directory
        self.properties = servers.kafka.client_properties()
        kafka.ensure_topics(self.properties, run, partitions)
        self.producer = kafka.open_producer(kafka.producer_config(self.properties))

    def publish(self, topic: str, records) -> None:
        for record in records:
            self.send(topic, record["customer_id"], json.dumps(record).encode())

    def send(self, topic: str, key: str, value: bytes | None) -> None:
        self.producer.produce(f"{self.run}.{topic}", value, key.encode())

    def archive(self, worker: int = 0, **options):
        assert self.producer.flush(30) == 0
        config = kafka.consumer_config(self.properties, f"{self.run}-archive", f"{self.run}-{worker}")
        consumer = kafka.open_consumer(config)
        ends = kafka_offsets.end_offsets(consumer, [f"{self.run}.{topic}" for topic in TOPICS])
        folder = ArchiveFolder(self.directory, self.run)
        role = ArchiveRole(Source(consumer, self.run, TOPICS), folder, self.run, options=ArchiveOptions(**options))
        return role.run(lambda: False, ends)

    def ids(self, topic: str, column: str) -> Counter:
        files = f"{self.directory}/{topic}/date=*/*.parquet"
        return Counter(v for (v,) in duckdb.sql(f"select {column} from read_parquet('{files}')").fetchall())


@pytest.fixture
def bench(servers, run_name, tmp_path):
    return Bench(servers, run_name, tmp_path / "archive")


def test_all_topics_are_archived(bench):
    bench.publish("events", [event(n, DAY_1_MS + n * HOUR_MS) for n in range(100)])
    bench.publish("orders", [order(n, DAY_1_MS + n * HOUR_MS, DAY_1_MS + n * HOUR_MS) for n in range(50)])
    bench.publish("orders", [order(7, DAY_1_MS + 7 * HOUR_MS, DAY_1_MS + 20 * DAY_MS)])
    bench.publish("customers", [{"customer_id": f"c-{n}", "country": "DE", "signup_ts": 5} for n in range(40)])
    bench.publish("customers", [{"customer_id": "c-1", "country": "FR"}])
    bench.send("customers", "c-2", None)
    bench.send("customers", "never-seen", None)
    bench.send("events", "c-1", b"{nonsense")
    bench.publish("events", [event(1_000 + n, DAY_1_MS - 72 * HOUR_MS) for n in range(40)])
    totals = bench.archive()
    assert (totals.consumed, totals.rejected) == (100 + 51 + 43 + 41, 1)
    assert totals.late == 40
    assert bench.ids("events", "event_id") == Counter(f"e-{n}" for n in range(100))
    assert bench.ids("orders", "order_id") == Counter(["o-7", *(f"o-{n}" for n in range(50))])
    wrong = duckdb.sql(
        f"select count(*) from read_parquet('{bench.directory}/events/date=*/*.parquet', hive_partitioning=true) "
        "where strftime(ts at time zone 'UTC', '%Y-%m-%d') <> cast(date as varchar)"
    ).fetchall()
    assert wrong == [(0,)]
    (refund,) = (bench.directory / "orders/date=2026-03-21").iterdir()
    assert pq.read_table(refund).to_pylist()[0]["items"] == [
        {"product_id": "p", "category": None, "quantity": 1, "unit_price": 2.0}
    ]
    assert pq.read_schema(refund) == arrow_schema(Order)
    profiles = countries(bench.directory)
    assert len(profiles) == 39
    assert profiles["c-1"] == "FR"
    assert "c-2" not in profiles


def test_second_run_adds_new_records_only(bench):
    bench.publish("events", [event(n, DAY_1_MS) for n in range(50)])
    bench.publish("customers", [{"customer_id": "a", "country": "DE"}, {"customer_id": "b"}])
    bench.archive()
    bench.publish("events", [event(n, DAY_1_MS) for n in range(50, 80)])
    bench.publish("customers", [{"customer_id": "a", "country": "IT"}])
    assert bench.archive().consumed == 31
    assert bench.ids("events", "event_id") == Counter(f"e-{n}" for n in range(80))
    assert countries(bench.directory) == {"a": "IT", "b": None}


class CrashError(Exception):
    """The process dies here."""


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_crash_between_write_and_commit_leaves_no_duplicates(bench, monkeypatch, moment):
    bench.publish("events", [event(n, DAY_1_MS + n * HOUR_MS) for n in range(200)])
    bench.publish("customers", [{"customer_id": f"c-{n}", "country": "DE"} for n in range(40)])

    def commit(self, offsets, original=Source.commit):
        if moment == "after the commit":
            original(self, offsets)
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(Source, "commit", commit)
        with pytest.raises(CrashError):
            bench.archive()
    assert not (bench.directory / "customers.parquet").exists()
    bench.publish("events", [event(n, DAY_1_MS + n * HOUR_MS) for n in range(200, 210)])
    bench.archive()
    assert bench.ids("events", "event_id") == Counter(f"e-{n}" for n in range(210))
    assert len(countries(bench.directory)) == 40


WORKER = """
import json, sys
from connectors.kafka import client as kafka
from consumers.archive.consumer import TOPICS, ArchiveOptions, ArchiveRole
from consumers.archive.files import ArchiveFolder
from connectors.kafka.source import Source

run, directory, properties = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
consumer = kafka.open_consumer(kafka.consumer_config(properties, f"{run}-archive", f"{run}-0"))
options = ArchiveOptions(flush_records=150, batch_records=60, report_every_s=0)
role = ArchiveRole(Source(consumer, run, TOPICS), ArchiveFolder(directory, run), run, options=options)
role.run(lambda: False, None, lambda p: print(p.consumed, flush=True))
"""


def test_repeated_kills_archive_every_record_once(bench):
    bench.publish("events", [event(n, DAY_1_MS + n * HOUR_MS // 20) for n in range(8_000)])
    bench.publish("customers", [{"customer_id": f"c-{n % 40}", "country": str(n)} for n in range(2_000)])
    assert bench.producer.flush(30) == 0
    for kill_at in (200, 700, 1_100):
        command = [sys.executable, "-c", WORKER, bench.run, str(bench.directory), json.dumps(bench.properties)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in worker.stdout:
            if int(line) >= kill_at:
                break
        worker.send_signal(signal.SIGKILL)
        assert worker.wait(10) == -signal.SIGKILL, "the worker ended by itself"
        worker.stdout.close()
    assert bench.archive().consumed > 0, "the kills came too late to be a test"
    assert bench.ids("events", "event_id") == Counter(f"e-{n}" for n in range(8_000))
    assert countries(bench.directory) == {f"c-{n}": str(1_960 + n) for n in range(40)}


def test_two_workers_write_one_archive(bench):
    bench.publish("events", [event(n, DAY_1_MS + n * 1_000) for n in range(2_000)])
    bench.publish("customers", [{"customer_id": f"c-{n}", "country": "DE"} for n in range(200)])
    assert bench.producer.flush(30) == 0
    threads = [threading.Thread(target=bench.archive, args=(worker,)) for worker in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert bench.ids("events", "event_id") == Counter(f"e-{n}" for n in range(2_000))
    assert len(countries(bench.directory)) == 200

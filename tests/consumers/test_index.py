"""The index consumer on the real servers: every valid event once, through crashes, refusals and other workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from connectors.elasticsearch import aliases
from connectors.elasticsearch import client as elastic
from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.client import BulkTransport, ElasticConnection
from connectors.elasticsearch.documents import SendError, SinkOptions, Verdict
from connectors.kafka import client as kafka
from connectors.kafka import offsets as kafka_offsets
from connectors.kafka.source import CommittedOffset, Partition, Source
from consumers.dead_letters.producer import open_dead_letters
from consumers.index.consumer import IndexOptions, IndexRole
from consumers.index.partition_progress import OffsetMetadata, read_metadata, write_metadata
from consumers.index_definitions import index_definitions
from features.errors import ShopstreamError
from features.schema import HOUR_MS

BASE_MS = 1_772_323_200_000  # 2026-03-01: the month turns here
QUICK = IndexOptions(batch_records=500, commit_every_s=0.05, report_every_s=0.05, revoke_timeout_s=20)


def event(n: int, **more) -> dict:
    return {
        "event_id": f"e-{n}",
        "event_type": "page_view",
        "customer_id": f"c-{n % 50}",
        "session_id": f"s-{n // 7}",
        "ts": BASE_MS + (n - 500) * 1_000,
        "device": "mobile",
        "unheard_of": True,
        **more,
    }


def message(record: dict) -> tuple[bytes, bytes]:
    return record["customer_id"].encode(), json.dumps(record).encode()


class Bench:
    """A run's topics and indices, and roles over them."""

    def __init__(self, servers, run: str, partitions: int = 3) -> None:
        where = servers.elasticsearch
        self.run = run
        self.properties = servers.kafka.client_properties()
        self.connection = ElasticConnection(where.url, where.username, where.password, options=where.options)
        self.client = elastic.open_client(self.connection)
        kafka.ensure_topics(self.properties, run, partitions)
        aliases.install(self.client, run, index_definitions(()))

    def publish(self, messages) -> None:
        producer = kafka.open_producer(kafka.producer_config(self.properties))
        for key, value in messages:
            producer.produce(f"{self.run}.events", value, key)
        assert producer.flush(30) == 0

    def role(self, sink: BulkSink, worker: int = 0, **more) -> IndexRole:
        config = kafka.consumer_config(self.properties, f"{self.run}-index", f"{self.run}-{worker}")
        self.consumer = kafka.open_consumer(config)
        return IndexRole(Source(self.consumer, self.run, ["events"]), sink, self.run, options=QUICK, **more)

    def ends(self) -> dict:
        consumer = kafka.open_consumer(kafka.consumer_config(self.properties, f"{self.run}-ends"))
        ends = kafka_offsets.end_offsets(consumer, [f"{self.run}.events"])
        consumer.close()
        return ends

    def index(self, stop=lambda: False, worker: int = 0, **more):
        with elastic.open_sink(self.connection, SinkOptions(docs_max=200)) as sink:
            return self.role(sink, worker, **more).run(stop, self.ends())

    def documents(self) -> dict[str, dict]:
        self.client.indices.refresh(index=f"{self.run}-events")
        hits = self.client.search(index=f"{self.run}-events", size=10_000, track_total_hits=True)["hits"]
        assert hits["total"]["value"] == len(hits["hits"])
        return {hit["_id"]: hit for hit in hits["hits"]}


@pytest.fixture
def bench(servers, run_name):
    bench = Bench(servers, run_name)
    yield bench
    bench.client.close()


def test_offset_metadata_reads_back_as_written():
    assert read_metadata(write_metadata(OffsetMetadata(17))) == OffsetMetadata(17)
    assert read_metadata("") == read_metadata("not json") == read_metadata("[1]") == OffsetMetadata()


def test_valid_events_are_indexed_once_in_their_month(bench):
    messages = [message(event(n)) for n in range(1_000)]
    bench.publish(messages)
    bench.publish(messages[:40])  # repeated
    bench.publish([(b"c-1", b"{nonsense"), (b"someone-else", message(event(5))[1]), (b"c-1", None)])
    late = [event(2_000 + n, ts=BASE_MS - 72 * HOUR_MS) for n in range(50)]
    bench.publish(map(message, late))
    received = []
    with elastic.open_sink(bench.connection) as sink:
        totals = bench.role(sink).run(lambda: False, bench.ends(), received.append)
    assert (totals.consumed, totals.valid, totals.rejected, totals.late) == (1_093, 1_040, 3, 50)
    assert (totals.written, totals.duplicates, totals.refused) == (1_000, 40, 0)
    assert received[-1] == totals
    assert received[-1].waiting_records == 0
    result = bench.documents()
    assert set(result) == {f"e-{n}" for n in range(1_000)}
    assert result["e-499"]["_index"] == f"{bench.run}-events-2026.02"
    assert result["e-500"]["_index"] == f"{bench.run}-events-2026.03"
    source = {name: value for name, value in result["e-7"]["_source"].items() if value is not None}
    assert source == {name: value for name, value in event(7).items() if name != "unheard_of"}


def test_second_run_resumes_with_the_stored_lateness_clock(bench):
    bench.publish([message(event(n)) for n in range(100)])
    assert bench.index().written == 100
    bench.publish([message(event(200 + n, ts=BASE_MS - 72 * HOUR_MS)) for n in range(50)])
    bench.publish([message(event(300))])
    totals = bench.index()
    assert (totals.consumed, totals.late, totals.written, totals.duplicates) == (51, 50, 1, 0)


WORKER = """
import json, sys, time
from connectors.elasticsearch import client as elastic
from connectors.kafka import client as kafka
from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.documents import SinkOptions
from consumers.index.consumer import IndexOptions, IndexRole
from connectors.kafka.source import Source

run, properties, connection = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.stdin.read())
consumer = kafka.open_consumer(kafka.consumer_config(properties, f"{run}-index", f"{run}-0"))
transport = elastic.BulkTransport(elastic.open_client(elastic.ElasticConnection(**connection)))

def send(body):
    time.sleep(0.03)  # so that the kill finds work under way
    return transport(body)

with BulkSink(send, SinkOptions(docs_max=100)) as sink:
    options = IndexOptions(batch_records=200, commit_every_s=0.02, report_every_s=0.02)
    role = IndexRole(Source(consumer, run, ["events"]), sink, run, options=options)
    role.run(lambda: False, None, lambda p: print(p.written, flush=True))
"""


def start_worker(bench) -> subprocess.Popen:
    where = bench.connection
    secret = {"url": where.url, "username": where.username, "password": where.password, "options": dict(where.options)}
    command = [sys.executable, "-c", WORKER, bench.run, json.dumps(bench.properties)]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    worker.stdin.write(json.dumps(secret))
    worker.stdin.close()
    return worker


def test_repeated_kills_lose_and_duplicate_no_event(bench):
    bench.publish([message(event(n)) for n in range(9_000)])
    for _ in range(3):
        worker = start_worker(bench)
        for line in worker.stdout:
            if int(line) >= 400:
                break
        worker.send_signal(signal.SIGKILL)
        assert worker.wait(10) == -signal.SIGKILL, "the worker ended by itself"
        worker.stdout.close()
    totals = bench.index()
    assert totals.written > 0, "the kills came too late to be a test"
    assert set(bench.documents()) == {f"e-{n}" for n in range(9_000)}
    assert totals.written + totals.duplicates == totals.valid


def test_error_commits_no_unacknowledged_offset(bench, monkeypatch):
    """The last commit before the error counts; closing makes none."""
    bench.publish([message(event(n)) for n in range(600)])

    def broken(self, batches):
        raise ShopstreamError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(IndexRole, "_submit", broken)
        with pytest.raises(ShopstreamError, match="broken"):
            bench.index()
    assert bench.index().written == 600


def test_offsets_are_committed_after_acknowledgement(bench):
    bench.publish([message(event(n)) for n in range(600)])

    def down(body):
        raise SendError(Verdict.RETRY, "down")

    started = time.monotonic()
    with BulkSink(down, SinkOptions(docs_max=200, pause_max_s=0.1)) as sink:
        role = bench.role(sink)
        role._options = IndexOptions(batch_records=500, commit_every_s=0.05, revoke_timeout_s=0.2)
        totals = role.run(lambda: time.monotonic() - started > 3)
    assert totals.consumed > 0
    assert totals.written == 0
    again = bench.index()
    assert (again.written, again.duplicates) == (600, 0)


def test_stalled_sink_does_not_lose_its_group_membership(bench):
    """The sink takes nothing for longer than the stall: the flow stops, the group is kept, all arrives afterwards."""
    bench.publish([message(event(n)) for n in range(3_000)])
    transport = BulkTransport(elastic.open_client(bench.connection))
    opened = time.monotonic() + 3

    def send(body):
        if time.monotonic() < opened:
            raise SendError(Verdict.RETRY, "overloaded")
        return transport(body)

    errors = set()
    options = SinkOptions(docs_max=200, queue_docs_max=1_000, pause_max_s=0.2)
    with BulkSink(send, options) as sink:
        role = bench.role(sink)
        role._options = IndexOptions(batch_records=500, commit_every_s=0.05, report_every_s=0.05, stalled_s=0.3)
        totals = role.run(lambda: False, bench.ends(), lambda p: errors.add(p.last_error))
    assert (totals.written, totals.duplicates) == (3_000, 0)
    # tests of other files may make the same server refuse an index meanwhile
    assert errors >= {None, "overloaded"}


def test_document_rejected_by_elasticsearch_becomes_a_dead_letter(bench):
    """A mapping that is stricter than the schema stands for whatever may be refused one day."""
    bench.client.indices.create(
        index=f"{bench.run}-events-2026.03",
        mappings={"properties": {"session_id": {"type": "keyword"}}},
    )
    bench.client.indices.put_settings(
        index=f"{bench.run}-events-2026.03", settings={"index.mapping.total_fields.limit": 100}
    )
    transport = BulkTransport(elastic.open_client(bench.connection))

    def send(body):
        return transport(body.replace(b'"quantity":3', b'"quantity":"three"'))

    bench.publish([message(event(n, quantity=3 if n == 601 else 1)) for n in range(590, 610)])
    dead_letters = open_dead_letters(bench.properties, bench.run)
    with BulkSink(send) as sink:
        totals = bench.role(sink, dead_letters=dead_letters).run(lambda: False, bench.ends())
    assert (totals.written, totals.refused) == (19, 1)
    (kind,) = dead_letters.counts
    assert kind.startswith("Elasticsearch refuses the document: document_parsing_exception")
    assert dead_letters.in_flight == 0


def test_two_workers_share_the_partitions_until_both_reach_the_end(bench):
    bench.publish([message(event(n)) for n in range(3_000)])
    results = {}

    def work(worker: int) -> None:
        results[worker] = bench.index(worker=worker)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(results) == {0, 1}
    assert results[0].written + results[1].written == 3_000
    assert len(bench.documents()) == 3_000


def test_an_empty_topic_is_read_to_its_end(bench):
    started = time.monotonic()
    assert bench.index().consumed == 0
    assert time.monotonic() - started < 15


# --- another topic of the same name ---


@pytest.mark.parametrize("kept", ["id-1", ""])
def test_offsets_of_another_topic_of_the_same_name_are_refused(kept):
    """It may have grown beyond the committed offset: reading on would leave a hole that nobody sees."""
    role = IndexRole(None, None, "r", topic_id="id-2")  # type: ignore[arg-type]
    start = CommittedOffset(5, write_metadata(OffsetMetadata(7, topic_id=kept)))
    if kept:
        with pytest.raises(ShopstreamError, match=r"events\[0\] was deleted and created again.*--run NAME"):
            role.assigned({Partition("events", 0): start})
    else:
        role.assigned({Partition("events", 0): start})
        assert role._owned[Partition("events", 0)].metadata.topic_id == "id-2"

"""`spark stream` on a real Spark, Kafka and Elasticsearch: what the consumers leave, whatever is killed."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from oracle.adversarial import adversarial
from oracle.files import write_plain
from oracle.loops import all_of, loop_order_items, loop_orders, loop_rows, loop_sessions
from oracle.real_logs import (
    LOGS,
    assert_figures,
)
from oracle.rows import assert_same_rows, feature_frame
from oracle.shop import DAY, HOUR
from oracle.wire import bad_messages, in_time, wire_message
from spark.clusters import MASTERS, MEMORY, SHOPSTREAM, executors
from stream.bench import Bench, counting_events, same_documents
from stream.feeding import message
from stream.scene import ORDER_KEY, winning_lines

from connectors.kafka.client import open_admin
from connectors.kafka.offsets import topic_ids
from features.backfill import ArchiveCounts, rows_at
from features.definitions import ROW_SCHEMA
from features.errors import ShopstreamError, UsageError
from features.schema import FEATURE_TOPIC, SOURCE_TOPICS, topic_name
from shopstream.jobs.archive_features import archive_days
from shopstream.spark.session import session
from shopstream.spark.stream import STATE_PROPERTIES, StreamOptions, run

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]
pytest.importorskip(
    "pyspark", reason="the extra [spark] is not installed; `make test-spark` has an environment with it"
)


@pytest.fixture(scope="module", params=MASTERS)
def spark(request):
    with session("tests", request.param, {**STATE_PROPERTIES, **MEMORY}) as started:
        yield started


@pytest.fixture
def bench(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "state", partitions=3)
    yield bench
    bench.client.close()


def streaming(bench: Bench, folder: Path, **more) -> StreamOptions:
    names = {topic: topic_name(bench.run, topic) for topic in SOURCE_TOPICS}
    ids = topic_ids(open_admin(bench.properties), list(names.values()))
    return StreamOptions(
        run=bench.run,
        kafka=bench.properties,
        elastic=bench.connection,
        topic_ids={topic: ids[name] for topic, name in names.items()},
        partitions=bench.partitions,
        checkpoint=(folder / "checkpoint").as_uri(),
        rows=(folder / "rows").as_uri(),
        **{"cells": 5, "records_max": 400, **more},
    )


def streamed(spark, what: StreamOptions, as_of: int | None = None):
    return run(spark, what, until_end=True, as_of=as_of, stop=lambda: False, on_batch=lambda _: None)


def publish(bench: Bench, records, seed: int, jitter_ms: int = 47 * HOUR):
    """Returns the messages by their place, and the events that count."""
    rng = np.random.default_rng(seed)
    messages, arrivals = [], {}
    for topic, rows in (("events", records.events), ("orders", records.orders)):
        arrivals[topic] = in_time(topic, rows, rng, jitter_ms)
        messages += [wire_message(topic, row, rng) for row in arrivals[topic]]
    placed = bench.publish((m.topic, m.key, m.value) for m in messages)
    return placed, counting_events(placed, arrivals["events"])


def end_of(records) -> int:
    return max(*(e["ts"] for e in records.events), *(o["updated_ts"] for o in records.orders))


def newest_rows(position: str) -> pl.DataFrame:
    """The newest row of each customer of what `--rows` wrote, by `version`."""
    rows = pl.read_parquet(f"{position}/batch=*/*.parquet", hive_partitioning=False)
    newest = rows.sort("version").group_by("customer_id", maintain_order=True).last()
    return newest.select(pl.col(name).cast(kind) for name, kind in ROW_SCHEMA.items())


def check(bench: Bench, folder: Path, events, orders, as_of: int) -> None:
    """Every sink has what the oracle counts."""
    expected = feature_frame(loop_rows(events, orders, as_of, all_of))
    assert_same_rows(bench.feature_frame(), expected, note=f"in the index, at {as_of}")
    assert_same_rows(bench.topic_frame(), expected, note=f"on the topic, at {as_of}")
    assert_same_rows(newest_rows(str(folder / "rows")), expected, note=f"in Parquet, at {as_of}")
    same_documents(bench.documents("sessions"), loop_sessions(events, as_of, all_of), ("customer_id", "session_id"))
    same_documents(bench.documents("orders"), loop_orders(orders, as_of), ORDER_KEY)
    lines = winning_lines(bench.documents("order-items"), orders, as_of)
    same_documents(lines, loop_order_items(orders, as_of), (*ORDER_KEY, "line"))


def test_every_sink_equals_the_oracle_at_several_times(spark, bench, tmp_path):
    """Records full of traps in every spelling, in small batches in order of time; then later times, without records."""
    records = adversarial(11, customers=6)
    _, events = publish(bench, records, 11, 0)
    orders, end = records.orders, end_of(records)
    done = streamed(spark, streaming(bench, tmp_path, records_max=200))
    assert done.batches > 3
    assert done.counts.consumed == len(records.events) + len(orders)
    assert done.counts.consumed == done.counts.applied + done.counts.duplicates
    check(bench, tmp_path, events, orders, end)
    later = records.as_of + 30 * DAY
    assert later > end
    done = streamed(spark, streaming(bench, tmp_path), later)
    assert (done.batches, done.counts.consumed) == (1, 0)
    check(bench, tmp_path, events, orders, later)
    directory = write_plain(tmp_path / "archive", records.events, orders)
    for _, alone in rows_at(*archive_days(directory), [later], ArchiveCounts()):
        assert_same_rows(newest_rows(str(tmp_path / "rows")).select(alone.columns), alone, note="the single machine")
    with pytest.raises(UsageError, match="max event time is"):
        streamed(spark, streaming(bench, tmp_path), end - 1)


def test_stream_and_consumers_resume_from_each_other(spark, bench, tmp_path):
    """Either engine writes the same indices: three thirds, of which the query has the middle one."""
    records = adversarial(12, customers=6)
    placed, events = publish(bench, records, 12)
    ends = bench.ends()
    orders, end = records.orders, end_of(records)
    bench.consume(until={where: offset // 3 for where, offset in ends.items()})
    before = bench.by_id("customers")
    streamed(spark, streaming(bench, tmp_path), end)
    check(bench, tmp_path, events, orders, end)
    assert bench.by_id("customers").keys() >= before.keys()
    bench.consume(end + 1, until=ends)
    assert len(placed) == sum(ends.values())
    assert_same_rows(bench.feature_frame(), feature_frame(loop_rows(events, orders, end + 1, all_of)))
    same_documents(bench.documents("sessions"), loop_sessions(events, end + 1, all_of), ("customer_id", "session_id"))


def test_invalid_record_becomes_a_dead_letter(spark, bench, tmp_path):
    rows = [
        {"event_id": f"e{n}", "event_type": "search", "customer_id": f"c{n % 5}", "session_id": "s"}
        | {"ts": 1_700_000_000_000 + n * 60_000, "device": "mobile"}
        for n in range(200)
    ]
    bench.publish(("events", *message(row)) for row in rows)
    bad = [m for m in bad_messages(1_700_000_000_000) if m.kind != "future" and m.topic != "customers"]
    late = [{**row, "event_id": f"late{row['event_id']}", "ts": row["ts"] - 72 * HOUR} for row in rows[-3:]]
    placed = bench.publish((m.topic, m.key, m.value) for m in bad)
    placed |= bench.publish(("events", *message(row)) for row in late)
    done = streamed(spark, streaming(bench, tmp_path, records_max=50))
    assert (done.counts.rejected, done.counts.late) == (len(bad), len(late))
    dead_letters = {}
    for one in bench.messages("dead-letter"):
        headers = {name: value.decode() for name, value in one.headers()}
        dead_letters[headers["topic"], int(headers["partition"]), int(headers["offset"])] = (one.key(), one.value())
        assert headers["error"]
    assert dead_letters == placed
    assert_same_rows(bench.feature_frame(), feature_frame(loop_rows(rows, [], rows[-1]["ts"])))


@LOGS
def test_stream_of_a_real_log_gives_the_published_figures(spark, bench, tmp_path, read, as_of, windows, whole):
    rows = sorted((row for row in read() if row["ts"] <= as_of), key=lambda row: row["ts"])
    bench.publish(("orders", *message(row)) for row in rows)
    streamed(spark, streaming(bench, tmp_path, records_max=10_000, cells=200), as_of)
    result = newest_rows(str(tmp_path / "rows"))
    assert_figures(result, windows, whole)
    directory = write_plain(tmp_path / "archive", [], rows)
    for _, alone in rows_at(*archive_days(directory), [as_of], ArchiveCounts()):
        assert_same_rows(result.select(alone.columns), alone)
        assert_same_rows(bench.feature_frame(), alone, note="in the index")


def test_checkpoint_of_another_query_is_refused(spark, bench, tmp_path, run_name):
    records = adversarial(13, customers=2)
    publish(bench, records, 13)
    first = streaming(bench, tmp_path)
    streamed(spark, first)
    replaced = {**first.topic_ids, "orders": "another"}
    for wrong, expected in (
        ({"run": "other"}, "belongs to run"),
        ({"partitions": 9}, "3 partitions"),
        ({"topic_ids": replaced}, "created again"),
    ):
        with pytest.raises(ShopstreamError, match=expected) as refused:
            streamed(spark, dataclasses.replace(first, **wrong))
        assert "--checkpoint" in refused.value.remedy


# --- processes that die -----------------------------------------------------------------------------------------------
def clicks(count: int):
    """Enough to keep a query busy; a year and a day, so that days begin in between."""
    return [
        {"event_id": f"e{n}", "event_type": ("page_view", "product_view", "add_to_cart", "purchase")[n % 4]}
        | {"customer_id": f"c{n % 997}", "session_id": f"s{n // 9}", "ts": 1_700_000_000_000 + n * 40_000}
        | {"device": "mobile", "category": "abc"[n % 3]}
        for n in range(count)
    ]


def rows_alone(folder: Path, events, as_of: int) -> pl.DataFrame:
    directory = write_plain(folder / "archive", events, [])
    ((_, rows),) = rows_at(*archive_days(directory), [as_of], ArchiveCounts())
    return rows


def test_killed_executor_loses_and_duplicates_nothing(bench, tmp_path):
    events = clicks(60_000)
    bench.publish(("events", *message(row)) for row in events)
    killed: list[int] = []
    with session("tests", MASTERS[1], {**STATE_PROPERTIES, **MEMORY}) as spark:

        def on_batch(done) -> None:
            if done.batches in (2, 4) and len(killed) < done.batches // 2:
                # in the middle of the batch that comes next
                timer = threading.Timer(1.0, lambda: [executors()[0].kill(), killed.append(1)])
                timer.start()

        what = streaming(bench, tmp_path, records_max=8_000, cells=100)
        done = run(spark, what, until_end=True, as_of=None, stop=lambda: False, on_batch=on_batch)
    assert len(killed) == 2
    assert done.counts.consumed >= len(events)
    alone = rows_alone(tmp_path, events, events[-1]["ts"])
    assert_same_rows(newest_rows(str(tmp_path / "rows")).select(alone.columns), alone)
    assert_same_rows(bench.feature_frame(), alone, note="in the index")
    assert_same_rows(bench.topic_frame(), alone, note="on the topic")


def test_restarted_driver_loses_and_duplicates_nothing(servers, bench, tmp_path):
    """Wherever it dies: three times kill -9 to all of its processes, then it comes to its end."""
    events = clicks(60_000)
    bench.publish(("events", *message(row)) for row in events)
    environment = {**os.environ, "SHOPSTREAM_HOME": os.environ["SHOPTEST_HOME"], "SHOPSTREAM_KAFKA__PARTITIONS": "3"}
    command = [SHOPSTREAM, "spark", "stream", "--checkpoint", str(tmp_path / "checkpoint"), "--run", bench.run]
    command += ["--until-end", "--rows", str(tmp_path / "rows"), "--master", "local[2]", "--cells", "100"]
    command += ["--batch-records", "8000", "--conf", "spark.driver.memory=1g"]
    log = tmp_path / "said.txt"
    for life in range(3):
        with log.open("ab") as text:
            process = subprocess.Popen(command, stderr=text, env=environment)
        until = (1, 3, 4)[life]
        while process.poll() is None and batches_written(tmp_path) < until:
            time.sleep(0.1)
        time.sleep(0.4 * life)
        assert process.poll() is None, log.read_text()[-3_000:]
        kill_all(process.pid)
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    alone = rows_alone(tmp_path, events, events[-1]["ts"])
    assert_same_rows(newest_rows(str(tmp_path / "rows")).select(alone.columns), alone)
    assert_same_rows(bench.feature_frame(), alone, note="in the index")
    assert len(bench.documents("customers")) == alone.height, "no doubles"
    same_documents(bench.documents("sessions"), loop_sessions(events, events[-1]["ts"]), ("customer_id", "session_id"))


def batches_written(folder: Path) -> int:
    return len(list((folder / "checkpoint" / "commits").glob("[0-9]*")))


def kill_all(pid: int) -> None:
    parent = psutil.Process(pid)
    family = [*parent.children(recursive=True), parent]
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, 20)


def test_batch_interrupted_by_ctrl_c_is_repeated_by_the_next_start(servers, bench, tmp_path):
    events = clicks(20_000)
    bench.publish(("events", *message(row)) for row in events)
    environment = {**os.environ, "SHOPSTREAM_HOME": os.environ["SHOPTEST_HOME"], "SHOPSTREAM_KAFKA__PARTITIONS": "3"}
    command = [SHOPSTREAM, "spark", "stream", "--checkpoint", str(tmp_path / "checkpoint"), "--run", bench.run]
    command += ["--rows", str(tmp_path / "rows"), "--master", "local[2]", "--batch-records", "5000", "--trigger", "1s"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while process.poll() is None and batches_written(tmp_path) < 2:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3_000:]
    assert re.search(r"[\d,]+ records: [\d,]+ applied", output)
    assert "StackOverflowError" not in output
    ended = subprocess.run([*command, "--until-end"], stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-3_000:]
    alone = rows_alone(tmp_path, events, events[-1]["ts"])
    assert_same_rows(newest_rows(str(tmp_path / "rows")).select(alone.columns), alone)
    assert {m.key() for m in bench.messages(FEATURE_TOPIC)} == {row.encode() for row in alone["customer_id"]}

"""`spark backfill` on a real Spark: in one process, with executors of their own, and with processes that are killed."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from oracle.adversarial import adversarial
from oracle.duckdb_oracle import ArchiveOracle
from oracle.files import write_archive, write_plain
from oracle.real_logs import (
    CDNOW_AS_OF,
    LOGS,
    assert_figures,
    cdnow_orders,
)
from oracle.rows import assert_same_rows
from oracle.shop import DAY, WINDOWS
from spark.clusters import MASTERS, MEMORY, SHOPSTREAM, executors

from features.backfill import ArchiveCounts, rows_at
from features.errors import ShopstreamError
from features.schema import TS_MAX
from shopstream.jobs.archive_features import archive_days
from shopstream.spark.archive_files import list_files
from shopstream.spark.archive_scan import SparkFiles, archive_files
from shopstream.spark.backfill import feature_rows, plan, write_rows
from shopstream.spark.session import session

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]
pytest.importorskip(
    "pyspark", reason="the extra [spark] is not installed; `make test-spark` has an environment with it"
)


@pytest.fixture(scope="module", params=MASTERS)
def spark(request):
    with session("tests", request.param, MEMORY) as started:
        yield started


def backfilled(spark, directory, times, out, buckets=5, slices=3, reader="auto"):
    counts = ArchiveCounts()
    planned = plan(archive_files(spark, directory.as_uri(), reader), times, cores=2, buckets=buckets, slices=slices)
    rows, gather = feature_rows(spark, planned, counts)
    write_rows(spark, rows, out.as_uri(), replace=False)
    return read(out), counts, gather()


def read(out):
    return pl.read_parquet(out / "as_of=*" / "*.parquet", hive_partitioning=True)


def assert_single_machine(got, directory, times, note=""):
    """Every column of every row at every time, no row too many. Returns what the single machine counted."""
    alone, rows_expected = ArchiveCounts(), 0
    for as_of, expected in rows_at(*archive_days(directory), sorted(set(times)), alone):
        here = got.filter(pl.col("as_of") == as_of).select(expected.columns)
        assert_same_rows(here, expected, note=f"{note} as_of {as_of}")
        rows_expected += expected.height
    assert got.height == rows_expected
    return alone


@pytest.mark.parametrize(("seed", "reader"), [(0, "arrow"), (1, "arrow"), (2, "arrow"), (0, "spark"), (1, "spark")])
def test_backfill_of_an_adversarial_archive_equals_a_single_machine(spark, tmp_path, seed, reader):
    records = adversarial(seed)
    directory = write_archive(tmp_path / "archive", records)
    rng = np.random.default_rng(seed)
    times = sorted({row["ts"] for row in (*records.events, *records.orders)})
    borders = [int(rng.choice(times)) + days * DAY for days in WINDOWS]
    cutoffs = [*records.as_ofs, *borders, *(border - 1 for border in borders)]
    got, counts, written = backfilled(spark, directory, cutoffs, tmp_path / "rows", reader=reader)
    alone = assert_single_machine(got, directory, cutoffs, note=f"seed {seed}")
    assert (counts.read, counts.rejected, counts.duplicates) == (alone.read, alone.rejected, alone.duplicates)
    assert written == got.height
    with ArchiveOracle(directory) as oracle:
        here = got.filter(pl.col("as_of") == records.as_of)
        expected = oracle.rows(records.as_of)
        assert_same_rows(here.select(expected.columns), expected, note="oracle")


@LOGS
def test_backfill_of_a_real_log_equals_a_single_machine(spark, tmp_path, read, as_of, windows, whole):
    directory = write_plain(tmp_path / "archive", [], read())
    got, _, _ = backfilled(spark, directory, [as_of], tmp_path / "rows")
    assert_single_machine(got, directory, [as_of])
    assert_figures(got, windows, whole)


def test_customer_with_most_of_the_events_is_exact(spark, tmp_path):
    """Skew: its bucket is as large as it must be, and its sessions lie on both sides of every border of batches."""
    start, rows = 1_700_000_000_000 // DAY * DAY, []
    for number in range(120_000):
        whose = "giant" if number % 10 else f"c{number % 70}"
        kind = ("page_view", "product_view", "add_to_cart", "purchase")[number % 4]
        rows.append(
            {"event_id": f"e{number}", "event_type": kind, "customer_id": whose, "session_id": f"s{number // 50}"}
            | {"ts": start + number * 40_000, "device": "mobile", "category": "ab"[number % 2]}
        )
    directory = write_plain(tmp_path / "archive", rows, [])
    times = [start + days * DAY - 1 for days in (10, 30, 60)]
    got, _, _ = backfilled(spark, directory, times, tmp_path / "rows")
    assert_single_machine(got, directory, times)


def test_other_files_and_names_like_patterns_do_not_change_the_rows(spark, tmp_path):
    """What Spark lists and hands over is what is listed on one machine."""
    directory = write_plain(tmp_path / "an [archive] {öf} *", [], cdnow_orders()[:200])
    (directory / "orders" / "_temporary").mkdir()
    (directory / "orders" / "_temporary" / "a.parquet").write_bytes(b"half")
    day = next((directory / "orders").glob("date=*"))
    (day / "notes.txt").write_text("not a record")
    (day / "deeper").mkdir()
    (day / "deeper" / "a.parquet").write_bytes(b"half")
    files = archive_files(spark, directory.as_uri(), "spark")
    through_spark, alone = files.listed(TS_MAX), list_files(directory.as_uri(), TS_MAX)
    assert [(file.topic, file.path.removeprefix("file:"), file.size) for file in through_spark] == [
        (file.topic, file.path, file.size) for file in alone
    ]
    got, counts, _ = backfilled(spark, directory, [CDNOW_AS_OF], tmp_path / "rows of ït", reader="spark")
    alone = assert_single_machine(got, directory, [CDNOW_AS_OF])
    assert counts.read["orders"] == alone.read["orders"] > 100
    (directory / "orders" / "yesterday").mkdir()
    (directory / "orders" / "yesterday" / "a.parquet").write_bytes(b"half")
    with pytest.raises(ShopstreamError, match="yesterday"):
        files.listed(TS_MAX)
    with pytest.raises(ShopstreamError, match="not an archive"):
        SparkFiles(spark, tmp_path.as_uri()).listed(TS_MAX)


def test_cutoff_before_the_first_record_gives_no_rows(spark, tmp_path):
    directory = write_plain(tmp_path / "archive", [], cdnow_orders())
    rows, gather = feature_rows(spark, plan(archive_files(spark, directory.as_uri()), [5], cores=2), ArchiveCounts())
    write_rows(spark, rows, (tmp_path / "rows").as_uri(), replace=False)
    assert gather() == 0
    assert [path.name for path in (tmp_path / "rows").iterdir() if not path.name.startswith(".")] == ["_SUCCESS"]


def test_finished_output_is_replaced_on_request_only(spark, tmp_path):
    directory = write_plain(tmp_path / "archive", [], cdnow_orders()[:20])
    out = tmp_path / "rows"
    backfilled(spark, directory, [CDNOW_AS_OF], out)
    with pytest.raises(ShopstreamError, match="not empty") as refused:
        backfilled(spark, directory, [CDNOW_AS_OF - DAY], out)
    assert "--force" in refused.value.remedy
    rows, _ = feature_rows(
        spark, plan(archive_files(spark, directory.as_uri()), [CDNOW_AS_OF - DAY], cores=2), ArchiveCounts()
    )
    write_rows(spark, rows, out.as_uri(), replace=True)
    assert read(out)["as_of"].unique().to_list() == [CDNOW_AS_OF - DAY]


# --- processes that die -----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """An archive that keeps executors busy for a while, its times, and its rows by the single machine."""
    directory = tmp_path_factory.mktemp("shop") / "archive"
    command = [SHOPSTREAM, "generate", "--customers", "4000", "--events", "600000", "--days", "200", "--seed", "9"]
    subprocess.run([*command, "--end", "2026-01-01", "--out", str(directory)], check=True, capture_output=True)
    return directory


TIMES = [1_767_225_600_000 - days * DAY for days in (0, 3, 20, 40, 41, 80, 120)]


def test_killed_executor_does_not_change_the_rows(shop, tmp_path):
    with session("tests", MASTERS[1], MEMORY) as spark:
        killed = []

        def kill() -> None:
            while not killed:
                time.sleep(0.2)
                busy = [spark.sparkContext.statusTracker().getStageInfo(stage) for stage in active(spark)]
                if any(stage is not None and stage.numCompletedTasks >= 2 for stage in busy):
                    executor = executors()[0]
                    executor.kill()
                    killed.append(executor.pid)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        got, counts, written = backfilled(spark, shop, TIMES, tmp_path / "rows", buckets=16)
        assert killed
    alone = assert_single_machine(got, shop, TIMES)
    assert (counts.read, counts.duplicates, written) == (alone.read, alone.duplicates, got.height)


def active(spark):
    return spark.sparkContext.statusTracker().getActiveStageIds()


def test_restarted_driver_completes_the_backfill(shop, tmp_path):
    out = tmp_path / "rows"
    options = [f"--as-of={as_of}" for as_of in TIMES]
    command = [SHOPSTREAM, "spark", "backfill", str(shop), *options, "--out", str(out), "--master", "local[2]"]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    parts: list[Path] = []
    while not parts and first.poll() is None:
        time.sleep(0.1)
        parts = list(out.glob("_temporary/**/*.parquet"))
    for child in psutil.Process(first.pid).children(recursive=True):
        child.kill()
    first.kill()
    first.wait()
    assert parts
    assert not (out / "_SUCCESS").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert_single_machine(read(out), shop, TIMES)
    assert not (out / "_temporary").exists()


def test_a_damaged_file_is_named(tmp_path):
    directory = write_plain(tmp_path / "archive", [], cdnow_orders()[:20])
    damaged = next((directory / "orders").rglob("*.parquet"))
    damaged.write_bytes(b"PAR1 not at all")
    command = [SHOPSTREAM, "spark", "backfill", str(directory), "--as-of=2024-01-01", "--out", str(tmp_path / "rows")]
    message = subprocess.run([*command, "--master", "local[1]"], capture_output=True, text=True, check=False)
    assert message.returncode == 1
    assert "cannot be read" in message.stderr
    assert damaged.name in message.stderr.replace("\n", "")
    assert "Traceback" not in message.stderr.split("error ")[-1]

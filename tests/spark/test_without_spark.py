"""What holds where PySpark is not installed: everything imports, the remedy is told, and the tasks' own work is right.

The tasks are driven here by ten lines that deal, shuffle and sort as Spark does; `make test-spark` has the real one.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from oracle.adversarial import adversarial
from oracle.duckdb_oracle import ArchiveOracle
from oracle.files import write_archive, write_plain
from oracle.rows import assert_same_rows
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from features.backfill import ArchiveCounts, rows_at, rows_of
from features.errors import ShopstreamError, UsageError
from features.schema import TS_MAX
from features.state.state import State
from shopstream.cli.app import build_app
from shopstream.cli.spark import CUTOFFS_MAX, cutoffs
from shopstream.jobs import doctor as doctor_job
from shopstream.jobs.archive_features import archive_days
from shopstream.settings import Settings
from shopstream.spark import java, session
from shopstream.spark.archive_files import FILE_BYTES, DayFile, days_of, distribute, list_files
from shopstream.spark.archive_scan import ArrowFiles, SparkFiles, archive_files, read_contents, read_task_files
from shopstream.spark.backfill import BUCKET_BYTES, SLICE, SLICE_BYTES, MergedCounts, bucket_rows, plan
from shopstream.spark.shuffle_rows import SHUFFLED


class Notes:
    def __init__(self):
        self.value = {}

    def add(self, notes):
        self.value = MergedCounts().addInPlace(self.value, notes)


def files_of(directory):
    return archive_files(None, directory.as_uri())


def backfilled(planned, seed):
    """The rows at every cut-off, and what was counted: tasks, a shuffle, a sort, batches with borders anywhere."""
    rng = np.random.default_rng(seed)
    notes = Notes()
    tasks = [pa.RecordBatch.from_pydict({"id": [task]}) for task in rng.permutation(len(planned.task_files)).tolist()]
    task_files = SimpleNamespace(value=planned.task_files)
    moved = list(read_task_files(planned.files.uri, planned.cutoffs[-1], task_files, notes, tasks))
    table = pl.from_arrow(pa.Table.from_batches(moved, SHUFFLED))
    bucket_of = table["customer_id"].hash(seed) % planned.buckets
    table = table.with_columns((table["customer_id"].hash(seed + 1) % planned.slices).cast(pl.Int64).alias(SLICE))
    schema = SHUFFLED.append(pa.field(SLICE, pa.int64()))
    counts, parts = ArchiveCounts(), [pa.table({"as_of": pa.array([], pa.int64())})]
    for bucket in range(planned.buckets):
        own = table.filter(bucket_of == bucket).sort(SLICE, "at").to_arrow().cast(schema)
        batches = own.combine_chunks().to_batches(max_chunksize=int(rng.integers(1, 60)))
        parts += [pa.Table.from_batches([rows]) for rows in bucket_rows(planned.cutoffs, batches, counts)]
    return pl.from_arrow(pa.concat_tables(parts, promote_options="default")), notes.value, counts


@pytest.mark.parametrize(("seed", "slices"), [(0, 1), (1, 3), (2, 40)])
def test_tasks_give_the_rows_of_a_single_machine_and_of_the_oracle(tmp_path, seed, slices):
    records = adversarial(seed)
    directory = write_archive(tmp_path, records)
    times = sorted(set(records.as_ofs))
    got, notes, counts = backfilled(plan(files_of(directory), times, cores=2, buckets=3, slices=slices), seed)
    alone = ArchiveCounts()
    for as_of, expected in rows_at(*archive_days(directory), times, alone):
        here = got.filter(pl.col("as_of") == as_of).select(expected.columns)
        assert_same_rows(here, expected, note=f"seed {seed}, as_of {as_of}")
    with ArchiveOracle(directory) as oracle:
        here = got.filter(pl.col("as_of") == records.as_of).select(expected.columns)
        assert_same_rows(here, oracle.rows(records.as_of), note="oracle")
    assert sum(rows for _, rows, _ in notes.values()) == alone.read.total()
    assert sum(sum(rejected.values()) for *_, rejected in notes.values()) == alone.rejected.total()
    assert counts.duplicates == alone.duplicates


def test_a_task_holds_the_customers_of_one_slice_at_a_time(tmp_path, monkeypatch):
    directory = write_archive(tmp_path, adversarial(1))
    led = []

    def watched(spans, cutoffs, counts):
        assert all(state() is None for state in led)
        for as_of, rows in rows_of(spans, cutoffs, counts):
            held = set(rows["customer_id"])
            assert not any(held & others for others in customers)
            customers.append(held)
            yield as_of, rows

    customers = []
    monkeypatch.setattr("shopstream.spark.backfill.rows_of", watched)
    monkeypatch.setattr("features.backfill.State", lambda: state_seen(led))
    got, _, _ = backfilled(plan(files_of(directory), [adversarial(1).as_of], cores=1, buckets=1, slices=4), 1)
    assert len(led) == 4
    assert max(map(len, customers)) < got.height == sum(map(len, customers))


class Seen(State):
    """Can be asked whether it is still there."""


def state_seen(led):
    state = Seen()
    led.append(weakref.ref(state))
    return state


def test_a_bucket_that_is_too_large_has_slices(tmp_path, monkeypatch):
    files = [DayFile("events", f"f{n}", SLICE_BYTES) for n in range(40)]
    monkeypatch.setattr("shopstream.spark.archive_scan.list_files", lambda *_: files)
    assert plan(files_of(tmp_path), [5], cores=2).slices == 1
    assert plan(files_of(tmp_path), [5], cores=2, buckets=4).slices == 10
    monkeypatch.setattr("shopstream.spark.backfill.BUCKETS_MAX", 7)
    assert (plan(files_of(tmp_path), [5], cores=2).buckets, plan(files_of(tmp_path), [5], cores=2).slices) == (7, 6)


def test_days_after_the_last_cutoff_are_not_read(tmp_path):
    records = adversarial(0)
    directory = write_plain(tmp_path, records.events, records.orders)
    as_of = sorted(event["ts"] for event in records.events)[len(records.events) // 2]
    days = {path.split("date=")[1][:10] for path in (file.path for file in list_files(directory.as_uri(), as_of))}
    assert max(days) == str(np.datetime64(as_of, "ms").astype("datetime64[D]"))


def test_days_equal_those_of_a_local_archive(tmp_path):
    directory = write_archive(tmp_path, adversarial(2))
    files = files_of(directory)
    (days, read_day), (expected_days, expected_read) = (
        days_of(files.listed(TS_MAX), files.read),
        archive_days(directory),
    )
    assert days == expected_days
    for topic in ("events", "orders"):
        for day in days:
            tables, expected = list(read_day(topic, day)), list(expected_read(topic, day))
            assert sum(table.num_rows for table in tables) == sum(table.num_rows for table in expected)
            assert [table.schema for table in tables] == [table.schema for table in expected]


def test_files_passed_by_spark_give_the_same_records(tmp_path):
    directory = write_archive(tmp_path, adversarial(2))
    planned = plan(files_of(directory), [adversarial(2).as_of], cores=1)
    one, other = Notes(), Notes()
    task = pa.RecordBatch.from_pydict({"id": [*range(len(planned.task_files))]})
    moved = read_task_files(
        planned.files.uri, planned.cutoffs[-1], SimpleNamespace(value=planned.task_files), one, [task]
    )
    files = [file for deal in planned.task_files for file in deal]
    handed = [
        rows
        for topic in ("events", "orders")
        for rows in read_contents(topic, planned.cutoffs[-1], other, [given(files, topic)])
    ]
    key = ["is_order", "id", "at", "ts", "code", "customer_id", "session_id", "device", "category", "cents"]
    expected, got = (pl.from_arrow(pa.Table.from_batches(rows)).sort(key) for rows in (list(moved), handed))
    assert got.height
    assert_frame_equal(got, expected)
    assert other.value == one.value


def given(files, topic):
    own = [file for file in files if file.topic == topic]
    content = [Path(file.path).read_bytes() for file in own]
    return pa.RecordBatch.from_pydict({"path": [file.path for file in own], "content": content})


@pytest.mark.parametrize(
    ("uri", "reader", "kind"),
    [
        ("file:///a", "auto", ArrowFiles),
        ("file:///a", "spark", SparkFiles),
        ("wasbs://box@account/a", "auto", SparkFiles),
        ("wasbs://box@account/a", "arrow", ArrowFiles),
        ("s3a://bucket/a", "auto", SparkFiles),
        ("hdfs://nowhere:8020/a", "auto", SparkFiles),
    ],
)
def test_reader_of_the_files_follows_the_uri(uri, reader, kind):
    assert isinstance(archive_files(None, uri, reader), kind)


def test_file_that_is_too_large_for_a_task_is_an_error(monkeypatch):
    monkeypatch.setattr(
        SparkFiles, "_of_topic", lambda *_: [("s3a://b/events/date=2024-01-01/a.parquet", 1_000_000_001)]
    )
    monkeypatch.setattr("shopstream.spark.archive_scan.DAY_COLUMN", {"events": "ts"})
    with pytest.raises(ShopstreamError, match=r"a\.parquet has 1,000,000,001 bytes") as refused:
        SparkFiles(None, "s3a://b").listed(TS_MAX)
    assert "several files" in refused.value.remedy


def test_counts_of_a_repeated_task_are_added_once():
    notes = Notes()
    for _ in range(2):
        notes.add({"events/a": ("events", 5, {})})
    notes.add({"events/b": ("events", 7, {})})
    assert sum(number for _, number, _ in notes.value.values()) == 12


def test_files_are_assigned_whole_and_evenly():
    rng = np.random.default_rng(1)
    files = [DayFile("events", f"f{n}", int(size)) for n, size in enumerate(rng.integers(1, 9_000_000, 300))]
    task_files = distribute(files, 4, 64_000_000)
    assert sorted(file.path for deal in task_files for file in deal) == sorted(file.path for file in files)
    work = [sum(file.size + FILE_BYTES for file in deal) for deal in task_files]
    assert max(work) < 1.2 * min(work)
    assert len(distribute(files, 1000, 64_000_000)) == 300
    assert distribute([], 4, 1) == []


def test_buckets_follow_the_size_of_the_archive(tmp_path, monkeypatch):
    files = [DayFile("events", f"f{n}", BUCKET_BYTES // 2) for n in range(40)]
    monkeypatch.setattr("shopstream.spark.archive_scan.list_files", lambda *_: files)
    assert plan(files_of(tmp_path), [5, 1, 5], cores=2).buckets == 20
    assert plan(files_of(tmp_path), [5, 1, 5], cores=50).buckets == 100
    assert plan(files_of(tmp_path), [5, 1, 5], cores=2).cutoffs == [1, 5]


@pytest.mark.parametrize("folder", ["nowhere", "an-empty-one"])
def test_folder_that_is_not_an_archive_is_an_error(tmp_path, folder):
    (tmp_path / "an-empty-one").mkdir()
    with pytest.raises(ShopstreamError, match="archive"):
        list_files((tmp_path / folder).as_uri(), 1)


def test_folder_that_is_not_a_day_is_an_error(tmp_path):
    (tmp_path / "events" / "yesterday").mkdir(parents=True)
    (tmp_path / "events" / "yesterday" / "a.parquet").touch()
    with pytest.raises(ShopstreamError, match="yesterday"):
        list_files(tmp_path.as_uri(), 1)


# --- the command ------------------------------------------------------------------------------------------------------
def test_missing_pyspark_is_an_error_with_the_remedy(monkeypatch, tmp_path):
    result = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyspark" else result(name, *rest)
    )
    with pytest.raises(ShopstreamError, match=r"shopstream\[spark\]"):
        CliRunner().invoke(
            build_app(),
            ["spark", "backfill", str(tmp_path), "--as-of", "2024-01-01", "--out", str(tmp_path / "rows")],
            catch_exceptions=False,
        )


def test_modules_import_without_pyspark():
    script = (
        "import sys; sys.modules['pyspark'] = sys.modules['py4j'] = None\n"
        "import shopstream.cli.spark, shopstream.spark.session\n"
        "import shopstream.spark.backfill, shopstream.spark.training_set\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_cutoffs_are_unique_and_sorted():
    day = 86_400_000
    assert cutoffs([2 * day, day, 2 * day], None, None, None) == [day, 2 * day]
    assert cutoffs([day // 2], day / 1_000, 0, 2 * day) == [0, day // 2, day, 2 * day]
    assert cutoffs([], day / 2_000, 0, day - 3_600_000) == [0, day // 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "No time"),
        (["--every", "1d", "--from", "2024-01-01"], "belong together"),
        (["--from", "2024-01-01", "--to", "2024-02-01"], "belong together"),
        (["--every", "1d", "--from", "2024-02-01", "--to", "2024-01-01"], "No time"),
        (["--every", "soon", "--from", "2024-01-01", "--to", "2024-02-01"], "Invalid duration for --every: 'soon'"),
        (["--every", "1s", "--from", "2024-01-01", "--to", "2024-02-01"], "2,678,401 times"),
        (["--as-of", "then"], "--as-of"),
    ],
)
def test_invalid_cutoffs_are_usage_errors(options, message):
    assert CUTOFFS_MAX < 2_678_401
    with pytest.raises(UsageError, match=message):
        CliRunner().invoke(
            build_app(), ["spark", "backfill", "archive", "--out", "rows", *options], catch_exceptions=False
        )


# --- the machine ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("message", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_202"', 8),
        ("something else", None),
    ],
)
def test_java_version_is_parsed(message, version):
    assert java.major_version(message) == version


@pytest.mark.parametrize(("version", "fits"), [("17.0.1", True), ("21.0.2", True), ("1.8.0_202", False), ("25", False)])
def test_unsupported_java_is_refused(tmp_path, monkeypatch, version, fits):
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if fits:
        assert version in java.system_java()
    else:
        with pytest.raises(ShopstreamError, match="Spark does not support Java") as refused:
            java.system_java()
        assert "17 or 21" in refused.value.remedy


def test_missing_java_is_an_error(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ShopstreamError, match="none is installed"):
        java.system_java()


@pytest.mark.parametrize("installed", [True, False])
def test_doctor_checks_java_only_with_an_installed_pyspark(monkeypatch, tmp_path, installed):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor_job, "_version_of", lambda _: "4.0.0" if installed else None)
    findings = list(doctor_job._guarded(doctor_job._spark_java, Settings(home=tmp_path)))
    assert [(finding.level, "17 or 21" in finding.remedy) for finding in findings] == [("broken", True)] * installed
    assert "_spark_java" in doctor_job.examine.__code__.co_names


def test_spark_properties_are_parsed():
    assert session.parse_properties(["a=b", "c.d=e=f"]) == {"a": "b", "c.d": "e=f"}
    with pytest.raises(UsageError, match="--conf"):
        session.parse_properties(["a"])


def test_local_workers_use_the_running_python_by_default(monkeypatch):
    for name in ("PYSPARK_PYTHON", "SPARK_LOCAL_IP", "SPARK_LOCAL_HOSTNAME"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    assert session.local_properties({}) == {**session.LOCAL, session.PYTHON: sys.executable}
    assert session.local_properties({session.PYTHON: "/mine"})[session.PYTHON] == "/mine"
    monkeypatch.setenv("PYSPARK_PYTHON", "/theirs")
    assert session.local_properties({})[session.PYTHON] == "/theirs"


def test_cause_is_extracted_from_an_error_of_spark():
    text = "An error\n  Traceback\nfeatures.errors.ShopstreamError: f.parquet cannot be read. Remove it.\n  more"
    assert session.first_cause(text) == "f.parquet cannot be read. Remove it."
    assert session.first_cause("\n first\nsecond") == "first"
    worker = (
        "An error occurred while calling o55.parquet.\n: org.apache.spark.SparkException: Job aborted\n"
        "Traceback (most recent call last):\n"
        '  File "worker.py", line 1, in main\n    import pyarrow\n'
        "ModuleNotFoundError: No module named 'pyarrow'\n\n\tat org.apache.spark.Some.method(Some.scala:1)\n"
    )
    assert session.first_cause(worker) == "ModuleNotFoundError: No module named 'pyarrow'"
    assert "spark.pyspark.python" in session.remedy_of(session.first_cause(worker))
    assert session.first_cause("") == "Spark gave no reason"

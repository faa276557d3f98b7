"""What tasks do of a training, without PySpark: rows of slices are those of the whole, prepared as on this machine."""

from __future__ import annotations

import functools
from datetime import date
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from features.backfill import ArchiveCounts
from features.errors import ShopstreamError
from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.cli.app import build_app
from shopstream.jobs.train import training_set
from shopstream.spark import xgboost_training
from shopstream.spark.archive_scan import archive_files, read_task_files
from shopstream.spark.backfill import SLICE, plan
from shopstream.spark.shuffle_rows import SHUFFLED
from shopstream.spark.training_set import LABELLED_SCHEMA, OUTCOMES, SLICE_BYTES, LabelTimes, labelled_bucket
from shopstream.spark.xgboost_training import BYTES_A_ROW, ClusterTraining, choose_location, prepared, workers_of
from training.churn.external_fit import FitTask
from training.churn.selection import TrainSplit
from training.dataset import LABEL
from training.options import Horizon

HORIZON = Horizon(horizon_days=30, history_days=40, spacing_days=15, cutoffs_max=4)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop") / "archive"
    generate(Shop(end_ms=day_start_ms(date(2025, 6, 1)), seed=8, customers=200, events=15_000, days=130), directory)
    return directory


@pytest.fixture(scope="module")
def expected(archive):
    return training_set(archive, HORIZON)


@pytest.fixture(scope="module")
def labelled(archive, expected):
    """Rows as a task labels them: a bucket of five slices."""
    terms = LabelTimes(expected.cutoffs, expected.horizon_days, expected.end_ms)
    planned = plan(archive_files(None, archive.as_uri()), terms.times, cores=1, buckets=1, slices=5)
    notes = SimpleNamespace(add=lambda _: None)
    tasks = [pa.RecordBatch.from_pydict({"id": [*range(len(planned.task_files))]})]
    task_files = SimpleNamespace(value=planned.task_files)
    moved = pa.Table.from_batches(read_task_files(planned.files.uri, terms.end_ms, task_files, notes, tasks), SHUFFLED)
    table = pl.from_arrow(moved).with_columns((pl.col("customer_id").hash(3) % 5).cast(pl.Int64).alias(SLICE))
    batches = table.sort(SLICE, "at").to_arrow().cast(SHUFFLED.append(pa.field(SLICE, pa.int64())))
    result = labelled_bucket(terms, batches.combine_chunks().to_batches(max_chunksize=700), ArchiveCounts())
    return pl.DataFrame(pa.Table.from_batches(result), schema=LABELLED_SCHEMA).sort("as_of", "customer_id")


def test_rows_of_slices_equal_those_of_the_whole(labelled, expected):
    is_last = labelled["as_of"] == expected.end_ms
    kinds = {
        "rows": labelled.filter(pl.col(LABEL).is_not_null()).drop(*(name for name in OUTCOMES if name != LABEL)),
        "followed": labelled.filter(~is_last).drop(LABEL),
        "latest": labelled.filter(is_last).drop(*OUTCOMES),
    }
    for name, got in kinds.items():
        assert_frame_equal(got, getattr(expected, name), check_exact=True)


def test_inputs_equal_those_of_a_single_machine(labelled, expected):
    task = FitTask(LABEL, TrainSplit(until_ms=expected.cutoffs[-2]), {"r": 1, "alpha": 9, "a": 1, "b": 2}, 30)
    table = labelled.sample(fraction=1, shuffle=True, seed=3).to_arrow()
    batches = list(prepared(task, table.combine_chunks().to_batches(max_chunksize=101)))
    got = pl.from_arrow(pa.Table.from_batches(batches)).sort("as_of", "customer_id")
    chosen, inputs, labels = task.prepared(expected.rows)
    assert got["customer_id"].to_list() == chosen["customer_id"].to_list()
    assert got["label"].to_list() == labels.tolist()
    assert np.array_equal(np.array(got["inputs"].to_list(), np.float32), inputs, equal_nan=True)


def test_a_slice_of_a_training_is_smaller_than_one_of_a_backfill(archive):
    files, times = archive_files(None, archive.as_uri()), [day_start_ms(date(2025, 6, 1))]
    functioning = functools.partial(plan, files, times, cores=1, buckets=1)
    assert functioning(slice_bytes=1_000).slices > functioning(slice_bytes=2_000).slices > functioning().slices == 1
    assert SLICE_BYTES < 16_000_000


@pytest.mark.parametrize(
    ("requested", "rows", "position"),
    [
        ("auto", 1_000, "machine"),
        ("auto", 10**9, "cluster"),
        ("auto", 4_000_000_000 // BYTES_A_ROW // 2, "machine"),
        ("auto", 4_000_000_000 // BYTES_A_ROW // 2 + 1, "cluster"),
        ("machine", 10**9, "machine"),
        ("cluster", 1_000, "cluster"),
    ],
)
def test_location_of_training_follows_rows_and_memory(requested, rows, position):
    assert choose_location(requested, rows, free_bytes=4_000_000_000) == position


def test_free_memory_is_that_of_the_container(tmp_path, monkeypatch):
    for name, text in {"_LIMIT": "3000000\n", "_USED": "1000000\n"}.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(xgboost_training, name, tmp_path / name)
    assert xgboost_training.memory_bytes() == 2_000_000
    (tmp_path / "_LIMIT").write_text("max\n")
    assert xgboost_training.memory_bytes() > 2_000_000


def cluster(slots=4, **properties):
    known = {name.replace("_", "."): value for name, value in properties.items()}
    conf = SimpleNamespace(get=known.get)
    return SimpleNamespace(sparkContext=SimpleNamespace(defaultParallelism=slots, getConf=lambda: conf))


def test_number_of_workers_equals_the_tasks_that_start_together():
    assert workers_of(cluster(4)) == 4
    assert workers_of(cluster(4), 3) == 3
    assert workers_of(cluster(8, spark_task_cpus="4")) == 2
    with pytest.raises(ShopstreamError, match="5 workers are requested"):
        workers_of(cluster(4), 5)
    with pytest.raises(ShopstreamError, match="dynamic allocation") as refused:
        workers_of(cluster(4, spark_dynamicAllocation_enabled="true"))
    assert "spark.executor.instances" in refused.value.remedy


def test_cluster_that_cannot_train_is_refused_before_the_backfill():
    spark = cluster(4, spark_dynamicAllocation_enabled="true")
    with pytest.raises(ShopstreamError, match="dynamic allocation"):
        ClusterTraining(spark, "cluster", None, 1_000).gather(None, HORIZON, "none", 1.0, None)


@pytest.mark.parametrize("option", ["--learn=there", "--reader=hand"])
def test_an_unknown_choice_is_a_usage_error_that_names_the_option(option, tmp_path):
    command = ["spark", "train", str(tmp_path), "--out", str(tmp_path / "bundle"), option]
    result = CliRunner().invoke(build_app(), command)
    assert result.exit_code == 2
    assert option.split("=")[0] in result.output

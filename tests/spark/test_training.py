"""`spark train` on a real Spark: the same training set as on one machine, so the same bundle."""

from __future__ import annotations

import subprocess

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from spark.clusters import MEMORY, SHOPSTREAM

from shopstream.jobs.train import training_set
from shopstream.spark.archive_scan import archive_files
from shopstream.spark.session import session
from shopstream.spark.training_set import labelled_rows
from training.bundle import load_bundle
from training.options import Horizon

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]
pytest.importorskip(
    "pyspark", reason="the extra [spark] is not installed; `make test-spark` has an environment with it"
)

HORIZON = Horizon(horizon_days=60, history_days=90, spacing_days=45, cutoffs_max=3)
OPTIONS = ["--horizon=60", "--history=90", "--spacing=45", "--tries=1", "--threads=1"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop") / "archive"
    command = [SHOPSTREAM, "generate", "--customers", "1200", "--events", "150000", "--days", "330", "--seed", "5"]
    subprocess.run([*command, "--end", "2026-01-01", "--out", str(directory)], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def spark():
    with session("tests", "local[2]", MEMORY) as started:
        yield started


def silent(*_):
    pass


def test_training_set_equals_that_of_a_single_machine(spark, shop, tmp_path):
    expected = training_set(shop, HORIZON)
    labelled = labelled_rows(
        spark, archive_files(spark, shop.as_uri()), HORIZON, (tmp_path / "rows").as_uri(), 1.0, silent
    )
    got = labelled.load()
    assert labelled.rows == got.followed.height + got.latest.height
    for name in ("rows", "followed", "latest"):
        assert_frame_equal(getattr(got, name), getattr(expected, name), check_exact=True)
    assert (got.horizon_days, got.end_ms) == (expected.horizon_days, expected.end_ms)
    assert got.counts.duplicates == expected.counts.duplicates


def test_sample_of_customers_has_complete_rows(spark, shop, tmp_path):
    expected = training_set(shop, HORIZON)
    files = archive_files(spark, shop.as_uri(), "spark")
    labelled = labelled_rows(spark, files, HORIZON, (tmp_path / "rows").as_uri(), 0.3, silent)
    # a sample is taken of what the share has left
    for got, part in ((labelled.load(), 0.3), (labelled.load(labelled.rows // 2), 0.15)):
        chosen = got.latest["customer_id"].implode()
        assert 0.7 * part < got.latest.height / expected.latest.height < 1.3 * part
        for name in ("rows", "followed", "latest"):
            whole = getattr(expected, name).filter(pl.col("customer_id").is_in(chosen))
            assert_frame_equal(getattr(got, name), whole, check_exact=True)


def test_bundle_equals_that_of_a_single_machine(shop, tmp_path):
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    subprocess.run([SHOPSTREAM, "train", str(shop), *OPTIONS, "--out", str(alone)], check=True, capture_output=True)
    command = [SHOPSTREAM, "spark", "train", str(shop), *OPTIONS, "--out", str(spread), "--master", "local[2]"]
    message = subprocess.run(command, capture_output=True, text=True, check=False)
    assert message.returncode == 0, message.stderr[-3000:]
    assert load_bundle(spread).name == load_bundle(alone).name
    assert load_bundle(spread).metrics == load_bundle(alone).metrics
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

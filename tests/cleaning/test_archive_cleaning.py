"""The dirt of a synthetic shop: found, accounted for, and gone for good."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from conftest import NOW_MS, read

from producers.archive.archive import TRUTH_FILE
from shopstream.jobs.archive_features import batch_features
from shopstream.jobs.clean import clean_archive
from training.cleaning.plan import CleaningPlan


@pytest.fixture(scope="module")
def report(cleaned):
    return json.loads((cleaned / "cleaning_report.json").read_text("utf-8"))


def test_every_row_is_in_the_result_or_in_the_change_log(report, cleaned, dirty):
    for topic, sums in report["rows"].items():
        assert sums["in"] == len(read(dirty, topic))
        assert sums["out"] == len(read(cleaned, topic))
        dropped = sum(r["count"] for r in report["rules"] if r["topic"] == topic and r["action"] == "dropped")
        assert sums["in"] == sums["out"] + dropped
        assert sums["unexplained"] == 0
    kept = pl.read_parquet(cleaned / "cleaning_dropped.parquet")
    assert len(kept) == sum(sums["dropped"] for sums in report["rows"].values())


@pytest.mark.parametrize("group", ["duplicate", "time", "other"])
def test_cleaning_detects_the_planted_faults_and_no_others(report, group):
    assert report["truth"][group]["planted"] > 20
    assert report["truth"][group]["precision"] >= 0.99
    assert report["truth"][group]["recall"] >= 0.99


def test_each_rule_that_changed_rows_has_examples(report):
    assert [rule["rule"] for rule in report["rules"] if not rule["examples"]] == []


def test_cleaning_a_clean_archive_changes_nothing(cleaned, tmp_path):
    again = clean_archive(cleaned, tmp_path / "again", CleaningPlan(), NOW_MS)
    assert {rule["action"] for rule in again["rules"]} <= {"flagged"}
    for path in cleaned.rglob("part-*.parquet"):
        assert (tmp_path / "again" / path.relative_to(cleaned)).read_bytes() == path.read_bytes()
    assert (tmp_path / "again" / "customers.parquet").read_bytes() == (cleaned / "customers.parquet").read_bytes()


def test_features_of_the_cleaned_archive_equal_those_of_the_dirty_one(dirty, cleaned):
    assert batch_features(cleaned, NOW_MS).equals(batch_features(dirty, NOW_MS))


def test_truth_files_are_copied_when_ids_are_unchanged(cleaned):
    assert (cleaned / TRUTH_FILE).is_file()
    assert not (cleaned / "truth_dirt.parquet").exists()


def test_result_does_not_depend_on_the_order_of_rows_and_files(dirty, cleaned, tmp_path):
    shuffled = tmp_path / "shuffled"
    for path in dirty.rglob("*.parquet"):
        target = shuffled / path.relative_to(dirty)
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = pl.read_parquet(path, hive_partitioning=False).reverse()
        rows.write_parquet(target)
    clean_archive(shuffled, tmp_path / "out", CleaningPlan(), NOW_MS)
    for topic, key in (("events", ["event_id"]), ("orders", ["order_id", "updated_ts"])):
        one, other = (read(archive, topic).sort(key) for archive in (cleaned, tmp_path / "out"))
        assert one.equals(other)

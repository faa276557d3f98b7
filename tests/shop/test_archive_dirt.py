"""Planted dirt: as many rows as asked for, each labelled, every kind there is, and nothing else touched."""

import math
from collections import Counter
from datetime import date

import msgspec
import pyarrow.parquet as pq
import pytest

from features.errors import UsageError
from features.schema import AMOUNT_MAX, DAY_COLUMN, DAY_MS, ORDER_CHANGE_MS_MAX, Customer, Event, Order
from producers.archive import archive
from producers.shop.archive_dirt import DUPLICATE, ID_COLUMN, KINDS
from producers.shop.generate import generate
from producers.shop.shop import Shop

SHOP = Shop(end_ms=archive.day_start_ms(date(2025, 6, 1)), seed=4, customers=1_000, events=60_000, days=60)
RECORDS = {"events": Event, "orders": Order, "customers": Customer}


def rows(directory, topic):
    """(day, record) of every row, times as epoch milliseconds."""
    if topic == "customers":
        days = [(None, archive.read_customers(directory))]
    else:
        days = list(archive.iter_days(directory, topic))
    for day, table in days:
        for index, field in enumerate(table.schema):
            if field.name.endswith("ts"):
                millis = table[field.name].cast("int64")
                table = table.set_column(index, field.name, millis)  # noqa: PLW2901
        for row in table.to_pylist():
            yield day, row


def is_valid(topic, row):
    """The contract once more, in plain words and by the record's own bounds."""
    try:
        msgspec.convert({k: v for k, v in row.items() if v is not None}, RECORDS[topic])
    except msgspec.ValidationError:
        return False
    if topic == "orders":
        amounts = [row["total"], *(item["unit_price"] for item in row["items"])]
        return row["ts"] <= row["updated_ts"] <= row["ts"] + ORDER_CHANGE_MS_MAX and all(
            0 <= a <= AMOUNT_MAX and not math.isnan(a) for a in amounts
        )
    return True


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dirty") / "a"
    return directory, generate(SHOP, directory, dirt=0.05)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clean") / "a"
    return directory, generate(SHOP, directory)


def frozen(row):
    return msgspec.json.encode(row)


@pytest.mark.parametrize("topic", ["events", "orders", "customers"])
def test_labels_equal_the_planted_dirt(clean, dirty, topic):
    labels = [r for r in pq.read_table(dirty[0] / archive.TRUTH_DIRT_FILE).to_pylist() if r["topic"] == topic]
    clean_rows = [frozen(row) for _, row in rows(clean[0], topic)]
    assert len(labels) == int(0.05 * len(clean_rows))
    valid, invalid = [], Counter()
    for day, row in rows(dirty[0], topic):
        if is_valid(topic, row):
            valid.append(frozen(row))
        else:
            invalid[day, row[ID_COLUMN[topic]]] += 1
    duplicated = Counter(valid) - Counter(clean_rows)
    assert not Counter(clean_rows) - Counter(valid)
    assert Counter(msgspec.json.decode(row)[ID_COLUMN[topic]] for row in duplicated.elements()) == Counter(
        label["id"] for label in labels if label["kind"] == DUPLICATE
    )
    assert invalid == Counter((label["date"], label["id"]) for label in labels if label["kind"] != DUPLICATE)
    assert all(label["valid"] == (label["kind"] == DUPLICATE) for label in labels)


@pytest.mark.parametrize("topic", ["events", "orders", "customers"])
def test_every_kind_of_invalid_row_occurs(tmp_path, topic):
    shop = Shop(end_ms=SHOP.end_ms, customers=400, events=12_000, days=10)
    generate(shop, tmp_path / "a", dirt=1.0)
    labels = pq.read_table(tmp_path / "a" / archive.TRUTH_DIRT_FILE).to_pylist()
    assert {label["kind"] for label in labels if label["topic"] == topic} == {DUPLICATE, *KINDS[topic]}


def test_rows_lie_in_the_folders_of_their_own_days(dirty):
    for topic, column in DAY_COLUMN.items():
        for day, row in rows(dirty[0], topic):
            assert row[column] is None or row[column] // DAY_MS == (day - date(1970, 1, 1)).days
    assert date(1969, 12, 31) in archive.days(dirty[0], "events")


def test_dirty_rows_are_counted_separately(clean, dirty):
    assert dirty[1].events == clean[1].events == SHOP.events
    assert dirty[1].counts == clean[1].counts
    assert dirty[1].dirty_rows == pq.read_metadata(dirty[0] / archive.TRUTH_DIRT_FILE).num_rows > 3_000
    assert not (clean[0] / archive.TRUTH_DIRT_FILE).exists()


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_dirt_outside_zero_to_one_is_refused(tmp_path, share):
    with pytest.raises(UsageError, match="share"):
        generate(SHOP, tmp_path / "a", dirt=share)
    assert list(tmp_path.iterdir()) == []

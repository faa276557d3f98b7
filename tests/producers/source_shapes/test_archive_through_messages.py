"""The features of an archive equal those of the archive that its messages make, to the last unit."""

from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import polars.testing
import pyarrow as pa
import pytest
from mapped_back import ZONE, mapper_of

from connectors.messages.mapped import Message
from features.backfill import ArchiveCounts
from features.schema import DAY_MS, Event, Order, arrow_schema
from producers.archive.archive import ArchiveWriter, read_customers
from producers.archive.event_order import ArchiveRange, in_time_order
from producers.shop.generate import generate
from producers.shop.shop import Shop
from producers.source_shapes.files import write_message_files
from producers.source_shapes.shape import Faults
from producers.source_shapes.shapes import SHAPES, records_of
from shopstream.jobs.archive_features import batch_features

END = 20_240 * DAY_MS
SHOP = Shop(end_ms=END, seed=11, customers=150, events=8_000, days=70)
PARTITIONS = 3
SITE = ZoneInfo(ZONE)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """A shop's archive in which 5 % of the orders are deleted."""
    directory = tmp_path_factory.mktemp("truth") / "archive"
    generated = generate(SHOP, directory, deleted=0.05)
    assert generated.deleted_orders > 2
    return directory


def without_void(truth, directory):
    """The archive without its void records, for systems that cannot say them."""
    events, orders = records(truth, "events"), records(truth, "orders")
    return archive_of(directory, events, [order for order in orders if order["status"] != "void"], truth)


def records(directory, topic):
    return [
        msgspec.json.decode(value)
        for chunk in in_time_order(ArchiveRange(directory, (topic,)))
        for value in chunk.values
    ]


def archive_of(directory, events, orders, truth):
    with ArchiveWriter(directory) as writer:
        for topic, rows, record in (("events", events, Event), ("orders", orders, Order)):
            writer.write(topic, pa.Table.from_pylist(rows, schema=arrow_schema(record)))
        writer.write_customers([read_customers(truth)])
    return directory


def mapped_lines(folder, shape):
    """The records of a folder's messages, and how many were left out and refused. Partitions are read one by one."""
    rows, left_out, refused = [], 0, 0
    for number in range(PARTITIONS):
        lines = (folder / shape / f"partition-{number}.jsonl").read_bytes().splitlines()
        messages = [Message(None if line == b"null" else line, f"t-{number}-{n}") for n, line in enumerate(lines)]
        mapped = mapper_of(shape).map(messages)
        rows += [msgspec.json.decode(record.value) for record in mapped.records]
        left_out, refused = left_out + len(mapped.left_out), refused + len(mapped.refused)
    return rows, left_out, refused


def features_of(directory):
    counts = ArchiveCounts()
    return batch_features(directory, END - 1, counts)


@pytest.mark.parametrize("shape", SHAPES)
def test_features_of_mapped_messages_equal_those_of_the_archive(truth, tmp_path, shape):
    if shape == "shopify":
        truth = without_void(truth, tmp_path / "placed")
    faults = Faults(dirt=0.1, poison=0.02, seed=3)
    written = write_message_files(truth, tmp_path / "messages", [shape], faults, SITE, PARTITIONS)
    rows, left_out, refused = mapped_lines(tmp_path / "messages", shape)
    assert sum(written.admission.refused.values()) + sum(written.reports[shape].refused.values()) == 0
    assert (left_out, refused) == (written.reports[shape].left_out, written.reports[shape].broken)
    assert left_out > 0
    assert refused > 0
    events, orders = records(truth, "events"), records(truth, "orders")
    if records_of(shape) == "events":
        assert len(rows) > len(events)  # repetitions
        events = rows
    else:
        assert len(rows) > len(orders)
        orders = rows
    again = archive_of(tmp_path / "again", events, orders, truth)
    expected = features_of(truth)
    assert expected.height > 100
    assert expected["orders_total"].sum() > 100
    polars.testing.assert_frame_equal(features_of(again), expected, check_exact=True)


def test_message_files_of_equal_seeds_are_equal_and_of_others_differ(truth, tmp_path):
    texts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_message_files(truth, tmp_path / name, SHAPES[:2], Faults(0.1, 0.1, seed), SITE, PARTITIONS)
        texts.append([file.read_bytes() for file in sorted((tmp_path / name).rglob("*.jsonl"))])
    assert texts[0] == texts[1]
    assert all(first != other for first, other in zip(texts[0], texts[2], strict=True))


def test_deleted_orders_are_void_in_the_truth_and_have_no_later_record(truth):
    orders = pl.DataFrame(records(truth, "orders"), infer_schema_length=None)
    last = orders.sort("updated_ts").group_by("order_id").last()
    deleted = orders.filter(pl.col("status") == "void")
    assert deleted["order_id"].is_unique().all()
    assert set(deleted["order_id"]) == set(last.filter(pl.col("status") == "void")["order_id"])
    assert (deleted["updated_ts"] > deleted["ts"]).all()
    assert (orders["updated_ts"] < END).all()
    placed = orders.filter(pl.col("updated_ts") == pl.col("ts"))["order_id"]
    assert 0.02 < deleted.height / placed.len() < 0.09

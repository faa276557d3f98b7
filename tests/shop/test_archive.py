import os
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ShopstreamError
from features.schema import DAY_MS, Event, Order, arrow_schema
from producers.archive import archive

D0 = date(2025, 3, 1)
T0 = archive.day_start_ms(D0)


def events_table(times, **columns):
    n = len(times)
    rows = {
        "event_id": [f"e{i}" for i in range(n)],
        "event_type": ["page_view"] * n,
        "customer_id": ["c1"] * n,
        "session_id": ["s1"] * n,
        "ts": times,
        "device": ["mobile"] * n,
    } | columns
    schema = archive.reading_schema("events")
    return pa.table({f.name: pa.array(rows.get(f.name, [None] * n), f.type) for f in schema})


def order_rows(n):
    return [
        {
            "order_id": f"o{i}",
            "customer_id": "c1",
            "ts": T0,
            "updated_ts": T0 + i * DAY_MS,
            "status": "placed",
            "total": 1.5,
            "items": [{"product_id": "p", "category": None, "quantity": 1, "unit_price": 1.5}] if i % 2 else None,
        }
        for i in range(n)
    ]


def write_raw(directory, table, topic="events", day=D0):
    folder = directory / topic / f"date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "x.parquet")


def test_rows_read_back_from_the_folders_of_their_days(tmp_path):
    out = tmp_path / "a"
    table = events_table([T0, T0 + DAY_MS - 1, T0 + DAY_MS, T0 + 3 * DAY_MS])
    with archive.ArchiveWriter(out) as writer:
        writer.write("events", table)
        writer.write("orders", pa.Table.from_pylist(order_rows(3), schema=arrow_schema(Order)))
    assert archive.days(out, "events") == [D0, date(2025, 3, 2), date(2025, 3, 4)]
    assert archive.read_day(out, "events", D0)["event_id"].to_pylist() == ["e0", "e1"]
    assert pa.concat_tables(t for _, t in archive.iter_days(out, "events")).equals(table)
    assert archive.days(out, "orders") == [D0, date(2025, 3, 2), date(2025, 3, 3)]
    assert archive.read_day(out, "orders", date(2025, 3, 2))["items"].to_pylist() == [order_rows(2)[1]["items"]]
    assert archive.read_customers(out) is None
    written = pq.read_schema(out / "events" / f"date={D0}" / "part-00000.parquet")
    assert written.remove_metadata() == arrow_schema(Event)


def test_time_range_is_half_open_to_the_millisecond(tmp_path):
    with archive.ArchiveWriter(tmp_path / "a") as writer:
        writer.write("events", events_table([T0, T0 + 1, T0 + 2, T0 + DAY_MS]))
    got = list(archive.iter_days(tmp_path / "a", "events", T0 + 1, T0 + 2))
    assert [(day, t["event_id"].to_pylist()) for day, t in got] == [(D0, ["e1"])]
    assert [d for d, _ in archive.iter_days(tmp_path / "a", "events", T0 + DAY_MS)] == [date(2025, 3, 2)]
    assert [d for d, _ in archive.iter_days(tmp_path / "a", "events", None, T0 + DAY_MS)] == [D0]


def test_row_without_a_time_is_read_with_its_folder(tmp_path):
    with archive.ArchiveWriter(tmp_path / "a") as writer:
        writer.write_day("events", D0, events_table([None, T0 + 5]))
    ((_, table),) = archive.iter_days(tmp_path / "a", "events", T0 + 6, T0 + 9)
    assert table["ts"].null_count == 1
    assert table.num_rows == 1


def test_a_failed_run_leaves_nothing(tmp_path):
    def interrupted():
        with archive.ArchiveWriter(tmp_path / "a") as writer:
            writer.write("events", events_table([T0]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def replaced(tmp_path):
    """An archive, and how to write another one over it."""
    out = tmp_path / "a"

    def write(event_id):
        with archive.ArchiveWriter(out, force=True) as writer:
            writer.write("events", events_table([T0], event_id=[event_id]))

    write("old")
    return out, write


@pytest.mark.parametrize("failing", [1, 2])
def test_archive_that_cannot_be_replaced_is_unchanged(replaced, monkeypatch, failing):
    out, write = replaced
    rename, calls = Path.rename, []

    def fails_once(self, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    with pytest.raises(ShopstreamError, match="cannot be moved to its final name"):
        write("new")
    assert archive.read_day(out, "events", D0)["event_id"].to_pylist() == ["old"]
    assert [path.name for path in out.parent.iterdir()] == ["a"]


def test_archive_that_cannot_be_restored_is_preserved_and_named(replaced, monkeypatch):
    _, write = replaced
    rename, calls = Path.rename, []

    def fails_after_the_first(self, target):
        calls.append(target)
        if len(calls) > 1:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_after_the_first)
    with pytest.raises(ShopstreamError, match="The old one is in") as messages:
        write("new")
    stored = Path(messages.value.message.partition("The old one is in ")[2].rstrip("."))
    assert archive.read_day(stored, "events", D0)["event_id"].to_pylist() == ["old"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which file a descriptor is of")
def test_new_archive_is_synced_before_it_is_renamed(replaced, monkeypatch):
    out, write = replaced
    rename, fsync, done = Path.rename, os.fsync, []
    monkeypatch.setattr(
        os, "fsync", lambda file: (done.append(str(Path(f"/proc/self/fd/{file}").readlink())), fsync(file))
    )
    monkeypatch.setattr(Path, "rename", lambda self, target: (done.append(str(target)), rename(self, target))[1])
    write("new")
    before, after = done[: done.index(str(out))], done[done.index(str(out)) :]
    written = [path for path in out.rglob("*") if path.is_file()]
    assert written
    for path in (out, *written, *(path.parent for path in written)):
        assert any(one.endswith(f"/new/{path.relative_to(out)}".removesuffix("/.")) for one in before), path
    assert after == [str(out), str(out.parent)]


def test_force_replaces_archives_only(tmp_path):
    out = tmp_path / "a"
    for ids in (["old"], ["new"]):
        with archive.ArchiveWriter(out, force=True) as writer:
            writer.write("events", events_table([T0], event_id=ids))
    assert archive.read_day(out, "events", D0)["event_id"].to_pylist() == ["new"]
    with pytest.raises(ShopstreamError, match="not empty"):
        archive.ArchiveWriter(out)
    (out / "thesis.txt").write_text("precious")
    with pytest.raises(ShopstreamError, match=r"thesis\.txt"):
        archive.ArchiveWriter(out, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_csv_copies_hold_the_same_rows(tmp_path):
    out = tmp_path / "a"
    with archive.ArchiveWriter(out, csv=True) as writer:
        writer.write("orders", pa.Table.from_pylist(order_rows(2), schema=arrow_schema(Order)))
    text = (out / "csv" / "orders" / "date=2025-03-02" / "part-00000.csv").read_text()
    assert '"[{""product_id"":""p"",""category"":null,""quantity"":1,""unit_price"":1.5}]"' in text
    assert "2025-03-02 00:00:00.000Z" in text


def test_foreign_types_are_unified(tmp_path):
    micros = [datetime(2025, 3, 1, 0, 0, 0, 1999, tzinfo=UTC)] * 4
    foreign = pa.table(
        {
            "event_id": pa.array(["a", "b", "c", "d"]).dictionary_encode(),
            "event_type": pa.array(["page_view"] * 4, pa.large_string()),
            "customer_id": pa.array(["c"] * 4, pa.string_view()),
            "session_id": ["s"] * 4,
            "ts": pa.array(micros, pa.timestamp("us", tz="UTC")),
            "device": ["mobile"] * 4,
            "quantity": [1.0, float("nan"), 1.5, None],
            "price": pa.array([1, 2, 3, None], pa.int32()),
            "surplus": [1, 2, 3, 4],
        }
    )
    write_raw(tmp_path, foreign)
    table = archive.read_day(tmp_path, "events", D0)
    assert table.schema == archive.reading_schema("events")
    assert table["quantity"].to_pylist() == [1, None, 0, None]
    assert table["price"].to_pylist() == [1.0, 2.0, 3.0, None]
    assert table["channel"].null_count == 4
    assert table["ts"].cast(pa.int64()).to_pylist() == [T0 + 1] * 4


def test_items_with_other_fields_are_unified(tmp_path):
    foreign = pa.Table.from_pylist(
        [
            {k: v for k, v in row.items() if k != "items"} | {"items": items}
            for row, items in zip(
                order_rows(4), ([{"sku": "x", "quantity": 2.0}], None, [], [{"quantity": None}]), strict=True
            )
        ]
    ).slice(1)
    write_raw(tmp_path, foreign, "orders")
    table = archive.read_day(tmp_path, "orders", D0, ["order_id", "items"])
    empty = {"product_id": None, "category": None, "quantity": None, "unit_price": None}
    assert table.to_pylist() == [
        {"order_id": "o1", "items": None},
        {"order_id": "o2", "items": []},
        {"order_id": "o3", "items": [empty]},
    ]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda t: t.drop_columns(["session_id"]), "no column session_id"),
        (lambda t: t.set_column(2, "customer_id", pa.array([7])), "column customer_id is int64, expected string"),
        (lambda t: t.set_column(4, "ts", pa.array(["yesterday"])), "column ts is string"),
    ],
)
def test_a_column_that_cannot_be_read_is_named(tmp_path, broken, words):
    write_raw(tmp_path, broken(events_table([T0])))
    with pytest.raises(ShopstreamError, match=words):
        archive.read_day(tmp_path, "events", D0)


def test_folder_that_is_not_an_archive_is_refused(tmp_path):
    with pytest.raises(ShopstreamError, match="no archive"):
        archive.days(tmp_path / "missing", "events")
    with pytest.raises(ShopstreamError, match="is not an archive"):
        archive.days(tmp_path, "events")
    (tmp_path / "events" / "2025").mkdir(parents=True)
    with pytest.raises(ShopstreamError, match="not a day folder"):
        archive.days(tmp_path, "events")
    assert archive.days(tmp_path, "orders") == []
    folder = tmp_path / "orders" / "date=2025-03-01"
    folder.mkdir(parents=True)
    (folder / "x.parquet").write_text("no parquet")
    with pytest.raises(ShopstreamError, match="cannot be read"):
        archive.read_day(tmp_path, "orders", D0)

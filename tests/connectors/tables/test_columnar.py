"""Parquet: types become text without loss, times keep their type, paths lead into structs and lists."""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.tables.columnar import _Faults, _text
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import LINE, header, read_batches
from features.errors import ShopstreamError, UsageError

PARQUET = FileFormat(format="parquet")


def read(folder, table, columns=None, rows_max=50_000, write=None, **options):
    path = folder / "a.parquet"
    pq.write_table(table, path, **(write or {}))
    [log] = log_files([path])
    batches = list(read_batches(log, PARQUET, columns, rows_max=rows_max, **options))
    refused = [(one.line, one.column, one.value, one.reason) for batch in batches for one in batch.refused]
    return pl.concat([batch.rows for batch in batches]), refused


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (
            pa.array([17850.0, float("nan"), None, 0.1, 1e-7, -0.0, 2.5]),
            ["17850", None, None, "0.1", "0.0000001", "0", "2.5"],
        ),
        (pa.array([1.1, 16777215.0], pa.float32()), ["1.1", "16777215"]),
        (pa.array(np.array([1.5, 2.0], dtype=np.float16)), ["1.5", "2"]),
        (pa.array([2**63 - 1, -5, None]), ["9223372036854775807", "-5", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array(["007", "", " ", "é"]), ["007", None, None, "é"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([b"ok", None]), ["ok", None]),
        (pa.array([b"ab"], pa.binary(2)), ["ab"]),
        (
            pa.array([Decimal("12.50"), Decimal("100.00"), Decimal("-0.01"), Decimal("0.00")]),
            ["12.5", "100", "-0.01", "0"],
        ),
        (pa.array([Decimal("1E-10"), Decimal(7)], pa.decimal128(38, 10)), ["0.0000000001", "7"]),
        (pa.array([Decimal(f"{10**39}.5")], pa.decimal256(60, 3)), [f"{10**39}.5"]),
        (pa.nulls(2), [None, None]),
        (pa.array([dt.time(10, 30)]), ["10:30:00"]),
        (pa.array([37800123], pa.time32("ms")), ["10:30:00.123"]),
        (pa.array([37800000000001, None], pa.time64("ns")), ["10:30:00.000000001", None]),
        (pa.array(np.array([0.1, 2047, -0.0, np.nan], dtype=np.float16)), ["0.1", "2047", "0", None]),
        (pa.array([2**53 + 1], pa.uint64()), ["9007199254740993"]),
        (pa.array([Decimal("1.20"), None], pa.decimal64(15, 2)), ["1.2", None]),
        (pa.array([Decimal("1.50"), None]).dictionary_encode(), ["1.5", None]),
        (pa.array([7, 8, 7]).dictionary_encode(), ["7", "8", "7"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}'])), ['{"a":1}']),
        (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), ["00000000-0000-0000-0000-000000000001"]),
    ],
)
def test_types_become_text(tmp_path, array, texts):
    rows, refused = read(tmp_path, pa.table({"a": array}))
    assert refused == []
    assert rows["a"].dtype == pl.String
    assert rows["a"].to_list() == texts
    assert rows[LINE].to_list() == list(range(1, len(texts) + 1))


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (pa.array([dt.date(2024, 3, 1), None]), pl.Date(), [dt.date(2024, 3, 1), None]),
        (pa.array([1709287200000], pa.timestamp("ms")), pl.Datetime("ms"), [dt.datetime(2024, 3, 1, 10)]),
        (pa.array([1709287200000000001], pa.timestamp("ns")), pl.Datetime("ns"), [dt.datetime(2024, 3, 1, 10)]),
        (
            pa.array([0], pa.timestamp("us", "+02:00")),
            pl.Datetime("us", "UTC"),
            [dt.datetime(1970, 1, 1, tzinfo=dt.UTC)],
        ),
        (
            pa.array([0], pa.timestamp("us", "Europe/Berlin")),
            pl.Datetime("us", "UTC"),
            [dt.datetime(1970, 1, 1, tzinfo=dt.UTC)],
        ),
    ],
)
def test_times_keep_their_type(tmp_path, array, kind, values):
    rows, _ = read(tmp_path, pa.table({"a": array}))
    assert rows["a"].dtype == kind
    assert rows["a"].to_list() == values


def test_int96_times_are_read_to_the_microsecond(tmp_path):
    times = pa.array([1709287200123456789, None], pa.timestamp("ns"))
    rows, refused = read(tmp_path, pa.table({"a": times}), write={"use_deprecated_int96_timestamps": True})
    assert refused == []
    assert rows["a"].to_list() == [dt.datetime(2024, 3, 1, 10, 0, 0, 123456), None]


def test_int96_times_beyond_nanoseconds_are_read(tmp_path):
    times = pa.array([dt.datetime(9999, 1, 1)], pa.timestamp("us"))
    rows, _ = read(tmp_path, pa.table({"a": times}), write={"use_deprecated_int96_timestamps": True})
    assert rows["a"].to_list() == [dt.datetime(9999, 1, 1)]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array([3600], pa.duration("s")), "a duration is not a value"),
        (pa.array([1], pa.duration("ns")), "a duration is not a value"),
        (pa.array([[1, 2]]), "the value is a list, not a value"),
        (pa.array([[[1]]], pa.large_list(pa.list_(pa.int8()))), "the value is a list, not a value"),
        (pa.array([{"b": 1}]), "the value is an object, not a value"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), "the value is an object, not a value"),
        (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int8())), "the value is a list, not a value"),
        (pa.array([b"\xff"]), "the bytes are not UTF-8"),
        (pa.array([b"\xff\xfe"], pa.binary(2)), "the bytes are not UTF-8"),
        (pa.array([2.0**24], pa.float32()), "a float of this size has lost digits"),
        (pa.array(np.array([2048], dtype=np.float16)), "a float of this size has lost digits"),
        (pa.array(np.array([np.inf], dtype=np.float16)), "the number is infinite"),
    ],
)
def test_types_without_a_value_refuse_their_rows_by_name(tmp_path, array, reason):
    rows, refused = read(tmp_path, pa.table({"a": array, "b": ["x"]}), ["a", "b"])
    assert (len(rows), [(line, column, why.split(";")[0]) for line, column, _, why in refused]) == (
        0,
        [(1, "a", reason)],
    )


def test_dates_of_64_bits_with_a_time_of_the_day_are_no_dates():
    faults = _Faults()
    dates = _text(pa.array([1709251200000, 1709254800000, None, -1], pa.date64()), faults)
    assert dates.to_list() == [dt.date(2024, 3, 1), None, None, None]
    assert (faults.rows, faults.values) == ([1, 3], ["1709254800000 ms", "-1 ms"])
    assert set(faults.reasons) == {"a date of 64 bits with a time of the day"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([0.1], pa.float32()), "0.1"),
        (pa.array(np.array([0.1], np.float16)), "0.1"),
        (pa.array([2.0**24], pa.float32()), None),
        (pa.array([float("inf")], pa.float32()), None),
        (pa.array([1], pa.time64("ns")), None),
        (pa.array([1], pa.duration("us")), None),
        (pa.array([0.1]), "0.1"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (pa.array([1], pa.timestamp("us")), "1970-01-01T00:00:00.000001"),
        (pa.array([Decimal("1.20")]), "1.2"),
    ],
)
@pytest.mark.parametrize("way", [{"columns": ["a[0].v"]}, {"columns": [".v"], "each": "a"}, {"columns": ["m.k"]}])
def test_values_within_lists_and_maps_are_exact_or_refused_as_in_columns(tmp_path, values, text, way):
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), pa.StructArray.from_arrays([values], ["v"]))
    maps = pa.MapArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["k"]), values)
    rows, refused = read(tmp_path, pa.table({"a": lists, "m": maps}), **way)
    assert (rows[way["columns"][0]].to_list(), len(refused)) == (([], 1) if text is None else ([text], 0))


@given(st.floats(width=64), st.floats(width=32), st.floats(width=16))
def test_text_of_a_float_is_its_exact_shortest_decimal(double, single, half):
    short = {pa.float32(): np.float32, pa.float16(): np.float16}
    for number, kind, limit in (
        (double, pa.float64(), 2**53),
        (single, pa.float32(), 2**24),
        (half, pa.float16(), 2**11),
    ):
        faults = _Faults()
        [text] = _text(pa.array([number], kind), faults)
        if np.isnan(number):
            assert text is None
        elif abs(number) >= limit:
            assert (text, faults.rows) == (None, [0])
        else:
            assert "e" not in text
            assert Decimal(text) == Decimal(str(short.get(kind, float)(number)))
            assert text == str(int(number)) if float(number).is_integer() else "." in text


def test_values_without_exact_text_refuse_their_rows(tmp_path):
    table = pa.table(
        {
            "n": [1, 2, 3, 4, 5],
            "f": [1.5, float("inf"), 2.0**53, 3.0, -0.5],
            "b": [b"a", b"b", b"c", b"\xe9", b"d"],
            "l": [None, None, None, None, [1]],
        }
    )
    rows, refused = read(tmp_path, table)
    assert rows["n"].to_list() == ["1"]
    assert [(line, column, reason.split(";")[0]) for line, column, _, reason in refused] == [
        (2, "f", "the number is infinite"),
        (3, "f", "a float of this size has lost digits"),
        (4, "b", "the bytes are not UTF-8"),
        (5, "l", "the value is a list, not a value"),
    ]
    rows, refused = read(tmp_path, table, ["n"])
    assert (len(rows), refused) == (5, [])


def test_invalid_utf8_in_a_text_column_refuses_its_row(tmp_path):
    data = pa.py_buffer(b"ok\xe9")
    array = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 2, 3)), data)
    rows, refused = read(tmp_path, pa.table({"a": array}))
    assert rows["a"].to_list() == ["ok"]
    assert [one[:3] for one in refused] == [(2, "a", "e9")]


NESTED = pa.table(
    {
        "id": [1, 2, 3],
        "at": pa.array([0, 1, 2], pa.timestamp("us")),
        "geo": pa.array([{"country": "DE", "pos": {"lat": 1.5}}, None, {"country": None, "pos": None}]),
        "params": pa.array([[{"key": "s", "value": 7}, {"key": "t", "value": 8}], [], None]),
        "properties": ['{"$lib": "web"}', "", None],
        "a.b": ["x", "y", "z"],
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    }
)


@pytest.mark.parametrize("rows_max", [1, 2, 50_000])
def test_paths_lead_into_structs_lists_maps_and_texts(tmp_path, rows_max):
    columns = [
        "geo.country",
        "geo.pos.lat",
        "geo.none",
        "params[key=s].value",
        "params[1].value",
        "properties.$lib",
        "a.b",
        "map.k",
    ]
    rows, refused = read(tmp_path, NESTED, columns, rows_max)
    assert refused == []
    assert rows.rows() == [
        (1, "DE", "1.5", None, "7", "8", "web", "x", "1"),
        (2, None, None, None, None, None, None, "y", None),
        (3, None, None, None, None, None, None, "z", None),
    ]
    assert header(log_files([tmp_path / "a.parquet"])[0], PARQUET) == [
        "id", "at", "geo.country", "geo.pos.lat", "params", "properties", "a.b", "map",
    ]  # fmt: skip


@pytest.mark.parametrize("rows_max", [1, 50_000])
def test_a_row_per_element_of_a_list_keeps_typed_columns(tmp_path, rows_max):
    rows, refused = read(tmp_path, NESTED, [".key", "id", ".value", "at"], rows_max, each="params")
    assert refused == []
    zero = dt.datetime(1970, 1, 1)
    assert rows.rows() == [
        (1, "s", "1", "7", zero, 0),
        (1, "t", "1", "8", zero, 1),
        (2, None, "2", None, zero.replace(microsecond=1), None),
        (3, None, "3", None, zero.replace(microsecond=2), None),
    ]


def test_structs_lists_and_missing_columns(tmp_path):
    rows, refused = read(tmp_path, NESTED, ["geo"])
    assert rows[LINE].to_list() == [2]
    assert [line for line, *_ in refused] == [1, 3]
    for missing in ("nr", "nr.a", "a..b"):
        with pytest.raises(UsageError):
            read(tmp_path, NESTED, [missing])


def test_a_column_twice_is_refused_only_if_requested(tmp_path):
    table = pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "b", "a"])
    assert read(tmp_path, table, ["b"])[0].rows() == [(1, "2")]
    assert read(tmp_path, table)[0].rows() == [(1, "1", "2", "3")]
    with pytest.raises(UsageError, match="has the column 'a' 2 times"):
        read(tmp_path, table, ["a"])


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": ["x"] * 100}), path)
    content = path.read_bytes()
    for broken in (content[:-6], content[: len(content) // 2], b"PAR1" + content[40:]):
        path.write_bytes(broken)
        with pytest.raises(ShopstreamError, match=r"a\.parquet cannot be read as Parquet"):
            list(read_batches(log_files([path])[0], PARQUET, ["a"]))
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ShopstreamError, match=r"a\.parquet is no parquet file"):
        list(read_batches(log_files([path])[0], PARQUET, ["a"]))

"""The same log in any format, encoding, packing, split and order gives the same archive; damage is never silent."""

import csv
import gzip
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import ShopstreamError
from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping

START = datetime(2024, 3, 28, tzinfo=UTC)
TEXTS = st.text("abcé,;\"'\t €ß0.5", min_size=1, max_size=6).filter(lambda text: text.strip() == text)
NAMES = st.text("abcéß0123", min_size=1, max_size=5).map(lambda text: f"k{text}")
LINES = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(1, 6).map(lambda n: f"0{n}"),
            "sku": st.one_of(st.none(), TEXTS.map(lambda text: f"p{text}")),
            "n": st.decimals("0.125", 40, places=3).map(lambda n: n.normalize() if n % 1 else Decimal(int(n))),
            "each": st.decimals(0, 99_999, places=2),
            "category": st.one_of(st.none(), TEXTS),
        }
    ),
    min_size=1,
    max_size=14,
)
CLICKS = st.lists(
    st.fixed_dictionaries(
        {
            "who": NAMES,
            "minute": st.integers(0, 4_000),
            "type": st.sampled_from(["product_view", "add_to_cart", "purchase"]),
            "price": st.one_of(st.none(), st.decimals(0, 2_000, places=2)),
        }
    ),
    min_size=1,
    max_size=14,
)
FORMS = st.fixed_dictionaries(
    {
        "format": st.sampled_from(["csv", "json", "array", "parquet"]),
        "separator": st.sampled_from([",", ";", "\t", "|"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "decimal": st.sampled_from([".", ","]),
        "grouped": st.booleans(),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
        "newline": st.sampled_from(["\n", "\r\n"]),
        "packing": st.sampled_from(["plain", "gzip", "zstd", "zip"]),
        "date": st.sampled_from(["iso", "%d.%m.%Y %H:%M", "epoch_s", "epoch_ms", "%m/%d/%y %I:%M %p"]),
        "files": st.integers(1, 4),
        "seed": st.integers(0, 2**32),
    }
)
PLAIN = {
    "format": "csv", "separator": ",", "quoting": csv.QUOTE_MINIMAL, "decimal": ".", "grouped": False,
    "encoding": "utf-8", "newline": "\n", "packing": "plain", "date": "iso", "files": 1, "seed": 0,
}  # fmt: skip


def time_text(moment, form):
    if form == "iso":
        return moment.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    seconds = int(moment.timestamp())
    return {"epoch_s": str(seconds), "epoch_ms": str(seconds * 1_000)}.get(form) or moment.strftime(form)


def number_text(number, form):
    if number is None:
        return None
    text = f"{number:,f}" if form["grouped"] and form["decimal"] == "," else f"{number:f}"
    return text.translate(str.maketrans(",.", ".,")) if form["decimal"] == "," else text


def order_rows(lines, form):
    return [
        {
            "id": line["id"], "who": f"c{line['id']}",
            "at": time_text(START + timedelta(hours=int(line["id"])), form["date"]),
            "sku": line["sku"], "n": number_text(line["n"], form), "each": number_text(line["each"], form),
            "category": line["category"],
        }
        for line in lines
    ]  # fmt: skip


def click_rows(clicks, form):
    return [
        {
            "who": click["who"], "at": time_text(START + timedelta(minutes=click["minute"]), form["date"]),
            "type": click["type"], "price": number_text(click["price"], form),
        }
        for click in clicks
    ]  # fmt: skip


def content(rows, form):
    if form["format"] == "parquet":
        out = io.BytesIO()
        pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String)).write_parquet(out)
        return out.getvalue()
    if form["format"] in ("json", "array"):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        return (text if form["format"] == "json" else json.dumps(rows)).encode()
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=form["separator"], quoting=form["quoting"], lineterminator=form["newline"])
    writer.writerow(rows[0])
    writer.writerows([row.values() for row in rows])
    text = out.getvalue()
    try:
        return text.encode(form["encoding"])
    except UnicodeEncodeError:
        return text.encode()


def packed(data, form):
    if form["packing"] == "gzip":
        return gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])
    if form["packing"] == "zstd":
        return pa.compress(data, codec="zstd", asbytes=True)
    if form["packing"] == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("log", data)
        return out.getvalue()
    return data


def file_part(form, data):
    if form["format"] != "csv":
        return {"format": "parquet" if form["format"] == "parquet" else "json", "decimal": form["decimal"]}
    encoded = form["encoding"] == "cp1252" and not data.isascii()
    return {"format": "csv", "separator": form["separator"], "decimal": form["decimal"]} | (
        {"encoding": "cp1252"} if encoded else {}
    )


def logs_of(folder, name, rows, form, fields):
    """The rows in files of a form, in any order, each file with its mapping."""
    order = np.random.default_rng(form["seed"]).permutation(len(rows))
    shuffled = [rows[at] for at in order]
    logs = []
    for number in range(form["files"]):
        part = shuffled[number :: form["files"]]
        if not part:
            continue
        data = content(part, form)
        if form["format"] == "csv" and form["encoding"] == "cp1252" and not data.isascii():
            try:
                data.decode("utf-8")
                data = data.decode("utf-8").encode("cp1252", "strict")
            except UnicodeDecodeError:
                pass
            except UnicodeEncodeError:
                return logs_of(folder, name, rows, form | {"encoding": "utf-8"}, fields)
        file = folder / f"{name}-{number}"
        file.write_bytes(packed(data, form))
        mapping = json.dumps({"file": file_part(form, data), "time": {"path": "at", "format": form["date"]}} | fields)
        logs.append((file, "m", parse_mapping(mapping, "m")))
    return logs


ORDER = {
    "kind": "orders",
    "order": {
        "rows": "line", "id": "id", "customer": "who", "quantity": "n", "unit_price": "each", "product": "sku",
        "category": "category",
    },
}  # fmt: skip
CLICK = {"kind": "clicks", "click": {"customer": "who", "type": "type", "price": "price"}}


def archive_of(folder, lines, clicks, form):
    folder.mkdir()
    logs = logs_of(folder, "o", order_rows(lines, form), form, ORDER)
    logs += logs_of(folder, "c", click_rows(clicks, form), form, CLICK)
    report = import_logs(logs[:: 1 - 2 * (form["seed"] % 2)], folder / "a")
    files = {
        str(path.relative_to(folder / "a")): path.read_bytes() for path in (folder / "a").rglob("*") if path.is_file()
    }
    return files, report


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, clicks=CLICKS, form=FORMS)
def test_the_same_log_in_any_form_gives_the_same_archive_to_the_byte(tmp_path_factory, lines, clicks, form):
    folder = tmp_path_factory.mktemp("import")
    expected, first = archive_of(folder / "plain", lines, clicks, PLAIN)
    found, second = archive_of(folder / "other", lines, clicks, form)
    assert found == expected
    assert (first.refused, first.rows_used) == (second.refused, second.rows_used)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=LINES, form=FORMS, damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3)
)
def test_a_damaged_log_is_conserved_or_refused(tmp_path_factory, lines, form, damage):
    folder = tmp_path_factory.mktemp("damage")
    logs = logs_of(folder, "o", order_rows(lines, form), form | {"files": 1}, ORDER)
    file = logs[0][0]
    data = bytearray(file.read_bytes())
    for share, byte in damage:
        data[int(share * (len(data) - 1))] = byte
    file.write_bytes(data)
    try:
        report = import_logs(logs, folder / "a")
    except ShopstreamError:
        assert not (folder / "a").exists()
        return
    records = sum(
        len(pl.read_parquet(path, hive_partitioning=False)) for path in (folder / "a" / "orders").rglob("*.parquet")
    )
    assert report.records["orders"] == records
    assert report.rows == report.rows_used + report.left_out.total() + report.refused.total()


@pytest.mark.parametrize("rows_max", [10, 300, 10_000])
def test_the_number_of_parts_changes_no_record(tmp_path, rows_max):
    lines = [
        {"id": f"o{n % 97}", "who": f"c{n % 97}", "at": "2024-03-01", "n": "1", "each": f"{n}.10"} for n in range(1_000)
    ]
    clicks = [
        {"who": f"c{n % 31}", "at": f"2024-03-01T{n % 24:02}:{n % 60:02}:00Z", "type": "purchase"} for n in range(1_000)
    ]
    form = PLAIN | {"files": 3}
    order = ORDER | {
        "order": {key: value for key, value in ORDER["order"].items() if key not in ("product", "category")}
    }
    click = {"kind": "clicks", "click": {"customer": "who", "type": "type"}}
    logs = [*logs_of(tmp_path, "o", lines, form, order), *logs_of(tmp_path, "c", clicks, form, click)]
    import_logs(logs, tmp_path / "a", rows_max=rows_max)
    frames = {
        topic: pl.concat(
            pl.read_parquet(path, hive_partitioning=False) for path in (tmp_path / "a" / topic).rglob("*.parquet")
        )
        for topic in ("orders", "events")
    }
    assert frames["orders"]["total"].sum() == pytest.approx(sum(n + 0.1 for n in range(1_000)))
    assert len(frames["orders"]) == 97
    import_logs(logs, tmp_path / "b")
    for topic, frame in frames.items():
        whole = pl.concat(
            pl.read_parquet(path, hive_partitioning=False) for path in (tmp_path / "b" / topic).rglob("*.parquet")
        )
        assert frame.sort(pl.all().exclude("items")).equals(whole.sort(pl.all().exclude("items")))

"""Ready mappings: a file in the shape of each source gives the records that were computed by hand."""

import csv
import gzip
import io
import shutil

import numpy as np
import pytest
from expected_records import FOLDER, differences, read_expected
from test_importer import records
from workbooks import from_json

from features.errors import ShopstreamError, UsageError
from producers.importing.importer import import_logs
from producers.importing.mapping import builtin_mappings, load_mapping, parse_mapping, questions, summaries

FIXTURES = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
READ = [name for name in FIXTURES if read_expected(FOLDER / name).refusal is None]
TEMPLATES = {"cdnow", "clicks-csv", "online-retail", "orders-csv"}
"""Mappings that the tests of the importer try."""


def log_of(file, tmp_path):
    """A file of a fixture; a workbook is made from its cells."""
    cells = file.with_suffix(".workbook.json")
    return from_json(cells, tmp_path / file.name) if cells.exists() else file


def imported(expected, files, out):
    found = load_mapping(expected.mapping, expected.settings)
    return import_logs([(file, *found) for file in files], out, force=True)


def counted(report):
    return {
        "read": report.rows, "used": report.rows_used, "left_out": dict(report.left_out),
        "refused": dict(report.refused),
    }  # fmt: skip


def test_every_ready_mapping_has_a_fixture():
    assert set(builtin_mappings()) - TEMPLATES == set(FIXTURES)


def test_every_ready_mapping_is_listed_with_what_it_reads():
    listed = {name: about for name, _, about in summaries()}
    assert set(listed) == set(builtin_mappings())
    assert all(listed.values())


@pytest.mark.parametrize("name", sorted(builtin_mappings()))
def test_a_mapping_asks_only_for_what_it_uses(name):
    answers = dict.fromkeys(questions(builtin_mappings()[name]), "UTC")
    for asked in answers:
        given = {other: value for other, value in answers.items() if other != asked}
        with pytest.raises(UsageError, match=f"--set {asked}="):
            load_mapping(name, given)


@pytest.mark.parametrize("name", READ)
def test_import_of_a_fixture_gives_the_values_computed_by_hand(tmp_path, name):
    expected = read_expected(FOLDER / name)
    report = imported(expected, [log_of(file, tmp_path) for file in expected.files], tmp_path / "a")
    assert differences(expected, records(tmp_path / "a")) == []
    assert counted(report) == expected.rows


# --- the same log in other files --------------------------------------------------------------------------------------
def rows_of(file, encoding):
    """Header and rows of a CSV, or lines of JSON; None for other files."""
    if file.suffix == ".csv":
        header, *rows = csv.reader(io.StringIO(file.read_bytes().decode(encoding), newline=""))
        return header, rows
    return (None, file.read_text("utf-8").splitlines()) if file.suffix == ".jsonl" else None


def text_of(header, rows):
    if header is None:
        return "".join(f"{row}\n" for row in rows)
    out = io.StringIO(newline="")
    csv.writer(out).writerows([header, *rows])
    return out.getvalue()


@pytest.mark.parametrize("name", [name for name in READ if "excel" not in name and "matomo" not in name])
@pytest.mark.parametrize("seed", [1, 2])
def test_rows_of_a_fixture_in_another_order_in_three_files_give_the_same_records(tmp_path, name, seed):
    expected = read_expected(FOLDER / name)
    encoding = load_mapping(expected.mapping, expected.settings)[1].file.encoding or "utf-8"
    every = [rows_of(file, encoding) for file in expected.files]
    rows = [row for _, part in every for row in part]
    rows = [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]
    for beside in expected.files[0].parent.glob("*.csv"):
        shutil.copy(beside, tmp_path)  # tables of a lookup lie beside the log
    files = []
    for number in range(3):
        text = text_of(every[0][0], rows[number::3]).encode(encoding)
        file = tmp_path / f"part-{number}"
        file.write_bytes(gzip.compress(text) if number else text)
        files.append(file)
    report = imported(expected, files, tmp_path / "a")
    assert differences(expected, records(tmp_path / "a")) == []
    assert counted(report) == expected.rows


# --- refused files ----------------------------------------------------------------------------------------------------
def test_two_currencies_without_rates_refuse_the_file_and_rates_convert_it(tmp_path):
    file = FOLDER / "shopify-orders" / "two_currencies.csv"
    with pytest.raises(ShopstreamError, match="several currencies"):
        import_logs([(file, *load_mapping("shopify-orders"))], tmp_path / "a")
    text = builtin_mappings()["shopify-orders"].replace(
        "column: Currency  ", "column: Currency\n  rates: {EUR: 1, USD: 0.5}"
    )
    import_logs([(file, "own", parse_mapping(text, "own.yaml"))], tmp_path / "a")
    assert {order["order_id"]: order["total"] for order in records(tmp_path / "a")} == {"#1001": 57.0, "#1010": 12.5}


def test_instacart_is_refused_with_the_reason():
    expected = read_expected(FOLDER / "instacart")
    with pytest.raises(UsageError, match=expected.refusal):
        load_mapping(expected.mapping)


def test_an_error_message_of_matomo_is_refused(tmp_path):
    file = tmp_path / "visits.json"
    file.write_text('{"result":"error","message":"You can\'t access this resource"}', "utf-8")
    with pytest.raises(ShopstreamError, match="No row of"):
        import_logs([(file, *load_mapping("matomo", {"zone": "UTC"}))], tmp_path / "a")


def test_day_first_times_of_online_retail_are_refused_by_the_month_first_mapping(tmp_path):
    file = tmp_path / "data.csv"
    text = (FOLDER / "online-retail-csv" / "data.csv").read_bytes()
    file.write_bytes(text.replace(b"12/1/2010", b"01-12-2010").replace(b"12/13/2010", b"13/12/2010"))
    report = import_logs([(file, *load_mapping("online-retail-csv"))], tmp_path / "a")
    assert report.refused["no readable time"] == 6

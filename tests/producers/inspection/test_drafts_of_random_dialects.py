"""Law: an import by a drafted mapping equals one by a hand-written mapping, or inspect has named the ambiguity."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import tempfile
import zipfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from connectors.tables.log_files import log_files
from features.errors import ShopstreamError
from features.records.placeholders import is_placeholder
from producers.archive.event_order import ArchiveRange, in_time_order
from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping
from producers.inspection.draft import draft
from producers.inspection.inspection import inspect_logs
from producers.inspection.number_forms import form_text

NOW_MS = 1_893_456_000_000  # 2030-01-01
NAMES = (
    ("order_id", "customer_id", "created_at", "total"),
    ("Order Number", "E-Mail", "Order Date", "Grand Total"),
    ("Bestellnummer", "Kunde", "Datum", "Betrag"),
    ("InvoiceNo", "CustomerID", "InvoiceDate", "Amount"),
)
TIMES = {
    "iso": lambda t: t.isoformat(sep=" "), "%d/%m/%Y": lambda t: f"{t:%d/%m/%Y}", "%m/%d/%Y": lambda t: f"{t:%m/%d/%Y}",
    "%d.%m.%Y %H:%M:%S": lambda t: f"{t:%d.%m.%Y %H:%M:%S}", "%d.%m.%y": lambda t: f"{t:%d.%m.%y}",
    "%m/%d/%Y %I:%M %p": lambda t: f"{t:%m/%d/%Y %I:%M %p}", "%d %b %Y": lambda t: f"{t:%d %b %Y}",
    "%Y%m%d": lambda t: f"{t:%Y%m%d}", "%Y/%m/%d %H:%M": lambda t: f"{t:%Y/%m/%d %H:%M}",
    "epoch_s": lambda t: str(int(t.replace(tzinfo=dt.UTC).timestamp())),
    "epoch_ms": lambda t: str(int(t.replace(tzinfo=dt.UTC).timestamp() * 1000)),
    "%Y-%m-%dT%H:%M:%S%z": lambda t: f"{t:%Y-%m-%dT%H:%M:%S}+0000",
}  # fmt: skip
FORMS = ((".", None), (",", "."), (".", ","), (",", " "), (".", "'"))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1250", "utf-16-le")
PACKINGS = {
    "plain": bytes, "gzip": gzip.compress, "zstd": lambda data: pa.compress(data, "zstd", asbytes=True), "zip": None,
}  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    separator: str
    quoting: int
    form: tuple
    decimals: int
    time: str
    encoding: str
    packing: str
    before: str
    newline: str
    names: tuple


dialects = st.builds(
    Dialect,
    separator=st.sampled_from([",", ";", "\t", "|", "^"]), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    form=st.sampled_from(FORMS), decimals=st.sampled_from([0, 2, 2, 2, 3]), time=st.sampled_from(sorted(TIMES)),
    encoding=st.sampled_from(ENCODINGS), packing=st.sampled_from(sorted(PACKINGS)),
    before=st.sampled_from(["", "", "", "Report of March\n", "# made by a shop\n\n"]),
    newline=st.sampled_from(["\n", "\r\n"]), names=st.sampled_from(NAMES),
)  # fmt: skip
customers = st.builds(
    lambda first, rest: (first + rest).strip(),
    st.sampled_from("abcXYZéßñ"), st.text("abcXYZ éßñ019,;|'\".@-", max_size=12),
).filter(lambda text: not is_placeholder(text))  # fmt: skip
moments = st.one_of(
    st.datetimes(dt.datetime(1991, 1, 1), dt.datetime(2029, 12, 30)).map(lambda t: t.replace(microsecond=0)),
    st.builds(dt.datetime, st.integers(2020, 2024), st.integers(1, 12), st.integers(1, 12), st.integers(0, 23)),
)
tables = st.lists(
    st.tuples(
        customers,
        moments,
        st.one_of(st.integers(0, 99_999), st.integers(0, 10**10)),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


def amount(units, dialect):
    """Return an amount as the dialect writes it: grouped by threes from 1,000 on."""
    text = f"{Decimal(units).scaleb(-dialect.decimals):,.{dialect.decimals}f}"
    decimal, thousands = dialect.form
    return text.translate({ord(","): thousands or "", ord("."): decimal})


def written(rows, dialect):
    """Return the bytes of the table in the dialect."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=dialect.separator, quoting=dialect.quoting, lineterminator=dialect.newline)
    writer.writerow(dialect.names)
    for number, (customer, moment, units) in enumerate(rows):
        writer.writerow([f"o{number}", customer, TIMES[dialect.time](moment), amount(units, dialect)])
    body = dialect.before.replace("\n", dialect.newline) + text.getvalue()
    return body.encode(dialect.encoding)


def file_of(folder, data, packing):
    path = Path(folder) / "log.bin"
    if packing == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("orders.txt", data)
    else:
        path.write_bytes(PACKINGS[packing](data))
    return path


def by_hand(dialect):
    """Return the mapping that a person who knows the dialect writes."""
    decimal, thousands = dialect.form
    file = {
        "format": "csv",
        "separator": dialect.separator,
        "skip_lines": dialect.before.count("\n"),
        "decimal": decimal,
    }
    file |= {"thousands": thousands} if thousands else {}
    file |= (
        {"encoding": dialect.encoding} if dialect.encoding.startswith("cp") or dialect.encoding == "utf-16-le" else {}
    )
    identity, customer, time, total = dialect.names
    content = {"kind": "orders", "file": file, "time": {"column": time, "format": dialect.time, "zone": "UTC"},
               "order": {"rows": "order", "id": identity, "customer": customer, "total": total}}  # fmt: skip
    return yaml.safe_dump(content, allow_unicode=True)


def imported(path, text, out):
    """Return the records of an import and the reasons of its refusals; the error if there is no record."""
    try:
        report = import_logs([(path, "m", parse_mapping(text, "m"))], out, now_ms=NOW_MS)
    except ShopstreamError as error:
        return "no record" if error.message.startswith("No row") else error.message
    records = [json.loads(value) for chunk in in_time_order(ArchiveRange(out)) for value in chunk.values]
    return records, dict(report.refused)


def decided(text, questions, dialect):
    """Return the drafted mapping after a person has answered its questions, and the topics of these questions.

    An answer that is not among the choices of its question is no answer: the question has not named the ambiguity.
    """
    content = yaml.safe_load(text)
    choices = {question.topic: question.choices for question in questions}
    answered = set()
    if form_text(dialect.form) in choices.get("decimal", ()):
        content["file"] |= {"decimal": dialect.form[0], "thousands": dialect.form[1]}
        answered.add("decimal")
    if dialect.time in choices.get("date order", ()):
        content["time"]["format"] = dialect.time
        answered.add("date order")
    if dialect.encoding in choices.get("encoding", ()):
        content["file"]["encoding"] = dialect.encoding
        answered.add("encoding")
    return yaml.safe_dump(content, allow_unicode=True), answered


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, dialects)
def test_a_draft_whose_questions_are_answered_reads_what_a_hand_written_mapping_reads(rows, dialect):
    try:
        data = written(rows, dialect)
    except UnicodeEncodeError:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(folder, data, dialect.packing)
        (group,) = inspect_logs(log_files([path]), None, NOW_MS).groups
        made = draft(group)
        assert made.complete, f"{made.text}\n{data[:400]!r}"
        text, answered = decided(made.text, made.questions, dialect)
        for topic in sorted(answered):
            event(f"named: {topic}")
        right = imported(path, by_hand(dialect), Path(folder) / "right")
        assert imported(path, text, Path(folder) / "drafted") == right, f"{made.text}\n{data[:400]!r}"

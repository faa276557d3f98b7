"""Mistakes in mappings of topics are refused before anything is read, with the file and the line."""

import msgspec
import pytest

from connectors.messages.mapped import Message
from features.errors import UsageError
from features.schema import Order
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import read_topic_mapping
from shopstream.jobs.map_topics import load_mappings
from shopstream.settings import Settings

ORDERS = """\
about: orders
kind: orders
from: {topic: raw}
time: {path: at}
order:
  rows: order
  id: id
  customer: who
  total: total
"""
CLICKS = """\
kind: clicks
from: {topic: raw}
time: {path: at}
click:
  customer: who
  type: type
"""


@pytest.fixture
def refused(tmp_path):
    def error(text):
        file = tmp_path / "own.yaml"
        file.write_text(text, "utf-8")
        with pytest.raises(UsageError) as caught:
            read_topic_mapping(str(file))
        return caught.value.message.replace(str(file), "own.yaml"), caught.value.remedy

    return error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ORDERS.replace("from: {topic: raw}", "file: {format: json}"), "line 1: the document: names no topic."),
        (ORDERS + "tables: {t: {file: a.csv, key: k}}\n", "line 10: tables: looks values up in files"),
        (ORDERS + "currency: {path: c}\n", "line 10: currency: names a currency without rates."),
        (ORDERS.replace("  id: id\n", ""), "line 5: order: makes an order of several messages."),
        (ORDERS.replace("{topic: raw}", "{topic: tst/x y}"), "line 3: from.topic: 'tst/x y' is no name of a topic:"),
        (ORDERS.replace("{topic: raw}", "{topic: ..}"), "line 3: from.topic: '..' is no name of a topic:"),
        (ORDERS.replace("raw", "t" * 250), "line 3: from.topic: 't"),
        (ORDERS + "file:\n  format: json\n  decimal: ','\n", "line 12: file.decimal: numbers of messages have a point"),
        (ORDERS.replace("{topic: raw}", "{topic: raw,\n  format: avro}"), "line 4: from.format: avro needs registry"),
        (ORDERS.replace("{topic: raw}", "{topic: raw,\n  registry: r}"), "line 4: from.registry: json has no schema"),
        (
            ORDERS.replace("{path: at}", "{path: at,\n  format: schema}"),
            "line 5: time.format: time.format schema",
        ),
        (ORDERS.replace("total: total", "total: lines[*].price"), "line 9: order.total: lines[*].price leads to every"),
        (
            ORDERS.replace("total: total", "total: {path: id, lookup: {table: t, column: c}}"),
            "line 9: order.total.lookup.table: lookup names the table t, which is not in tables",
        ),
        (CLICKS.replace("  customer: who\n", ""), "line 4: click: give click.customer, or identity"),
        (
            CLICKS + "  lines:\n    list: a\neach: visits\n",
            "line 8: click.lines.list: with each, lines.list is a field of the element",
        ),
    ],
)
def test_mistake_is_named_with_its_line(refused, text, message):
    assert f"own.yaml, {message}" in refused(text)[0]


def test_hints_about_a_mapping_of_a_topic_name_the_commands_of_topics(refused):
    assert "`shopstream map show NAME`" in refused(ORDERS.replace("total: total", "totl: total"))[1]
    with pytest.raises(UsageError, match="`shopstream import --show NAME`"):
        parse_mapping(ORDERS.replace("from: {topic: raw}", "file: {format: jsn}"), "own.yaml")


def test_file_that_is_not_utf_8_is_named_with_the_line_of_the_byte(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_bytes(ORDERS.replace("about: orders", "about: r\xfcckgabe").encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_topic_mapping(str(file))
    assert caught.value.message == f"{file}, line 1: the file is not UTF-8."
    assert caught.value.remedy == "Save it in the encoding UTF-8."


def test_thousands_of_texts_and_texts_that_mean_no_value_count_in_topics_as_in_files():
    text = ORDERS + "  channel: from\nfile: {format: json, thousands: ',', missing: ['-']}\n"
    assert values(text, b'{"at":"2026-05-04","id":1,"who":"ann","total":"1,234.50","from":"-"}') == (1234.5, None)
    assert values(text, b'{"at":"2026-05-04","id":1,"who":"ann","total":1234.5,"from":"web"}') == (1234.5, "web")


def values(text, message):
    (record,) = TopicMapper("own", parse_mapping(text, "own")).map([Message(message, "raw-0-0")]).records
    order = msgspec.json.decode(record.value, type=Order)
    return order.total, order.channel


# --- mappings of one run ----------------------------------------------------------------------------------------------
def load(tmp_path, **texts):
    files = []
    for name, text in texts.items():
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(text, "utf-8")
    return load_mappings(Settings(home=tmp_path), [str(file) for file in files], {})


def test_copy_of_a_mapping_is_refused_with_both_names(tmp_path):
    copy = "# a copy\n" + ORDERS.replace("about: orders", "about: the same orders")
    with pytest.raises(UsageError, match=r"mappings \S*one.yaml and \S*two.yaml are equal: every record would be"):
        load(tmp_path, one=ORDERS, two=copy)


def test_two_mappings_of_one_topic_that_differ_are_two(tmp_path):
    assert len(load(tmp_path, one=ORDERS, two=ORDERS.replace("who", "payer"), three=CLICKS).mappers) == 3


def test_mapping_of_a_topic_of_the_run_is_refused_with_its_line(tmp_path):
    with pytest.raises(UsageError, match=r"one.yaml, line 3: from.topic: shop.events is a topic of the run"):
        load(tmp_path, one=ORDERS.replace("raw", "shop.events"))

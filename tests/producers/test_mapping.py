"""Mapping files: errors name the line, ready ones are valid."""

import pytest

from features.errors import UsageError
from producers.importing.mapping import builtin_mappings, load_mapping, parse_mapping, questions

GOOD = """\
kind: orders
file:
  format: csv
time:
  column: at
  zone: Europe/Berlin
order:
  rows: order
  customer: who
  total: paid
"""


REFUSED = {"instacart"}
"""Sources that are known, but cannot be read right."""


def problem(text):
    with pytest.raises(UsageError) as caught:
        parse_mapping(text, "my.yaml")
    return caught.value.message


def test_valid_mapping_is_accepted():
    assert parse_mapping(GOOD, "my.yaml").order.total == "paid"


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("  zone: Europe/Berlin", "  zone: Europe/Berlinn"), 6, "time zone"),
        (("  total: paid", "  totl: paid"), 10, "totl: unknown key"),
        (("  format: csv", "  format: xls"), 3, "format"),
        (("  rows: order", "  rows: line"), 7, "id"),
        (("  column: at\n", ""), 4, "path"),
        (("kind: orders", "kind: sales"), 1, "orders"),
        (("kind: orders\n", ""), 1, "kind"),
        (("  customer: who", "  customer: 7"), 9, "customer"),
        (("  total: paid", "  total: paid\n  statuses: {done: finished}"), 11, "statuses.done"),
        (("time:", "left_out:\n  - {reason: x, column: y}\ntime:"), 5, "exactly one"),
        (("time:", "currency: {rates: {EUR: 1}}\ntime:"), 4, "column of the currency"),
        (("time:", "currency: {column: c, rates: {EUR: 0.123456789}}\ntime:"), 4, "at most 8 decimals"),
        (("  total: paid", "  total: {path: paid, add: x}"), 10, "add: unknown key"),
        (("  total: paid", "  total: [paid, {join: x}]"), 10, "names no column"),
        (("  total: paid", "  total: {path: paid, match: x}"), 10, "group"),
        (("  total: paid", "  total: {path: paid, lookup: {table: t, column: c}}"), 10, "table t"),
        (("  total: paid", "  total: paid\n  id: n\n  lines: {list: l}"), 3, "format: json"),
        (("  total: paid", "  total: paid\n  negative: net"), 7, "rows: line"),
        (("  customer: who", "  customer: [who"), 10, "expected"),
        (("  format: csv", "  format: whitespace"), 2, "no header"),
        (("  customer: who", "  customer: who\n  product: {valu: x}"), 10, "product"),
    ],
)
def test_an_error_names_file_line_and_key(change, line, words):
    before, after = change
    assert before in GOOD
    message = problem(GOOD.replace(before, after))
    assert f"my.yaml, line {line}:" in message
    assert words in message


@pytest.mark.parametrize("text", ["", "just text", "- a\n- b\n", "kind: [orders]\n"])
def test_text_that_is_not_a_mapping_is_an_error_with_its_line(text):
    assert "my.yaml, line 1:" in problem(text)


def test_all_errors_are_reported_together():
    message = problem(GOOD.replace("customer: who", "custmer: who").replace("column: at", "colum: at"))
    assert message.count("my.yaml, line") == 4  # two that are not known, two that are missing


@pytest.mark.parametrize("name", sorted(builtin_mappings().keys() - REFUSED))
def test_supplied_mappings_are_valid_and_describe_their_source(name):
    answers = dict.fromkeys(questions(builtin_mappings()[name]), "Europe/Berlin")
    found, mapping = load_mapping(name, answers)
    assert found == name
    assert mapping.about


def test_mapping_of_the_user_is_named_by_its_file(tmp_path):
    (tmp_path / "webshop.yaml").write_text(GOOD, "utf-8")
    assert load_mapping(str(tmp_path / "webshop.yaml"))[0] == "webshop"


def test_unknown_mapping_is_an_error_that_lists_the_supplied_ones(tmp_path):
    with pytest.raises(UsageError) as caught:
        load_mapping(str(tmp_path / "none.yaml"))
    assert "cdnow" in caught.value.remedy

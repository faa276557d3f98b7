"""`map check` maps examples, and compares their results with the expected ones."""

import hashlib
import hmac
import json

import pytest
from producers_import import import_text, orders_of
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from shopstream.cli.app import build_app
from shopstream.settings import Settings, guest_salt

MAPPING = """\
kind: orders
from: {topic: raw}
time: {path: at}
left_out: [{reason: test order, path: test, equals: true}]
order: {rows: order, id: id, customer: {path: mail, guest: true}, total: total}
"""
GUEST = "~" + hmac.new(b"salt", b"ann@shop.com", hashlib.sha256).hexdigest()[:16]
ORDER = {"at": "2026-05-04T08:00:00Z", "id": 1, "mail": "ann@shop.com", "total": 40}


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOPSTREAM_GUEST_SALT", "salt")
    mapping = tmp_path / "orders.yaml"
    mapping.write_text(MAPPING)

    def run(*options, examples=None, expected=None):
        for name, lines in (("orders.jsonl", examples), ("orders.expected.jsonl", expected)):
            if lines is not None:
                (tmp_path / name).write_text("\n".join(json.dumps(line) for line in lines))
        arguments = ["map", "check", str(mapping), *map(str, options)]
        return CliRunner().invoke(build_app(), arguments, env={"COLUMNS": "200"})

    return run


def expected_order(total):
    value = {"order_id": "1", "customer_id": GUEST, "ts": 1777881600000, "updated_ts": 1777881600000}
    return {"topic": "orders", "key": value["customer_id"], "value": {**value, "status": "placed", "total": total}}


def test_valid_mapping_without_examples_is_named_with_its_topic(call):
    result = call()
    assert result.exit_code == 0
    assert "The mapping of the topic raw is valid." in result.output


def test_results_are_counted_by_reason_and_a_refused_message_fails(call):
    result = call(examples=[ORDER, ORDER | {"test": True}, None, ORDER | {"total": "?"}, ORDER | {"total": "?"}])
    assert result.exit_code == 1
    words = " ".join(result.output.replace("│", " ").split())
    for text in ("messages 5", "mapped 1", "left out: test order 1", "left out: tombstone 1", "records of orders 1"):
        assert text in words
    assert "refused, line 4, 5: `total`: ? is no number" in result.output


def test_results_as_expected_pass(call):
    expected = [
        {"line": 2, "left_out": "test"},
        {"line": 1, "records": [expected_order(40.0)]},
        {"line": 3, "refused": "`total`"},
    ]
    result = call(examples=[ORDER, ORDER | {"test": True}, ORDER | {"total": "?"}], expected=expected)
    assert result.exit_code == 0
    assert "3 of 3 results are as expected." in result.output


@pytest.mark.parametrize(
    "expected",
    [
        {"line": 1, "records": [expected_order(41)]},
        {"line": 1, "records": []},
        {"line": 1, "left_out": "test order"},
        {"line": 1, "refused": ""},
        {"line": 2, "left_out": "another reason"},
        {"line": 2, "records": []},
    ],
)
def test_result_that_differs_fails_and_both_are_shown(call, expected):
    result = call(examples=[ORDER, ORDER | {"test": True}], expected=[expected])
    assert result.exit_code == 1
    assert f"line {expected['line']} differs" in result.output
    assert "0 of 1 results are as expected." in result.output


def test_json_results_are_expectations_of_the_next_check(call, tmp_path):
    written = call("--json", examples=[ORDER, None, ORDER | {"at": None}])
    assert written.exit_code == 1
    file = tmp_path / "results.jsonl"
    file.write_text(written.output)
    assert call("--expect", file).exit_code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"line": 9, "records": []}, "for the message 9"),
        ({"line": 1}, "has no result"),
        ([], "is no JSON object"),
    ],
)
def test_expectation_that_fits_no_example_is_named(call, line, message):
    result = call(examples=[ORDER], expected=[line])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_files_have_the_guests_and_ids_of_the_topic(tmp_path):
    lines = "\n".join(json.dumps(ORDER | {"id": number}) for number in (1, 2))
    report = import_text(tmp_path, lines, MAPPING, guest_salt=b"salt")
    assert not report.refused
    assert orders_of(tmp_path / "a", "order_id", "customer_id") == [
        ("1", GUEST), ("2", GUEST),
    ]  # fmt: skip


def test_salt_is_read_from_a_setting_or_a_file(tmp_path):
    file = tmp_path / "salt"
    file.write_text("secret\n")
    assert guest_salt(Settings(guest_salt_file=file)) == guest_salt(Settings(guest_salt="secret")) == b"secret"
    assert guest_salt(Settings()) == b""
    with pytest.raises(UsageError, match="both set"):
        guest_salt(Settings(guest_salt="a", guest_salt_file=file))
    with pytest.raises(ShopstreamError, match="cannot be read"):
        guest_salt(Settings(guest_salt_file=tmp_path / "none"))
    assert "secret" not in repr(Settings(guest_salt="secret"))


def test_files_of_an_envelope_are_refused(tmp_path):
    with pytest.raises(UsageError, match="envelope debezium"):
        import_text(tmp_path, "{}", MAPPING.replace("topic: raw", "topic: raw, envelope: debezium"), guest_salt=b"salt")

"""`map guess` reports what messages are, shows nothing of people, and gives a mapping that maps them."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from connectors.messages.mapped import Message
from features.errors import UsageError
from producers.importing.mapping import parse_mapping
from producers.topic_inspection.message_form import envelope_of, form_of
from producers.topic_inspection.message_keys import key_findings
from producers.topic_inspection.personal_data import is_personal
from producers.topic_inspection.ready_fit import shown_reason
from producers.topic_inspection.topic_guess import guess_as_dict, guess_topic, time_range
from producers.topic_mapping.examples import read_examples
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import EXAMPLE_ANSWERS, ready_examples, ready_mappings
from shopstream.cli.app import build_app

NOW_MS = 1_780_000_000_000
AT_MS = 1_772_442_000_000


def messages(records, headers=()):
    return [
        Message(one if isinstance(one, bytes | None) else json.dumps(one).encode(), f"raw-0-{number}", headers)
        for number, one in enumerate(records)
    ]


def guessed(records, keys=None, headers=()):
    return guess_topic("raw", messages(records, headers), keys, NOW_MS)


def path(guess, name):
    return next(one for one in guess.paths if one.path == name)


# --- form, envelope, keys ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, "null value"),
        (b'{"a": 1}', "JSON"),
        (b"[1]", "JSON that is no object"),
        (b'"text"', "JSON that is no object"),
        (b"plain text", "text, not JSON"),
        (b"", "text, not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\0\0\0\0\x07\x02abc", "Avro or Protobuf of a registry, schema id 7"),
        (b'\0\0\0\x01\x02{"a": 1}', "JSON Schema of a registry, schema id 258"),
        (b"\0\0\0\0", "text, not JSON"),
    ],
)
def test_value_has_the_form_of_its_first_bytes(value, form):
    assert form_of(Message(value)) == form


def test_schema_guid_in_a_header_is_named():
    headers = [("__value_schema_id", b"\x01" + bytes(range(16)))]
    assert form_of(Message(b"\x02abc", "", headers)) == (
        "Avro or Protobuf of a registry, schema 000102030405060708090a0b0c0d0e0f in a header"
    )


CHANGE = {"before": None, "after": {"id": 1}, "source": {}, "op": "c", "ts_ms": 1}
CLOUD_EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}}


@pytest.mark.parametrize(
    ("contents", "headers", "envelope", "words"),
    [
        ([CHANGE, CHANGE, {"ts_ms": 1}], (), "debezium", "Debezium, without schema"),
        ([{"schema": {}, "payload": CHANGE}], (), "debezium", "Debezium, with schema"),
        ([{"schema": {}, "payload": {"id": 1}}], (), "connect", "Kafka Connect, schema and payload"),
        ([CLOUD_EVENT], (), "cloudevents", "CloudEvents, structured"),
        ([{"a": 1}], [("ce_specversion", b"1.0")], "cloudevents", "CloudEvents, binary"),
        ([{"a": 1}], (), None, "none"),
        ([CHANGE, {"a": 1}, {"a": 1}], (), None, "none"),
        ([], (), None, "none"),
    ],
)
def test_envelope_is_that_of_half_of_the_messages(contents, headers, envelope, words):
    assert envelope_of(contents, messages(contents, headers)) == (envelope, words)


@pytest.mark.parametrize(
    ("key", "form", "equal"),
    [
        (lambda record: str(record["user"]["id"]).encode(), "text", {"user.id": 20}),
        (lambda record: json.dumps({"id": record["id"]}).encode(), "JSON object", {"id": 20}),
        (
            lambda record: json.dumps({"schema": {}, "payload": {"id": record["id"]}}).encode(),
            "JSON object",
            {"id": 20},
        ),
        (lambda record: b"\0\0\0\0\x01x", "registry", {}),
        (lambda record: None, "none", {}),
        (lambda record: b"\xff", "not UTF-8", {}),
    ],
)
def test_key_is_named_by_the_path_that_it_equals(key, form, equal):
    records = [{"id": 100 + number, "user": {"id": f"u-{number}"}, "flag": True} for number in range(20)]
    findings = key_findings([key(record) for record in records], records)
    assert (dict(findings.forms), findings.equal) == ({form: 20}, equal)


def test_key_of_two_paths_has_the_share_of_each():
    records = [{"userId": "u" if number % 4 else None, "anonymousId": "a"} for number in range(20)]
    findings = key_findings([b"u" if number % 4 else b"a" for number in range(20)], records)
    assert findings.equal == {"userId": 15, "anonymousId": 5}


# --- paths ------------------------------------------------------------------------------------------------------------
def test_path_has_its_fill_types_values_and_times():
    records = [
        {"event": "view" if number % 4 else "buy", "at": AT_MS + number * 1_000, "price": 1.5 if number % 2 else "2.50",
         "note": None, "page": {"lang": "de"} if number % 2 else None,
         "lines": [{"sku": "A"}, {}] if number % 2 else []}
        for number in range(20)
    ]  # fmt: skip
    guess = guessed(records)
    assert (path(guess, "event").fill, path(guess, "event").column.words) == (1.0, {"view": 15, "buy": 5})
    assert "event" in guess.words
    assert path(guess, "price").types == Counter({"text": 10, "number": 10})
    assert (path(guess, "note").filled, path(guess, "note").types) == (0, Counter({"null": 20}))
    assert (path(guess, "page.lang").filled, [one.path for one in guess.paths].count("page")) == (10, 0)
    assert (path(guess, "lines[*].sku").filled, path(guess, "lines").filled) == (10, 20)
    assert time_range(path(guess, "at")) == ("epoch_ms", "2026-03-02T09:00:00.000Z", "2026-03-02T09:00:19.000Z")


def test_text_that_holds_json_is_opened_and_named_in_the_mapping():
    records = [
        {"at": AT_MS + n, "who": f"u{n % 3}", "event": "view", "data": json.dumps({"sku": f"A{n}", "deep": {"x": 1.5}})}
        for n in range(20)
    ]
    guess = guessed(records)
    assert path(guess, "data.deep.x").types == Counter({"number": 20})
    assert parse_mapping(guess.mapping, "draft").topic.text_fields == ("data",)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("customer.email", []), ("billing.first_name", []), ("shipping_address.city", []), ("context.ip", []),
        ("properties.phone", []), ("name", []), ("userId", []), ("customer_id", []), ("login", ["ann@shop.com"]),
        ("origin", ["203.0.113.7"]), ("contact", ["+49 151 2345678"]), ("line_items[*].note", []),
        ("billing_address.address1", []), ("origin", ["2001:db8:0:0:1::7"]), ("page.url", []), ("api_token", []),
    ],
)  # fmt: skip
def test_values_of_people_are_hidden(name, values):
    assert is_personal(name, values)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("event_name", ["view_item"]), ("status", ["paid"]), ("shipping_address.country_code", ["DE"]),
        ("created_at", ["2026-05-04 10:00:00", "2026-05-04T10:00:00Z"]), ("sku", ["4006381333931"]),
        ("order_id", ["10-2345"]), ("version", ["1.2.3"]), ("total", ["12.50"]), ("description", ["shipped"]),
    ],
)  # fmt: skip
def test_values_that_a_mapping_needs_are_shown(name, values):
    assert not is_personal(name, values)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ('`status`: word without an entry in `words`: "odd"', '`status`: word without an entry in `words`: "odd"'),
        ('`who, mail`: placeholder "x"', "`who, mail`: the value is not read (not shown)"),
        ('`after.mail`: placeholder "x"', "`after.mail`: the value is not read (not shown)"),
        ("`mail`: missing", "`mail`: missing"),
        ("not JSON: malformed", "not JSON: malformed"),
        ("`ref`: ann@shop.com is no number", "`ref`: the value is not read (not shown)"),
    ],
)
def test_reason_about_a_person_has_no_value(reason, shown):
    assert shown_reason(reason, {"mail"}) == shown


def test_long_value_of_a_reason_is_cut():
    assert len(shown_reason(f'`at`: "{"x" * 500}"', ())) < 120


# --- ready mappings ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", sorted(ready_mappings()))
def test_examples_of_a_ready_mapping_are_recognised_as_its_source(name):
    examples = read_examples(ready_examples(name)[0], "mine")
    guess = guess_topic("mine", examples, None, NOW_MS)
    fit = guess.fits[0]
    assert fit.name == name
    assert parse_mapping(guess.mapping, "guess", EXAMPLE_ANSWERS).topic.topic == "mine"
    assert fit.messages == len(examples)
    assert fit.mapped
    assert (guess.drafted, guess.complete) == (None, True)


def test_fill_of_a_ready_mapping_counts_messages_also_within_lists():
    lines = ready_examples("shopify-orders")[0].read_bytes().splitlines()
    fit = guess_topic("mine", messages(lines[:3] + lines[6:7]), None, NOW_MS).fits[0]
    assert (fit.fill["id"], fit.fill["customer.id"], fit.fill[".price"], fit.fill["cancelled_at"]) == (1, 0.75, 0.75, 0)
    assert (fit.mapped, dict(fit.left_out), dict(fit.records)) == (3, {"no customer": 1}, {"orders": 3})


def test_of_two_ready_mappings_that_fit_the_one_with_more_of_its_paths_is_first():
    lines = [json.loads(line) for line in ready_examples("segment")[0].read_bytes().splitlines()[:7]]
    few = {"event_time": "2026-03-02 09:00:00 UTC", "event_type": "view", "user_id": 1}
    assert [fit.name for fit in guessed([one | few for one in lines]).fits] == ["segment", "rees46"]


# --- drafts -----------------------------------------------------------------------------------------------------------
CLICKS = [
    {"at": AT_MS + n, "user": f"u{n % 3}" if n % 4 else None, "visitor": f"v{n % 5}", "session": f"s{n % 5}",
     "kind": ["view", "cart", "buy"][n % 3], "sku": f"A{n % 7}", "price": 1.5 + n}
    for n in range(40)
]  # fmt: skip
ORDERS = [
    {"orderId": f"O-{n // 2}", "placedAt": "2026-03-02T09:00:00Z", "updatedAt": f"2026-03-02T09:{n:02d}:00Z",
     "customer": {"id": n % 5 + 1}, "amounts": {"total": f"{n}.50", "currency": "EUR"},
     "status": ["paid", "refunded"][n % 2],
     "lines": [{"sku": "S1", "qty": 1, "price": "10.50"}]}
    for n in range(40)
]  # fmt: skip
CHANGES = [
    {"before": None, "after": {"order_no": n, "buyer": n % 7 + 1, "grand_total": "JxA=", "status": "paid",
                               "created": 1_000 * AT_MS, "changed_at": "2026-03-02T09:00:00Z"},
     "source": {"ts_ms": AT_MS + 5}, "op": "r" if n % 2 else "c", "ts_ms": AT_MS + 9}
    for n in range(10)
]  # fmt: skip
EVENTS = [
    {"specversion": "1.0", "id": str(n), "source": "/x", "type": "order", "time": "2026-03-02T09:00:01Z",
     "data": {"orderRef": f"o{n}", "member": n % 3 + 1, "value": 10, "when": "2026-03-02T09:00:00Z"}}
    for n in range(10)
]  # fmt: skip


def mapped_by_draft(records):
    guess = guessed(records)
    assert guess.fits == []
    assert guess.complete, guess.mapping
    return guess, TopicMapper("draft", parse_mapping(guess.mapping, "draft"), b"salt").map(messages(records))


def test_draft_of_clicks_maps_users_and_leaves_visitors_out():
    guess, mapped = mapped_by_draft(CLICKS)
    assert "identity: {user: user, visitor: visitor}" in guess.mapping
    assert Counter(mapped.left_out.values()) == {"no user yet": 10}
    assert "without a customer" not in guess.mapping
    assert not mapped.refused
    assert Counter(json.loads(one.value)["event_type"] for one in mapped.records) == Counter(
        {"view": "product_view", "cart": "add_to_cart", "buy": "purchase"}[one["kind"]] for one in CLICKS if one["user"]
    )


def test_draft_of_orders_takes_messages_of_one_id_as_its_changes():
    guess, mapped = mapped_by_draft(ORDERS)
    assert "rows: order" in guess.mapping
    assert "rates: {EUR: 1}" in guess.mapping
    assert not mapped.refused
    assert not [one for one in mapped.left_out.values() if one != "no customer"]
    order = next(json.loads(one.value) for one in mapped.records if one.message == 39)
    assert (order["order_id"], order["status"], order["total"]) == ("O-19", "refunded", 39.5)
    assert order["updated_ts"] - order["ts"] == 39 * 60_000


def test_draft_of_changes_of_a_table_reads_rows_and_the_time_of_the_change():
    guess, mapped = mapped_by_draft(CHANGES)
    assert (guess.envelope, "deleted: void" in guess.mapping) == ("debezium", True)
    assert {json.loads(one.value)["total"] for one in mapped.records} == {100.0}
    assert Counter(json.loads(one.value)["updated_ts"] - AT_MS for one in mapped.records if one.message % 2 == 0) == {
        5: 5
    }


def test_draft_of_changes_with_their_schema_has_the_scale_of_the_column():
    decimal = {"field": "grand_total", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "3"}}
    schema = {
        "type": "struct",
        "fields": [{"field": "before"}, {"field": "after", "fields": [{"field": "x"}, decimal]}],
    }
    guess, mapped = mapped_by_draft([{"schema": schema, "payload": change} for change in CHANGES])
    assert "base64_scale: 3" in guess.mapping
    assert "base64_scale is" not in guess.mapping
    assert {json.loads(one.value)["total"] for one in mapped.records} == {10.0}
    decimal["parameters"]["scale"] = "19"
    assert "base64_scale: 2" in guessed([{"schema": schema, "payload": change} for change in CHANGES]).mapping
    assert "base64_scale is the column's" in " ".join(guessed(CHANGES).mapping.replace("#", "").split())


def test_draft_of_cloud_events_has_the_time_of_the_event_as_the_change():
    guess, mapped = mapped_by_draft(EVENTS)
    assert "updated: {path: ce_time}" in guess.mapping
    assert {json.loads(one.value)["updated_ts"] for one in mapped.records} == {AT_MS + 1_000}


def test_draft_never_has_an_address_as_the_id_of_a_customer():
    records = [
        {"orderId": n, "createdAt": "2026-03-02T09:00:00Z", "email": f"x{n}@shop.com", "total": n} for n in range(20)
    ]
    guess, mapped = mapped_by_draft(records)
    assert "customer: {path: email, guest: true}" in guess.mapping
    assert all(json.loads(one.value)["customer_id"].startswith("~") for one in mapped.records)


def test_draft_without_a_required_path_names_candidates():
    guess = guessed([{"createdAt": "2026-03-02T09:00:00Z", "total": n, "ref": f"r{n}"} for n in range(20)])
    assert not guess.complete
    assert {"customer", "id"} <= guess.drafted.recognition.missing.keys()
    assert "# customer: ?" in guess.mapping


# --- command ----------------------------------------------------------------------------------------------------------
SECRETS = [
    "ann@shop.com",
    "Annabel",
    "Winterfeld",
    "+49 151 2345678",
    "203.0.113.77",
    "Rosenweg",
    "geheim-17",
    "Grünstadt",
]


@pytest.fixture
def call(tmp_path):
    def run(*options, records=None):
        if records is not None:
            text = "\n".join(
                json.dumps(one, ensure_ascii=False) if not isinstance(one, str) else one for one in records
            )
            (tmp_path / "raw.jsonl").write_text(text, "utf-8")
            options = ("--file", tmp_path / "raw.jsonl", *options)
        return CliRunner().invoke(build_app(), ["map", "guess", *map(str, options)], env={"COLUMNS": "200"})

    return run


def test_nothing_of_people_is_in_the_report_the_document_and_the_mapping(call, tmp_path):
    personal = {
        "email": SECRETS[0], "first_name": SECRETS[1], "lastName": SECRETS[2], "login": SECRETS[4],
        "billing": {"street": SECRETS[5], "line2": SECRETS[5], "phone": SECRETS[3], "city": SECRETS[7]},
        "password": SECRETS[6], "who": SECRETS[1],
    }  # fmt: skip
    orders = [one | personal | {"status": SECRETS[0] if n == 0 else "paid"} for n, one in enumerate(ORDERS)]
    shopify = [
        json.loads(line) | personal for line in ready_examples("shopify-orders")[0].read_bytes().splitlines()[:6]
    ]
    rows = [{**change, "after": change["after"] | personal | {"origin": SECRETS[4]}} for change in CHANGES]
    for number, records in enumerate((orders, shopify, rows)):
        out = tmp_path / f"{number}.yaml"
        texts = [
            call("--out", out, records=records).output,
            call("--json", records=records).output,
            out.read_text("utf-8"),
        ]
        for text in texts:
            assert [secret for secret in SECRETS if secret in text] == []


def test_report_names_the_ready_mapping_its_counts_and_the_next_step(call, tmp_path):
    lines = ready_examples("woocommerce-orders")[0].read_text("utf-8").splitlines()
    result = call("--out", tmp_path / "orders.yaml", records=lines)
    words = " ".join(result.output.replace("│", " ").split())
    assert result.exit_code == 0
    for text in (
        "values JSON (91%), text, not JSON (9%)", "ready mapping woocommerce-orders", "mapped 5 45%",
        "left out: no rate for USD 1 9%", "It asks for zone", "map check", "--set zone=VALUE",
    ):  # fmt: skip
        assert text in words
    assert (tmp_path / "orders.yaml").read_text("utf-8").startswith("# WooCommerce")


def test_document_has_paths_fits_and_the_mapping(call):
    document = json.loads(call("--json", records=CLICKS).output)
    assert document["messages"] == 40
    assert document["formats"] == {"JSON": 40}
    assert (document["envelope"], document["keys"], document["ready_mappings"]) == (None, None, [])
    kinds = next(one for one in document["paths"] if one["path"] == "kind")
    assert (kinds["fill"], kinds["values"]) == (1.0, {"view": 14, "cart": 13, "buy": 13})
    assert document["mapping"].startswith("# Drafted by `shopstream map guess` from 40 messages")


def test_output_file_is_replaced_by_force_alone(call, tmp_path):
    out = tmp_path / "mine.yaml"
    out.write_text("kept")
    assert "exists" in str(call("--out", out, records=CLICKS).exception)
    assert out.read_text() == "kept"
    assert call("--out", out, "--force", records=CLICKS).exit_code == 0
    assert out.read_text().startswith("# Drafted")


def test_messages_of_another_form_have_no_mapping_and_fail(call, tmp_path):
    result = call("--out", tmp_path / "none.yaml", records=["plain", "null", "[1]"])
    assert result.exit_code == 1
    assert "no mapping" in result.output
    assert not (tmp_path / "none.yaml").exists()


def test_newest_messages_of_a_file_are_read(call):
    assert json.loads(call("--messages", "7", "--json", records=CLICKS).output)["messages"] == 7


def test_call_names_a_topic_or_a_file(call):
    assert isinstance(call().exception, UsageError)


def test_topic_of_a_file_is_named_in_the_mapping(call):
    assert "topic: TOPIC" in json.loads(call("--json", records=CLICKS).output)["mapping"]
    assert "The mapping has the topic TOPIC" in call(records=CLICKS).output
    assert "topic: shop.clicks," in json.loads(call("shop.clicks", "--json", records=CLICKS).output)["mapping"]


def test_guess_as_plain_values_can_be_written(call):
    json.dumps(guess_as_dict(guessed([*CLICKS, None, b"\xff", b"{"])))


# --- any messages -----------------------------------------------------------------------------------------------------
NAMES = st.sampled_from(
    ["id", "order_id", "customer_id", "email", "total", "created_at", "status", "type", "items", "sku", "a.b", "*",
     "^x$", "", " ", 'q"', "[0]", "é", "user", "anonymousId", "op", "source", "after", "before", "schema", "payload",
     "specversion", "price", "quantity", "\0", "\0column 1", "properties", "currency"]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "EUR", "paid", "view", "2026-03-02T09:00:00Z", "1772442000", "12.50", "JxA=", "null",
                     '{"a": 1}', "[1]", "ann@shop.com", "x" * 200, "c", "d", "u", "\0"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=8)
GENERATED = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking, which takes minutes here."""
RAW = st.sampled_from([ORDERS, CLICKS, CHANGES, EVENTS, [{}]]).flatmap(
    lambda known: st.lists(
        st.one_of(
            *[st.builds(lambda one, other: one | other, st.sampled_from(known), OBJECTS)] * 3,
            st.none(),
            st.binary(max_size=12),
        ),
        max_size=8,
    )
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None, phases=GENERATED)
@given(RAW, st.data())
def test_any_messages_have_a_report_and_every_complete_mapping_is_valid(records, data):
    keys = [data.draw(st.one_of(st.none(), st.binary(max_size=4), st.just(b'{"id": 1}'))) for _ in records]
    guess = guess_topic("raw", messages(records), keys, NOW_MS)
    assert guess.forms.total() == guess.messages == len(records)
    assert all(0 <= one.filled <= one.messages for one in guess.paths)
    assert all(fit.messages == len(records) for fit in guess.fits)
    json.dumps(guess_as_dict(guess))
    event(f"complete: {guess.complete}")
    if guess.complete:
        mapping = parse_mapping(guess.mapping, "guess", EXAMPLE_ANSWERS)
        TopicMapper("guess", mapping, b"salt").map(messages(records))


# --- positions and addresses ------------------------------------------------------------------------------------------
AMBIGUOUS = [
    {"id": f"e{n}", "at": f"0{1 + n % 9}/03/2026", "type": "view", "session": "s", "customer": f"c{n % 7}"}
    for n in range(40)
]  # fmt: skip


def test_question_names_the_partition_and_offset_of_its_example():
    positions = [f"partition 3, offset {7 + number}" for number in range(len(AMBIGUOUS))]
    guess = guess_topic("mine", messages(AMBIGUOUS), None, NOW_MS, positions)
    assert "'01/03/2026' (partition 3, offset 7) is 2026-03-01" in guess.drafted.questions[0].text
    assert "'01/03/2026' (partition 3, offset 7) is 2026-03-01" in guess.mapping


def test_question_names_the_line_of_a_file_also_where_only_its_end_is_read(tmp_path):
    file = tmp_path / "today.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in AMBIGUOUS))
    result = CliRunner().invoke(build_app(), ["map", "guess", "--file", str(file), "--messages", "30", "--json"])
    assert "'02/03/2026' (line 11) is 2026-03-02" in json.loads(result.output)["questions"][0]


@pytest.mark.parametrize("word", ["no mail", "None given", "guest-7"])
def test_address_as_a_customer_is_hashed_also_where_most_messages_have_a_word(word):
    records = [
        one | {"customer": f"ann{number}@shop.com" if number % 4 == 0 else word}
        for number, one in enumerate(AMBIGUOUS)
    ]  # fmt: skip
    mapping = guessed(records).mapping
    assert 'customer: {path: customer, match: "^([^@ ]+@[^@ ]+)$", guest: true}' in mapping
    mapped = TopicMapper("mine", parse_mapping(mapping, "mine"), b"salt").map(messages(records))
    assert len(mapped.records) == 10
    assert all(record.key.startswith(b"~") for record in mapped.records)
    assert set(mapped.refused.values()) == {"`customer`: missing"}


def test_file_without_a_message_is_no_sample(tmp_path):
    file = tmp_path / "today.jsonl"
    file.write_text("\n\n")
    for arguments in (["map", "guess", "--file", str(file)], ["map", "check", "segment", "--sample", str(file)]):
        result = CliRunner().invoke(build_app(), arguments)
        assert isinstance(result.exception, UsageError), arguments
        assert str(result.exception).startswith(f"{file} has no message.")

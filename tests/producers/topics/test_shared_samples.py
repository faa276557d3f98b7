"""Ready mappings against samples of other systems, whose records others computed by hand.

The samples describe more than a mapping does: visitors whose user is found later, sessions that are cut, owners of
orders that are remembered. Their lines are exceptions here, each with what the mapping gives today.
"""

import json
import os
from pathlib import Path

import pytest

from connectors.messages.mapped import Message
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import ready_mappings, with_topic

MAPPINGS = {
    "segment": "segment", "snowplow_enriched": "snowplow", "ga4_export": "ga4", "posthog_events": "posthog",
    "shopify_orders": "shopify-orders", "woocommerce_orders": "woocommerce-orders",
    "debezium_orders": "debezium-orders",
}  # fmt: skip
"""Sample -> ready mapping."""
ADAPTED = {"woocommerce_orders": ("rates: {EUR: 1}", "rates: {EUR: 1, USD: 0.92}")}
"""Sample -> text of the mapping that its shop writes differently."""
VISITOR = {"left_out": "no user yet"}
SESSION = {"left_out": "no session id"}
LINK = {"left_out": "event_type not counted"}
EXCEPTIONS = {
    "segment": {
        "a visitor without a user: held, and given to its user later": (VISITOR, (1, 2, 3, 4, 12, 15)),
        "a link of visitor and user, which gives what was held": (LINK, (5,)),
        "no session id: sessions of a topic are cut later": (SESSION, (6, 7, 8, 11, 14, 18, 20, 22)),
    },
    "snowplow_enriched": {
        "a visitor without a user: held, and given to its user later": (VISITOR, (1, 4, 5, 13, 14)),
        "a link, which gives what was held besides its own event": (
            {"ids": ["00000006-b53a-4b13-a233-0088f79dcbcb"]}, (6,),
        ),
        "a repeated id: the consumers drop it": ({"ids": ["00000004-b53a-4b13-a233-0088f79dcbcb"]}, (9,)),
    },
    "ga4_export": {
        "a visitor without a user: held, and given to its user later": (VISITOR, (2, 3, 14)),
        "a link of visitor and user, which gives what was held": (LINK, (5,)),
        "a repeated id: the consumers drop it": ({"ids": ["T-1#0", "T-1#1"]}, (9,)),
        "expected is a record of 1970 that consumers refuse; such a unit is refused by the law of times": (
            {"refused": "`event_timestamp`: time before 1973 in microseconds"}, (13,),
        ),
    },
    "posthog_events": {
        "a visitor without a user: held, and given to its user later": (VISITOR, (1, 3, 4, 8, 12, 15, 16)),
        "a link of visitor and user, which gives what was held": (LINK, (5,)),
        "no session id: sessions of a topic are cut later": (SESSION, (9,)),
    },
    "shopify_orders": {},
    "woocommerce_orders": {
        "the former owner of an order is remembered later": (
            {"orders": [("727", "31", "placed")]}, (15,),
        ),
    },
    "debezium_orders": {},
}  # fmt: skip
"""Sample -> reason -> what the mapping gives today, and the lines."""
WORDS = {
    "type not counted": "event_type not counted",
    "not JSON": "not JSON",
    "`originalTimestamp`: no readable time": "`timestamp, originalTimestamp`: yesterday is no ISO 8601 time",
    "`properties.price`: a negative amount": "`properties.price, .price`: amount below 0",
    "`after.total`: a negative amount": "`after.total`: amount below 0",
    "`after.placed_at`: no readable time": "`after.placed_at`: time before 1970 or after 9999",
    "`properties`: not JSON": "`properties.$device_id`: properties is text without an object or list in it",
    "`current_total_price`: not a decimal number": "`current_total_price`: 1,299.00 is no number",
    'unknown status "paid_later"': '`financial_status`: word without an entry in `words`: "paid_later"',
    'unknown status "shipped"': '`status`: word without an entry in `words`: "shipped"',
    "`date_created_gmt`: missing": "`customer_id, billing.email`: missing",
}
"""Beginning of a reason in the samples -> that of the same reason here."""
NOBODY = {"segment": "`userId`: missing", "posthog_events": "`properties.$user_id, distinct_id`: placeholder"}
"""Sample -> reason here of `no user and no visitor`."""


@pytest.fixture(scope="module")
def samples():
    folder = Path(os.environ.get("SHOPTEST_SHARED_DATA", "absent")).parent / "ingest" / "samples"
    if not folder.is_dir():
        pytest.skip("the samples are not here; they lie beside the folder that SHOPTEST_SHARED_DATA names")
    return folder


def results_of(samples, name):
    """Expected and given result of each message: records by topic, key and value, or the reason."""
    head, *expected = (
        json.loads(line) for line in (samples / f"{name}.expected.jsonl").read_text("utf-8").splitlines()
    )
    text = with_topic(ready_mappings()[MAPPINGS[name]], "sample").replace(*ADAPTED.get(name, ("", "")))
    mapping = parse_mapping(text, name, {"zone": "Europe/Berlin"})
    values = (samples / f"{name}.jsonl").read_bytes().splitlines()
    messages = [Message(None if one == b"null" else one, f"sample-0-{number}") for number, one in enumerate(values)]
    mapped = TopicMapper(name, mapping, head.get("guest_salt", "").encode()).map(messages)
    given = []
    for number in range(len(messages)):
        records = [
            (one.topic, one.key.decode(), json.loads(one.value)) for one in mapped.records if one.message == number
        ]
        reasons = {"left_out": mapped.left_out.get(number), "refused": mapped.refused.get(number)}
        given.append({"records": records} | {word: reason for word, reason in reasons.items() if reason is not None})
    return expected, given


def plain(record):
    topic, key, value = record
    kept = {name: one for name, one in value.items() if one not in (None, [])}
    if "items" in kept:
        kept["items"] = sorted(
            [{name: one for name, one in item.items() if one is not None} for item in kept["items"]], key=repr
        )
    return topic, key, kept


def agrees(name, expected, given):
    if "records" in expected:
        own = [plain((one["topic"], one["key"], one["value"])) for one in expected["records"]]
        return "link" not in expected and sorted(own, key=repr) == sorted(map(plain, given["records"]), key=repr)
    for word, outcome in (("left_out", "left_out"), ("letter", "refused")):
        if word in expected:
            reason = NOBODY[name] if expected[word] == "no user and no visitor" else expected[word]
            return given["records"] == [] and given.get(outcome, "").startswith(WORDS.get(reason, reason))
    return False


def is_as_today(today, given):
    if "ids" in today:
        return [value["event_id"] for _, _, value in given["records"]] == today["ids"]
    if "orders" in today:
        names = ("order_id", "customer_id", "status")
        return [tuple(value[name] for name in names) for _, _, value in given["records"]] == today["orders"]
    ((outcome, reason),) = today.items()
    return given["records"] == [] and given.get(outcome, "").startswith(reason)


@pytest.mark.parametrize("name", MAPPINGS)
def test_sample_gives_the_expected_records_but_for_the_named_exceptions(samples, name):
    expected, given = results_of(samples, name)
    today = {line: result for result, lines in EXCEPTIONS[name].values() for line in lines}
    assert len(expected) == len(given)
    wrong = []
    for number, (one, result) in enumerate(zip(expected, given, strict=True), start=1):
        as_expected = agrees(name, one, result)
        if number in today:
            assert not as_expected, f"line {number} is no exception any more"
            as_expected = is_as_today(today[number], result)
        wrong += [] if as_expected else [(number, one, result)]
    assert wrong == []

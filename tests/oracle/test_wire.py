"""The messages made here are what they claim to be: valid ones read back as their record, bad ones are told apart."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from oracle.adversarial import adversarial
from oracle.rows import cents
from oracle.shop import DAY, HOUR
from oracle.strategies import Stream, arrivals, streams
from oracle.wire import KINDS, bad_messages, in_time, split_late, wire_message

NOW = 1_700_000_000_000


@pytest.mark.parametrize("topic", ["events", "orders"])
def test_wire_message_reads_back_as_its_record(topic):
    records, rng = adversarial(0), np.random.default_rng(0)
    rows = getattr(records, topic)
    for row in rows:
        message = wire_message(topic, row, rng)
        read = json.loads(message.value)
        assert message.key == row["customer_id"].encode()
        assert {name: read.get(name) for name in row if name != "items"} == {
            n: v for n, v in row.items() if n != "items"
        }


def test_every_kind_of_invalid_message_is_generated():
    messages = bad_messages(NOW)
    assert {m.kind for m in messages} == set(KINDS)
    assert {m.topic for m in messages} == {"events", "orders", "customers"}
    twice = [key for key, n in Counter((m.topic, m.key, m.value) for m in messages).items() if n > 1]
    assert not twice


def test_malformed_json_is_not_strict_json():
    def refuse(word):
        raise ValueError(word)

    for message in bad_messages(NOW):
        try:
            read = json.loads((message.value or b"").decode("utf-8"), parse_constant=refuse)
        except ValueError:
            assert message.kind in ("not JSON", "tombstone"), message.name
        else:
            assert message.kind != "not JSON", message.name
            assert isinstance(read, dict) == (message.kind != "not an object"), message.name


@pytest.mark.parametrize("topic", ["events", "orders"])
@pytest.mark.parametrize("seed", range(3))
def test_records_in_time_are_never_late(topic, seed):
    rows = getattr(adversarial(seed), topic)
    arrived = in_time(topic, rows, np.random.default_rng(seed))
    assert split_late(topic, arrived) == (arrived, [])
    assert Counter(map(repr, arrived)) == Counter(map(repr, rows))


def test_late_records_are_late_by_at_least_a_millisecond():
    def event(ts):
        return {"ts": ts}

    first = event(NOW)
    border, beyond = event(NOW - 48 * HOUR), event(NOW - 48 * HOUR - 1)
    assert split_late("events", [border, first, beyond, border]) == ([border, first, border], [beyond])

    def order(ts, updated_ts):
        return {"ts": ts, "updated_ts": updated_ts}

    newest = order(NOW - 5 * DAY, NOW)
    border, beyond = order(NOW - 402 * DAY, NOW - 10 * DAY), order(NOW - 402 * DAY - 1, NOW - 3 * DAY)
    assert split_late("orders", [newest, border, beyond]) == ([newest, border], [beyond])


@given(streams().flatmap(lambda stream: arrivals(stream).map(lambda arrived: (stream, arrived))))
def test_arrivals_hold_all_records_and_none_is_late(drawn: tuple[Stream, list]):
    stream, arrived = drawn
    for topic, rows in (("events", stream.events), ("orders", stream.orders)):
        own = [row for kind, row in arrived if kind == topic]
        assert split_late(topic, own) == (own, [])
        assert Counter(map(repr, own)) == Counter(map(repr, rows))


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (1.015, 102),
        (0.005, 0),
        (0.015, 2),
        (2.675, 268),
        (1.005, 100),
        (0.995, 100),
        (1e12, 10**14),
        (999_999_999_999.995, 10**14),
        (-0.0, 0),
        (5e-324, 0),
        (0.1 + 0.2, 30),
        (7, 700),
    ],
)
def test_cents_equal_the_shortest_decimal(amount, expected):
    assert cents(amount) == expected

"""Letters without servers: who is chosen, who is held back and why, what may be seen of their bytes."""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec
import pytest

from consumers.dead_letters.review import (
    DeadLetterFilter,
    StoredDeadLetter,
    deduplicate,
    plan_replay,
    readable,
    safe_text,
)
from consumers.dead_letters.store import stored_dead_letter

NOW_MS = 1_800_000_000_000
EVENT = {
    "event_id": "e1", "event_type": "search", "customer_id": "c1", "session_id": "s", "ts": 1_000, "device": "mobile",
}  # fmt: skip
LETTER = StoredDeadLetter(
    5, 100, "shop.events", 2, 17, b"c1", msgspec.json.encode(EVENT), 'device: expected one of, got "tv"'
)


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (DeadLetterFilter(), True),
        (DeadLetterFilter(numbers=(5, 5)), True),
        (DeadLetterFilter(numbers=(6, 9)), False),
        (DeadLetterFilter(topic="shop.events"), True),
        (DeadLetterFilter(topic="shop.orders"), False),
        (DeadLetterFilter(partition=2), True),
        (DeadLetterFilter(partition=0), False),
        (DeadLetterFilter(offsets=(17, 20)), True),
        (DeadLetterFilter(offsets=(10, 16)), False),
        (DeadLetterFilter(reason="DEVICE"), True),
        (DeadLetterFilter(reason="price"), False),
        (DeadLetterFilter(since_ms=100), True),
        (DeadLetterFilter(since_ms=101), False),
        (DeadLetterFilter(until_ms=101), True),
        (DeadLetterFilter(until_ms=100), False),
    ],
)
def test_each_filter_selects_its_dead_letters(choice, taken):
    assert choice.matches(LETTER) is taken


def test_dead_letter_written_twice_is_one_and_rejected_documents_are_separate():
    document = replace(LETTER, topic="shop-customers-000001", offset=-1)
    result = deduplicate([LETTER, replace(LETTER, number=6), document, replace(document, number=9)])
    assert [dead_letter.number for dead_letter in result] == [5, 5, 9]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"topic": "other.events"}, "a topic of another system"),
        ({"offset": -1}, "refused"),
        ({"cut": "the first 5 of 10 bytes"}, "only the first 5"),
        ({"error": "too late: 5 is more than 48 hours before"}, "too late again"),
        ({"value": b"{"}, "still not valid"),
        ({"value": msgspec.json.encode({**EVENT, "device": "tv"})}, "still not valid"),
        ({"key": b"c2"}, "still not valid"),
        ({"value": msgspec.json.encode({**EVENT, "ts": NOW_MS + 86_400_001})}, "still not valid"),
    ],
)
def test_record_that_is_still_invalid_is_not_replayed(changed, why):
    done = plan_replay([replace(LETTER, **changed)], "shop", lambda _: False, NOW_MS, late=False)
    assert bool(done.sendable) is not bool(why)
    assert [why in message for _, message in done.held] == ([True] if why else [])


def test_record_that_was_replayed_is_not_replayed_again():
    done = plan_replay(
        [LETTER], "shop", lambda dead_letter: dead_letter.position == ("shop.events", 2, 17), NOW_MS, late=False
    )
    assert done.held == ((LETTER, "was already replayed"),)


def test_late_record_is_replayed_to_a_run_without_lateness():
    late = replace(LETTER, error="too late: 5 is more than 48 hours before")
    assert plan_replay([late], "shop", lambda _: False, NOW_MS, late=True).sendable == (late,)


SECRETS = ("Ann Secret", "ann@secret.test")


@pytest.mark.parametrize(
    "value",
    [
        b'{"customer_id": "c1", "name": "Ann Secret", "email": "ann@secret.test"}',
        b'{"customer_id": "c1", "Name": "Ann Secret", "E-Mail": "ann@secret.test"}',
        b'{"customer_id": "c1", "na\\u006de": "Ann Secret", "deep": [{"email": "ann@secret.test"}]}',
        b'{"customer_id": "c1", "nickname": "write to ann@secret.test now"}',
        b'{"customer_id": "c1", "name": ["Ann Secret"], "email": {"to": "ann@secret.test"}}',
        b'{"customer_id": "c1", "name": "Ann Secret", "email": "ann@secret.te',
        b'{"customer_id": "c1", "name": "Ann Secret',
        b'{"customer_id": "c1", "name": "Ann Secret", \xff}',
        b'{"customer_id": "c1", "full": "Ann Secret", "gender": "ann@secret.test"}',
        b'["Ann Secret", "ann@secret.test"]',
        b'"Ann Secret"',
        b"Ann Secret;ann@secret.test",
    ],
)
def test_contact_data_is_masked_by_default(value):
    dead_letter = replace(LETTER, topic="shop.customers", value=value)
    shown = readable(dead_letter, contact=False)
    assert not [secret for secret in SECRETS if secret in shown]
    shown = readable(dead_letter, contact=True)
    assert any(secret[:10] in shown for secret in SECRETS)


def test_contact_data_in_a_broken_event_is_masked():
    dead_letter = replace(LETTER, value=b'{"event_id": "e1", "name": "Ann Secret", "email": "ann@secret.test", "ts":')
    shown = readable(dead_letter, contact=False)
    assert "e1" in shown
    assert not [secret for secret in SECRETS if secret in shown]


def test_control_sequences_are_escaped_for_the_terminal():
    assert safe_text(b"a\x1b[31m\xff\r\n\xc3\xa9") == "a\\x1b[31m\\xff\\r\\n\xe9"
    assert readable(replace(LETTER, value=None), contact=False) == "null"


@pytest.mark.parametrize(
    "text",
    [b"a" * 400_000, b"a@" * 200_000, b'"name":"' * 50_000, b'"name"' + b" " * 400_000, b'"email":"\\' * 40_000],
    ids=["a word", "many ats", "fields without ends", "blanks", "escapes"],
)
def test_time_to_show_a_long_value_is_linear_in_its_length(text):
    begin_s = time.process_time()
    readable(replace(LETTER, value=text), contact=False)
    assert time.process_time() - begin_s < 5, "20 s for 80 kB before"


def test_address_is_masked_completely_at_any_position():
    for value in (
        b"x ann@example.org y",
        b'"ann.b+c@example.org"',
        b"to:ann@example.org,bob@example.org",
        b"a@b@c.org",
    ):
        shown = readable(replace(LETTER, value=value), contact=False)
        assert "example" not in shown
        assert "ann" not in shown
        assert "c.org" not in shown


def test_deeply_nested_value_is_shown():
    for depth in (400, 2_000, 100_000):
        assert readable(replace(LETTER, value=b"[" * depth + b"]" * depth), contact=False).startswith("[[[")


class ForeignMessage:
    """A message that no consumer of ours wrote."""

    def __init__(self, headers):
        self._headers = headers

    def headers(self):
        return self._headers

    def offset(self):
        return 3

    def timestamp(self):
        return 1, 100

    def key(self):
        return None

    def value(self):
        return b"x"


@pytest.mark.parametrize(
    "written",
    [b"--5", "٣".encode(), b"9" * 5_000, b"", b"1.5", b"\xff", None, b"-1"],
    ids=lambda value: repr(value)[:12],
)
def test_unreadable_header_gives_a_dead_letter_without_an_offset(written):
    headers = [("partition", written), ("offset", written), ("topic", b"\xff"), ("error", None)]
    dead_letter = stored_dead_letter(ForeignMessage(headers))
    assert (dead_letter.partition, dead_letter.offset) == (-1, -1)
    assert stored_dead_letter(ForeignMessage(None)).offset == -1

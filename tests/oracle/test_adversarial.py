"""The archives hold to what the contract promises of records; a trap that breaks it would prove nothing."""

from collections import defaultdict

import pytest
from hypothesis import given
from oracle.adversarial import adversarial
from oracle.rows import cents
from oracle.shop import DAY
from oracle.strategies import streams


def broken_promises(events, orders):
    by_id, owner, sessions, placed, deciding = {}, {}, defaultdict(list), {}, {}
    for event in events:
        if by_id.setdefault((event["event_id"], event["ts"]), event) != event:
            yield f"event_id {event['event_id']!r} stands for two events of one time"
        if owner.setdefault(event["event_id"], event["customer_id"]) != event["customer_id"]:
            yield f"event_id {event['event_id']!r} is of two customers"
        sessions[event["customer_id"], event["session_id"]].append(event["ts"])
    for key, times in sessions.items():
        if max(times) - min(times) > DAY:
            yield f"session {key!r} is longer than a day"
    for order in orders:
        if placed.setdefault(order["order_id"], order["ts"]) != order["ts"]:
            yield f"order {order['order_id']!r} is of two times"
        if not 1 <= order["ts"] <= order["updated_ts"] <= order["ts"] + 400 * DAY:
            yield f"order {order['order_id']!r} is out of its time"
        rank = (order["customer_id"], order["order_id"], order["updated_ts"], order["status"], cents(order["total"]))
        rest = {name: value for name, value in order.items() if name != "total"}
        if deciding.setdefault(rank, rest) != rest:
            yield f"no rule decides between two records of order {order['order_id']!r}"


@pytest.mark.parametrize("seed", range(40))
def test_adversarial_archive_holds_its_invariants(seed):
    records = adversarial(seed)
    assert list(broken_promises(records.events, records.orders)) == []


@given(streams())
def test_adversarial_stream_holds_its_invariants(stream):
    assert list(broken_promises(stream.events, stream.orders)) == []


def test_violated_invariant_is_detected():
    event = {"event_id": "e", "customer_id": "c", "session_id": "s", "ts": 5}
    order = {"order_id": "o", "customer_id": "c", "ts": 5, "updated_ts": 5, "status": "placed", "total": 1.0}
    assert list(broken_promises([event, event], [order, order])) == []
    assert list(broken_promises([event, event | {"ts": 6}], [])) == []
    assert len(list(broken_promises([event, event | {"session_id": "t"}], []))) == 1
    assert len(list(broken_promises([event, event | {"ts": 6, "customer_id": "d"}], []))) == 1
    assert len(list(broken_promises([event, event | {"event_id": "f", "ts": 6 + DAY}], []))) == 1
    assert len(list(broken_promises([], [order, order | {"ts": 4}]))) == 2
    assert list(broken_promises([], [order, order | {"customer_id": "d", "status": "void"}])) == []
    assert len(list(broken_promises([], [order | {"updated_ts": 4}]))) == 1
    assert len(list(broken_promises([], [order, order | {"channel": "mail"}]))) == 1


def test_the_same_seed_gives_the_same_records():
    assert repr(adversarial(3)) == repr(adversarial(3))
    assert repr(adversarial(3)) != repr(adversarial(4))

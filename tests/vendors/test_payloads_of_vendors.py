"""Genuine payloads: the client libraries of Segment, RudderStack and PostHog send the events of a little shop.

The libraries run in the environment `.venv/vendors`, which `make test` creates, and post to a sink on the loopback
interface. The sink loses two deliveries, so that the library repeats them. The bodies are wrapped as the vendor's
servers hand them to Kafka, and mapped by the ready mapping. The expected records are written by hand.
"""

import copy
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from vendors.sink import sink_for_clients

from connectors.messages.mapped import Message
from features.schema import Event
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import load_topic_mapping

PYTHON = Path(sys.prefix) / "vendors" / "bin" / "python"
SENDER = Path(__file__).with_name("send_shop.py")
DELAY = timedelta(milliseconds=40)
"""Time from the client to the server."""
START_MS = 1_772_442_000_250
"""2026-03-02T09:00:00.250Z"""

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="needs .venv/vendors, which `make test` creates")


def deliveries_of(client):
    with sink_for_clients() as (sink, url):
        environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [PYTHON, SENDER, client, url]
        sent = subprocess.run(command, env=environment, timeout=90, check=False, capture_output=True, text=True)
    assert sent.returncode == 0, sent.stderr
    return sink.bodies


@pytest.fixture(scope="module")
def segment():
    return deliveries_of("segment")


@pytest.fixture(scope="module")
def rudderstack():
    return deliveries_of("rudderstack")


@pytest.fixture(scope="module")
def posthog():
    return deliveries_of("posthog")


# --- what the servers of the vendors add ------------------------------------------------------------------------------
def received(body, late=DELAY):
    return datetime.fromisoformat(body.get("sentAt") or body["sent_at"]) + late


def iso(time):
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def by_segment(body, late=DELAY):
    """Messages of Segment's Kafka destination.

    The time of the call becomes `originalTimestamp`. Added are `sentAt` of the delivery, `receivedAt`, and `timestamp`,
    which is receivedAt - (sentAt - originalTimestamp).
    """
    at, messages = received(body, late), []
    for call in copy.deepcopy(body["batch"]):
        own = datetime.fromisoformat(call["timestamp"])
        call |= {"originalTimestamp": call["timestamp"], "sentAt": body["sentAt"], "receivedAt": iso(at)}
        call |= {"timestamp": iso(own + late), "channel": "server"}
        messages.append(call)
    return messages


def by_rudderstack(body, late=DELAY):
    """Messages of RudderStack's Kafka destination.

    Its server keeps a `timestamp` that came, and formats it. `originalTimestamp` and `sentAt` are those of the call;
    the Python library sends neither with the call, and both become the time of receipt. `sentAt` of the delivery is
    not used. Added are `receivedAt`, `rudderId` and `request_ip`.
    """
    at, messages = iso(received(body, late)), []
    for call in copy.deepcopy(body["batch"]):
        call |= {"originalTimestamp": at, "sentAt": at, "receivedAt": at, "rudderId": "5e2c", "request_ip": "127.0.0.1"}
        call["timestamp"] = iso(datetime.fromisoformat(call["timestamp"]))
        messages.append(call)
    return messages


def by_posthog(body, late=DELAY):
    """Messages of PostHog's topic clickhouse_events_json.

    `properties` become a text. The time is corrected by the server's clock: received - (sent - timestamp), in UTC
    without an offset. Added are the ids of team and person, and the columns of the table.
    """
    at, messages = received(body, late), []
    for event in copy.deepcopy(body["batch"]):
        own = datetime.fromisoformat(event["timestamp"])
        event["timestamp"] = f"{own + late:%Y-%m-%d %H:%M:%S.%f}"
        event["properties"] = json.dumps(event["properties"])
        event |= {"team_id": 1, "person_id": "0195f8a0-1111", "created_at": f"{at:%Y-%m-%d %H:%M:%S.%f}"}
        event |= {"elements_chain": "", "person_properties": "{}"}
        messages.append(event)
    return messages


# --- what must come of it ---------------------------------------------------------------------------------------------
def event(minute, event_id, event_type, customer="u-1", **fields):
    session = fields.pop("session_id", "1772442000")
    ts = START_MS + 60_000 * minute + fields.pop("late_ms", 0)
    device = fields.pop("device", "desktop")
    return msgspec.structs.asdict(Event(event_id, event_type, customer, session, ts, device, **fields))


def lines_of_the_order(minute, order="R-1", **more):
    return [
        event(minute, f"{order}#0", "purchase", product_id="K-10", category="Kitchen", price=24.9, quantity=2, **more),
        event(minute, f"{order}#1", "purchase", product_id="C-7", category="Café ☕", price=9.95, quantity=1, **more),
    ]


def records_of_calls(**more):
    more = {"channel": "paid_search", **more}
    return [
        event(2, "m-4", "page_view", **more),
        event(3, "m-5", "search", **more),
        event(4, "m-6", "product_view", device="mobile", product_id="K-10", category="Kitchen", price=24.9, **more),
        event(5, "m-7", "add_to_cart", product_id="9007199254740993", price=24.9, quantity=2, **more),
        event(6, "m-8", "checkout", **more),
        *lines_of_the_order(7, **more),
        # a reloaded thank-you page: another message of the same order
        *lines_of_the_order(8, **more),
        event(10, "m-12", "page_view", "4711", device="mobile", **more),
    ]


LEFT_OUT_CALLS = {
    0: "no user yet",
    1: "event_type not counted",
    2: "event_type not counted",
    3: "group call",
    11: "event_type not counted",
    13: "no session id",
}


def mapped_by(name, messages):
    mapper = TopicMapper(*load_topic_mapping(name))
    mapped = mapper.map([Message(json.dumps(one).encode(), f"raw-0-{n}") for n, one in enumerate(messages)])
    assert mapped.refused == {}
    assert all(record.topic == "events" for record in mapped.records)
    values = [msgspec.json.decode(record.value, type=Event) for record in mapped.records]
    assert [record.key.decode() for record in mapped.records] == [value.customer_id for value in values]
    return [msgspec.structs.asdict(value) for value in values], mapped.left_out


@pytest.mark.parametrize(("client", "count"), [("segment", 14), ("rudderstack", 14), ("posthog", 12)])
def test_client_repeats_a_lost_delivery_with_the_same_ids(client, count, request):
    bodies = request.getfixturevalue(client)
    lost, unanswered, answered, *others = bodies
    assert lost["batch"] == unanswered["batch"] == answered["batch"]
    assert sum(len(body["batch"]) for body in (answered, *others)) == count
    sent = [body.get("sentAt") or body["sent_at"] for body in bodies]
    assert len(set(sent)) == len(sent), "every delivery has a time of its own"


@pytest.mark.parametrize(("client", "wrap"), [("segment", by_segment), ("rudderstack", by_rudderstack)])
def test_calls_of_a_client_become_the_records_of_the_shop(client, wrap, request):
    messages = [one for body in request.getfixturevalue(client)[2:] for one in wrap(body)]
    assert mapped_by("segment", messages) == (records_of_calls(), LEFT_OUT_CALLS)


@pytest.mark.parametrize(("client", "wrap"), [("segment", by_segment), ("rudderstack", by_rudderstack)])
def test_repeated_calls_become_equal_records(client, wrap, request):
    lost, unanswered, *answered = request.getfixturevalue(client)
    first, _ = mapped_by("segment", wrap(lost))
    assert first == records_of_calls()[: len(first)]
    assert mapped_by("segment", wrap(unanswered, timedelta(milliseconds=890)))[0] == first
    assert mapped_by("segment", [one for body in answered for one in wrap(body)])[0][: len(first)] == first


def test_time_of_a_wrong_clock_is_corrected_by_that_of_the_server(segment):
    slow = timedelta(hours=2)
    messages = [one for body in segment[2:] for one in by_segment(body, slow)]
    assert mapped_by("segment", messages)[0] == records_of_calls(late_ms=7_200_000)


def records_of_posthog(uuid_of_the_second_order_event, late_ms):
    def uuid(number):
        return f"0195f8a0-0000-7000-8000-{number:012d}"

    more = {"session_id": "s-1", "late_ms": late_ms}
    assert uuid_of_the_second_order_event != uuid(8)
    return [
        event(3, uuid(3), "page_view", **more),
        event(4, uuid(4), "product_view", device="mobile", product_id="K-10", category="Kitchen", price=24.9, **more),
        event(5, uuid(5), "add_to_cart", product_id="9007199254740993", price=24.9, quantity=2, **more),
        event(6, uuid(6), "checkout", **more),
        *lines_of_the_order(7, **more),
        *lines_of_the_order(8, **more),
        event(10, uuid(10), "product_view", "4711", product_id="K-10", **more),
    ]


def test_events_of_posthog_become_the_records_of_the_shop(posthog):
    messages = [one for body in posthog[2:] for one in by_posthog(body)]
    second = messages[8]["uuid"]
    records, left_out = mapped_by("posthog", messages)
    assert records == records_of_posthog(second, late_ms=40)
    assert left_out == {
        0: "event without a person",
        1: "event_type not counted",
        2: "event_type not counted",
        9: "event_type not counted",
        11: "no session id",
    }


def test_repeated_events_of_posthog_have_the_same_ids(posthog):
    lost, unanswered, *_ = posthog
    (first, _), (second, _) = (mapped_by("posthog", by_posthog(body, timedelta(milliseconds=late)))
                               for body, late in ((lost, 40), (unanswered, 890)))  # fmt: skip
    # PostHog corrects the time of each delivery: the first in the log counts
    assert [one | {"ts": one["ts"] + 850} for one in first] == second

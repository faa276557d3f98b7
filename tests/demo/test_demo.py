"""The demo on the real servers, small, in a data folder of its own."""

from __future__ import annotations

import json
import signal
import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from consume.command_line import call, environment, start
from elasticsearch import Elasticsearch

from connectors.kafka.admin import topic_sizes

EVENTS = 20_000
SMALL = ["--customers", "200", "--events", str(EVENTS), "--days", "60"]

pytestmark = pytest.mark.slow


def kafka_counts(servers, run):
    return {count.topic.removeprefix(f"{run}."): count.messages for count in topic_sizes(servers.kafka, f"{run}.")}


def documents(servers, run):
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        client.indices.refresh(index=f"{run}-*")
        names = ("events", "customers", "sessions", "orders", "order-items")
        return {name: client.count(index=f"{run}-{name}")["count"] for name in names}


def state(home, run):
    return json.loads((home / "demo" / f"sent-{run}.json").read_text())


@pytest.mark.timeout(900)
def test_demo_accounts_for_every_record_and_a_second_demo_sends_none_twice(tmp_path, servers, run_name):
    variables = environment(tmp_path, servers)
    arguments = ["demo", "--once", *SMALL, "--run", run_name]
    first = call(arguments, variables)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "✗" not in first.stdout
    assert "every record that was sent is accounted for" in first.stdout

    sent = state(tmp_path, run_name)["delivered"]
    kafka, result = kafka_counts(servers, run_name), documents(servers, run_name)
    assert sent["events"] == kafka["events"] == result["events"] == EVENTS
    assert sent["orders"] == kafka["orders"]
    assert sent["customers"] == kafka["customers"] == 200
    assert kafka["dead-letter"] == 0
    assert f"{result['sessions']:,}" in first.stdout

    second = call(arguments, variables)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "nothing is sent twice" in second.stderr
    assert {name: kafka_counts(servers, run_name)[name] for name in ("events", "orders", "customers")} == sent
    assert documents(servers, run_name) == result

    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        seen = client.search(index=f"{run_name}-customers", size=1, query={"exists": {"field": "country"}})
    customer = seen["hits"]["hits"][0]["_source"]["customer_id"]
    erased = call(["forget", customer, "--yes", "--run", run_name], variables)
    assert erased.returncode == 0, erased.stdout + erased.stderr
    third = call(arguments, variables)
    assert third.returncode == 0, third.stdout + third.stderr
    assert "every record that was sent is accounted for" in third.stdout

    other = call([*arguments, "--seed", "8"], variables)
    assert other.returncode == 2
    assert "--seed 7" in " ".join(other.stderr.split())


def started_until(arguments, variables, reached):
    """A demo that runs until `reached` says so."""
    process = start(arguments, variables)
    end = time.monotonic() + 180
    while not reached():
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    return process


def ended_by(process, number):
    process.send_signal(number)
    out, output = process.communicate(timeout=90)
    return process.returncode, out + output


def has_sent(home, run):
    """Whether the history is in Kafka up to some time, but not whole."""
    file = home / "demo" / f"sent-{run}.json"
    return file.exists() and state(home, run)["until_ms"] > 0


@pytest.mark.timeout(600)
def test_demo_killed_in_any_phase_is_completed_by_the_next_one(tmp_path, servers, run_name):
    variables = environment(tmp_path, servers)
    arguments = ["demo", "--once", *SMALL, "--run", run_name]
    folder = tmp_path / "demo"

    process = started_until(arguments, variables, lambda: folder.exists() and any(folder.iterdir()))
    code, message = ended_by(process, signal.SIGTERM)
    assert (code, list(folder.iterdir())) == (143, []), message

    process = started_until(arguments, variables, lambda: has_sent(tmp_path, run_name))
    code, message = ended_by(process, signal.SIGTERM)
    assert code == 130, message
    sent = state(tmp_path, run_name)
    assert not sent["whole"]

    process = started_until(arguments, variables, lambda: state(tmp_path, run_name)["until_ms"] > sent["until_ms"])
    code, message = ended_by(process, signal.SIGKILL)
    assert (code, state(tmp_path, run_name)["whole"]) == (-signal.SIGKILL, False)
    assert "the replay continues from" in message

    process = started_until(arguments, variables, lambda: state(tmp_path, run_name)["whole"])
    code, message = ended_by(process, signal.SIGTERM)
    assert code in (130, 143), message

    done = call(arguments, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every record that was sent is accounted for" in done.stdout
    held = kafka_counts(servers, run_name)
    assert held["events"] >= documents(servers, run_name)["events"] == EVENTS
    assert held["dead-letter"] == 0, "a slice that is sent again is not too late"


@pytest.mark.timeout(600)
def test_foreign_records_in_an_interrupted_run_are_never_deleted(tmp_path, servers, run_name):
    variables = environment(tmp_path, servers)
    arguments = ["demo", "--once", *SMALL, "--run", run_name]
    process = started_until(arguments, variables, lambda: has_sent(tmp_path, run_name))
    ended_by(process, signal.SIGKILL)
    assert not state(tmp_path, run_name)["whole"]

    now_ms = time.time_ns() // 1_000_000
    producer = Producer({**servers.kafka.client_properties(), "partitioner": "murmur2_random"})
    for number in range(100):
        event = {"event_id": f"mine-{number}", "customer_id": f"mine{number % 7}", "session_id": "s", "ts": now_ms}
        event |= {"event_type": "page_view", "device": "mobile", "channel": "direct"}
        producer.produce(f"{run_name}.events", json.dumps(event).encode(), f"mine{number % 7}".encode())
    assert producer.flush(30) == 0
    assert call(["consume", "--until-end", "--run", run_name], variables).returncode == 0
    held, result = kafka_counts(servers, run_name), documents(servers, run_name)

    done = call(arguments, variables)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "which the demo did not send" in " ".join(done.stderr.split())
    assert (kafka_counts(servers, run_name), documents(servers, run_name)) == (held, result)


# --- a finished run, which the last test changes most ---
@pytest.fixture(scope="module")
def finished(tmp_path_factory, servers, shared_run):
    """Arguments, variables and run of a small demo that has ended."""
    variables = environment(tmp_path_factory.mktemp("finished"), servers)
    arguments = ["demo", "--once", "--customers", "30", "--events", "2000", "--days", "20", "--run", shared_run]
    done = call(arguments, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return arguments, variables, shared_run


def test_run_with_other_records_is_not_changed(tmp_path, servers, finished):
    arguments, _, run = finished
    before = kafka_counts(servers, run)
    done = call(arguments, environment(tmp_path / "other-home", servers))
    assert done.returncode == 2
    assert "the demo did not send" in " ".join(done.stderr.split())
    assert kafka_counts(servers, run) == before


def test_missing_documents_give_exit_code_1(servers, finished):
    arguments, variables, run = finished
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        hit = client.search(index=f"{run}-orders", size=1)["hits"]["hits"][0]
        client.delete(index=hit["_index"], id=hit["_id"])
    again = call(arguments, variables)
    assert again.returncode == 1
    assert "the counts of orders, order lines do not agree" in " ".join(again.stdout.split())


def test_run_with_deleted_topics_is_not_changed(servers, finished):
    arguments, variables, run = finished
    result = documents(servers, run)
    admin = AdminClient(servers.kafka.client_properties())
    for topic in admin.delete_topics([f"{run}.events"]).values():
        topic.result(timeout=30)
    done = call(arguments, variables)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "its topics were deleted" in " ".join(done.stderr.split())
    assert documents(servers, run) == result


def test_live_demo_runs_until_ctrl_c_and_all_counts_agree(tmp_path, servers, run_name):
    variables = environment(tmp_path, servers)
    arguments = ["demo", *SMALL, "--run", run_name]
    process = start([*arguments, "--speed", "20000"], variables)
    try:
        end = time.monotonic() + 240
        while kafka_counts(servers, run_name).get("events", 0) <= EVENTS:
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, output = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "every record that was sent is accounted for" in out
    assert not state(tmp_path, run_name)["live_open"]

    again = call([*arguments, "--once"], variables)
    assert again.returncode == 0, again.stdout + again.stderr
    kafka = kafka_counts(servers, run_name)
    assert kafka["events"] > EVENTS
    assert f"{kafka['events']:,}" in again.stdout

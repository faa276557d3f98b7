"""Records of producers with other partitioners, on the real Kafka: rows are right, or the run is refused."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Producer
from stream.bench import Bench

from consumers.first_records import check_first_records
from features.errors import ShopstreamError, UsageError

T = 1_709_287_200_000
CUSTOMERS = [f"cüstomer-{n}" for n in range(40)]
LIBRDKAFKA = {"murmur2": "murmur2_random", "crc32": "consistent_random", "fnv1a": "fnv1a_random"}


def click(n: int, customer: str) -> dict:
    row = {"event_id": f"e{n}", "event_type": "product_view", "customer_id": customer, "session_id": f"s{n}"}
    return row | {"ts": T + n, "device": "mobile"}


def order(n: int, customer: str) -> dict:
    row = {"order_id": f"o{n}", "customer_id": customer, "ts": T + n, "updated_ts": T + n}
    return row | {"status": "placed", "total": 10}


def profile(_: int, customer: str) -> dict:
    return {"customer_id": customer, "country": "DE"}


RECORDS = {"events": click, "orders": order, "customers": profile}


@pytest.fixture
def bench(servers, run_name, tmp_path):
    bench = Bench(servers, run_name, tmp_path / "state")
    yield bench
    bench.client.close()


def send(bench: Bench, topic: str, partitioner: str, customers: list[str] = CUSTOMERS) -> None:
    """By a client that knows nothing of Shopstream."""
    producer = Producer({**bench.properties, "partitioner": LIBRDKAFKA[partitioner]})
    for n, customer in enumerate(customers):
        producer.produce(f"{bench.run}.{topic}", json.dumps(RECORDS[topic](n, customer)), customer)
    assert producer.flush(60) == 0


def check(bench: Bench) -> None:
    check_first_records(bench.properties, bench.run)


def whole(bench: Bench) -> set[str]:
    """Customers whose row has its click, its order and its profile."""
    documents = bench.documents("customers")
    return {
        row["customer_id"]
        for row in documents
        if (row.get("orders_total"), row.get("sessions_30d"), row.get("country")) == (1, 1, "DE")
    }


@pytest.mark.parametrize("partitioner", LIBRDKAFKA)
def test_run_of_one_partitioner_gives_whole_customers(bench, partitioner):
    bench.properties = {**bench.properties, "partitioner": LIBRDKAFKA[partitioner]}
    for topic in RECORDS:
        send(bench, topic, partitioner)
    check(bench)
    (progress,) = bench.consume()
    assert (progress.valid, progress.rejected) == (120, 0)
    assert whole(bench) == set(CUSTOMERS)


@pytest.mark.parametrize("partitioner", ["crc32", "fnv1a"])
def test_run_of_another_partitioner_is_refused_with_the_property_that_fits(bench, partitioner):
    for topic in RECORDS:
        send(bench, topic, partitioner)
    with pytest.raises(ShopstreamError) as refused:
        check(bench)
    assert f"The partitioner {partitioner} puts all of them where they are" in str(refused.value)
    assert f'`partitioner = "{LIBRDKAFKA[partitioner]}"`' in str(refused.value)


@pytest.mark.parametrize("foreign", RECORDS)
def test_topics_of_two_partitioners_are_refused_or_leave_dead_letters(bench, foreign):
    for topic in RECORDS:
        send(bench, topic, "crc32" if topic == foreign else "murmur2")
    with pytest.raises(ShopstreamError, match=rf"{bench.run}\.{foreign} has \d+ of 40 keys at its beginning"):
        check(bench)
    # who starts all the same, by another program, gets a dead letter for each misplaced record and no wrong row
    (progress,) = bench.consume()
    letters = bench.messages("dead-letter")
    assert 0 < progress.rejected == len(letters) < 40
    assert progress.valid == 120 - progress.rejected
    torn = {letter.key().decode() for letter in letters}
    assert whole(bench) == set(CUSTOMERS) - torn


def test_accident_is_a_dead_letter_and_no_reason_to_refuse(bench):
    for topic in RECORDS:
        send(bench, topic, "murmur2")
    send(bench, "events", "crc32", CUSTOMERS[:4])
    check(bench)
    (progress,) = bench.consume()
    reasons = [dict(letter.headers())["error"].decode() for letter in bench.messages("dead-letter")]
    assert 0 < len(reasons) == progress.rejected <= 4
    assert all("the partitioner murmur2 puts this key into partition" in reason for reason in reasons)


def test_started_run_is_checked_no_more(bench):
    for topic in RECORDS:
        send(bench, topic, "murmur2", CUSTOMERS[:3])
    bench.consume()
    send(bench, "events", "crc32")
    check(bench)


def test_changed_partitioner_is_refused_by_the_state(bench):
    for topic in RECORDS:
        send(bench, topic, "murmur2")
    bench.consume()
    bench.properties = {**bench.properties, "partitioner": "consistent_random"}
    with pytest.raises(ShopstreamError, match=r"The state of partition \d holds .* The partitioner murmur2 puts all"):
        bench.consume()


def test_random_partitioner_is_a_usage_error(bench):
    bench.properties = {**bench.properties, "partitioner": "random"}
    with pytest.raises(UsageError, match="consistent_random"):
        check(bench)

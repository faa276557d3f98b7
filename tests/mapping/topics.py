"""Foreign topics for the tests of `map run`: a year of clicks and orders in partitions of unequal pace."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
from confluent_kafka.admin import NewTopic

from connectors.kafka.client import open_admin, open_producer, producer_config
from connectors.kafka.reader import read_to_end
from features.schema import DAY_MS, HOUR_MS, topic_name

START_MS = 1_735_689_600_000
"""2025-01-01."""

CLICKS = """\
kind: clicks
from: {{topic: {topic}}}
time: {{path: at, format: epoch_ms}}
left_out: [{{reason: health check, path: type, equals: ping}}]
click:
  id: id
  customer: user
  session: session
  type: type
  types: {{page: page_view, cart: add_to_cart}}
  device: {{value: desktop}}
"""
ORDERS = """\
kind: orders
from: {{topic: {topic}}}
time: {{path: at, format: epoch_ms}}
order:
  rows: order
  id: id
  customer: user
  updated: {{path: changed, format: epoch_ms}}
  status: {{path: state, words: {{paid: placed, refunded: refunded}}}}
  total: total
"""


@dataclass
class Sent:
    """What was sent: (topic, partition) -> messages in order, and what must come of it."""

    messages: dict[tuple[str, int], list[bytes | None]] = field(default_factory=dict)
    event_ids: set[str] = field(default_factory=set)
    order_states: set[tuple[str, str]] = field(default_factory=set)
    refused: int = 0
    left_out: int = 0

    @property
    def count(self) -> int:
        return sum(map(len, self.messages.values()))


def click(number, at_ms, customer, **more):
    return {"id": f"e{number}", "at": at_ms, "user": customer, "session": f"s-{customer}-{at_ms // DAY_MS}",
            "type": "page", **more}  # fmt: skip


def order(number, at_ms, changed_ms, customer, state):
    return {"id": f"o{number}", "at": at_ms, "changed": changed_ms, "user": customer, "state": state, "total": "12.30"}


def backlog(clicks, orders, rng: np.random.Generator, *, days=365, partitions=4, per_partition=2_000) -> Sent:
    """A backlog of many days: one partition of clicks has a tenth of the messages of the others."""
    sent, number = Sent(), 0
    for partition in range(partitions):
        count = per_partition // 10 if partition == 0 else per_partition
        times = sorted(START_MS + int(rng.integers(days * DAY_MS)) for _ in range(count))
        batch: list[bytes | None] = []
        for at_ms in times:
            number += 1
            customer = f"c{int(rng.integers(40))}"
            chance = rng.random()
            one = click(number, at_ms - int(rng.integers(2 * HOUR_MS)), customer)
            if chance < 0.02:
                one["type"] = "ping"
                sent.left_out += 1
            elif chance < 0.04:
                one["type"] = "nonsense"
                sent.refused += 1
            else:
                sent.event_ids.add(one["id"])
            batch.append(json.dumps(one).encode())
            if 0.04 <= chance < 0.07:
                batch.append(json.dumps(one | {"at": one["at"] + 30 * 60_000}).encode())  # a retry, half an hour later
        sent.messages[clicks, partition] = batch
    changes = []
    for n in range(per_partition // 4):
        at_ms = START_MS + int(rng.integers(days * DAY_MS))
        customer = f"c{int(rng.integers(40))}"
        changes.append((at_ms, order(n, at_ms, at_ms, customer, "paid")))
        sent.order_states.add((f"o{n}", "placed"))
        if rng.random() < 0.2:
            later_ms = at_ms + int(rng.integers(1, 20 * DAY_MS))
            changes.append((later_ms, order(n, at_ms, later_ms, customer, "refunded")))
            sent.order_states.add((f"o{n}", "refunded"))
    sent.messages[orders, 0] = [json.dumps(one).encode() for _, one in sorted(changes, key=lambda change: change[0])]
    sent.messages[orders, 0].insert(3, None)
    sent.left_out += 1
    return sent


def create(properties, topic, partitions):
    admin = open_admin(properties)
    for future in admin.create_topics([NewTopic(topic, partitions)]).values():
        future.result()


def send(properties, messages):
    producer = open_producer(producer_config(properties, "foreign"))
    for (topic, partition), values in messages.items():
        for value in values:
            producer.produce(topic, value, partition=partition)
            producer.poll(0)
    assert producer.flush(30) == 0


def records(properties, run, topic):
    """The records of a topic of the run: partition -> values in order."""
    result: dict[int, list[dict]] = {}
    for message in read_to_end(properties, topic_name(run, topic), f"{run}-look"):
        result.setdefault(message.partition(), []).append(json.loads(message.value()))
    return result


def latest_ms(of_partition, time):
    """The longest time by which a record comes after a later one of its partition."""
    high = longest = 0
    for one in of_partition:
        high = max(high, one[time])
        longest = max(longest, high - one[time])
    return longest

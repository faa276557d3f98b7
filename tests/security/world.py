"""One small shop through the secure pair, each command by the user of its duty; what was printed and seen is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow.parquet as pq
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from consume.command_line import call
from mapping.topics import CLICKS, click, create, send
from security.pair import ELASTIC_PASSWORD, KAFKA_PASSWORD, RUN, variables
from security.watched import command_lines

from features.schema import DAY_MS, topic_name
from producers.shop.generate import generate
from producers.shop.shop import Shop

FOREIGN_TOPIC = "web-clicks"
END_MS = 20_400 * DAY_MS
EVENTS = 1_500
CUSTOMERS = 40
PLANTED = {"name": "Mallory Plantagenet", "email": "mallory.plantagenet@example.com"}
ESCAPES = [
    "../../../escaped", "/tmp/escaped", "escaped\u0000x", "..", ".", "a/../../escaped", "C:\\escaped", "~/escaped",
    "%2e%2e%2fescaped",
]  # fmt: skip
"""What a path must not be made of."""


@dataclass
class World:
    """What there is once everything has run."""

    home: Path
    endpoints: object
    archive: Path
    commands: dict[str, CompletedProcess] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)

    def run(self, name, arguments, kafka_user, elastic_user=None):
        """A command by the user of a duty."""
        result = variables(
            self.home,
            self.endpoints,
            kafka={"sasl.username": kafka_user, "sasl.password": KAFKA_PASSWORD},
            elastic={"username": elastic_user, "password": ELASTIC_PASSWORD} if elastic_user else {},
        )
        with command_lines() as seen:
            self.commands[name] = call(arguments, result)
        self.seen |= seen
        return self.commands[name]

    @property
    def output(self) -> str:
        """All that any command printed."""
        return "".join(done.stdout + done.stderr for done in self.commands.values())

    def contact(self) -> list[str]:
        """Names and addresses of all customers, and the planted ones."""
        table = pq.read_table(self.archive / "customers.parquet")
        known = [word for column in PLANTED for word in table[column].to_pylist() if word]
        return [*known, *PLANTED.values()]

    def messages(self, topic):
        """Every message of a topic of the run."""
        properties = self.endpoints.kafka.client_properties()
        consumer = Consumer({**properties, "group.id": "reader", "auto.offset.reset": "earliest"})
        try:
            name = topic_name(RUN, topic)
            parts = consumer.list_topics(name, timeout=10).topics[name].partitions
            ends = {p: consumer.get_watermark_offsets(TopicPartition(name, p), timeout=10) for p in parts}
            left = sum(high - low for low, high in ends.values())
            consumer.assign([TopicPartition(name, p, low) for p, (low, _) in ends.items()])
            entries = []
            while len(entries) < left and (batch := consumer.consume(left - len(entries), 10)):
                entries += [message for message in batch if message.error() is None]
            return entries
        finally:
            consumer.close()


def build(endpoints, folder: Path) -> World:
    """Everything, in a data folder of its own whose servers are the secure pair."""
    world = World(folder / "home", endpoints, folder / "data")
    generate(Shop(end_ms=END_MS, seed=5, customers=CUSTOMERS, events=EVENTS, days=10), world.archive)
    named = ["--run", RUN]
    world.run("first", ["replay", world.archive, "--topics", "customers", *named], "owner")
    world.run("replay", ["--debug", "replay", world.archive, "--topics", "events,orders", *named], "producer")
    _plant(endpoints.kafka.client_properties())
    arguments = ["--debug", "consume", "--until-end", *named]
    world.run("consume", arguments, "consumer", "writer")
    world.run("status", ["status", "--json", *named], "watcher", "reader")
    mapping = folder.with_name(f"{folder.name}-clicks.yaml")  # the folder has files of Shopstream alone
    mapping.write_text(CLICKS.format(topic=FOREIGN_TOPIC))
    _send_foreign(endpoints.kafka.client_properties())
    world.run("map", ["map", "run", mapping, "--until-end", *named], "mapper")
    return world


def _send_foreign(properties) -> None:
    """A topic of another system that the user may read, with a message that is mapped and one that is not."""
    create(properties, FOREIGN_TOPIC, 1)
    readable = AclBinding(
        ResourceType.TOPIC, FOREIGN_TOPIC, ResourcePatternType.LITERAL, "User:mapper", "*", AclOperation.READ,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    admin = AdminClient(properties)
    for future in admin.create_acls([readable]).values():
        future.result(timeout=30)
    send(properties, {(FOREIGN_TOPIC, 0): [json.dumps(click("-foreign", END_MS, "m1")).encode(), b"{"]})


def _plant(properties) -> None:
    """Records of somebody who wishes us ill: paths in every string, contact data where it does not belong."""
    producer = Producer({**properties, "partitioner": "murmur2_random"})

    def send(topic, record, key=None):
        value = record if isinstance(record, bytes) else json.dumps(record).encode()
        if key is None:
            key = json.loads(value)["customer_id"]
        producer.produce(topic_name(RUN, topic), value, key.encode())

    for number, evil in enumerate(ESCAPES):
        at = END_MS - 1_000 + number
        event = {"event_id": f"{evil}{number}", "event_type": "product_view", "session_id": evil, "ts": at}
        send("events", event | {"customer_id": evil, "device": "mobile", "product_id": evil, "category": evil,
                                "channel": evil, "country": evil, "date": evil, "run": evil})  # fmt: skip
        order = {"order_id": evil, "customer_id": evil, "ts": at, "updated_ts": at, "status": "placed", "total": 1}
        send("orders", order | {"items": [{"product_id": evil}], "session_id": evil, "payment_method": evil})
        send("customers", {"customer_id": evil, "name": PLANTED["name"], "country": evil, **PLANTED})
    send("customers", {"customer_id": "m1", "age": "old", **PLANTED})
    send("customers", {"customer_id": "m2", "name": [PLANTED["name"]], "email": PLANTED["email"]})
    send("customers", {"customer_id": "m3", "email": {"is": PLANTED["email"]}})
    send("customers", {"customer_id": "m4", **PLANTED}, key="another")
    send("customers", json.dumps({"customer_id": "m5", **PLANTED}).encode()[:-4], key="m5")
    send("events", {"customer_id": "m6", "email": PLANTED["email"], "name": PLANTED["name"]})
    assert producer.flush(30) == 0

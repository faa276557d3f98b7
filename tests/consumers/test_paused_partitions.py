"""A partition that was paused is read after a rebalance: the client remembers a pause across assignments."""

from __future__ import annotations

import time

from confluent_kafka.admin import NewTopic

from connectors.kafka.client import consumer_config, open_admin, open_consumer, open_producer, producer_config
from connectors.kafka.source import Partition, Source


class Owner:
    """Takes what it is given."""

    def assigned(self, starts):
        return None

    def revoked(self, partitions):
        pass

    def lost(self, partitions):
        pass


def test_partition_paused_before_a_rebalance_is_read_after_it(servers, run_name):
    properties = servers.kafka.client_properties()
    topic = f"{run_name}-web"
    admin = open_admin(properties)
    for future in admin.create_topics([NewTopic(topic, 2)]).values():
        future.result()
    producer = open_producer(producer_config(properties))

    def opened(worker):
        consumer = open_consumer(consumer_config(properties, f"{run_name}-map", f"{run_name}-{worker}"))
        source = Source(consumer, run_name, [topic], foreign=True)
        source.open(Owner())
        return source

    def read_until(sources, condition):
        until_s = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < until_s
            for source in sources:
                for batch in source.read(100, 0.1):
                    values.extend(batch.values)

    values: list[bytes] = []
    first = opened("a")
    read_until([first], lambda: first.partitions() and len(first.partitions()) == 2)
    for number in (0, 1):
        first.pause_partition(Partition(topic, number))
    second = opened("b")
    try:
        read_until([first, second], lambda: second.partitions() and len(first.partitions()) == 1)
        for number in (0, 1):
            producer.produce(topic, str(number).encode(), partition=number)
        assert producer.flush(10) == 0
        read_until([first, second], lambda: sorted(values) == [b"0", b"1"])
    finally:
        first.close()
        second.close()

"""Compares `replay --speed max` with confluent-kafka's bare produce loop, with the same bytes in the same run.

    python benchmarks/produce.py                                  # the servers of `shopstream up`
    python benchmarks/produce.py --archive data --rounds 5

Both send to their own topics and alternate, so that other load affects both; the topics are deleted.
(a) the bare loop: the messages of the archive lie in memory as bytes; `produce(topic, value, key)` for each, with the
    same librdkafka settings, then flush. (b) replay: the same archive from Parquet files, encoded, merged and sent.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from connectors.kafka.client import ensure_topics
from connectors.kafka.topic_settings import topic_configs
from features.schema import SOURCE_TOPICS, topic_name
from producers.archive import event_order
from producers.archive.event_order import ArchiveRange
from producers.pacing import Clock
from producers.publisher import Publisher, publisher_config
from producers.replay import ReplayOptions, replay
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream import embedded
from shopstream.settings import load_settings

Properties = dict[str, str]
Message = tuple[str, bytes | None, bytes | None]
"""Topic, key, value."""
CLOCK = Clock(time.monotonic, lambda: time.time_ns() // 1_000_000, time.sleep)


@dataclass(frozen=True)
class Round:
    seconds: float
    cpu_s: float


def timed(work: Callable[[], None]) -> Round:
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return Round(time.perf_counter() - start, time.process_time() - cpu)


def bare_loop(properties: Properties, messages: list[Message]) -> None:
    producer = Producer({**publisher_config(properties), "on_delivery": lambda *_: None})
    produce = producer.produce
    for position, (topic, key, value) in enumerate(messages):
        while True:
            try:
                produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.01)
        if position % 2_000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def replay_archive(properties: Properties, run: str, archive: Path) -> None:
    report = replay(
        ReplayOptions(ArchiveRange(archive), customers=False),
        lambda on_failure: Publisher(properties, run, on_failure),
        CLOCK,
        lambda: False,
        lambda _: None,
    )
    assert report.complete


def archive_of(arguments: argparse.Namespace, folder: Path) -> Path:
    if arguments.archive:
        return arguments.archive
    archive = folder / "archive"
    generate(Shop(end_ms=1_750_000_000_000 // 86_400_000 * 86_400_000, events=arguments.events), archive)
    return archive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, help="default: a synthetic shop")
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the synthetic shop")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    settings = load_settings()
    properties = embedded.endpoints(settings).kafka.client_properties()
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, properties, settings.kafka.partitions, archive_of(arguments, Path(folder)))


def measure(arguments: argparse.Namespace, properties: Properties, partitions: int, archive: Path) -> None:
    run = f"bench-{uuid.uuid4().hex[:8]}"
    names = [topic_name(run, topic) for topic in SOURCE_TOPICS]
    messages = [
        (names[topic], key, value)
        for chunk in event_order.in_time_order(ArchiveRange(archive))
        for topic, key, value in zip(chunk.topics.tolist(), chunk.keys, chunk.values, strict=True)
    ]
    size = sum(len(value) for _, _, value in messages) / len(messages)
    print(f"{len(messages):,} messages of {size:.0f} bytes on average, {partitions} partitions")
    ensure_topics(properties, run, partitions)
    loops, replays = [], []
    try:
        bare_loop(properties, messages[:100_000])  # the broker warms up too
        for _ in range(arguments.rounds):
            loops.append(timed(lambda: bare_loop(properties, messages)))
            replays.append(timed(lambda: replay_archive(properties, run, archive)))
            last = [f"{one.seconds:.2f} s ({one.cpu_s:.2f} CPU s)" for one in (loops[-1], replays[-1])]
            print(f"  loop {last[0]}, replay {last[1]}", flush=True)
    finally:
        admin = AdminClient(properties)
        for done in admin.delete_topics(list(topic_configs(run))).values():
            done.result()
    show("bare loop", loops, len(messages))
    show("replay", replays, len(messages))
    ratio = statistics.median(loop.seconds / replay.seconds for loop, replay in zip(loops, replays, strict=True))
    print(f"replay reaches {ratio:.0%} of the bare loop (median of {arguments.rounds} pairs; the target is 70 %)")
    sys.exit(0 if ratio >= 0.7 else 1)


def show(name: str, rounds: list[Round], messages: int) -> None:
    seconds = statistics.median(one.seconds for one in rounds)
    cpu_s = statistics.median(one.cpu_s for one in rounds) / messages * 1e6
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:10} {messages / seconds:12,.0f}/s  {cpu_s:5.2f} CPU s per million  (process peak {peak_mb:,.0f} MB)")


if __name__ == "__main__":
    main()

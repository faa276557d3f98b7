"""Measures `map` against Kafka: its rate next to a bare loop, its delay, and a backlog of a year.

    python benchmarks/map_kafka.py                         # rates of all sources, on servers of its own
    python benchmarks/map_kafka.py --servers settings --only segment --without-features
    python benchmarks/map_kafka.py --latency               # 5,000 messages/s, append to append
    python benchmarks/map_kafka.py --backfill --workers 2  # a year over 8 partitions, one with ten times the messages

(a) the bare loop: consume, decode the needed fields with msgspec, produce     (m) the role `map`, one worker
(b) the features consumer of stream.py, on its own topic, in records/s

Every measurement is a process of its own. They alternate, so that other load affects all of them; medians are shown.
The records are compared with those that the mapper gives without Kafka, by number and by content.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka.admin import NewTopic
from rich.console import Console

from benchmarks.figures import Figures
from benchmarks.map import SEGMENT, SHAPES, Shape
from benchmarks.runner import Lap, run
from benchmarks.servers import Servers, open_servers
from benchmarks.systems import Systems
from benchmarks.workload import PARTITIONS, Size, ends_of
from connectors.kafka.client import ensure_topics, open_admin, open_producer, producer_config
from connectors.kafka.reader import read_to_end
from connectors.messages.mapped import Message
from features.errors import ShopstreamError
from features.schema import DAY_MS, SOURCE_TOPICS, topic_name
from producers.importing.mapping import parse_mapping
from producers.topic_mapping.mapper import TopicMapper

RATE, LATENCY_S, WARM_S = 5_000, 20, 5
TICK_S = 0.02
"""Interval at which the measured delay's messages are sent."""
LATENCY_AIM_MS = 250
YEAR_MESSAGES = 83_000
YEAR_START_MS = 1_735_689_600_000
CLICKS = """\
kind: clicks
from: {{topic: {topic}}}
time: {{path: at, format: epoch_ms}}
click:
  id: id
  customer: user
  session: session
  type: type
  types: {{page: page_view, cart: add_to_cart}}
  device: {{value: desktop}}
"""
Records = Counter[tuple[str, bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Raw:
    """Topic of messages: its full name, and the end of each partition."""

    topic: str
    ends: list[int]


# --- topics -----------------------------------------------------------------------------------------------------------
def named_topic(shape: Shape) -> str:
    """Return the topic that the mapping of a source names."""
    mapping = parse_mapping(shape.mapping, "bench")
    assert mapping.topic is not None
    return mapping.topic.topic


def create(servers: Servers, topic: str, partitions: int) -> None:
    """Create a topic whose messages have their append time, and which keeps messages of long ago."""
    config = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
    admin = open_admin(servers.kafka)  # without a name it would end before its request
    for future in admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values():
        future.result()


def send(servers: Servers, topic: str, partitions: Sequence[Sequence[bytes]]) -> Raw:
    """Create a topic with the messages of each partition."""
    create(servers, topic, len(partitions))
    producer = open_producer(producer_config(servers.kafka, "bench"))
    for number, values in enumerate(partitions):
        for value in values:
            while True:
                try:
                    producer.produce(topic, value, partition=number)
                    break
                except BufferError:
                    producer.poll(0.1)
    if producer.flush(120):
        raise ShopstreamError("The messages of the benchmark were not acknowledged.")
    return Raw(topic, list(map(len, partitions)))


def written(servers: Servers, run_name: str) -> Records:
    """Return the records on the topics of a run."""
    return Counter(
        (topic, message.key(), message.value())
        for topic in ("events", "orders")
        for message in read_to_end(servers.kafka, topic_name(run_name, topic), f"{run_name}-look")
    )


# --- rates ------------------------------------------------------------------------------------------------------------
class Rates:
    """Measures the rates of a source.

    Args:
        servers: the servers.
        name: name of the source.
        arguments: the command line.
        log: file for errors of the processes.
    """

    def __init__(self, servers: Servers, name: str, arguments: argparse.Namespace, log: Path) -> None:
        self._servers, self._name, self._log = servers, name, log
        shape, random = SHAPES[name], np.random.default_rng(5)
        values = [shape.message(random, number) for number in range(1, arguments.messages + 1)]
        self.bytes = sum(map(len, values)) / len(values)
        self._raw = send(servers, f"{servers.new_run()}-raw", [values[n::PARTITIONS] for n in range(PARTITIONS)])
        mapper = TopicMapper("bench", parse_mapping(shape.mapping, "bench"), b"salt")
        mapped = mapper.map([Message(value, f"t-0-{number}") for number, value in enumerate(values)])
        self._expected: Records = Counter((one.topic, one.key, one.value) for one in mapped.records)
        self.laps: dict[str, list[Lap]] = {"floor": [], "map": []}

    def take_turn(self) -> None:
        """Measure the bare loop and the role once."""
        for system, laps in self.laps.items():
            run_name = self._servers.new_run()
            ensure_topics(self._servers.kafka, run_name, PARTITIONS, replicas=1)
            task = {
                "system": system, "shape": self._name, "named": named_topic(SHAPES[self._name]), "run": run_name,
                "topic": self._raw.topic, "ends": self._raw.ends, "partitions": len(self._raw.ends),
                "kafka": self._servers.kafka, "group": f"{run_name}-map",
            }  # fmt: skip
            laps.append(run(system, sum(self._raw.ends), "map_app.py", [task], self._log))
            self._check(system, written(self._servers, run_name))

    def _check(self, system: str, records: Records) -> None:
        if records.total() != self._expected.total():
            raise SystemExit(f"{system}: {records.total():,} records, not {self._expected.total():,}")
        if system == "map" and records != self._expected:
            raise SystemExit(f"{self._name}: {(records - self._expected).total():,} records differ in content")

    def last(self) -> str:
        """Return the rates of the last turn."""
        texts = (f"{system} {laps[-1].rate:,.0f}/s" for system, laps in self.laps.items())
        return f"{self._name}: {', '.join(texts)}"

    def median(self, system: str, value: Callable[[Lap], float]) -> float:
        """Return the median over the laps of a system."""
        return statistics.median(map(value, self.laps[system]))

    def row(self, features: float | None) -> str:
        """Return the line of the table."""
        pairs = zip(self.laps["map"], self.laps["floor"], strict=True)
        share = statistics.median(one.rate / other.rate for one, other in pairs)
        rate, cpu = self.median("map", lambda lap: lap.rate), self.median("map", lambda lap: lap.records / lap.cpu_s)
        records = self._expected.total() / sum(self._raw.ends)
        of_features = "" if features is None else f"{rate * records / features:.2f}"
        return (
            f"{self._name:<22} {self.bytes:>6,.0f} {rate:>9,.0f} {cpu:>12,.0f} {share:>10.2f} "
            f"{self.median('floor', lambda lap: lap.rate):>9,.0f} {of_features:>7} {SHAPES[self._name].aim:>8,}"
        )


def rates(servers: Servers, arguments: argparse.Namespace, work: Path, console: Console) -> None:
    """Print the rates of all sources."""
    systems = None
    figures = Figures({"b": "features"})
    if not arguments.without_features:
        systems = Systems(servers, work / "features", arguments, console)
        systems.prepare(Size(5_000, arguments.messages))
    measured = [
        Rates(servers, name, arguments, work / "measured.log")
        for name in SHAPES
        if name.startswith(arguments.only_source)
    ]
    for turn in range(arguments.repeat):
        for one in measured:
            one.take_turn()
            console.print(f"{turn + 1}/{arguments.repeat} {one.last()}", highlight=False)
        if systems is not None:
            systems.take_turn("b", turn, figures)
    if not figures.right:
        raise SystemExit("the features consumer gave wrong rows")
    features = figures.median("b", lambda lap: lap.read_rate) if systems is not None else None
    print(
        f"{'source':<22} {'bytes':>6} {'map/s':>9} {'of a core/s':>12} {'of floor':>10} {'floor/s':>9} {'of (b)':>7}"
        f" {'aim':>8}"
    )
    for one in measured:
        print(one.row(features))
    if features is not None:
        print(f"(b) the features consumer: {features:,.0f} records/s. All records are those of the mapper.")


# --- commands ---------------------------------------------------------------------------------------------------------
def start(servers: Servers, work: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command of Shopstream."""
    login = servers.elastic
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SHOPSTREAM_")},
        "SHOPSTREAM_HOME": str(work / "home"),
        "SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS": servers.kafka["bootstrap.servers"],
        "SHOPSTREAM_ELASTICSEARCH__URL": login["url"],
        "SHOPSTREAM_ELASTICSEARCH__USERNAME": login["username"] or "",
        "SHOPSTREAM_ELASTICSEARCH__PASSWORD": login["password"] or "",
    }
    return subprocess.Popen(
        [sys.executable, "-c", "from shopstream.cli.app import main; main()", *arguments],
        env=variables, text=True, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> Mapping[str, int]:
    """Return the last figures of a command, once it has ended."""
    _, output = process.communicate()
    if process.returncode:
        raise ShopstreamError(f"A measured command failed:\n{output[-2_000:]}")
    return next(json.loads(line) for line in output.splitlines() if '"ended"' in line)


# --- delay ------------------------------------------------------------------------------------------------------------
def latency(servers: Servers, work: Path) -> None:
    """Print the delay from the append of a message to the append of its record."""
    run_name, random = servers.new_run(), np.random.default_rng(5)
    topic, mapping = f"{run_name}-raw", work / "segment.yaml"
    create(servers, topic, PARTITIONS)
    mapping.write_text(SEGMENT.replace(named_topic(SHAPES["segment"]), topic))
    values = [SHAPES["segment"].message(random, number) for number in range(1, RATE * LATENCY_S + 1)]
    process = start(servers, work, ["map", "run", str(mapping), "--run", run_name])
    try:
        time.sleep(WARM_S)
        send_at_rate(servers, topic, values)
        time.sleep(WARM_S)
    finally:
        process.send_signal(signal.SIGINT)
    finished(process)
    appended = {_id(message.value()): message.timestamp()[1] for message in read_to_end(servers.kafka, topic, topic)}
    delays, records = [], 0
    for message in read_to_end(servers.kafka, topic_name(run_name, "events"), topic):
        records += 1
        raw_ms = appended.get(json.loads(message.value())["event_id"].partition("#")[0])
        assert raw_ms is not None
        delays.append((raw_ms, message.timestamp()[1] - raw_ms))
    if records != SHAPES["segment"].records * len(values) // 1_000:
        raise SystemExit(f"{records:,} records of {len(values):,} messages")
    begin_ms = min(raw_ms for raw_ms, _ in delays) + 1_000 * WARM_S
    steady = [delay for raw_ms, delay in delays if raw_ms >= begin_ms]
    p50, p99 = np.percentile(steady, [50, 99])
    print(
        f"append to append at {RATE:,} messages/s, without the first {WARM_S} s: p50 {p50:.0f} ms, p99 {p99:.0f} ms "
        f"(aim {LATENCY_AIM_MS}), highest {max(steady)} ms; {records:,} records"
    )


def _id(value: bytes | None) -> str:
    """Return the message id of a call, or the order id that the ids of an order's lines begin with."""
    call = json.loads(value or b"{}")
    return str(call["properties"].get("order_id", call["messageId"]))


def send_at_rate(servers: Servers, topic: str, values: Sequence[bytes]) -> None:
    """Send messages in turn to all partitions, RATE in a second."""
    producer = open_producer(producer_config(servers.kafka, "bench", tuned={"linger.ms": 1}))
    began_s, sent = time.monotonic(), 0
    while sent < len(values):
        due = min(len(values), int((time.monotonic() - began_s) * RATE))
        for number in range(sent, due):
            producer.produce(topic, values[number], partition=number % PARTITIONS)
        sent = due
        producer.poll(TICK_S)
    producer.flush(30)


# --- backlog ----------------------------------------------------------------------------------------------------------
def backfill(servers: Servers, arguments: argparse.Namespace, work: Path) -> None:
    """Print the time of a year's backlog, and how many of its records are too late for `consume`."""
    partitions = 8
    random = np.random.default_rng(7)
    share = YEAR_MESSAGES // (partitions + 9)
    counts = [10 * share, *[share] * (partitions - 1)]
    number, logs = 0, []
    for count in counts:
        times = np.sort(random.integers(YEAR_START_MS, YEAR_START_MS + 365 * DAY_MS, count)).tolist()
        logs.append([_click(number + n, at_ms, int(random.integers(400))) for n, at_ms in enumerate(times)])
        number += count
    raw = send(servers, f"{servers.new_run()}-raw", logs)
    for turn in range(arguments.repeat):
        for workers in arguments.workers:
            run_name, mapping = servers.new_run(), work / f"clicks-{turn}-{workers}.yaml"
            mapping.write_text(CLICKS.format(topic=raw.topic))
            command = ["map", "run", str(mapping), "--run", run_name, "--until-end", "--workers", str(workers)]
            begun_s = time.monotonic()
            figures = finished(start(servers, work, command))
            seconds = time.monotonic() - begun_s
            counted = {name: figures[name] for name in ("consumed", "valid", "written")}
            if set(counted.values()) != {number}:
                raise SystemExit(f"{counted} of {number:,} messages")
            late = _too_late(servers, run_name, number, work)
            print(
                f"{number:,} messages of a year, {partitions} partitions, {workers} workers: {seconds:.1f} s with the "
                f"start of the processes; {late} dead letters `too late`",
                flush=True,
            )
            if late:
                raise SystemExit(1)


def _click(number: int, at_ms: int, customer: int) -> bytes:
    click = {"id": f"e{number}", "at": at_ms, "user": f"c{customer}", "session": f"s{customer}-{at_ms // DAY_MS}"}
    return json.dumps({**click, "type": "page" if number % 3 else "cart"}).encode()


def _too_late(servers: Servers, run_name: str, events: int, work: Path) -> int:
    """Run the features consumer to the end, and return how many events are too late. The others must count."""
    ensure_topics(servers.kafka, run_name, PARTITIONS, replicas=1)
    ends = ends_of(servers.kafka, run_name)
    task = {
        "run": run_name, "kafka": servers.kafka, "group": f"{run_name}-features", "instance": "worker-0",
        "state": str(work / f"state-{run_name}"), "elastic": None, "ends": ends,
        "as_of": YEAR_START_MS + 366 * DAY_MS, "partitions": len(ends) // len(SOURCE_TOPICS), "workers": 1,
        "steps": False, "checkpoint_interval_s": 5.0,
    }  # fmt: skip
    progress = run("b", events, "features_app.py", [task], work / "measured.log").figures[0]["progress"]
    if progress["rejected"] or progress["duplicates"]:
        raise SystemExit(f"{progress['rejected']} records rejected, {progress['duplicates']} repeated")
    return int(progress["late"])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, help="messages of a source, and events of (b)")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each system")
    parser.add_argument("--only", default="", dest="only_source", help="beginning of the names of sources")
    parser.add_argument("--without-features", action="store_true", help="do not measure (b)")
    parser.add_argument("--latency", action="store_true", help="measure the delay instead of the rates")
    parser.add_argument("--backfill", action="store_true", help="measure a backlog of a year instead of the rates")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers of the backlog")
    parser.add_argument("--servers", choices=("own", "settings"), default="own", help="own: started and removed")
    arguments = parser.parse_args()
    if not any(name.startswith(arguments.only_source) for name in SHAPES):
        parser.error(f"--only {arguments.only_source}: there are {', '.join(SHAPES)}")
    arguments.only, arguments.checkpoint_interval_s = ["b"], 5.0
    return arguments


def main() -> None:
    """Measure what the command line names."""
    arguments = parse_arguments()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="shopstream-bench-") as folder:
        work = Path(folder)
        work.chmod(0o711)  # as root, Elasticsearch runs as another user, which needs access to its data
        with open_servers(arguments.servers, work, console) as servers:
            if arguments.latency:
                latency(servers, work)
            if arguments.backfill:
                backfill(servers, arguments, work)
            if not arguments.latency and not arguments.backfill:
                rates(servers, arguments, work, console)


if __name__ == "__main__":
    try:
        main()
    except ShopstreamError as error:
        raise SystemExit(f"error: {error}") from error

"""A run to be disturbed: a stream that goes on, the consumers as a user starts them, and what to look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import elasticsearch
import msgspec
import psutil
from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition
from faults.feeder import Feeder, Sent
from faults.stored_results import Difference, Things, difference, stored_results
from stream.bench import Bench

from connectors.kafka import client as kafka
from connectors.kafka import offsets as kafka_offsets
from features.schema import FEATURE_TOPIC
from shopstream.embedded import Endpoints

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 3
COMMAND = "from shopstream.cli.app import main; main()"
LOOK_EVERY_S = 0.1
WAIT_S_MAX = 400.0
"""For the end of a command; the machine is shared."""
RECOVERY_S_MAX = 240.0


class Command:
    """`shopstream` with arguments, in a process of its own, its output in a file."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND, *arguments], env=environment, stdout=output, stderr=output
            )

    def output(self) -> str:
        """What it printed so far."""
        return self._log.read_text("utf-8", "replace")

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return psutil.Process(self.process.pid).children()

    def wait(self, timeout_s: float = WAIT_S_MAX) -> int:
        """Its exit code; one that hangs writes where it stands to the logs of its workers."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            for worker in self.workers():
                worker.send_signal(signal.SIGABRT)
            raise

    def leave(self) -> None:
        """Ctrl-C; returns when all of it is gone."""
        assert self.process.poll() is None, self.output()[-3_000:]
        self.process.send_signal(signal.SIGINT)
        assert self.wait() == 0, self.output()[-3_000:]

    def kill(self) -> None:
        """SIGKILL to it; its workers die with it."""
        with suppress(psutil.NoSuchProcess):
            workers = self.workers()
            self.process.kill()
            psutil.wait_procs(workers, timeout=10)
        self.process.wait(10)


class Scene:
    """One run on given servers.

    Args:
        endpoints: of both servers.
        run: its name.
        folder: its data folder.
        messages: what is streamed.
        records_per_s: until `finish`.
        roles: that run.
        store: folder of checkpoints and archive, if it is another one.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        run: str,
        folder: Path,
        messages: Sequence[Sent],
        records_per_s: float,
        roles: tuple[str, ...] = ("features", "index", "archive"),
        store: Path | None = None,
    ) -> None:
        self.endpoints, self.run, self.folder, self.roles, self.messages = endpoints, run, folder, roles, messages
        self.store = store or folder
        self.bench = Bench(endpoints, run, self.store / "state", PARTITIONS)
        self.feeder = Feeder(self.bench.properties, run, messages, records_per_s)
        self._commands: list[Command] = []

    def close(self) -> None:
        """No process of it is left."""
        for command in self._commands:
            if command.process.poll() is None:
                command.kill()
        self.bench.client.close()

    def remove(self) -> None:
        """Its topics and indices."""
        admin = kafka.open_admin(self.bench.properties)
        topics = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(f"{self.run}.")]
        for future in admin.delete_topics(topics).values():
            future.result(timeout=30)
        client = self.bench.client
        if result := list(client.indices.get(index=f"{self.run}-*", filter_path="*.aliases")):
            client.indices.delete(index=",".join(result))
        for template in client.indices.get_index_template(name=f"{self.run}-*")["index_templates"]:
            client.indices.delete_index_template(name=template["name"])

    # --- the consumers ---

    def consume(self, *arguments: str, **variables: str) -> Command:
        """`shopstream consume` of this run."""
        where = ["--run", self.run, "--roles", ",".join(self.roles), "--state", str(self.store / "state")]
        where += ["--archive", str(self.store / "archive")]
        log = self.folder / f"consume-{len(self._commands)}.log"
        command = Command(["consume", *where, *arguments], self._environment() | variables, log)
        self._commands.append(command)
        return command

    def _environment(self) -> dict[str, str]:
        elastic = self.endpoints.elasticsearch
        own = {
            "SHOPSTREAM_HOME": str(self.folder),
            "SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS": self.endpoints.kafka.bootstrap_servers,
            "SHOPSTREAM_KAFKA__PARTITIONS": str(PARTITIONS),
            "SHOPSTREAM_ELASTICSEARCH__URL": elastic.url,
            "SHOPSTREAM_ELASTICSEARCH__USERNAME": elastic.username or "",
            "SHOPSTREAM_ELASTICSEARCH__PASSWORD": elastic.password or "",
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "1",
        }
        return {k: v for k, v in os.environ.items() if not k.startswith("SHOPSTREAM_")} | own

    def catch_up(self, *arguments: str, **variables: str) -> Command:
        """`consume --until-end`, which must succeed."""
        command = self.consume("--until-end", *arguments, **variables)
        assert command.wait() == 0, command.output()[-3_000:]
        return command

    def finish(self) -> None:
        """The rest of the stream, then the final row of every customer."""
        self.feeder.hurry()
        for command in self._commands:
            if command.process.poll() is None:
                command.leave()
        self.catch_up()

    def refused(self, *arguments: str, **variables: str) -> str:
        """What `consume --until-end` says when it must not succeed."""
        command = self.consume("--until-end", *arguments, **variables)
        assert command.wait() == 1, command.output()[-3_000:]
        return " ".join(command.output().split())

    # --- what to look at ---

    def stored_results(self) -> dict[str, Things]:
        """What the run has left behind."""
        return stored_results(self.bench, self.roles, self.store / "archive")

    def difference(self, undisturbed: dict[str, Things]) -> Difference:
        """How that differs from an undisturbed run's."""
        return difference(undisturbed, self.stored_results())

    def newest_document(self) -> int:
        """The highest as_of that a search finds, epoch ms; 0 when none, or no answer."""
        index = f"{self.run}-customers"
        client = self.bench.client.options(request_timeout=2)
        with suppress(elasticsearch.ApiError, elasticsearch.TransportError):
            answer = client.search(index=index, size=0, aggs={"at": {"max": {"field": "as_of"}}})
            return int(answer["aggregations"]["at"]["value"] or 0)
        return 0

    def documents_until(self, as_of: int) -> float:
        """Seconds until a search finds a row of that time."""
        return waited_s(lambda: self.newest_document() >= as_of)

    def rows_until(self, as_of: int) -> float:
        """Seconds until every partition has written a row of that time to the topic."""
        tail = Tail(self.bench)
        try:
            return waited_s(lambda: tail.slowest() >= as_of)
        finally:
            tail.close()


class Tail:
    """The newest as_of on each partition of the topic of rows; partitions are those of the source."""

    def __init__(self, bench: Bench) -> None:
        self._topic = f"{bench.run}.{FEATURE_TOPIC}"
        self._consumer = kafka.open_consumer(kafka.consumer_config(bench.properties, f"{bench.run}-tail"))
        self._at = dict.fromkeys(range(bench.partitions), 0)
        ends = kafka_offsets.end_offsets(self._consumer, [self._topic])
        self._consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for _, number in ends])

    def slowest(self) -> int:
        """The lowest, over the partitions, of the highest as_of seen, epoch ms."""
        with suppress(KafkaException):
            for message in self._consumer.consume(20_000, 0.05):
                if message.error() is None:
                    as_of = msgspec.json.decode(message.value())["as_of"]
                    self._at[message.partition()] = max(self._at[message.partition()], as_of)
        return min(self._at.values())

    def close(self) -> None:
        """Lets go of the topic."""
        self._consumer.close()


def waited_s(happened: Callable[[], Any], timeout_s: float = RECOVERY_S_MAX) -> float:
    """Seconds until it happened."""
    began_s = time.monotonic()
    while not happened():
        assert time.monotonic() - began_s < timeout_s, "it did not happen in time"
        time.sleep(LOOK_EVERY_S)
    return time.monotonic() - began_s

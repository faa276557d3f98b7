"""Workers in processes of their own, which can be killed, stopped and asked to leave."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

from consumers.features.build import FeaturesOptions

SCRIPT = """
import json, signal, sys, threading, time
from connectors.elasticsearch.client import ElasticConnection
from consumers.features.build import FeaturesOptions, open_features
task = json.loads(sys.stdin.read())
options = task.pop("options")
connection = ElasticConnection(**options.pop("elastic"))
consumer = open_features(FeaturesOptions(elastic=connection, **options))
until = {(topic, partition): end for topic, partition, end in task["until"]} if task["until"] else None
left = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: left.set())
reading = False

def stop():
    global reading
    if not reading and consumer.progress().consumed:
        reading = True
        print("reading", time.monotonic(), flush=True)
    return left.is_set()

def report(p):
    owned = len(consumer.owned() or ())
    written = p.rows_written + p.sessions_written + p.orders_written
    print("at", time.monotonic(), p.consumed, p.checkpoints, p.rows_written, owned, p.lag_records, p.dirty, written,
          flush=True)

def final_as_of(stream_time):
    return stream_time if len(consumer.owned() or ()) == task["partitions"] else None

consumer.run(stop, until, final_as_of, report)
"""


COPIER = """
import json, signal, sys, threading, time
from consumers.archive import consumer as archive
from consumers.index import consumer as index
from consumers.dead_letters.producer import open_dead_letters
from connectors.elasticsearch.client import ElasticConnection, open_sink
from connectors.kafka.client import consumer_config, open_admin, open_consumer
from connectors.kafka.offsets import topic_ids
from consumers.archive.files import ArchiveFolder
from connectors.kafka.source import Source
from features.schema import group_name, topic_name
task = json.loads(sys.stdin.read())
run, kafka = task["run"], task["kafka"]
consumer = open_consumer(consumer_config(kafka, group_name(run, task["role"]), task["instance_id"]))
if task["role"] == "index":
    sink = open_sink(ElasticConnection(**task["elastic"]))
    options = index.IndexOptions(commit_every_s=0.2, batch_records=1000)
    source = Source(consumer, run, index.TOPICS)
    role = index.IndexRole(source, sink, run, dead_letters=open_dead_letters(kafka, run), options=options)
    owned = lambda: {p.number for p in role._owned}
else:
    ids = topic_ids(open_admin(kafka), [topic_name(run, topic) for topic in archive.TOPICS])
    options = archive.ArchiveOptions(flush_every_s=0.5)
    by_topic = {topic: ids[topic_name(run, topic)] for topic in archive.TOPICS}
    folder, source = ArchiveFolder(task["archive"], run), Source(consumer, run, archive.TOPICS)
    role = archive.ArchiveRole(source, folder, run, options=options, topic_ids=by_topic)
    owned = lambda: {p.number for p in role._owned}
until = {(topic, partition): end for topic, partition, end in task["until"]} if task["until"] else None
left = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: left.set())
reading = False

def stop():
    global reading
    totals = role.progress()
    if not reading and totals.consumed:
        reading = True
        print("reading", time.monotonic(), flush=True)
    print("at", time.monotonic(), totals.consumed, totals.written, 0, len(owned()), flush=True)
    return left.is_set()

role.run(stop, until)
"""


class Process:
    """A running worker; what it says goes to a file.

    Args:
        script: what it runs; it reads its task from the standard input.
        task: as JSON.
        log: where its words go.
    """

    def __init__(self, script: str, task: Mapping[str, Any], log: Path) -> None:
        self.started_s = time.monotonic()
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task).encode())
        self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def output(self) -> str:
        """All of its words so far."""
        return self._log.read_text("utf-8", "replace")

    def lines(self, word: str) -> list[list[str]]:
        """What stands on its whole lines that begin with `word`, split; the last one may be on its way."""
        whole = self.output().split("\n")[:-1]
        return [line.split()[1:] for line in whole if line.startswith(f"{word} ")]

    def wait_for(self, happened: Callable[[Process], Any], timeout_s: float = 240.0) -> Any:
        """What `happened` gives once it is true."""
        until_s = time.monotonic() + timeout_s
        while not (result := happened(self)):
            assert time.monotonic() < until_s, self.output()[-3_000:]
            assert self._process.poll() is None, self.output()[-3_000:]
            time.sleep(0.02)
        return result

    def wait_for_reading(self) -> float:
        """Monotonic seconds at which it had read its first records."""
        return float(self.wait_for(lambda worker: worker.lines("reading"))[0][0])

    def figures(self) -> tuple[int, int, int, int]:
        """Records read, checkpoints (of other roles: rows or documents), rows, partitions owned, as it said last."""
        read, checkpoints, rows, owned, *_ = self.long_figures()
        return read, checkpoints, rows, owned

    def long_figures(self) -> list[int]:
        """As `figures`, then records not read yet, rows that wait or are in flight, and documents written."""
        lines = self.lines("at")
        return [int(word) for word in lines[-1][1:]] if lines else [0] * 7

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def stop(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def leave(self) -> None:
        """Asked to checkpoint and go; returns when it is gone."""
        self._process.terminate()
        self.end()

    def end(self, timeout_s: float = 400.0) -> None:
        """Waits for its own end."""
        assert self._process.wait(timeout_s) == 0, self.output()[-3_000:]

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(10)


class Worker(Process):
    """Of the role `features`.

    Args:
        options: how it is built.
        log: where its words go.
        partitions: of the run: the final rows are written only by one who has them all.
        until: where it stops; None never.
    """

    def __init__(
        self,
        options: FeaturesOptions,
        log: Path,
        partitions: int,
        until: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        task = {"options": msgspec.to_builtins(options), "until": _listed(until), "partitions": partitions}
        super().__init__(SCRIPT, task, log)


class Copier(Process):
    """Of the role `index` or `archive`, with short pauses between commits.

    Args:
        role: which one.
        options: run, servers and instance id are those of these.
        archive: folder of the role `archive`.
        log: where its words go.
        until: where it stops; None never.
    """

    def __init__(
        self,
        role: str,
        options: FeaturesOptions,
        archive: Path,
        log: Path,
        until: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        task = {
            "role": role, "run": options.run, "kafka": dict(options.kafka), "archive": str(archive),
            "elastic": msgspec.to_builtins(options.elastic), "instance_id": f"{options.instance_id}-{role}",
            "until": _listed(until),
        }  # fmt: skip
        super().__init__(COPIER, task, log)


def _listed(until: Mapping[tuple[str, int], int] | None) -> list[list[Any]] | None:
    return None if until is None else [[topic, partition, end] for (topic, partition), end in until.items()]

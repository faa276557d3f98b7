"""Plays a story: archive, source topics, `map run` and `consume` at the same time, ten kills, and what must hold then.

1. The rows are those of `features` over the archive, as are those of `features` over the archive that the role wrote.
2. Every message is mapped, left out or a dead letter, and all are committed. The reference maps the same messages once,
   in this process.
3. The topics of the run have the records of the reference and no other. No record is late or rejected.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import Popen
from typing import Self

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition
from consume.command_line import call, environment, start
from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan
from mapping.kill_story import DELETES, GUEST, MOVES, Kill, Story
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame

from connectors.clock import iso
from connectors.kafka.client import consumer_config, open_admin, open_consumer
from connectors.kafka.offsets import end_offsets
from connectors.kafka.reader import read_to_end
from connectors.messages.mapped import Message
from features.schema import DAY_MS, HOUR_MS, Order, arrow_schema, group_name, topic_name
from producers.archive.archive import days as days_of
from producers.archive.archive import read_day
from producers.importing.mapping import parse_mapping, questions
from producers.source_shapes.shapes import mapping_of
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import ready_mappings, with_topic

END_MS = 20_400 * DAY_MS
SALT = "salt"
MOVED_SHARE = 0.05
SHARE_TIMEOUT_S = 400
ANSWERS = {"zone": "UTC"}


@dataclass
class Played:
    """What happened.

    Attributes:
        messages: messages of the source topics.
        mapped: those that became records.
        left_out: those that a rule left out.
        dead_letters: those that were refused.
        written: records on the topics of the run, repetitions included.
        records: distinct ones.
        customers: rows.
        kills: what was killed, and the share that was committed then.
    """

    messages: int = 0
    mapped: int = 0
    left_out: int = 0
    dead_letters: int = 0
    written: int = 0
    records: int = 0
    customers: int = 0
    kills: list[str] = field(default_factory=list)


def play(story: Story, folder: Path, servers, run: str) -> Played:
    """Plays a story in a folder and a run of its own. Raises AssertionError if something does not hold."""
    variables = environment(folder / "home", servers) | {"SHOPSTREAM_GUEST_SALT": SALT}
    archive = folder / "archive"
    shop = ["--customers", story.customers, "--events", story.events, "--days", story.days, "--end", iso(END_MS)]
    deleted = ["--deleted", 0.05] if story.orders in DELETES else []
    worked(call(["generate", *shop, "--seed", story.seed, *deleted, "--out", archive], variables))
    if story.orders in MOVES:
        move_orders(archive, np.random.default_rng([story.seed, 1]))
    topics = {shape: f"{run}-{shape}" for shape in story.shapes}
    dirt = ["--dirt", story.dirt, "--poison", story.poison, "--partitions", story.partitions, "--seed", story.seed]
    names = [word for shape, topic in topics.items() for word in ("--topic", f"{shape}={topic}")]
    worked(call(["replay", archive, "--as", ",".join(topics), *names, *dirt, "--run", run], variables))
    texts = {topic: with_topic(ready_mappings()[mapping_of(shape)], topic) for shape, topic in topics.items()}
    stage = Stage(story, folder, variables, servers.kafka.client_properties(), run, texts)
    played = Played()
    stage.play(played)
    stage.check_messages(played)
    expected = features_of(archive, folder / "rows.parquet", variables)
    assert_same_rows(indexed_rows(servers, run), expected, note="between index and archive")
    if "archive" in story.roles:
        of_role = features_of(stage.archive, folder / "role.parquet", variables)
        assert_same_rows(of_role, expected, note="between the archive of the role and the archive")
    played.customers = expected.height
    return played


class Stage:
    """The commands of a story, and the topics that they read and write."""

    def __init__(self, story, folder, variables, properties, run, texts) -> None:
        self._story, self._folder, self._variables, self._run = story, folder, variables, run
        self._properties, self._texts = properties, texts
        self.archive = folder / "written"
        files = []
        for topic, text in texts.items():
            file = folder / f"{topic}.yaml"
            file.write_text(text)
            files.append(file)
        asked = sorted({question for text in texts.values() for question in questions(text)})
        answers = [word for name in asked for word in ("--set", f"{name}={ANSWERS[name]}")]
        consume = ["consume", "--run", run, "--roles", ",".join(story.roles), "--state", folder / "state"]
        self._commands = {
            "map": ["map", "run", *files, *answers, "--run", run],
            "consume": [*consume, "--archive", self.archive],
        }
        self._commands[GUEST] = self._commands["consume"]
        self._running: dict[str, Popen[str]] = {}
        self._started: list[psutil.Process] = []

    # --- processes ---

    def play(self, played: Played) -> None:
        """Runs both commands, kills ten times, and runs both to their ends."""
        with ExitStack() as at_end:
            at_end.callback(self._kill_all)
            committed = at_end.enter_context(Committed(self._properties, self._run, list(self._texts)))
            self._start("map", 2)
            self._start("consume", 2)
            for number, kill in enumerate(self._story.kills):
                if number == self._story.guest_joins:
                    self._start(GUEST, 1)
                self._wait_for_share(committed, kill.after)
                time.sleep(kill.pause_s)
                share = committed.share()
                self._kill(kill)
                what = "parent" if kill.parent else "worker"
                played.kills.append(f"{share:.0%} {kill.command} {what}")
            self._wait_for_share(committed, 1.0)
            for name in list(self._running):
                self._stop(name)
            self._to_end("map", [])
            self._to_end("consume", ["--as-of", iso(END_MS)])
            assert committed.share() == 1
            _, alive = psutil.wait_procs(self._started, timeout=20)
            assert not alive, "a worker outlives its parent"

    def _start(self, name: str, workers: int) -> None:
        variables = self._variables
        if name == GUEST:
            variables = variables | {"SHOPSTREAM_HOME": str(self._folder / GUEST)}
        words = [*self._commands[name], "--workers", workers]
        # a pipe that nobody reads would fill up
        with (self._folder / f"{name}.log").open("a") as log:
            self._running[name] = start(words, variables, stdout=log, stderr=log)

    def _workers(self, name: str) -> list[psutil.Process]:
        process = self._running[name]
        assert process.poll() is None, f"{name} ended by itself: {self._log(name)}"
        return psutil.Process(process.pid).children()

    def _wait_for_workers(self, name: str) -> list[psutil.Process]:
        until_s = time.monotonic() + 60
        while not (workers := self._workers(name)):
            assert time.monotonic() < until_s, self._log(name)
            time.sleep(0.05)
        self._started += workers
        return workers

    def _kill(self, kill: Kill) -> None:
        """Kills with SIGKILL, a parent also before it has workers, and starts a killed parent again."""
        if not kill.parent:
            workers = self._wait_for_workers(kill.command)
            workers[int(kill.pause_s * 1_000) % len(workers)].kill()
            return
        self._started += self._workers(kill.command)
        process = self._running.pop(kill.command)
        process.kill()
        process.wait()
        if kill.command != GUEST:
            self._start(kill.command, kill.workers)

    def _stop(self, name: str) -> None:
        self._wait_for_workers(name)
        process = self._running.pop(name)
        process.send_signal(signal.SIGINT)
        code = process.wait(90)
        # a worker that was killed just before is not started again by a parent that stops
        assert code == 0 or (code == 1 and "signal SIGKILL" in self._log(name)), self._log(name)

    def _to_end(self, name: str, more: list) -> None:
        done = worked(call([*self._commands[name], "--until-end", *more], self._variables, timeout_s=240))
        (self._folder / f"{name}.log").open("a").write(done.stderr)

    def _kill_all(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        psutil.wait_procs(self._started, timeout=20)

    def _log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()[-3_000:]

    def _wait_for_share(self, committed: Committed, share: float) -> None:
        until_s = time.monotonic() + SHARE_TIMEOUT_S
        while committed.share() < share:
            assert time.monotonic() < until_s, f"{committed.share():.0%} are mapped: {self._log('map')}"
            for name in self._running:
                self._workers(name)
            time.sleep(0.05)

    # --- messages ---

    def check_messages(self, played: Played) -> None:
        """Every message is mapped, left out or a dead letter, and the topics of the run hold what the reference has."""
        expected: dict[str, set[bytes]] = {"events": set(), "orders": set()}
        refused: set[tuple[str, int, int]] = set()
        for topic, text in self._texts.items():
            messages = list(read_to_end(self._properties, topic, f"{self._run}-look"))
            mapping = parse_mapping(text, topic, {name: ANSWERS[name] for name in questions(text)})
            positions = [(topic, one.partition(), one.offset()) for one in messages]
            mapped = TopicMapper(topic, mapping, SALT.encode()).map(
                [Message(one.value(), "-".join(map(str, at))) for one, at in zip(messages, positions, strict=True)]
            )
            refused |= {positions[number] for number in mapped.refused}
            for record in mapped.records:
                expected[record.topic].add(record.value)
            played.messages += len(messages)
            played.left_out += len(mapped.left_out)
            played.mapped += len({record.message for record in mapped.records})
        played.dead_letters = len(refused)
        assert played.messages == played.mapped + played.left_out + played.dead_letters
        dead = list(read_to_end(self._properties, topic_name(self._run, "dead-letter"), f"{self._run}-look"))
        wrong = {position_of(one): dict(one.headers())["error"] for one in dead if position_of(one) not in refused}
        assert not wrong, f"{len(wrong)} unexpected dead letters: {list(wrong.items())[:5]}"
        assert refused <= {position_of(one) for one in dead}, "a refused message is no dead letter"
        for topic, values in expected.items():
            written = [
                one.value() for one in read_to_end(self._properties, topic_name(self._run, topic), f"{self._run}-look")
            ]
            assert set(written) == values, f"{len(set(written) ^ values)} {topic} differ"
            played.written += len(written)
            played.records += len(values)
        self._check_figures()

    def _check_figures(self) -> None:
        """Each report of `map run` is conserved."""
        reports = [one for one in lines_of(self._folder / "map.log") if one.get("role") == "map" and "consumed" in one]
        assert reports
        for one in reports:
            assert one["consumed"] == one["valid"] + one["left_out"] + one["rejected"], one
        # a parent that is stopped early has no figures
        reports = [one for one in lines_of(self._folder / "consume.log") if "late" in one]
        assert {(one["late"], one["rejected"]) for one in reports} == {(0, 0)}, reports[-1]


class Committed:
    """Share of the source messages whose mapping is committed. A context manager."""

    def __init__(self, properties, run: str, topics: list[str]) -> None:
        self._consumer: Consumer = open_consumer(consumer_config(properties, group_name(run, "map")))
        self._ends = end_offsets(self._consumer, topics)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._consumer.close()

    def share(self) -> float:
        asked = [TopicPartition(*partition) for partition in self._ends]
        offsets = [max(0, one.offset) for one in self._consumer.committed(asked, timeout=30)]
        return sum(offsets) / sum(self._ends.values())


def position_of(dead_letter) -> tuple[str, int, int]:
    headers = {name: value.decode() for name, value in dead_letter.headers()}
    return headers["topic"], int(headers["partition"]), int(headers["offset"])


def lines_of(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines() if line.startswith("{")]


def worked(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def features_of(archive: Path, out: Path, variables) -> pl.DataFrame:
    worked(call(["features", archive, "--as-of", iso(END_MS), "--out", out], variables))
    rows = pl.read_parquet(out).with_columns(pl.col(pl.Datetime).dt.epoch("ms")).select(*FEATURE_DTYPES)
    return rows.cast(FEATURE_DTYPES)  # type: ignore[arg-type]


def indexed_rows(servers, run: str) -> pl.DataFrame:
    index = f"{run}-customers"
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        client.indices.refresh(index=index)
        found = [hit["_source"] for hit in scan(client, index=index)]
    return feature_frame([{name: one.get(name) for name in FEATURE_DTYPES} for one in found])


def move_orders(archive: Path, rng: np.random.Generator) -> None:
    """Passes orders to other customers, hours after their last change: void there and placed here, at one time."""
    orders = pa.concat_tables([read_day(archive, "orders", day) for day in days_of(archive, "orders")]).to_pylist()
    customers = sorted({one["customer_id"] for one in orders})
    last: dict[str, dict] = {}
    for one in orders:
        last[one["order_id"]] = max(one, last.get(one["order_id"], one), key=lambda o: o["updated_ts"])
    end, rows = datetime.fromtimestamp(END_MS / 1_000, UTC), []
    for order_id in sorted(last):
        order = last[order_id]
        at = order["updated_ts"] + timedelta(milliseconds=int(rng.integers(1, 40 * HOUR_MS)))
        if order["status"] == "placed" and at < end and rng.random() < MOVED_SHARE:
            other = customers[int(rng.integers(len(customers)))]
            if other != order["customer_id"]:
                rows += [order | {"updated_ts": at, "status": "void"}, order | {"updated_ts": at, "customer_id": other}]
    assert rows
    schema = pa.schema([one.with_nullable(True) for one in arrow_schema(Order)])
    for day in sorted({row["updated_ts"].date() for row in rows}):
        of_day = [row for row in rows if row["updated_ts"].date() == day]
        into = archive / "orders" / f"date={day}"
        into.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(of_day, schema=schema), into / "moved.parquet")


def remove(servers, run: str, folder: Path) -> None:
    """Removes the topics and indices of a run, and its folder."""
    admin = open_admin(servers.kafka.client_properties())
    topics = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith((f"{run}.", f"{run}-"))]
    for future in admin.delete_topics(topics).values() if topics else ():
        future.result(timeout=30)
    with Elasticsearch(**servers.elasticsearch.client_options()) as client:
        if indices := list(client.indices.get(index=f"{run}-*", expand_wildcards="all", filter_path="*.aliases")):
            client.indices.delete(index=",".join(indices))
        client.options(ignore_status=404).indices.delete_index_template(name=f"{run}-*")
    shutil.rmtree(folder)

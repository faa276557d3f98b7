"""Writes what a version stores, with the values in it, as one file: `python tests/compatibility/write.py 2`.

The argument is the number of the new generation. It trains a small bundle, which takes a minute or two.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from compatibility.observed import (  # noqa: E402 - after the path
    RUN,
    SINKS,
    as_message,
    as_plain,
    clusters_of,
    features_of,
    feed,
    scores_of,
    state_of,
)
from stream.archive_group import Group, Worker  # noqa: E402

from connectors.files import write_note  # noqa: E402
from consumers.checkpoints.recovery import CommittedCheckpoint, empty, encode_committed, snapshot  # noqa: E402
from consumers.checkpoints.store import CheckpointStore, PartitionOwner  # noqa: E402
from consumers.dead_letters.producer import DeadLetter, DeadLetters  # noqa: E402
from consumers.features.documents import customer_rows  # noqa: E402
from consumers.index.month_identities import digests, pack  # noqa: E402
from consumers.index.partition_progress import OffsetMetadata, write_metadata  # noqa: E402
from consumers.state.dirty_rows import DirtyRows  # noqa: E402
from features.schema import DAY_MS, SOURCE_TOPICS, topic_name  # noqa: E402
from features.scores.score import Scoring  # noqa: E402
from producers.archive.event_order import ArchiveRange, in_time_order  # noqa: E402
from producers.shop.generate import generate  # noqa: E402
from producers.shop.shop import Shop  # noqa: E402
from shopstream.embedded import state_file  # noqa: E402
from shopstream.embedded.process_identity import Identity  # noqa: E402
from shopstream.jobs import schedule, seed_history  # noqa: E402
from shopstream.jobs.runs import DEMO_FOLDER  # noqa: E402
from shopstream.jobs.segment import customers_at  # noqa: E402
from shopstream.settings import Settings  # noqa: E402
from shopstream.spark.checkpoint_registry import record_spark_checkpoint  # noqa: E402
from shopstream.spark.query_log import QueryLog  # noqa: E402
from training.bundle import load_bundle  # noqa: E402

GENERATIONS = Path(__file__).with_name("generations")
END_MS = 20_757 * DAY_MS
"""2026-10-31."""
SMALL = Shop(end_ms=END_MS, seed=5, customers=30, events=500, days=6, conversion=0.2)
LARGE = Shop(end_ms=END_MS, seed=7, customers=300, events=15_000, days=365)
MONTHS = {"shop-events-2026.09": "uuid-of-september", "shop-events-2026.10": "uuid-of-october"}
BAD = {
    "events": [(None, "no JSON"), ("c", '{"event_id": "e", "customer_id": "c"}')],
    "orders": [("c", '{"order_id": "o", "customer_id": "c", "ts": 1, "updated_ts": 1, "status": "lost", "total": 1}')],
    "customers": [("c", "[]")],
}
"""Messages that become dead letters."""


def write_archive(folder: Path, expected: dict[str, Any]) -> None:
    """An archive of a small shop; expects its feature rows at two times."""
    generate(SMALL, folder / "archive")
    cutoffs = (END_MS - 2 * DAY_MS - 1, END_MS)
    expected["features"] = {str(as_of): features_of(folder / "archive", as_of) for as_of in cutoffs}


def write_models(folder: Path, expected: dict[str, Any]) -> None:
    """A bundle with churn and next-purchase models, and clusters; expects what they say of the small shop."""
    with tempfile.TemporaryDirectory() as directory:
        shop, trained = Path(directory) / "shop", Path(directory) / "bundle"
        generate(LARGE, shop)
        plan = ["--tries", "1", "--cutoffs", "5", "--horizon", "60", "--history", "60", "--spacing", "30"]
        _shopstream("train", str(shop), "--out", str(trained), *plan)
        _shopstream("cluster", str(shop), "--out", f"{directory}/clusters", "--k", "3-3", "--methods", "k-means")
        (folder / "bundle").mkdir()
        for file in sorted(trained.iterdir()):
            (folder / "bundle" / file.name).write_bytes(file.read_bytes())
        (folder / "clusters.json").write_bytes((Path(directory) / "clusters" / "clusters.json").read_bytes())
    _without_card(folder / "bundle")
    rows = pl.DataFrame(expected["features"][str(END_MS)], infer_schema_length=None)
    expected["scores"] = scores_of(folder / "bundle", rows)
    customers = customers_at(folder / "archive", END_MS, lambda *_: None)
    customers.write_parquet(folder / "customers.parquet", compression="zstd")
    expected["clusters"] = clusters_of(folder / "clusters.json", customers)


def _without_card(bundle: Path) -> None:
    """The page of a bundle is nine tenths of its bytes, and nothing reads it: a word in its place."""
    (bundle / "card.html").write_text("<p>left out</p>\n", "utf-8")
    about = json.loads((bundle / "bundle.json").read_text("utf-8"))
    about["files"]["card.html"] = hashlib.sha256((bundle / "card.html").read_bytes()).hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def _shopstream(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "shopstream", *words], check=True, cwd=ROOT)


def wire_of(archive: Path) -> dict[str, list[tuple[str | None, str | None]]]:
    """The messages of an archive by source topic, and some that are no records."""
    wire: dict[str, list[tuple[str | None, str | None]]] = {topic: list(bad) for topic, bad in BAD.items()}
    for part in in_time_order(ArchiveRange(archive)):
        for topic, key, value in zip(part.topics.tolist(), part.keys, part.values, strict=True):
            text = None if value is None else value.decode()
            wire[SOURCE_TOPICS[topic]].append((None if key is None else key.decode(), text))
    for row in pl.read_parquet(archive / "customers.parquet").to_dicts():
        row["signup_ts"] = row["signup_ts"] and int(row["signup_ts"].timestamp() * 1000)
        wire["customers"].append((row["customer_id"], json.dumps(row)))
    return wire


def write_checkpoint(folder: Path, expected: dict[str, Any], scoring: Scoring | None) -> None:
    """A checkpoint in the middle of the messages; expects its state, and that of the end of the messages."""
    wire = wire_of(folder / "archive")
    halves = {topic: len(messages) * 2 // 3 for topic, messages in wire.items()}
    partition = empty(0, SINKS, contact=True)
    partition.epoch, partition.counter = 5, 2
    quarter = {topic: half // 2 for topic, half in halves.items()}
    feed(partition, {t: wire[t][: quarter[t]] for t in wire}, start=dict.fromkeys(wire, 0), at_end=True)
    # everything so far is written to one of the sinks, to the others nothing
    partition.customers_dirty["topic"], partition.sessions_dirty = DirtyRows(), DirtyRows()
    feed(partition, {t: wire[t][quarter[t] : halves[t]] for t in wire}, start=quarter, at_end=True)
    if scoring is not None:
        partition.follow_bundle(scoring.name)
        everyone = np.arange(partition.state.customer_count, dtype=np.int32)
        partition.reserve_bands()
        partition.bands[:] = 0
        customer_rows(partition, everyone, partition.state.max_event_time, scoring)
    partition.index_ids = {"shop-customers-1": "uuid-of-customers"}
    store = CheckpointStore(str(folder / "state"), RUN)
    topic_ids = {topic: f"id-of-{topic}" for topic in wire}
    store.write_owner(0, PartitionOwner(5, ""))
    checkpoint = snapshot(partition, RUN, 1, [], topic_ids)
    name, _, _ = store.write(checkpoint, 0)
    (folder / "wire.json").write_text(json.dumps({"messages": wire, "checkpoint_at": halves}) + "\n", "utf-8")
    expected["committed"] = {
        "metadata": encode_committed(CommittedCheckpoint(5, name)),
        "epoch": 5,
        "checkpoint": name,
        "offsets": checkpoint.manifest.offsets,
        "topic_ids": topic_ids,
    }
    expected["state"] = state_of(partition)
    letters = [
        DeadLetter(topic_name(RUN, one.topic), 0, one.offset, one.key, one.value, one.error)
        for one in partition.rejected
    ]
    feed(partition, {t: wire[t][halves[t] :] for t in wire}, start=halves, at_end=True)
    expected["state_at_the_end"] = state_of(partition)
    _write_dead_letters(expected, letters)


def _write_dead_letters(expected: dict[str, Any], letters: list[DeadLetter]) -> None:
    producer = Producer()
    dead = DeadLetters(producer, RUN)  # type: ignore[arg-type]
    for letter in letters:
        dead.send(letter)
    expected["dead_letters"] = [
        {"message": message, "topic": one.topic, "offset": one.offset, "error": one.error}
        for message, one in zip(producer.sent, letters, strict=True)
    ]


class Producer:
    """Keeps what is produced."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def produce(self, topic, value, key, headers, on_delivery):
        self.sent.append(as_message(key, value, headers))

    def poll(self, timeout):
        pass


def write_archiving(folder: Path, expected: dict[str, Any]) -> None:
    """Archives over which a consumer died: its last files were staged, and in one of the two committed."""

    def die() -> None:
        raise OSError("died")

    expected["archived"] = {}
    for moment in ("before_commit", "after_commit"):
        group = Group.of_a_hundred()
        archived = folder / "archived" / moment
        worker = Worker(group, archived).read(30).flush().read(25)
        setattr(worker.source, moment, die)
        with contextlib.suppress(OSError):
            worker.flush()
        expected["archived"][moment] = {
            "logs": {partition.topic: [value.decode() for value in log] for partition, log in group.logs.items()},
            "committed": {partition.topic: list(said) for partition, said in group.committed.items()},
            "staged": len(list((archived / "staged").iterdir())),
        }


def history_values(
    shop: Shop, until_ms: int | None, sent: dict[str, int], *, whole: bool, sent_unknown: bool = False
) -> dict[str, Any]:
    """How much of a history was sent to a run, whichever file holds it."""
    return {"shop": shop, "until_ms": until_ms, "sent": sent, "whole": whole, "sent_unknown": sent_unknown}


def write_notes(folder: Path, expected: dict[str, Any]) -> None:
    """The small files of the data folder, and the metadata of the index consumer's offsets."""
    settings = Settings(home=folder / "home", run=RUN)
    (settings.home / DEMO_FOLDER).mkdir(parents=True)
    demo = seed_history.HistoryState(SMALL, END_MS, {"events": 500, "orders": 40}, whole=True, sent_unknown=True)
    seed_history.write_state(settings.home / DEMO_FOLDER, RUN, demo)
    sent = seed_history.HistoryState(SMALL, END_MS - DAY_MS, {"events": 420, "orders": 30})
    seed_history.write_state(settings.home, RUN, sent)
    rounds = schedule.ScheduleState(END_MS + 5, ("train",))
    schedule.write_state(settings.home, rounds)
    servers = state_file.Record(
        state_file.ServerRecord("4.1.1", 9092, 9093, Identity(1, "boot:5"), secure=True),
        state_file.ServerRecord("9.2.1", 9200, 9300),
    )
    state_file.write(settings.home, servers)
    record_spark_checkpoint(settings, RUN, "s3://bucket/checkpoint")
    query = QueryLog(RUN, 4, 64, 3, {"events": "id-of-events"}, {"0": END_MS})
    write_note(settings.home / "query.json", query)
    expected["notes"] = {
        "demo": as_plain(history_values(SMALL, END_MS, demo.delivered, whole=True, sent_unknown=True)),
        "sent": as_plain(history_values(SMALL, END_MS - DAY_MS, sent.delivered, whole=False)),
        "rounds": as_plain(rounds),
        "servers": as_plain(servers),
        "spark": ["s3://bucket/checkpoint"],
        "query": as_plain(query),
    }
    expected["index_offset"] = {
        "metadata": write_metadata(OffsetMetadata(END_MS, pack(digests(RUN, MONTHS)), 77, "id-of-events")),
        "high": END_MS,
        "identities": MONTHS,
        "until": 77,
        "topic_id": "id-of-events",
    }


def write_generation(folder: Path, *, models: bool) -> None:
    """Writes all of it below a folder.

    Args:
        folder: an empty one.
        models: whether models are trained too.
    """
    expected: dict[str, Any] = {}
    write_archive(folder, expected)
    if models:
        write_models(folder, expected)
    write_checkpoint(folder, expected, load_bundle(folder / "bundle").scoring() if models else None)
    write_archiving(folder, expected)
    write_notes(folder, expected)
    (folder / "expected.json").write_text(json.dumps(expected) + "\n", "utf-8")


def main(number: str) -> None:
    """Write a generation to its file."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        write_generation(folder, models=True)
        GENERATIONS.mkdir(exist_ok=True)
        with zipfile.ZipFile(GENERATIONS / f"{int(number)}.zip", "x", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix != ".lock":
                    file.write(path, path.relative_to(folder).as_posix())


if __name__ == "__main__":
    main(sys.argv[1])

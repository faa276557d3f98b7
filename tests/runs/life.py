"""A shop that lives into a run while a worker consumes it, and what is done with its history."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from stream.bench import Bench

from connectors.kafka import client as kafka
from connectors.kafka.source import Source
from consumers.archive.consumer import TOPICS, ArchiveRole
from consumers.archive.files import ArchiveFolder
from consumers.features.build import open_features
from features.schema import CUSTOMERS_FILE, DAY_MS
from producers.archive.event_order import ArchiveRange
from producers.dirt import MessageDirt
from producers.live import LiveReport, live
from producers.publisher import Publisher
from producers.replay import ReplayOptions, replay
from producers.shop.shop import Shop, build
from shopstream.jobs.produce import wall_clock


@dataclass(frozen=True)
class Scale:
    """How much of a life: customers and events a day of the shop, days a second of the live producer."""

    customers: int = 150
    events_a_day: int = 150
    days_a_second: float = 6.0

    def shop(self) -> Shop:
        days = 40
        return Shop(
            end_ms=20_000 * DAY_MS, seed=5, customers=self.customers, events=self.events_a_day * days, days=days
        )


class Life:
    """The live producer and a worker, each in a thread; both go on until they are told to stop.

    Args:
        bench: of the run.
        scale: of the shop.
        dirt: share of its records made late, disordered or malformed.
    """

    def __init__(self, bench: Bench, scale: Scale, dirt: float) -> None:
        self.bench, self.scale, self.dirt = bench, scale, dirt
        self.report: LiveReport | None = None
        self._over, self._leave = threading.Event(), threading.Event()
        self._worker = open_features(bench.options())
        self._threads = [threading.Thread(target=self._produce), threading.Thread(target=self._consume)]

    @property
    def written(self) -> int:
        """Rows that the worker has written so far."""
        return self._worker.progress().rows_written

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more records; the worker leaves with a checkpoint, wherever it is."""
        self._over.set()
        self._threads[0].join(60)
        self._leave.set()
        self._threads[1].join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def wait(self, rows: int, timeout_s: float = 60.0) -> None:
        """Until the worker has written so many rows."""
        end_s = time.monotonic() + timeout_s
        while self.written < rows:
            assert self._threads[1].is_alive(), "the worker has died"
            assert time.monotonic() < end_s, self._worker.progress()
            time.sleep(0.05)

    def _produce(self) -> None:
        shop = self.scale.shop()
        self.report = live(
            build(shop),
            lambda on_failure: Publisher(self.bench.properties, self.bench.run, on_failure),
            wall_clock(),
            self._over.is_set,
            lambda _: None,
            start_ms=shop.end_ms,
            speed=self.scale.days_a_second * DAY_MS / 1_000,
            dirt=MessageDirt(self.dirt, 3) if self.dirt else None,
        )

    def _consume(self) -> None:
        self._worker.run(self._leave.is_set, None, lambda _: None, lambda _: None)


@contextmanager
def living(bench: Bench, scale: Scale, dirt: float = 0.0) -> Iterator[Life]:
    """A life that ends with the block."""
    life = Life(bench, scale, dirt)
    life.start()
    try:
        yield life
    finally:
        life.stop()


def export(bench: Bench, folder: Path) -> Path:
    """What stands in the topics now, by the archive consumer."""
    config = kafka.consumer_config(bench.properties, f"{bench.run}-archive", f"{bench.run}-archive-0")
    source = Source(kafka.open_consumer(config), bench.run, TOPICS)
    ArchiveRole(source, ArchiveFolder(folder, bench.run), bench.run).run(lambda: False, bench.ends())
    return folder


def run_again(bench: Bench, archive: Path, as_of: int) -> None:
    """An archive replayed into a run and consumed to its end, with rows at `as_of`."""
    report = replay(
        ReplayOptions(ArchiveRange(archive)),
        lambda on_failure: Publisher(bench.properties, bench.run, on_failure),
        wall_clock(),
        lambda: False,
        lambda _: None,
    )
    assert report.complete
    (progress,) = bench.consume(as_of)
    assert progress.rejected == progress.late == 0


def last_ms(archive: Path) -> int:
    """The highest time of an archive's events and orders."""
    return max(
        int(pc.max(pq.read_table(file, columns=[column])[column].cast(pa.int64())).as_py())
        for topic, column in (("events", "ts"), ("orders", "updated_ts"))
        for file in sorted((archive / topic).rglob("*.parquet"))
    )


def corrected(archive: Path, target: Path, seed: int = 1) -> dict[str, int]:
    """A copy without some events and with some orders refunded or dearer; returns how many."""
    rng = np.random.default_rng(seed)
    done = {"events removed": 0, "orders refunded": 0, "orders dearer": 0}
    for file in sorted(archive.rglob("*.parquet")):
        position = target / file.relative_to(archive)
        if file.relative_to(archive).parts[0] not in ("events", "orders", CUSTOMERS_FILE):
            continue
        position.parent.mkdir(parents=True, exist_ok=True)
        # not as a data set, which would add the folder's date as a column
        table = pq.ParquetFile(file).read()
        if "event_id" in table.column_names:
            stored = rng.random(table.num_rows) > 0.05
            done["events removed"] += int((~stored).sum())
            table = table.filter(pa.array(stored))
        elif "order_id" in table.column_names:
            drawn = rng.random(table.num_rows)
            refunded, dearer = drawn < 0.2, drawn > 0.8
            done["orders refunded"] += int(refunded.sum())
            done["orders dearer"] += int(dearer.sum())
            status = pc.if_else(pa.array(refunded), "refunded", table["status"])
            total = pc.if_else(pa.array(dearer), pc.add(table["total"], 10.0), table["total"])
            for name, column in (("status", status), ("total", total)):
                field = table.schema.get_field_index(name)
                table = table.set_column(field, table.schema.field(field), column.cast(table.schema.field(field).type))
        pq.write_table(table, position)
    return done

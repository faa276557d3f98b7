"""The role `archive` in a simulated world: every valid record is a row as often as it was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from simulation.broker import RUN, Offsets
from simulation.disk import Disk
from simulation.role import Role, Until
from stream.scene import PROFILE

from connectors.kafka.source import Partition
from consumers.archive.consumer import TOPICS, ArchiveOptions, ArchiveRole
from consumers.archive.files import ArchiveFolder
from consumers.archive.position import read_position
from features.records.lateness import NO_HIGH
from features.schema import CUSTOMERS_FILE, DAY_COLUMN, DAY_MS

if TYPE_CHECKING:
    from simulation.worker import Worker
    from simulation.world import World

FOLDER = "/archive"
OPTIONS = ArchiveOptions(flush_records=150, flush_every_s=0.2, batch_records=60, report_every_s=1e9, check_every_s=0.05)
KEYS = {"events": ("event_id",), "orders": ("order_id", "updated_ts", "status", "total")}
CLOCK = {"events": "ts", "orders": "updated_ts"}
LOOKS = 0.05
"""Share of the commits after which a reader looks at the archive."""

Rows = Counter[tuple[Any, ...]]


class ArchiveLife:
    """An archive consumer in one process."""

    def __init__(self, role: FilesRole, worker: Worker) -> None:
        self._worker = worker
        self._files = fs.PyFileSystem(Disk(role.world.disk, worker, immutable=False))
        self._consumer: ArchiveRole | None = None

    def run(self, stop: Callable[[], bool], until: Until) -> None:
        # opening the folder crosses boundaries too
        self._consumer = ArchiveRole(
            self._worker.source, ArchiveFolder(FOLDER, RUN, files=self._files), RUN, options=OPTIONS
        )  # type: ignore[arg-type]
        self._consumer.run(stop, until)

    def has(self, number: int) -> bool:
        return False

    def die(self) -> None:
        """What it has written is on the disk."""

    def check_bounds(self) -> None:
        assert self._consumer is not None
        counts = self._consumer.progress()
        assert counts.consumed == counts.valid + counts.rejected + counts.late
        assert counts.waiting_records <= 2 * OPTIONS.flush_records, "rows that wait are bounded"


class FilesRole(Role):
    """The archive's files, as a reader finds them."""

    name = "archive"
    topics = TOPICS
    may_end = ("FENCED_INSTANCE_ID", "No space left on device")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.valid = {topic: self._rows(topic, {}) for topic in KEYS}

    def live(self, worker: Worker) -> ArchiveLife:
        return ArchiveLife(self, worker)

    def on_commit(self, number: int, offsets: Offsets) -> None:
        """Offsets only grow, H is that of the records before them, and readers find no row too many."""
        group, counting = self.world.group, self.world.scene.counting
        for where, (offset, metadata) in offsets.items():
            before = group.committed.get(where, (0, ""))[0]
            assert offset >= before, f"{where} went back from {before} to {offset}"
            if where.topic in CLOCK:
                clocks = (row[CLOCK[where.topic]] for row in counting[where][:offset] if row)
                assert read_position(metadata).max_event_time == max(clocks, default=NO_HIGH)
        self.world.happened["commits"] += 1
        if self.rng.random() < LOOKS:
            stops = {where: at for where, (at, _) in (group.committed | offsets).items()}
            for topic, rows in self.found().items():
                assert rows <= self._rows(topic, stops), "rows of the archive whose offsets are not committed"
            self.world.happened["looks of a reader"] += 1

    def check(self) -> None:
        for topic, one in self.found().items():
            lost, doubled = self.valid[topic] - one, one - self.valid[topic]
            assert not lost, f"{topic}: {lost.total()} rows lost, like {list(lost)[:2]}"
            assert not doubled, f"{topic}: {doubled.total()} rows too many, like {list(doubled)[:2]}"
        expected = dict.fromkeys(self.world.scene.profiles, PROFILE)
        profiles = _read(self.world.disk.read(f"{FOLDER}/{CUSTOMERS_FILE}")).to_pylist()
        assert len(profiles) == len(expected)
        for row in profiles:
            requested = expected[row["customer_id"]]
            assert {name: row[name] for name in requested} == requested

    def found(self) -> dict[str, Rows]:
        """The rows that a reader finds; each lies in the folder of its day."""
        result: dict[str, Rows] = {topic: Counter() for topic in KEYS}
        for path, topic in self._files():
            table = _read(self.world.disk.read(path))
            times = table[DAY_COLUMN[topic]].cast(pa.int64())
            days = {f"date={day}" for day in (times.to_numpy() // DAY_MS).astype("datetime64[D]").astype(str)}
            assert days <= {path.split("/")[-2]}, f"rows of {days} in {path}"
            columns = [table[name].cast(pa.int64()) if name in CLOCK.values() else table[name] for name in KEYS[topic]]
            result[topic].update(zip(*(column.to_pylist() for column in columns), strict=True))
        return result

    def _files(self) -> Iterator[tuple[str, str]]:
        for path in self.world.disk:
            topic = path.removeprefix(f"{FOLDER}/").split("/")[0]
            if topic in KEYS and path.startswith(f"{FOLDER}/{topic}/date=") and path.endswith(".parquet"):
                yield path, topic

    def _rows(self, topic: str, stops: Mapping[Partition, int]) -> Rows:
        """The valid rows before `stops`; all of them of a partition without one."""
        rows: Rows = Counter()
        for where, counting in self.world.scene.counting.items():
            if where.topic == topic:
                stop = stops.get(where, len(counting)) if stops else len(counting)
                rows.update(tuple(row[name] for name in KEYS[topic]) for row in counting[:stop] if row)
        return rows


def _read(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data), use_threads=False)

"""A group of archive workers driven by hand: logs, a coordinator that fences, and what is left in the folder."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.parquet as pq

from connectors.kafka.offsets import FencedError
from connectors.kafka.source import Batch, CommittedOffset, Partition
from consumers.archive.consumer import ArchiveOptions, ArchiveRole
from consumers.archive.files import ArchiveFolder
from features.errors import ShopstreamError
from features.schema import DAY_MS, HOUR_MS

DAY_1_MS = 1_772_323_200_000  # 2026-03-01
EVENTS, CUSTOMERS = Partition("events", 0), Partition("customers", 0)
FAR_MS = DAY_1_MS + 100 * DAY_MS


def event(n: int, ts: int | None = None) -> bytes:
    ts = DAY_1_MS + n * HOUR_MS if ts is None else ts
    fields = {"event_id": f"e{n}", "event_type": "search", "customer_id": "c", "session_id": "s", "device": "mobile"}
    return json.dumps({**fields, "ts": ts}).encode()


def profile(n: int, country: str) -> bytes:
    return json.dumps({"customer_id": f"c{n}", "country": country}).encode()


class Group:
    """Logs of two topics, and a coordinator that takes the commits of the present owner alone."""

    def __init__(self):
        self.logs: dict[Partition, list[bytes]] = {EVENTS: [], CUSTOMERS: []}
        self.low = {EVENTS: 0, CUSTOMERS: 0}
        self.committed: dict[Partition, tuple[int, str]] = {}
        self.owner: Source | None = None

    @classmethod
    def of_a_hundred(cls) -> Group:
        """A hundred events, an hour apart, and a hundred profiles of ten customers."""
        group = cls()
        group.logs[EVENTS] = [event(n) for n in range(100)]
        group.logs[CUSTOMERS] = [profile(n % 10, str(n)) for n in range(100)]
        return group


class Source:
    """One member: owns both partitions from `take_over` until another one takes over."""

    def __init__(self, group: Group):
        self.group, self.positions, self.paused = group, {}, False
        self.before_commit = self.after_commit = lambda: None

    def take_over(self, role):
        self.group.owner = self
        starts = {p: CommittedOffset(*self.group.committed.get(p, (self.group.low[p], ""))) for p in self.group.logs}
        chosen = role.assigned(starts) or {}
        self.positions = {p: chosen.get(p, start.offset) for p, start in starts.items()}
        for partition, offset in self.positions.items():
            if not self.group.low[partition] <= offset <= len(self.group.logs[partition]):
                raise ShopstreamError(f"no record {offset}")

    def commit(self, offsets):
        self.before_commit()
        if self.group.owner is not self:
            raise FencedError("another owns it")
        self.group.committed |= offsets
        self.after_commit()

    def position(self, partition):
        return self.positions[partition]

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def lag(self):
        return 0


class Worker:
    """A role over a source, driven by hand."""

    def __init__(self, group: Group, directory, *, files=None, topic_ids=None, **options):
        self.source = Source(group)
        folder = ArchiveFolder(directory, "r", files=files)
        self.role = ArchiveRole(self.source, folder, "r", options=ArchiveOptions(**options), topic_ids=topic_ids)
        self.source.take_over(self.role)

    def read(self, records_max=1_000):
        for partition, log in self.source.group.logs.items():
            start = self.source.positions[partition]
            values = log[start : start + records_max]
            if values and not self.source.paused:
                self.source.positions[partition] = start + len(values)
                keys = [json.loads(value)["customer_id"].encode() for value in values]
                offsets = range(start, start + len(values))
                self.role._receive(Batch(partition, offsets, values, keys, [FAR_MS] * len(values)))
        return self

    def flush(self):
        self.role._flush()
        return self


def ids(directory) -> Counter:
    tables = [pq.read_table(path) for path in (directory / "events").rglob("*.parquet")]
    return Counter(value for table in tables for value in table["event_id"].to_pylist())


def countries(directory) -> dict[str, str]:
    table = pq.read_table(directory / "customers.parquet")
    return dict(zip(table["customer_id"].to_pylist(), table["country"].to_pylist(), strict=True))


def assert_whole(directory, group):
    assert ids(directory) == Counter(json.loads(value)["event_id"] for value in group.logs[EVENTS])
    expected = {}
    for value in group.logs[CUSTOMERS]:
        expected[json.loads(value)["customer_id"]] = json.loads(value)["country"]
    assert countries(directory) == expected
    assert list((directory / "staged").iterdir()) == []

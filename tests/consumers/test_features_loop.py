"""The features consumer through crashes, rebalances, fences and slow sinks: what it leaves is what the oracle counts.

Everything but the clients is the real code (stream/world.py plays these); a seed is a whole history of disasters.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from oracle.adversarial import adversarial
from oracle.loops import loop_order_items, loop_orders, loop_rows, loop_sessions
from oracle.rows import FEATURE_DTYPES, assert_same_rows, feature_frame, same_value
from oracle.shop import DAY, HOUR
from oracle.wire import bad_messages, in_time, split_late
from stream.feeding import as_batch, as_events, message
from stream.world import Odds, Worker, World

import consumers.keeper
import features.state
from consumers.source import Partition, Start
from features.errors import ShopstreamError, UsageError
from features.state import State

PARTITIONS = 3
PROFILE = {"country": "DE", "premium": True}
CALM = Odds()
STORMY = Odds(kill=0.03, revoke=0.02, lose=0.01, fence=0.1, commit_fails=0.1, write_fails=0.1)


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Checkpoints as often as can be; every table searched for what may leave at every chance; no clock but one."""
    monkeypatch.setattr(consumers.keeper, "SHARE_MAX", 1.0)
    monkeypatch.setattr(consumers.keeper, "wall_clock_ms", lambda: 0)
    monkeypatch.setattr(features.state, "SCAN_ROWS_MIN", 0)


class Scene:
    """The records of a seed on the topics of a world, and what must become of them."""

    def __init__(self, seed: int, state: str, jitter_ms: int = 60 * HOUR, customers: int = 4) -> None:
        self.rng = np.random.default_rng(seed)
        records = adversarial(seed, customers)
        logs: dict[Partition, list] = defaultdict(list)
        self.letters: list[tuple] = []
        self.events, self.orders = [], []
        self.profiles: set[str] = set()
        for number in range(PARTITIONS):
            for topic, rows in (("events", records.events), ("orders", records.orders)):
                mine = [row for row in rows if home(row["customer_id"]) == number]
                self._log(logs, Partition(topic, number), in_time(topic, mine, self.rng, jitter_ms))
            mine = sorted({e["customer_id"] for e in records.events if home(e["customer_id"]) == number})
            self._log(logs, Partition("customers", number), [{"customer_id": c, **PROFILE} for c in mine])
            self.profiles.update(mine)
        self.world = World(self.rng, logs, state)

    def _log(self, logs, where: Partition, rows) -> None:
        """Valid records, with messages that are none among them."""
        good = rows
        if where.topic != "customers":
            good, late = split_late(where.topic, rows)
            (self.events if where.topic == "events" else self.orders).extend(good)
            is_late = {id(row) for row in late}
        broken = [m for m in bad_messages(1_000_000_000_000) if m.topic == where.topic and m.kind != "future"]
        log = logs[where]
        for row in rows:
            if where.topic != "customers" and id(row) in is_late:
                self.letters.append((f"w.{where.topic}", where.number, len(log), *message(row)))
            log.append(message(row))
            if self.rng.random() < 0.02:
                bad = broken[int(self.rng.integers(len(broken)))]
                self.letters.append((f"w.{where.topic}", where.number, len(log), bad.key, bad.value))
                log.append((bad.key, bad.value))

    @property
    def end(self) -> int:
        """The highest time of any record."""
        return max([*(e["ts"] for e in self.events), *(o["updated_ts"] for o in self.orders)])

    def check(self, as_of: int) -> None:
        """Every document, row and letter that the world was left with."""
        expected = feature_frame(loop_rows(self.events, self.orders, as_of))
        profiles = {}
        found = []
        for body in self.world.index("customers"):
            found.append({name: body[name] for name in FEATURE_DTYPES})
            profiles[body["customer_id"]] = {name: value for name, value in body.items() if name not in FEATURE_DTYPES}
        assert_same_rows(feature_frame(found), expected)
        assert profiles == {c: PROFILE if c in self.profiles else {} for c in expected["customer_id"]}
        topic_rows = self.world.newest_rows().values()
        assert_same_rows(feature_frame([{n: row[n] for n in FEATURE_DTYPES} for row in topic_rows]), expected)
        same_documents(self.world.index("sessions"), loop_sessions(self.events, as_of), ("customer_id", "session_id"))
        same_documents(self.world.index("orders"), loop_orders(self.orders, as_of), ("order_id",))
        lines = [line for line in self.world.index("order-items") if line["status"] != "void"]
        same_documents(lines, loop_order_items(self.orders, as_of), ("order_id", "line"))
        self.check_void_lines()
        sent = [(at.topic, at.partition, at.offset, at.key, at.value) for at in self.world.letters]
        assert sorted(set(sent), key=repr) == sorted(self.letters, key=repr)

    def check_void_lines(self) -> None:
        """What is void is a line that some record of the order had, and that its winner has not."""
        longest, winner = (
            defaultdict(int),
            {row["order_id"]: row["items"] for row in loop_orders(self.orders, self.end)},
        )
        for order in self.orders:
            longest[order["order_id"]] = max(longest[order["order_id"]], len(order.get("items") or []))
        for line in self.world.index("order-items"):
            if line["status"] == "void":
                assert winner[line["order_id"]] < line["line"] <= longest[line["order_id"]]


def home(customer_id: str) -> int:
    return sum(customer_id.encode()) % PARTITIONS


def same_documents(found, expected, key) -> None:
    """Documents against the oracle's rows, told apart by `key`; a missing field is a null one."""
    by_key = {tuple(row[name] for name in key): row for row in found}
    assert len(by_key) == len(found)
    assert by_key.keys() == {tuple(row[name] for name in key) for row in expected}
    for row in expected:
        got = by_key[tuple(row[name] for name in key)]
        for name, value in row.items():
            assert same_value(typed(got.get(name), value), value), (row, name, got.get(name), value)


def typed(got, expected):
    """JSON has one kind of number."""
    return float(got) if isinstance(expected, float) and type(got) is int else got


@pytest.mark.parametrize("seed", range(3))
def test_an_undisturbed_run(seed, tmp_path):
    scene = Scene(seed, str(tmp_path))
    as_of = scene.end + seed * DAY
    progress = scene.world.work(CALM, lambda _: as_of)
    scene.check(as_of)
    assert len(scene.world.letters) == len(scene.letters) == progress.rejected + progress.late
    assert progress.consumed == sum(map(len, scene.world.logs.values()))
    assert progress.consumed == progress.applied + progress.duplicates + progress.rejected + progress.late
    assert progress.lag_records == 0


@pytest.mark.parametrize("seed", range(16))
def test_through_every_disaster(seed, tmp_path):
    scene = Scene(seed, str(tmp_path), customers=2)
    as_of = scene.end + (0, 1, 30 * DAY)[seed % 3]
    scene.world.work(STORMY, lambda _: as_of)
    scene.check(as_of)


def test_disasters_do_happen(tmp_path):
    kills = checkpoints = 0
    for seed in range(3):
        scene = Scene(seed, str(tmp_path / str(seed)), customers=2)
        scene.world.work(STORMY, lambda stream_time: stream_time)
        kills += scene.world.kills
        checkpoints += len({name for _, name in scene.world.committed.values()})
    assert kills >= 3
    assert checkpoints >= 3


def test_partitions_that_come_while_the_final_rows_are_written_get_theirs(tmp_path):
    scene = Scene(3, str(tmp_path), customers=2)
    as_of = scene.end + 7 * DAY
    scene.world.work(Odds(lose_at_the_end=True), lambda _: as_of)
    scene.check(as_of)


def test_event_ids_of_a_checkpoint_that_could_not_be_written_are_in_the_next(tmp_path):
    """Else an event repeated after a restart would be counted again."""
    world = World(
        np.random.default_rng(0), {Partition(t, 0): [] for t in ("events", "orders", "customers")}, str(tmp_path)
    )
    worker = Worker(world, Odds(write_fails=1.0))
    keeper, starts = worker.keeper, {where.topic: Start(0, "") for where in world.logs}
    partition = keeper.recover(0, starts)
    row = {"event_type": "search", "customer_id": "c", "session_id": "s", "device": "mobile"}
    rows = [row | {"event_id": f"e{n}", "ts": 400 * DAY + n} for n in range(40)]
    partition.receive(as_batch("events", [message(row) for row in rows]))
    for topic in ("events", "orders", "customers"):
        partition.reached_end(topic)
    partition.advance()
    keeper.keep_now([partition])
    assert keeper.made == 0
    assert partition.changed
    worker.store.fails = 0.0
    keeper.keep_now([partition])
    assert keeper.made == 1
    metadata = world.committed[Partition("events", 0)][1]
    again = keeper.recover(0, {topic: Start(0, metadata) for topic in starts})
    assert again.state.apply_events(as_events(rows)).applied == 0


def test_an_error_is_told_as_it_is_and_nothing_is_committed_after_it(tmp_path, monkeypatch):
    """In the middle of a batch the state is half of it: that must not be kept."""
    scene = Scene(0, str(tmp_path), customers=1)
    committed = []

    def broken(self, *args):
        committed.append(dict(scene.world.committed))
        raise ShopstreamError("broken")

    monkeypatch.setattr(State, "apply_orders", broken)
    with pytest.raises(ShopstreamError, match="broken"):
        scene.world.work(CALM, lambda _: scene.end)
    assert scene.world.committed == committed[0]


def test_rows_before_the_streams_time_are_a_usage_error(tmp_path):
    scene = Scene(0, str(tmp_path), customers=1)
    with pytest.raises(UsageError, match="--as-of"):
        scene.world.work(CALM, lambda stream_time: stream_time - 1)

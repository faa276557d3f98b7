"""The records of a seed on the topics of a world, and what must stand in its indices and topics when all is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from oracle.adversarial import adversarial
from oracle.loops import all_of, in_log, loop_order_items, loop_orders, loop_rows, loop_sessions
from oracle.rows import FEATURE_DTYPES, Row, assert_same_rows, feature_frame, same_value
from oracle.shop import HOUR
from oracle.wire import BadMessage, bad_messages, in_time, split_late
from stream.feeding import message

from connectors.kafka.source import Partition
from consumers.dead_letters.producer import DeadLetter

PARTITIONS = 3
ORDER_KEY = ("customer_id", "order_id")
PROFILE = {"country": "DE", "premium": True}


class Left(Protocol):
    """What a world was left with."""

    letters: list[DeadLetter]

    def index(self, name: str) -> list[dict[str, Any]]: ...

    def newest_rows(self) -> dict[str, dict[str, Any]]: ...


class Scene:
    """Valid records, late ones and broken ones.

    Args:
        seed: of everything.
        jitter_ms: how far a record may be behind.
        customers: with much noise.
        twice: share of the records that are sent again, later.

    Attributes:
        logs: the messages of each partition.
        counting: beside each message the record that counts, None for one that does not.
        letters: (topic, partition, offset, key, value) of the messages that must become dead letters.
        events: that count, of all partitions.
        orders: likewise.
        profiles: customers that have one.
    """

    def __init__(self, seed: int, jitter_ms: int = 60 * HOUR, customers: int = 4, twice: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.twice = twice
        records = adversarial(seed, customers)
        self.logs: dict[Partition, list] = defaultdict(list)
        self.counting: dict[Partition, list[Row | None]] = defaultdict(list)
        self.letters: list[tuple] = []
        self.events, self.orders = [], []
        self.profiles: set[str] = set()
        for number in range(PARTITIONS):
            for topic, rows in (("events", records.events), ("orders", records.orders)):
                own = [row for row in rows if home(row["customer_id"]) == number]
                self._log(Partition(topic, number), in_time(topic, own, self.rng, jitter_ms))
            own = sorted({e["customer_id"] for e in records.events if home(e["customer_id"]) == number})
            self._log(Partition("customers", number), [{"customer_id": c, **PROFILE} for c in own])
            self.profiles.update(own)

    def _log(self, where: Partition, rows: Sequence[Row]) -> None:
        """Valid records, with messages that are none among them."""
        good = rows = self._doubled(where, rows)
        if where.topic != "customers":
            good, late = split_late(where.topic, rows)
            # of the events of one id the first of the log counts, before any message is late by its place
            (self.events if where.topic == "events" else self.orders).extend(
                in_log(good) if where.topic == "events" else good
            )
            is_late = {id(row) for row in late}
        broken = broken_messages(where.topic)
        log, counting = self.logs[where], self.counting[where]
        for row in rows:
            if where.topic != "customers" and id(row) in is_late:
                self.letters.append((f"w.{where.topic}", where.number, len(log), *message(row)))
            counting.append(None if where.topic != "customers" and id(row) in is_late else row)
            log.append(message(row))
            if self.rng.random() < (0.2 if where.topic == "customers" else 0.02):
                bad = broken[int(self.rng.integers(len(broken)))]
                self.letters.append((f"w.{where.topic}", where.number, len(log), bad.key, bad.value))
                counting.append(None)
                log.append((bad.key, bad.value))

    def _doubled(self, where: Partition, rows: Sequence[Row]) -> list[Row]:
        """The rows, some of them again at a later place."""
        doubled = list(rows)
        if self.twice and where.topic != "customers":
            for number in np.flatnonzero(self.rng.random(len(rows)) < self.twice).tolist():
                position = int(self.rng.integers(number, len(doubled))) + 1
                doubled.insert(position, dict(rows[number]))
        return doubled

    @property
    def end(self) -> int:
        """The highest time of any record."""
        return max([*(e["ts"] for e in self.events), *(o["updated_ts"] for o in self.orders)])

    def check(self, world: Left, as_of: int, refused: Collection[tuple[str, str]] = ()) -> None:
        """Every document, row and letter that the world was left with.

        Args:
            world: after the end.
            as_of: of the final rows.
            refused: customer and session of documents that the index refuses for good.
        """
        expected = feature_frame(loop_rows(self.events, self.orders, as_of, all_of))
        profiles = {}
        entries = []
        for body in world.index("customers"):
            entries.append({name: body[name] for name in FEATURE_DTYPES})
            profiles[body["customer_id"]] = {name: value for name, value in body.items() if name not in FEATURE_DTYPES}
        assert_same_rows(feature_frame(entries), expected)
        assert profiles == {c: PROFILE if c in self.profiles else {} for c in expected["customer_id"]}
        topic_rows = world.newest_rows().values()
        assert_same_rows(feature_frame([{n: row[n] for n in FEATURE_DTYPES} for row in topic_rows]), expected)
        sessions = [
            s for s in loop_sessions(self.events, as_of, all_of) if (s["customer_id"], s["session_id"]) not in refused
        ]
        same_documents(world.index("sessions"), sessions, ("customer_id", "session_id"))
        same_documents(world.index("orders"), loop_orders(self.orders, as_of), ORDER_KEY)
        lines = self.winning_lines(world.index("order-items"), as_of)
        same_documents(lines, loop_order_items(self.orders, as_of), (*ORDER_KEY, "line"))
        self.check_void_lines(world)
        sent = [(at.topic, at.partition, at.offset, at.key, at.value) for at in world.letters if at.offset >= 0]
        assert sorted(set(sent), key=repr) == sorted(self.letters, key=repr)

    def check_void_lines(self, world: Left) -> None:
        """What is void is a line that some record of the order had, and that its winner has not."""
        longest = defaultdict(int)
        for order in self.orders:
            longest[key_of(order)] = max(longest[key_of(order)], len(order.get("items") or []))
        documents = world.index("order-items")
        winning = {id(line) for line in self.winning_lines(documents, self.end)}
        for line in documents:
            assert line["line"] <= longest[key_of(line)]
            assert id(line) in winning or line["status"] == "void"

    def winning_lines(self, documents: Sequence[Row], as_of: int) -> list[Row]:
        """The documents of lines that the winning record of their order has."""
        return winning_lines(documents, self.orders, as_of)


def key_of(row: Row) -> tuple[str, ...]:
    """What identifies an order."""
    return tuple(row[name] for name in ORDER_KEY)


def winning_lines(documents: Sequence[Row], orders: Sequence[Row], as_of: int) -> list[Row]:
    """The documents of lines that the winning record of their order has; all others must be void."""
    items = {key_of(row): row["items"] for row in loop_orders(orders, as_of)}
    surplus = [line for line in documents if line["line"] > items[key_of(line)]]
    assert all(line["status"] == "void" for line in surplus)
    return [line for line in documents if line["line"] <= items[key_of(line)]]


@cache
def broken_messages(topic: str) -> Sequence[BadMessage]:
    """Made once for all scenes."""
    return [m for m in bad_messages(1_000_000_000_000) if m.topic == topic and m.kind != "future"]


def home(customer_id: str) -> int:
    return sum(customer_id.encode()) % PARTITIONS


def same_documents(found, expected, key) -> None:
    """Documents against the oracle's rows, told apart by `key`; a missing field is a null one."""
    by_key = {tuple(row[name] for name in key): row for row in found}
    assert len(by_key) == len(found)
    requested = {tuple(row[name] for name in key) for row in expected}
    assert by_key.keys() == requested, (
        f"missing {requested - by_key.keys()!r:.500}, too many {by_key.keys() - requested!r:.500}"
    )
    for row in expected:
        got = by_key[tuple(row[name] for name in key)]
        for name, value in row.items():
            assert same_value(typed(got.get(name), value), value), (row, name, got.get(name), value)


def typed(got, expected):
    """JSON has one kind of number."""
    return float(got) if isinstance(expected, float) and type(got) is int else got

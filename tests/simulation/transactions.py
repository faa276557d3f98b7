"""Transactions of Kafka in memory: rows in the order of their log, committed, aborted or open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException
from simulation.boundary import Boundary

OPEN, COMMITTED, ABORTED = "open", "committed", "aborted"


@dataclass
class Transaction:
    """What one producer wrote between begin and end."""

    state: str = OPEN


@dataclass
class TransactionLog:
    """A topic that is written in transactions, and its coordinator.

    Attributes:
        records: key, value and transaction of each, in the order of their offsets.
        epochs: transactional id -> how many producers have had it.
        open: transactional id -> the transaction that is under way.
    """

    records: list[tuple[str, bytes, Transaction]] = field(default_factory=list)
    epochs: dict[str, int] = field(default_factory=dict)
    open: dict[str, Transaction] = field(default_factory=dict)

    def committed(self) -> Iterator[tuple[str, bytes]]:
        """What a reader of committed records is given, and what compaction sees."""
        return ((key, value) for key, value, transaction in self.records if transaction.state == COMMITTED)

    def begin_epoch(self, transactional_id: str) -> int:
        """A producer registers; what its former ones left open is aborted."""
        self.abort(transactional_id)
        self.epochs[transactional_id] = self.epochs.get(transactional_id, 0) + 1
        return self.epochs[transactional_id]

    def abort(self, transactional_id: str) -> None:
        """Ends what is under way, if anything is."""
        if (transaction := self.open.pop(transactional_id, None)) is not None:
            transaction.state = ABORTED

    def time_out(self, transactional_id: str) -> None:
        """The coordinator aborts what was open for too long; its producer is fenced."""
        self.abort(transactional_id)
        self.epochs[transactional_id] += 1


class TransactionalProducer:
    """Stands for a transactional producer of librdkafka; calls block, so that nothing of it runs beside the caller.

    Args:
        log: of the topic.
        transactional_id: of the instance.
        boundary: of the worker.
        rng: decides what arrives before a death.
    """

    def __init__(
        self,
        log: TransactionLog,
        transactional_id: str,
        boundary: Boundary,
        rng: np.random.Generator,
    ) -> None:
        self._log, self._id = log, transactional_id
        self._boundary, self._rng = boundary, rng
        self._queue: list[tuple[str, bytes]] = []
        self._epoch = 0
        self._transaction = Transaction(ABORTED)

    def init_transactions(self, timeout_s: float) -> None:
        self._boundary.cross("register producer")
        self._epoch = self._log.begin_epoch(self._id)

    def begin_transaction(self) -> None:
        self._check_epoch()
        self._transaction = self._log.open[self._id] = Transaction()

    def produce(self, topic: str, value: bytes, key: str, on_delivery: Any) -> None:
        self._queue.append((key, value))

    def poll(self, timeout_s: float = 0.0) -> int:
        return 0

    def flush(self, timeout_s: float = 0.0) -> int:
        self._boundary.cross("flush rows")
        self._check_epoch()
        # a process may die or stand still when some are in the log
        half = int(self._rng.integers(len(self._queue) + 1))
        self._arrive(half)
        self._boundary.cross("rows half flushed")
        self._check_epoch()
        self._arrive(len(self._queue))
        self._boundary.cross("rows flushed")
        return 0

    def commit_transaction(self, timeout_s: float) -> None:
        self._check_epoch()
        if self._boundary.befalls("commit_lost"):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out (simulated)", retriable=True))
        self._transaction.state = COMMITTED
        self._log.open.pop(self._id)
        self._boundary.cross("rows committed")

    def abort_transaction(self, timeout_s: float) -> None:
        self._boundary.cross("abort rows")
        self._check_epoch()
        self._queue.clear()
        self._log.abort(self._id)

    def die(self) -> None:
        """Some of what is under way arrives, the others never; the transaction stays open."""
        if self._log.epochs.get(self._id) == self._epoch:
            self._arrive(int(self._rng.integers(len(self._queue) + 1)))
        self._queue.clear()

    def _arrive(self, count: int) -> None:
        self._log.records += [(key, value, self._transaction) for key, value in self._queue[:count]]
        del self._queue[:count]

    def _check_epoch(self) -> None:
        if self._log.epochs.get(self._id) != self._epoch:
            raise KafkaException(KafkaError(KafkaError._FENCED, "producer fenced (simulated)", fatal=True))

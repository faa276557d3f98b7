"""Customers' rows to the compacted topic, in transactions that a former owner cannot commit.

Compaction keeps the last record of a key, so the row of a former owner must never come behind that of the new one. The
order of work in one transaction, and what is left if we die right there:

1. Begin, and hand the rows to the client. Dying: the transaction is aborted, by the next process of this instance or
   by its time-out; neither readers of committed records nor compaction see the rows. Until then such readers do not
   see later rows of these partitions either.
2. Flush: all rows are in the log, and invisible. Dying: as 1.
3. Fence: the consumer commits an offset, unless its assignment has changed since the rows were made. The group
   coordinator refuses the commit once the group has a new generation. A new owner writes only after that, so all rows
   of 2 lie before its own. Dying: as 1.
4. Commit. Dying before the answer: the rows stand or not; they are in no checkpoint as written, and are written again.

The fence runs in the consumer's thread, where assignments change, so none can change between the look and the commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.elasticsearch.documents import Rejected
from connectors.kafka.client import producer_config
from connectors.kafka.offsets import CommitError, FencedError
from consumers.dead_letters.producer import TOO_LARGE
from consumers.features.documents import CustomerRows
from features.errors import ShopstreamError
from features.schema import FEATURE_TOPIC, topic_name

log = structlog.get_logger("feature-topic")

WAITING_MAX: Final = 20_000
"""Rows that are taken before they are acknowledged."""
TRANSACTION_TIMEOUT_MS: Final = 30_000
"""Until the brokers abort what a process left open that died and was not started again."""
ANSWER_S: Final = 5.0
"""For one answer of a coordinator."""
PATIENCE_S: Final = 15.0
"""For a call that the client answers with "again": one that lost its coordinator may say so for ever."""
PAUSES_S: Final = (0.1, 0.5, 2.0, 5.0)
"""Between tries of a transaction."""
REFUSALS: Final = frozenset(
    {
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
    }
)


Done = Callable[[list[Rejected]], None]
"""Told the rows that are refused for good, by their positions."""


@dataclass(slots=True)
class _Batch:
    """Rows of one emission."""

    assignment: object
    rows: CustomerRows
    on_done: Done
    alone: set[int] = field(default_factory=set)
    """Rows that were refused together with others, whose size was not to blame perhaps."""
    rejected: dict[int, str] = field(default_factory=dict)
    """Position -> why the topic refuses the row."""


class _AgainError(Exception):
    """The transaction was not committed: for a passing reason, for a row that is refused, or by the fence."""


class TransactionalTopic:
    """Writes rows of partitions that this member of the group owns; readers keep the highest `version` of a customer.

    Args:
        open_producer: makes a producer with a `transactional.id` of this instance.
        fence: passes while this member's assignment is valid (`connectors.kafka.source.Source.fence`).
        run: the run's name.
    """

    def __init__(self, open_producer: Callable[[], Producer], fence: Callable[[str], None], run: str) -> None:
        self._open, self._fence = open_producer, fence
        self._topic = topic_name(run, FEATURE_TOPIC)
        self._producer: Producer | None = None
        self._assignment: object = None
        self._waiting: list[_Batch] = []
        self._going: list[_Batch] = []
        self._is_flushed = False
        """Whether the rows that are going are all in the log, in a transaction that is open."""
        self._future: Future[None] | None = None
        self._pool = ThreadPoolExecutor(1, "feature-topic")
        self._tries = 0
        self._due_s = 0.0
        self._closing = False
        self.trouble: str | None = None

    def free(self) -> int:
        """Rows that are taken without waiting."""
        return max(0, WAITING_MAX - sum(len(batch.rows.lines) for batch in (*self._waiting, *self._going)))

    def renew(self) -> None:
        """An assignment begins, and the one before has ended."""
        self.drop()
        self._assignment = object()

    def drop(self) -> None:
        """The partitions are another worker's: what is not committed is not written any more."""
        self._assignment = None
        self._waiting.clear()

    def send(self, rows: CustomerRows, on_done: Done) -> None:
        """Takes rows; `on_done` is called from `poll` when they are committed, with those that the topic refuses.

        It may never be called for rows of partitions that went to another worker meanwhile.
        """
        self._waiting.append(_Batch(self._assignment, rows, on_done))

    def poll(self) -> None:
        """Runs the callbacks of what was committed, and takes the next step of a transaction.

        Raises:
            ShopstreamError: the brokers refuse this producer for good, or another process has this instance's id.
        """
        if self._future is not None:
            if not self._future.done():
                return
            future, self._future = self._future, None
            self._take_result(future)
        if time.monotonic() < self._due_s:
            return
        if self._is_flushed:
            self._end()
            return
        self._going = [batch for batch in self._going if batch.assignment is self._assignment]
        if not self._going:
            self._going, self._waiting = self._waiting, []
        if self._going:
            self._future = self._pool.submit(self._write, self._going)

    def close(self) -> None:
        """Lets the step that is under way end; what is not committed is aborted, and written by the next owner."""
        self._closing = True
        self._pool.shutdown(wait=True)
        if self._future is not None and self._future.done():
            try:
                self._take_result(self._future)
            except ShopstreamError as error:
                log.warning("rows not written; they are written again", reason=str(error))
        if self._is_flushed:
            # left open, it would hide the rows of the next owner from readers until its time-out
            self._is_flushed = False
            self._end_transaction()

    def _end(self) -> None:
        """3. Commits the transaction if the fence lets it pass, and aborts it otherwise."""
        if self._going[0].assignment is not self._assignment:
            self._refuse("the assignment has changed")
            return
        try:
            self._fence(self._topic)
        except CommitError as error:
            self._again(str(error))
        except FencedError as error:
            if error.permanent:
                raise
            self._refuse(str(error))
        else:
            self._future = self._pool.submit(self._commit)

    def _refuse(self, reason: str) -> None:
        self._is_flushed = False
        self._future = self._pool.submit(self._abort, reason)

    def _take_result(self, future: Future[None]) -> None:
        try:
            future.result()
        except _AgainError as error:
            self._is_flushed = False
            self._again(str(error))
            return
        if not self._is_flushed:
            self._is_flushed = True
            return
        for batch in self._going:
            batch.on_done([Rejected(position, reason) for position, reason in sorted(batch.rejected.items())])
        if self.trouble is not None:
            log.info("rows are written to Kafka again")
        self._going, self._is_flushed, self._tries, self.trouble = [], False, 0, None

    def _again(self, reason: str) -> None:
        self._due_s = time.monotonic() + PAUSES_S[min(self._tries, len(PAUSES_S) - 1)]
        self._tries += 1
        if self.trouble is None and self._tries > len(PAUSES_S):
            log.warning("rows are not written to Kafka; nothing is lost, trying again", reason=reason)
            self.trouble = reason

    # --- the thread's side ---

    def _write(self, batches: list[_Batch]) -> None:
        """1. and 2. Brings rows into the log.

        Raises:
            _AgainError: the transaction is aborted; the same may be tried again.
            ShopstreamError: the brokers refuse for good.
        """
        try:
            producer = self._producer = self._producer or self._opened()
            self._until_answered(producer.begin_transaction)
            self._produce(producer, batches)
        except KafkaException as error:
            raise self._failed(error.args[0]) from error
        except _AgainError:
            self._end_transaction()
            raise

    def _commit(self) -> None:
        """4. Makes the rows of the open transaction visible; errors as `_write`."""
        producer = self._producer
        assert producer is not None
        try:
            self._until_answered(lambda: producer.commit_transaction(ANSWER_S))
        except KafkaException as error:
            raise self._failed(error.args[0]) from error

    def _abort(self, reason: str) -> None:
        """Ends the open transaction without its rows."""
        self._end_transaction()
        raise _AgainError(reason)

    def _opened(self) -> Producer:
        producer = self._open()
        self._until_answered(lambda: producer.init_transactions(ANSWER_S))
        return producer

    def _produce(self, producer: Producer, batches: list[_Batch]) -> None:
        errors: list[KafkaError] = []
        for batch in batches:
            for position in set(range(len(batch.rows.lines))) - batch.rejected.keys() - batch.alone:
                self._produce_row(producer, batch, position, errors)
            for position in sorted(batch.alone - batch.rejected.keys()):
                self._flush(producer, errors)
                self._produce_row(producer, batch, position, errors)
        self._flush(producer, errors)

    def _flush(self, producer: Producer, errors: list[KafkaError]) -> None:
        while producer.flush(ANSWER_S) and not errors:
            if self._closing:
                raise _AgainError("the worker ends")
        if errors:
            raise KafkaException(errors[0])

    def _produce_row(self, producer: Producer, batch: _Batch, position: int, errors: list[KafkaError]) -> None:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is None:
                return
            errors.append(error)
            if error.code() in TOO_LARGE and position in batch.alone:
                batch.rejected[position] = error.str()
            elif error.code() in TOO_LARGE:
                # the brokers judge the client's batch, not the row
                batch.alone.add(position)

        key, line = batch.rows.customer_ids[position], batch.rows.lines[position]
        while True:
            try:
                producer.produce(self._topic, value=line, key=key, on_delivery=delivered)
            except BufferError:
                producer.poll(0.05)
            except KafkaException as error:
                if error.args[0].code() not in TOO_LARGE:
                    raise
                batch.rejected[position] = error.args[0].str()
                return
            else:
                return

    def _until_answered(self, call: Callable[[], None]) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                call()
            except KafkaException as error:
                if not error.args[0].retriable() or self._closing or time.monotonic() > end_s:
                    raise
            else:
                return

    def _failed(self, error: KafkaError) -> Exception:
        """What the caller is told; the transaction is aborted."""
        said = f"{error.name()}: {error.str()}"
        if error.code() in REFUSALS:
            return ShopstreamError(
                f"Rows cannot be written to {self._topic}: {said}.",
                "Give the user the rights of docs/security.md; what was not committed is done again.",
            )
        if self._producer is None or error.fatal() or error.retriable():
            # one that was never registered, or gives no answer, is replaced: registering aborts what is open
            self._producer = None
        else:
            self._end_transaction()
        return _AgainError(said)

    def _end_transaction(self) -> None:
        producer, self._producer = self._producer, None
        assert producer is not None
        try:
            self._until_answered(lambda: producer.abort_transaction(ANSWER_S))
        except KafkaException as failure:
            log.debug("the transaction was not aborted; its time-out does", reason=failure.args[0].str())
        else:
            self._producer = producer


def transactional_config(properties: Mapping[str, Any], transactional_id: str) -> dict[str, Any]:
    """As `producer_config`, of a producer whose transactions a later process of the same id ends.

    Raises:
        UsageError: a property would break exactness.
    """
    config = producer_config(properties, transactional_id)
    return {**config, "transactional.id": transactional_id, "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS}

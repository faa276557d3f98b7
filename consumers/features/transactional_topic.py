"""Writes customers' rows to the compacted topic, in transactions that a former owner cannot commit.

Compaction keeps the last record of a key, so a former owner's row must never follow that of the new owner. The order of
work in one transaction, and what is left after a crash during each step:

1. Begin, and pass the rows to the client. After a crash the transaction is aborted, by the next process of this
   instance or by its time-out. Neither readers of committed records nor compaction see the rows. Until the abort such
   readers do not see later rows of these partitions either.
2. Flush: all rows are in the log, and invisible. After a crash: as 1.
3. Fence: the consumer commits an offset, unless its assignment has changed since the rows were made. The group
   coordinator refuses the commit once the group has a new generation. A new owner writes only after that, so all rows
   of 2 precede its own. After a crash: as 1.
4. Commit. After a crash before the answer, the rows are committed or not. No checkpoint holds them as written, so they
   are written again.

The fence runs in the consumer's thread, where assignments change, so none can change between the check and the commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.elasticsearch.documents import Rejected
from connectors.kafka.client import enqueue, producer_config
from connectors.kafka.offsets import CommitError, FencedError
from consumers.dead_letters.producer import TOO_LARGE
from consumers.features.documents import CustomerRows
from features.errors import ShopstreamError
from features.schema import FEATURE_TOPIC, topic_name

log = structlog.get_logger("feature-topic")

WAITING_MAX: Final = 20_000
"""Maximum number of rows accepted before they are acknowledged."""
TRANSACTION_TIMEOUT_MS: Final = 30_000
"""Time until the brokers abort the open transaction of a process that crashed and was not restarted."""
ANSWER_S: Final = 5.0
"""Time limit of one answer of a coordinator."""
PATIENCE_S: Final = 15.0
"""Time limit of a call with retriable errors: a client that lost its coordinator may return them forever."""
PAUSES_S: Final = (0.1, 0.5, 2.0, 5.0)
"""Pauses between attempts of a transaction."""
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
"""Callback with the permanently refused rows, by their positions."""


@dataclass(slots=True)
class _Batch:
    """Rows of one emission."""

    assignment: object
    rows: CustomerRows
    on_done: Done
    alone: set[int] = field(default_factory=set)
    """Positions of rows refused in a batch, perhaps not for their own size; sent separately next time."""
    rejected: dict[int, str] = field(default_factory=dict)
    """Position -> reason why the topic refuses the row."""


class _AgainError(Exception):
    """The transaction was not committed: for a transient reason, for a refused row, or by the fence."""


class TransactionalTopic:
    """Writes rows of partitions that this group member owns; readers keep the highest `version` of a customer.

    Args:
        open_producer: factory of producers with a `transactional.id` of this instance.
        fence: function that returns while this member's assignment is valid (`connectors.kafka.source.Source.fence`).
        run: name of the run.
        pool: executor of the blocking steps of a transaction, one at a time; None: one thread.
    """

    def __init__(
        self,
        open_producer: Callable[[], Producer],
        fence: Callable[[str], None],
        run: str,
        pool: Executor | None = None,
    ) -> None:
        self._open, self._fence = open_producer, fence
        self._topic = topic_name(run, FEATURE_TOPIC)
        self._producer: Producer | None = None
        self._assignment: object = None
        self._waiting: list[_Batch] = []
        self._going: list[_Batch] = []
        self._is_flushed = False
        """Whether all rows of the current transaction are in the log, and the transaction is open."""
        self._future: Future[None] | None = None
        self._pool = pool or ThreadPoolExecutor(1, "feature-topic")
        self._tries = 0
        self._due_s = 0.0
        self._closing = False
        self.last_error: str | None = None

    def free(self) -> int:
        """Return the number of rows that can be accepted without waiting."""
        return max(0, WAITING_MAX - sum(len(batch.rows.lines) for batch in (*self._waiting, *self._going)))

    def renew(self) -> None:
        """Begin a new assignment and end the previous one."""
        self.drop()
        self._assignment = object()

    def drop(self) -> None:
        """End the assignment: uncommitted rows of its partitions are no longer written."""
        self._assignment = None
        self._waiting.clear()

    def send(self, rows: CustomerRows, on_done: Done) -> None:
        """Enqueue rows; `poll` calls `on_done` with the refused rows once the others are committed.

        It may never be called for rows of partitions that moved to another worker meanwhile.
        """
        self._waiting.append(_Batch(self._assignment, rows, on_done))

    def poll(self) -> None:
        """Run the callbacks of committed rows, and take the next step of a transaction.

        Raises:
            ShopstreamError: the brokers refuse this producer permanently, or another process has this instance's id.
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
        """Wait for the current step; uncommitted rows are aborted, and the next owner writes them."""
        self._closing = True
        self._pool.shutdown(wait=True)
        if self._future is not None and self._future.done():
            try:
                self._take_result(self._future)
            except ShopstreamError as error:
                log.warning("rows not written; they are written again", reason=str(error))
        if self._is_flushed:
            # an open transaction would hide the next owner's rows from readers until its time-out
            self._is_flushed = False
            self._end_transaction()

    def _end(self) -> None:
        """3. Commit the transaction if the fence allows it, and abort it otherwise."""
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
        if self.last_error is not None:
            log.info("Kafka accepts rows again")
        self._going, self._is_flushed, self._tries, self.last_error = [], False, 0, None

    def _again(self, reason: str) -> None:
        self._due_s = time.monotonic() + PAUSES_S[min(self._tries, len(PAUSES_S) - 1)]
        self._tries += 1
        if self.last_error is None and self._tries > len(PAUSES_S):
            log.warning("Kafka accepts no rows; nothing is lost, retrying", reason=reason)
            self.last_error = reason

    # --- in the pool's thread ---

    def _write(self, batches: list[_Batch]) -> None:
        """1. and 2. Write rows to the log.

        Raises:
            _AgainError: the transaction was aborted; it may be retried with the same rows.
            ShopstreamError: the brokers refuse permanently.
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
        """4. Make the rows of the open transaction visible; errors as `_write`."""
        producer = self._producer
        assert producer is not None
        try:
            self._until_answered(lambda: producer.commit_transaction(ANSWER_S))
        except KafkaException as error:
            raise self._failed(error.args[0]) from error

    def _abort(self, reason: str) -> None:
        """End the open transaction without its rows."""
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
                # the brokers check the size of the client's batch, not of the row
                batch.alone.add(position)

        key, line = batch.rows.customer_ids[position], batch.rows.lines[position]
        try:
            enqueue(producer, self._topic, line, key, on_delivery=delivered)
        except KafkaException as error:
            if error.args[0].code() not in TOO_LARGE:
                raise
            batch.rejected[position] = error.args[0].str()

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
        """Return the exception for the caller, after aborting the transaction."""
        message = f"{error.name()}: {error.str()}"
        if error.code() in REFUSALS:
            return ShopstreamError(
                f"Rows cannot be written to {self._topic}: {message}.",
                "Grant the user the permissions in docs/security.md; uncommitted records are read again.",
            )
        if self._producer is None or error.fatal() or error.retriable():
            # a producer that never registered or got no answer is replaced: registering aborts its open transaction
            self._producer = None
        else:
            self._end_transaction()
        return _AgainError(message)

    def _end_transaction(self) -> None:
        producer, self._producer = self._producer, None
        assert producer is not None
        try:
            self._until_answered(lambda: producer.abort_transaction(ANSWER_S))
        except KafkaException as failure:
            log.debug("the transaction was not aborted; it will time out", reason=failure.args[0].str())
        else:
            self._producer = producer


def transactional_config(properties: Mapping[str, Any], transactional_id: str) -> dict[str, Any]:
    """Return `producer_config` for transactions that a later process with the same id ends.

    Raises:
        UsageError: a property would break exactness.
    """
    config = producer_config(properties, transactional_id)
    return {**config, "transactional.id": transactional_id, "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS}

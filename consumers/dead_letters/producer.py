"""Produces dead letters: rejected messages, stored unchanged with the reason in words.

A dead letter must be flushed before the offset of its message is committed. After a crash in between, the topic holds
the same dead letter (same topic, partition, offset) twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka.client import FLUSH_TIMEOUT_S, enqueue, open_producer, producer_config
from connectors.kafka.topic_settings import DEAD_LETTER_BYTES_MAX
from features.errors import ShopstreamError
from features.schema import DEAD_LETTER_TOPIC, topic_name

log = structlog.get_logger("dead-letter")

REASONS_MAX: Final = 200
"""Number of reasons counted separately; further ones are counted together."""
OTHER_REASON: Final = "other"
TOO_LARGE: Final = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}
)
"""Error codes of a message that no retry will get onto its topic."""
CUT_BYTES: Final = 512 * 1024
"""Size to which a value is cut if the topic refuses it for its size."""

_PARTICULARS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(?<!\w)\'(?:[^\'\\]|\\.)*\'(?!\w)|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?')


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected message and the reason.

    Attributes:
        topic: full name of the message's topic.
        partition: partition of the message.
        offset: offset of the message.
        key: key of the message, unchanged.
        value: value of the message, unchanged; None is a null value.
        error: reason in words.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    error: str


def reason_kind(error: str) -> str:
    """Return an error without the details of its message, so that equal kinds count together."""
    return _PARTICULARS.sub("…", error)


class DeadLetters:
    """Writes dead letters of a run.

    Args:
        producer: idempotent producer (from `open_dead_letters`).
        run: name of the run.
    """

    def __init__(self, producer: Producer, run: str) -> None:
        self._producer = producer
        self._topic = topic_name(run, DEAD_LETTER_TOPIC)
        self._failed: list[str] = []
        self.counts: Counter[str] = Counter()
        """Number of dead letters sent, by kind of reason."""

    @property
    def in_flight(self) -> int:
        """Number of dead letters that no broker has acknowledged yet."""
        return len(self._producer)

    def send(self, dead_letter: DeadLetter) -> None:
        """Enqueue a dead letter; it is safe after `flush`."""
        kind = reason_kind(dead_letter.error)
        if kind not in self.counts and len(self.counts) >= REASONS_MAX:
            kind = OTHER_REASON
        self.counts[kind] += 1
        self._produce(dead_letter.key, dead_letter.value, _headers(dead_letter), cut=False)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> None:
        """Wait until every dead letter is acknowledged.

        Raises:
            ShopstreamError: a dead letter could not be delivered; no later offset may be committed.
        """
        left = self._producer.flush(timeout_s)
        if left or self._failed:
            reason = "; ".join(dict.fromkeys(self._failed)) or f"no answer within {timeout_s:.0f} s"
            count = left or len(self._failed)
            raise ShopstreamError(
                f"{count} dead letters could not be written to {self._topic}: {reason}.",
                "Check that Kafka is up and the topic exists; uncommitted records are read again.",
            )

    def close(self) -> None:
        """Flush what can be flushed; log what could not be delivered."""
        try:
            self.flush(10.0)
        except ShopstreamError as error:
            log.warning("dead letters not delivered; their messages are read again", error=str(error))

    def _produce(self, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], *, cut: bool) -> None:
        def on_delivery(error: KafkaError | None, _: Message) -> None:
            if error is None:
                return
            if error.code() in TOO_LARGE and not cut:
                self._produce_cut(key, value, headers)
            else:
                self._failed.append(f"{error.name()}: {error.str()}")

        try:
            enqueue(self._producer, self._topic, value, key, headers=list(headers), on_delivery=on_delivery)
        except KafkaException as error:
            if cut or error.args[0].code() not in TOO_LARGE:
                raise ShopstreamError(f"A dead letter was refused: {error.args[0].str()}.") from error
            self._produce_cut(key, value, headers)
        else:
            self._producer.poll(0)

    def _produce_cut(self, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        size = len(value or b"")
        if size > CUT_BYTES:
            headers = [*headers, ("cut", f"the first {CUT_BYTES} of {size} bytes".encode())]
        self._produce(key and key[:CUT_BYTES], value and value[:CUT_BYTES], headers, cut=True)


def _headers(dead_letter: DeadLetter) -> list[tuple[str, bytes]]:
    return [
        ("error", dead_letter.error.encode(errors="backslashreplace")),
        ("topic", dead_letter.topic.encode()),
        ("partition", str(dead_letter.partition).encode()),
        ("offset", str(dead_letter.offset).encode()),
    ]


def open_dead_letters(properties: Mapping[str, Any], run: str) -> DeadLetters:
    """Return the dead letters of `run` with a separate producer, which accepts values as large as any topic's.

    Raises:
        UsageError: a Kafka property is wrong.
    """
    config = producer_config(properties, name=f"{run}-dead-letter")
    return DeadLetters(open_producer({**config, "message.max.bytes": DEAD_LETTER_BYTES_MAX}), run)

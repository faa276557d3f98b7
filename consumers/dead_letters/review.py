"""Filters, displays and re-validates dead letters.

Pure: dead letters go in, verdicts and text come out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from features.records.decode import decode
from features.schema import CONTACT_FIELDS, SOURCE_TOPICS, Customer, record_fields, topic_name

MASK: Final = "***"
TOO_LATE: Final = "too late"
"""Start of the reason of a late record; its bytes are a valid record."""

_IN_WORD: Final = r"[^\s\"'<>:,;@\\]"
# starts only at a word and never backtracks: a long word without an address is scanned once, not once per character
_ADDRESS: Final = re.compile(rf"(?<!{_IN_WORD}){_IN_WORD}++(?:@{_IN_WORD}++)++")
_HARMLESS: Final = frozenset(field.name for field in record_fields(Customer)) - {*CONTACT_FIELDS}
MessagePosition = tuple[str, int, int]
"""Topic, partition and offset of a dead letter's message: identifies the dead letter."""


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter on its topic.

    Attributes:
        number: offset of the dead letter itself.
        written_ms: time it was written, epoch ms.
        topic: full name of the message's topic, or the index that refused a document.
        partition: partition of the message.
        offset: offset of the message; -1 for a document.
        key: key of the message.
        value: value of the message; None is a null value.
        error: reason in words.
        cut: how much of a cut value was kept; else empty.
    """

    number: int
    written_ms: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    error: str
    cut: str = ""

    @property
    def position(self) -> MessagePosition:
        """Position of the original message."""
        return self.topic, self.partition, self.offset

    @property
    def too_late(self) -> bool:
        """Whether the record is valid but late."""
        return self.error.startswith(TOO_LATE)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Filter of dead letters; a field that is None or empty matches all.

    Attributes:
        numbers: first and last number of the dead letter itself.
        topic: full name of the message's topic.
        partition: partition of the message.
        offsets: first and last offset of the message.
        reason: part of the error, case-insensitive.
        since_ms: earliest time written, epoch ms, inclusive.
        until_ms: latest time written, epoch ms, exclusive.
    """

    numbers: tuple[int, int] | None = None
    topic: str | None = None
    partition: int | None = None
    offsets: tuple[int, int] | None = None
    reason: str = ""
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, dead_letter: StoredDeadLetter) -> bool:
        """Return whether a dead letter matches."""
        return (
            _within(dead_letter.number, self.numbers)
            and self.topic in (None, dead_letter.topic)
            and self.partition in (None, dead_letter.partition)
            and _within(dead_letter.offset, self.offsets)
            and self.reason.casefold() in dead_letter.error.casefold()
            and (self.since_ms is None or dead_letter.written_ms >= self.since_ms)
            and (self.until_ms is None or dead_letter.written_ms < self.until_ms)
        )


def _within(value: int, bounds: tuple[int, int] | None) -> bool:
    return bounds is None or bounds[0] <= value <= bounds[1]


def deduplicate(dead_letters: Iterable[StoredDeadLetter]) -> list[StoredDeadLetter]:
    """Deduplicate the dead letters: after a crash the topic may hold the same one twice."""
    by_position: dict[object, StoredDeadLetter] = {}
    for dead_letter in dead_letters:
        by_position.setdefault(dead_letter.position if dead_letter.offset >= 0 else dead_letter.number, dead_letter)
    return list(by_position.values())


# --- re-validation ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """Dead letters grouped by whether replaying them would succeed.

    Attributes:
        sendable: dead letters whose messages are valid now.
        held: the other dead letters, each with the reason it is held back.
    """

    sendable: tuple[StoredDeadLetter, ...]
    held: tuple[tuple[StoredDeadLetter, str], ...]


def plan_replay(
    dead_letters: Sequence[StoredDeadLetter],
    run: str,
    replayed: Callable[[StoredDeadLetter], bool],
    now_ms: int,
    *,
    late: bool,
) -> ReplayPlan:
    """Decide which dead letters may be replayed, by the consumers' own rules.

    Args:
        dead_letters: dead letters without duplicates.
        run: name of the run.
        replayed: whether a dead letter was replayed before.
        now_ms: append time of the replayed messages, epoch ms.
        late: whether late records may be replayed, because they go elsewhere than to their topic.
    """
    sendable: list[StoredDeadLetter] = []
    held: list[tuple[StoredDeadLetter, str]] = []
    for dead_letter in dead_letters:
        why = _why_held(dead_letter, run, replayed, now_ms, late=late)
        if why:
            held.append((dead_letter, why))
        else:
            sendable.append(dead_letter)
    return ReplayPlan(tuple(sendable), tuple(held))


def _why_held(
    dead_letter: StoredDeadLetter, run: str, replayed: Callable[[StoredDeadLetter], bool], now_ms: int, *, late: bool
) -> str:
    if dead_letter.offset < 0:
        return "a document that Elasticsearch refused: it is written again when its row changes"
    if replayed(dead_letter):
        return "was already replayed"
    if dead_letter.cut:
        return f"only {dead_letter.cut} were kept"
    if dead_letter.too_late and not late:
        return "too late: its topic's event time never decreases, so it would be too late again"
    source = source_of(dead_letter.topic, run)
    if source is None:
        return f"{dead_letter.topic} is a topic of another system: --mapping maps its messages again"
    reason = invalid_reason(source, dead_letter.key, dead_letter.value, now_ms)
    return f"still not valid: {reason}" if reason else ""


def source_of(topic: str, run: str) -> str | None:
    """Return the source topic without the run's name; None for any other topic."""
    return next((source for source in SOURCE_TOPICS if topic_name(run, source) == topic), None)


def invalid_reason(source: str, key: bytes | None, value: bytes | None, now_ms: int) -> str:
    """Return the reason why a message appended now would be invalid; empty if it would be valid."""
    decoded = decode(source, [value], [key], [now_ms])  # type: ignore[call-overload]
    return decoded.rejected[0].reason if decoded.rejected else ""


# --- display ----------------------------------------------------------------------------------------------------------


def readable(dead_letter: StoredDeadLetter, *, contact: bool) -> str:
    """Return the value as text that is safe to show: control characters and broken UTF-8 are escaped.

    Args:
        dead_letter: the dead letter.
        contact: whether to show names and e-mail addresses. Otherwise they are masked, and a profile that is no JSON
            object is not shown.
    """
    if dead_letter.value is None:
        return "null"
    if contact:
        return safe_text(dead_letter.value)
    try:
        parsed = _masked(json.loads(dead_letter.value))
    except (ValueError, RecursionError):
        if dead_letter.topic.endswith(".customers"):
            return (
                f"({len(dead_letter.value)} bytes that are not JSON; they may hold a name, so they are shown on demand)"
            )
        return _ADDRESS.sub(MASK, _without_fields(safe_text(dead_letter.value)))
    if dead_letter.topic.endswith(".customers") and not isinstance(parsed, dict):
        return f"(JSON, but not an object: {len(dead_letter.value)} bytes that may hold a name, shown on demand)"
    if dead_letter.topic.endswith(".customers"):
        # any field may hold a name, except those known to hold none
        parsed = {name: value if name in _HARMLESS else MASK for name, value in parsed.items()}
    return safe_text(json.dumps(parsed, ensure_ascii=False).encode(errors="backslashreplace"))


def safe_text(data: bytes) -> str:
    r"""Return bytes as text without control characters; invalid UTF-8 is escaped as `\xff`."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: MASK if _is_contact(key) and item is not None else _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return _ADDRESS.sub(MASK, value) if isinstance(value, str) else value


def _is_contact(key: str) -> bool:
    return key.casefold().replace("_", "").replace("-", "") in CONTACT_FIELDS


def _without_fields(text: str) -> str:
    either = "|".join(CONTACT_FIELDS)
    return re.sub(rf'("(?:{either})"\s*:\s*)("(?:[^"\\]|\\.)*("|$)|[^,}}]*)', rf"\1{MASK}", text, flags=re.IGNORECASE)

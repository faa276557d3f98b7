"""The words of the bulk sink: documents, bounds, verdicts and outcomes; and how documents become a bulk body."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from features.errors import ShopstreamError

ACTION_BYTES: Final = 80
"""About what an action line takes beside its index and id."""


SLICE_DOCS: Final = 2_500
SLICE_BYTES: Final = 1024 * 1024
"""Of documents that are made slice after slice (`Handover`)."""


class Doc(msgspec.Struct, frozen=True, gc=False):
    """One document to write.

    Attributes:
        index: concrete index.
        id: at most 512 bytes of UTF-8 (`document_id`).
        body: the document as one line of JSON.
        version: external version: written only over a lower one. None: no versions.
        create: written only when there is none with this id; not to be used with a version.
    """

    index: str
    id: str
    body: bytes
    version: int | None = None
    create: bool = False


@dataclass(slots=True)
class Handover:
    """Documents that are made while a sink takes them, slice after slice.

    Attributes:
        docs: those that are still to be made.
        flight: of the rows that they are made of.
        is_made: all of them are made.
        unanswered: slices that were handed over and are not acknowledged.
    """

    docs: Iterator[Doc]
    flight: int
    is_made: bool = False
    unanswered: int = 0

    @property
    def is_done(self) -> bool:
        """All are made and acknowledged."""
        return self.is_made and not self.unanswered

    def next_slice(self, docs_max: int) -> list[Doc]:
        """Makes the next documents: at most `docs_max` and SLICE_DOCS, and no more after SLICE_BYTES."""
        made: list[Doc] = []
        size, docs_max = 0, min(docs_max, SLICE_DOCS)
        while len(made) < docs_max and size < SLICE_BYTES:
            doc = next(self.docs, None)
            if doc is None:
                self.is_made = True
                break
            made.append(doc)
            size += len(doc.body)
        return made


class Verdict(enum.Enum):
    """What an answer means for an item or a request."""

    WRITTEN = "written"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    RETRY = "retry"
    BLOCKED = "blocked"
    """As RETRY, but only a person can end it: a full disk, an index that is read-only, closed or wrongly made."""
    SPLIT = "split"
    """The request as a whole was refused: its halves may pass."""
    FATAL = "fatal"


class SendError(Exception):
    """A request that got no answer for its items.

    Args:
        verdict: RETRY, BLOCKED, SPLIT or FATAL.
        reason: what the server or the network said.
        error: for FATAL: what the user is told.
    """

    def __init__(self, verdict: Verdict, reason: str, error: ShopstreamError | None = None) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason
        self.error = error


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    """The answer for one item: verdict, and for all but WRITTEN the reason in words."""

    verdict: Verdict
    reason: str = ""


Send = Callable[[bytes], Sequence[ItemAnswer] | None]
"""Posts a bulk body; the answer of each item in order, or None when all were written. Called from several threads."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that can never be written: its position in the submitted list, and why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one submission: every document is written, in conflict or rejected.

    Attributes:
        docs: as submitted.
        written: how many were written.
        conflicts: positions of those that a newer or equal version was found for; they count as done.
        rejected: those that can never be written.
        latency_s: from `submit` to the last acknowledgement.
    """

    docs: Sequence[Doc]
    written: int
    conflicts: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    latency_s: float


@dataclass(frozen=True, slots=True)
class SinkStats:
    """Counts since the sink was opened; latencies are of the latest requests, tries included.

    Attributes:
        requests: acknowledged requests.
        written: documents.
        conflicts: documents.
        rejected: documents.
        retries: documents sent again.
        bytes_sent: bodies, before compression.
        latency_p50_ms: of a request.
        latency_p99_ms: of a request.
        trouble: why documents are not taken at the moment, or None.
    """

    requests: int
    written: int
    conflicts: int
    rejected: int
    retries: int
    bytes_sent: int
    latency_p50_ms: float
    latency_p99_ms: float
    trouble: str | None


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Bounds of a sink.

    Attributes:
        connections: requests under way at the same time.
        docs_max: documents of one request.
        bytes_max: bytes of one request (a single larger document goes alone).
        queue_docs_max: documents under way before `submit` waits.
        queue_bytes_max: their bytes.
        pause_s: first pause before another try; doubles, with jitter.
        pause_max_s: longest pause.
    """

    connections: int = 3
    docs_max: int = 2_500
    bytes_max: int = 8 * 1024 * 1024
    queue_docs_max: int = 30_000
    queue_bytes_max: int = 64 * 1024 * 1024
    pause_s: float = 0.2
    pause_max_s: float = 15.0


_QUOTED: Final = msgspec.json.Encoder()


def encode_bulk(docs: Sequence[Doc], positions: Sequence[int]) -> bytes:
    """The bulk body of some documents: an action line and a document line each."""
    heads: dict[tuple[str, bool], bytes] = {}
    quote = _QUOTED.encode
    lines: list[bytes] = []
    for position in positions:
        doc = docs[position]
        head = heads.get((doc.index, doc.create))
        if head is None:
            action = b"create" if doc.create else b"index"
            head = heads[doc.index, doc.create] = b'{"%b":{"_index":%b,"_id":' % (action, quote(doc.index))
        if doc.version is None:
            lines += (head, quote(doc.id), b"}}\n", doc.body, b"\n")
        else:
            tail = b',"version":%d,"version_type":"external"}}\n' % doc.version
            lines += (head, quote(doc.id), tail, doc.body, b"\n")
    return b"".join(lines)

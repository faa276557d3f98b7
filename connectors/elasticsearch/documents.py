"""Types of the bulk sink: documents, bounds, verdicts and outcomes; encodes documents as a bulk body."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from features.errors import ShopstreamError

ACTION_BYTES: Final = 80
"""Approximate size of an action line without its index and id."""


SLICE_DOCS: Final = 2_500
SLICE_BYTES: Final = 1024 * 1024
"""Maximum bytes of documents that are built per slice (`Handover`)."""


class Doc(msgspec.Struct, frozen=True, gc=False):
    """One document to write.

    Attributes:
        index: concrete index.
        id: document id, at most 512 bytes of UTF-8 (`document_id`).
        body: the document as one line of JSON.
        version: external version: overwrites only a lower one. None: no versions.
        create: write only if no document has this id; not combined with a version.
    """

    index: str
    id: str
    body: bytes
    version: int | None = None
    create: bool = False


@dataclass(slots=True)
class Handover:
    """Documents that are built slice by slice while a sink accepts them.

    Attributes:
        docs: documents still to be built.
        batch_id: batch id of the source rows.
        is_built: whether all documents are built.
        unacknowledged: slices handed over and not yet acknowledged.
    """

    docs: Iterator[Doc]
    batch_id: int
    is_built: bool = False
    unacknowledged: int = 0

    @property
    def is_done(self) -> bool:
        """Return whether all documents are built and acknowledged."""
        return self.is_built and not self.unacknowledged

    def next_slice(self, docs_max: int) -> list[Doc]:
        """Build the next documents: at most `docs_max` and SLICE_DOCS, and no more after SLICE_BYTES."""
        docs: list[Doc] = []
        size, docs_max = 0, min(docs_max, SLICE_DOCS)
        while len(docs) < docs_max and size < SLICE_BYTES:
            doc = next(self.docs, None)
            if doc is None:
                self.is_built = True
                break
            docs.append(doc)
            size += len(doc.body)
        return docs


class Verdict(enum.Enum):
    """Meaning of a response for an item or a request."""

    WRITTEN = "written"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    RETRY = "retry"
    BLOCKED = "blocked"
    """As RETRY, but needs an operator: a full disk, or an index that is read-only, closed or wrongly created."""
    SPLIT = "split"
    """The request as a whole was refused. Its halves may succeed."""
    FATAL = "fatal"


class SendError(Exception):
    """Failure of a whole request, without results for its items.

    Args:
        verdict: RETRY, BLOCKED, SPLIT or FATAL.
        reason: message of the server or the network.
        error: for FATAL: error for the user.
    """

    def __init__(self, verdict: Verdict, reason: str, error: ShopstreamError | None = None) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.reason = reason
        self.error = error


@dataclass(frozen=True, slots=True)
class ItemResult:
    """Result of one item: the verdict and, except for WRITTEN, the reason."""

    verdict: Verdict
    reason: str = ""


Send = Callable[[bytes], Sequence[ItemResult] | None]
"""Posts a bulk body. Returns the result of each item in order, or None when all were written. Called from several
threads.
"""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Document that can never be written: position in the submitted list, and reason."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one submission: every document is written, in conflict or rejected.

    Attributes:
        docs: documents as submitted.
        written: number of documents written.
        conflicts: positions of documents with a newer or equal version in the index. They count as done.
        rejected: documents that can never be written.
        latency_s: time from `submit` to the last acknowledgement.
    """

    docs: Sequence[Doc]
    written: int
    conflicts: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    latency_s: float


@dataclass(frozen=True, slots=True)
class SinkStats:
    """Counts since the sink was opened. Latencies cover the latest requests, retries included.

    Attributes:
        requests: acknowledged requests.
        written: documents written.
        conflicts: documents in conflict.
        rejected: documents rejected.
        retries: documents sent again.
        bytes_sent: bytes of bodies, before compression.
        latency_p50_ms: median latency of a request.
        latency_p99_ms: 99th percentile of the latency of a request.
        last_error: reason why documents are refused at the moment, or None.
    """

    requests: int
    written: int
    conflicts: int
    rejected: int
    retries: int
    bytes_sent: int
    latency_p50_ms: float
    latency_p99_ms: float
    last_error: str | None


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """Bounds of a sink.

    Attributes:
        connections: concurrent requests.
        docs_max: documents per request.
        bytes_max: bytes per request (a single larger document is sent alone).
        queue_docs_max: documents in flight before `submit` waits.
        queue_bytes_max: bytes in flight before `submit` waits.
        pause_s: first pause before a retry; doubles, with jitter.
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
    """Encode documents as a bulk body: an action line and a document line each."""
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

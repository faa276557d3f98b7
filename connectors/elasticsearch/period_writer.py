"""Writes results computed for whole periods of an archive: trends and the forecast.

A document's id is derived from its subject, so computing a period again overwrites its documents. Result of a crash
after each step:

1. The period's documents are written. Crash: documents of the new and the former computation are mixed until the period
   is written again.
2. Surplus documents of the former computation (a segment that no longer exists) are removed. Crash: they remain until
   the period is written again.

Two processes that write the same period concurrently leave a mixture: scheduled runs should not overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import polars as pl
from elasticsearch import Elasticsearch

from connectors.elasticsearch.bulk import BulkSink
from connectors.elasticsearch.client import delete_documents, document_id, translate_errors
from connectors.elasticsearch.documents import Doc, Outcome
from connectors.elasticsearch.mappings import write_index
from features.errors import ShopstreamError
from features.schema import TREND_KEYS

DOCS_PER_BATCH: Final = 5_000
PAGE: Final = 10_000
KEEP_ALIVE: Final = "1m"
BLOCKED_S: Final = 10.0
"""Longest time that an index may refuse all documents before the command ends: a scheduled command is unattended."""


@dataclass(frozen=True, slots=True)
class Trend:
    """All documents of an index for one period.

    Attributes:
        index: one of `TREND_KEYS`.
        rows: one row per document. The columns are its fields; nulls are omitted.
        from_ms: first `ts` of the period, epoch ms; None: no lower bound.
        to_ms: end of the period, exclusive; None: no upper bound.
    """

    index: str
    rows: pl.DataFrame
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """Result for an index: documents written, and documents of a former computation removed."""

    index: str
    written: int
    removed: int


def documents(run: str, trend: Trend) -> Iterator[list[Doc]]:
    """Yield the documents of a trend in batches."""
    index, keys = write_index(run, trend.index), TREND_KEYS[trend.index]
    encode = msgspec.json.Encoder().encode
    for part in trend.rows.iter_slices(DOCS_PER_BATCH):
        yield [
            Doc(
                index,
                document_id(*(str(row[key]) for key in keys)),
                encode({name: value for name, value in row.items() if value is not None}),
            )
            for row in part.iter_rows(named=True)
        ]


def replace(
    client: Elasticsearch, sink: BulkSink, run: str, trend: Trend, on_written: Callable[[int], None] = lambda _: None
) -> Replaced:
    """Replace the documents of the trend's period with those of the trend.

    Args:
        client: Elasticsearch client. The template of the index exists.
        sink: bulk sink of the same server.
        run: name of the run.
        trend: documents to write.
        on_written: callback that receives the number of additional documents written.

    Raises:
        ShopstreamError: the server refuses or does not respond, the index accepts no documents, or rejects one as
            invalid.
    """
    ids: set[str] = set()

    def done(outcome: Outcome) -> None:
        if outcome.rejected:
            raise ShopstreamError(
                f"Elasticsearch refuses a document of {write_index(run, trend.index)}: {outcome.rejected[0].reason}.",
                "The index may be of another version: use a new run (`--run NAME`).",
            )
        on_written(len(outcome.docs))

    for docs in documents(run, trend):
        ids.update(doc.id for doc in docs)
        sink.submit(docs, done)
        while not sink.flush(BLOCKED_S):
            if sink.blocked:
                raise ShopstreamError(
                    f"The index {write_index(run, trend.index)} accepts no documents: {sink.last_error}.",
                    "Correct the cause and run the command again. If the index is of another version, use a new run "
                    "(`--run NAME`).",
                )
    index = write_index(run, trend.index)
    with translate_errors(f"The index {index}"):
        removed = _remove_others(client, index, _period(trend), ids)
    return Replaced(trend.index, len(ids), removed)


def _period(trend: Trend) -> dict[str, Any]:
    bounds = {"gte": trend.from_ms, "lt": trend.to_ms}
    return {"range": {"ts": {name: bound for name, bound in bounds.items() if bound is not None}}}


def _remove_others(client: Elasticsearch, index: str, period: dict[str, Any], ids: set[str]) -> int:
    """Remove the documents of a period whose id is not in `ids`. Return their number."""
    if not client.indices.exists(index=index):
        return 0  # the index was never written
    client.indices.refresh(index=index)
    if int(client.count(index=index, query=period)["count"]) == len(ids):
        return 0
    others = [one for page in _pages(client, index, period) for one in page if one not in ids]
    for first in range(0, len(others), DOCS_PER_BATCH):
        delete_documents(client, index, others[first : first + DOCS_PER_BATCH])
    client.indices.refresh(index=index)
    return len(others)


def _pages(client: Elasticsearch, index: str, period: dict[str, Any]) -> Iterator[Sequence[str]]:
    """Yield the ids of a period's documents page by page, as of the first page."""
    reader = client.open_point_in_time(index=index, keep_alive=KEEP_ALIVE)["id"]
    after: list[Any] | None = None
    try:
        while True:
            hits = client.search(
                pit={"id": reader, "keep_alive": KEEP_ALIVE},
                query=period,
                size=PAGE,
                source=False,
                sort=["_shard_doc"],
                track_total_hits=False,
                search_after=after,
            )["hits"]["hits"]
            if not hits:
                return
            yield [hit["_id"] for hit in hits]
            after = hits[-1]["sort"]
    finally:
        client.close_point_in_time(id=reader)

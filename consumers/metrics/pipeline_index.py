"""Writes the documents of `RUN-pipeline` in the background, without blocking the consumers.

The caller passes its measurements and continues; a thread writes them. While Elasticsearch does not answer, the oldest
measurements are dropped. The same thread deletes documents older than the retention: the embedded server has neither
data streams nor a lifecycle.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Self

import elasticsearch
import structlog
from elasticsearch import Elasticsearch

from connectors.elasticsearch.client import delete_documents, document_id
from connectors.elasticsearch.mappings import write_index
from features.errors import ShopstreamError
from features.schema import DAY_MS

log = structlog.get_logger("pipeline")

WAITING_MAX: Final = 60
"""Maximum number of rounds of measurements waiting for Elasticsearch."""
REQUEST_TIMEOUT_S: Final = 10.0
PRUNE_EVERY: Final = 720
"""Number of rounds between two checks for expired documents."""
PRUNE_PAGE: Final = 5_000
PRUNE_PAGES_MAX: Final = 40
"""Maximum number of pages deleted per check, so that it ends."""


class PipelineDocuments:
    """Writes measurements as documents; a context manager.

    Args:
        client: dedicated Elasticsearch client; closed at the end.
        run: name of the run.
        retention_days: retention of the documents, days.
    """

    def __init__(self, client: Elasticsearch, run: str, *, retention_days: float) -> None:
        self._client = client
        self._index = write_index(run, "pipeline")
        self._retention_ms = int(retention_days * DAY_MS)
        self._rounds: queue.Queue[Sequence[dict[str, Any]] | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._write_all, name="pipeline", daemon=True)
        self._failing: set[str] = set()
        """Events of the failures that were logged and last."""
        self.written = 0

    def offer(self, documents: Sequence[dict[str, Any]]) -> None:
        """Enqueue the documents of one moment; return immediately, even if Elasticsearch does not answer."""
        while True:
            try:
                self._rounds.put_nowait(documents)
            except queue.Full:
                try:
                    self._rounds.get_nowait()
                except queue.Empty:
                    continue
            else:
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._put_end()
        self._thread.join(REQUEST_TIMEOUT_S)
        self._client.close()

    def _put_end(self) -> None:
        try:
            self._rounds.put(None, timeout=1.0)
        except queue.Full:
            return  # nothing can be written: the thread ends with the process

    def _write_all(self) -> None:
        rounds = 0
        while (documents := self._rounds.get()) is not None:
            self._attempt("measurements are not written", partial(self._write, documents))
            if rounds % PRUNE_EVERY == 0:
                before_ms = int(documents[0]["at"]) - self._retention_ms
                self._attempt("old measurements are not deleted", partial(self._prune, before_ms))
            rounds += 1

    def _attempt(self, failure: str, action: Callable[[], None]) -> None:
        """Run an action; log its failure once until it succeeds again."""
        try:
            action()
        except ShopstreamError as error:
            if failure not in self._failing:
                log.warning(failure, error=error.message, remedy=error.remedy)
        except (elasticsearch.ApiError, elasticsearch.TransportError) as error:
            if failure not in self._failing:
                log.info(failure, error=str(error)[:300])
        else:
            self._failing.discard(failure)
            return
        self._failing.add(failure)

    def _write(self, documents: Sequence[dict[str, Any]]) -> None:
        operations: list[dict[str, Any]] = []
        for body in documents:
            parts = (body["role"], str(body["worker"]), body["host"], body.get("feature", ""), str(body["at"]))
            operations += [{"index": {"_id": document_id(*parts)}}, body]
        answer = self._client.options(request_timeout=REQUEST_TIMEOUT_S).bulk(index=self._index, operations=operations)
        self.written += sum(item["index"]["status"] < 300 for item in answer["items"])
        refused = next((item["index"]["error"] for item in answer["items"] if "error" in item["index"]), None)
        if refused is not None:
            raise ShopstreamError(f"Elasticsearch refused a measurement: {str(refused.get('reason'))[:300]}.")

    def _prune(self, before_ms: int) -> None:
        client = self._client.options(request_timeout=REQUEST_TIMEOUT_S)
        for _ in range(PRUNE_PAGES_MAX):
            answer = client.search(
                index=self._index,
                query={"range": {"at": {"lt": before_ms}}},
                source=False,
                size=PRUNE_PAGE,
                filter_path="hits.hits._id",
            )
            ids = [hit["_id"] for hit in answer.get("hits", {}).get("hits", [])]
            if not ids:
                return
            delete_documents(client, self._index, ids, refresh=True)

"""Promotes a run: moves the readers' aliases to it, after checking that it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from connectors.elasticsearch import aliases
from connectors.elasticsearch.client import connection, elastic_connection, open_client
from connectors.elasticsearch.mappings import alias, write_index
from connectors.elasticsearch.workspace import copy_documents
from connectors.kafka import admin as kafka_admin
from connectors.kafka.client import consumer_config, open_consumer
from connectors.kafka.offsets import committed, partitions_of
from consumers.checkpoints.inventory import unwritten_rows
from consumers.checkpoints.recovery import CommittedCheckpoint, decode_committed
from consumers.index_definitions import INDICES, run_definitions, workspace_definitions
from features.errors import ShopstreamError
from features.schema import SOURCE_TOPICS, group_name, topic_name
from shopstream import embedded
from shopstream.embedded import Endpoints
from shopstream.jobs import consume as consume_job
from shopstream.settings import Settings

ROLE_TOPICS: Final = {"features": SOURCE_TOPICS, "index": ("events",)}
"""Roles that write documents, and the topics they must have consumed to the end."""
PENDING_SHARE_MAX: Final = 0.05
"""Maximum share of documents that an active run may still have to write; some writes are always in progress."""
POLL_S: Final = 1.0

Positions = Mapping[tuple[str, int], int]
"""(full topic name, partition) -> offset."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Completeness of a run.

    Attributes:
        run: name of the run.
        behind: role -> uncommitted records before the ends of the first measurement.
        pending: rows of the current checkpoints whose documents are not acknowledged.
        active: whether workers of the role `features` are running.
        documents: number of documents by index.
    """

    run: str
    behind: Mapping[str, int]
    pending: int
    active: bool
    documents: Mapping[str, int]

    def missing(self, present: Mapping[str, int]) -> list[str]:
        """Describe what readers would miss; empty if the run is complete.

        Args:
            present: number of documents by index that readers see now.
        """
        reasons = [
            f"its role {role} has {records:,} records of its topics left to consume"
            for role, records in self.behind.items()
            if records
        ]
        bound = int(PENDING_SHARE_MAX * sum(self.documents.values())) if self.active else 0
        if self.pending > bound:
            reasons.append(f"{self.pending:,} rows are not written to Elasticsearch yet")
        # alerts and measurements may be empty; without these a page of the dashboard would be empty
        gone = [index for index in INDICES if present.get(index) and not self.documents.get(index)]
        if gone:
            reasons.append(f"it has no documents in {', '.join(gone)}, where readers find some now")
        return reasons


@dataclass(frozen=True, slots=True)
class RunComparison:
    """What readers of an alias set see now, and what they would see after the promotion.

    Attributes:
        alias_set: name of the alias set, such as `shop`.
        present: run behind the alias set; None if there is none.
        documents: number of documents of the present run, by index.
        next: completeness of the run to promote.
    """

    alias_set: str
    present: str | None
    documents: Mapping[str, int]
    next: Readiness

    @property
    def missing(self) -> list[str]:
        """Descriptions of the data that the run does not have yet."""
        return self.next.missing(self.documents)


def compare(settings: Settings, run: str, state: str, *, wait_s: float = 0.0) -> RunComparison:
    """Compare both runs; if workers are active, wait for the run to promote to be complete.

    Args:
        settings: servers, and the alias set: `settings.run`.
        run: name of the run to promote.
        state: local path or URI of its checkpoints.
        wait_s: maximum wait for completeness while workers are active.

    Raises:
        ShopstreamError: a server does not answer, or there is no such run.
    """
    endpoints = embedded.endpoints(settings)
    definitions = run_definitions(contact=False)
    with open_client(connection(endpoints)) as client:
        present = aliases.run_of_alias_set(client, settings.run)
        before = aliases.count_documents(client, present, definitions) if present else {}
        read_readiness = _readiness_reader(endpoints, client, run, state)
        deadline_s = time.monotonic() + wait_s
        while True:
            comparison = RunComparison(settings.run, present, before, read_readiness())
            if not comparison.missing or not comparison.next.active or time.monotonic() >= deadline_s:
                return comparison
            time.sleep(POLL_S)


def promote(settings: Settings, run: str) -> None:
    """Point the aliases of the alias set `settings.run` to `run`, which takes over what readers of the page wrote.

    A state, note or view that is written in the second between the copy and the move stays with the former run.

    Raises:
        ShopstreamError: Elasticsearch does not answer or refuses, or the run has no indices.
    """
    with open_client(elastic_connection(embedded.elastic_endpoint(settings))) as client:
        before = aliases.run_of_alias_set(client, settings.run)
        if (
            before is not None
            and before != run
            and aliases.aliases_by_index(client, run, run_definitions(contact=False))
        ):
            aliases.install(client, run, workspace_definitions())
            for definition in workspace_definitions():
                copy_documents(client, write_index(before, definition.name), write_index(run, definition.name))
        aliases.promote(client, settings.run, run, run_definitions(contact=False))


def _readiness_reader(endpoints: Endpoints, client: aliases.Client, run: str, state: str) -> Callable[[], Readiness]:
    """Return a function that measures a run; the ends stay those of the start, so that a live run can reach them."""
    kafka = endpoints.kafka.client_properties()
    if not aliases.aliases_by_index(client, run, run_definitions(contact=False)):
        raise ShopstreamError(
            f"Elasticsearch has no run {run}: no index {alias(run, aliases.ANCHOR_INDEX)}-... exists.",
            "`shopstream runs list` lists the runs.",
        )
    known = {topic.topic for topic in kafka_admin.topic_sizes(endpoints.kafka, f"{run}.")}
    absent = [name for name in (topic_name(run, topic) for topic in SOURCE_TOPICS) if name not in known]
    if absent:
        raise ShopstreamError(
            f"Run {run} has no topic {absent[0]}: its completeness is unknown.",
            "Promote it with --force if you are sure that it is complete.",
        )
    ends = {(topic, number): offset for topic, number, offset in consume_job.current_ends(kafka, run)}

    def read_readiness() -> Readiness:
        behind: dict[str, int] = {}
        current: dict[int, CommittedCheckpoint] = {}
        for role, topics in ROLE_TOPICS.items():
            offsets, checkpoints = _committed(kafka, run, role)
            behind[role] = sum(
                max(0, end - offsets.get(where, 0))
                for where, end in ends.items()
                if where[0] in {topic_name(run, topic) for topic in topics}
            )
            if role == "features":
                current = checkpoints
        groups = kafka_admin.group_lags(endpoints.kafka, run)
        return Readiness(
            run,
            behind,
            unwritten_rows(state, run, current),
            any(group.members for group in groups if group.group == group_name(run, "features")),
            aliases.count_documents(client, run, run_definitions(contact=False)),
        )

    return read_readiness


def _committed(kafka: Mapping[str, str], run: str, role: str) -> tuple[Positions, dict[int, CommittedCheckpoint]]:
    """Return a group's offsets, and the checkpoint of each partition that their metadata names."""
    consumer = open_consumer(consumer_config(kafka, group_name(run, role)))
    try:
        partitions = partitions_of(consumer, [topic_name(run, topic) for topic in ROLE_TOPICS[role]])
        commits = committed(consumer, partitions)
    finally:
        consumer.close()
    metadata: dict[int, list[str]] = {}
    for where, (_, text) in commits.items():
        metadata.setdefault(where.partition, []).append(text)
    checkpoints = {number: decode_committed(texts) for number, texts in metadata.items()} if role == "features" else {}
    offsets = {(str(where.topic), int(where.partition)): offset for where, (offset, _) in commits.items()}
    return offsets, {number: one for number, one in checkpoints.items() if one is not None}

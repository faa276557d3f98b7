"""Holds the progress of a role as values: for reports, the pipeline index and the final summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of a role since its start.

    Attributes:
        consumed: messages read.
        valid: records that count; consumed = valid + rejected + late.
        rejected: messages that are not valid records.
        late: valid records that came too late.
        written: documents or rows written.
        duplicates: documents that existed already (a repeated event, or one read again after a restart).
        refused: documents that Elasticsearch refused permanently; each is a dead letter or a line in the log.
        files: Parquet files written.
    """

    consumed: int = 0
    valid: int = 0
    rejected: int = 0
    late: int = 0
    written: int = 0
    duplicates: int = 0
    refused: int = 0
    files: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a role at one moment.

    Attributes:
        role: `index` or `archive`.
        totals: counts since the start.
        lag_records: records of the role's partitions that are not read yet.
        waiting_records: records read, but not yet acknowledged or written.
        retries: documents sent again.
        latency_p50_ms: median latency of a write request.
        latency_p99_ms: 99th percentile latency of a write request.
        trouble: reason why nothing can be written at the moment, or None.
    """

    role: str
    totals: Totals
    lag_records: int
    waiting_records: int
    retries: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class FeaturesProgress:
    """Progress of the role `features` at one moment; counts since its start.

    freshness is the time from a change's append until a search finds it, over the latest documents followed. unsaved_s
    is the age of the oldest change that no checkpoint holds. Retries and latencies are those of Elasticsearch.
    """

    role: str
    consumed: int
    valid: int
    rejected: int
    late: int
    duplicates: int
    applied: int
    customers: int
    stream_ts: int
    lag_records: int
    dirty: int
    rows_written: int
    sessions_written: int
    orders_written: int
    topic_rows_written: int
    refused: int
    checkpoints: int
    checkpoint_age_s: float
    checkpoint_bytes: int
    freshness_p50_ms: float
    freshness_p99_ms: float
    trouble: str | None
    unsaved_s: float = 0.0
    retries: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    alerts_written: int = 0
    bundle: str | None = None
    drift: Mapping[str, float] = field(default_factory=dict)
    """`definitions.DRIFT_PREFIX` and the column -> its population stability index; empty if unknown."""

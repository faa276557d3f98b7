"""Declares the metrics of a worker: the fields of a role's progress, and the figures that the processes add.

Rule of this file: each metric is declared once, next to its field. The metrics endpoint, the documents of
`RUN-pipeline`, `status`, the totals of several workers and the table of the operations guide are derived from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal, get_type_hints

PREFIX: Final = "shopstream_"
"""Prefix of every metric's name."""
DRIFT_PREFIX: Final = "psi."
"""Prefix of a feature's drift in a report: `psi.recency_days`."""
LEFT_OUT_PREFIX: Final = "left_out."
"""Prefix of the number of messages that were left out for one reason: `left_out.tombstone`."""
DROPPED_PREFIX: Final = "dropped."
"""Prefix of the number of optional values that records cannot hold: `dropped.clicks: country: reason`."""
PATH_FILL_PREFIX: Final = "path_fill."
"""Prefix of the share of messages that have a path of a mapping: `path_fill.clicks: userId`."""

Figure = int | float | str | None
"""Value in a report."""
Unit = Literal["", "bytes", "s", "ms", "epoch ms", "1/s"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a worker.

    Attributes:
        kind: a counter only grows while a worker runs, and restarts at 0 with the next worker.
        name: name for Prometheus, without prefix and without a counter's `_total`; empty: not exported.
        help: meaning, as a sentence.
        unit: unit of the reported value; milliseconds are exported as seconds.
        merge: how the values of several workers combine.
        labels: labels that distinguish figures of the same metric.
        index_field: field in the documents of `RUN-pipeline`; empty: none.
        unknown: value that means "not known" and is not shown.
    """

    kind: Literal["counter", "gauge"]
    name: str
    help: str
    unit: Unit = ""
    merge: Literal["sum", "max"] = "sum"
    labels: tuple[tuple[str, str], ...] = ()
    index_field: str = ""
    unknown: float | None = None

    @property
    def exported_name(self) -> str:
        """Full name for Prometheus."""
        return f"{PREFIX}{self.name}{'_total' if self.kind == 'counter' else ''}"

    @property
    def scale(self) -> float:
        """Factor from the reported value to the exported one."""
        return 1e-3 if self.unit in ("ms", "epoch ms") else 1.0


def _counter(name: str, text: str, index_field: str = "", **labels: str) -> Metric:
    return Metric("counter", name, text, labels=tuple(labels.items()), index_field=index_field)


def _written(kind: str) -> Metric:
    return _counter("rows_written", "Documents and rows that were written, by kind.", kind=kind)


def _pending() -> Metric:
    text = "Rows or records that are not written yet; they are written with their newest state."
    return Metric("gauge", "rows_pending", text, index_field="waiting")


def _quantile(name: str, quantile: str, index_field: str, text: str) -> Metric:
    return Metric("gauge", name, text, "ms", "max", (("quantile", quantile),), index_field, unknown=0.0)


_FRESHNESS: Final = "Time from a record's append until a search finds its customer's newest row."
_LATENCY: Final = "Time from sending a bulk request to its last acknowledgement, retries included."


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a role at one moment; counts since its start.

    Attributes:
        role: `features`, `index`, `archive` or `map`.
        last_error: reason why nothing can be written at the moment, or None.
    """

    role: str
    consumed: Annotated[int, _counter("records_read", "Messages read.", "records")] = 0
    valid: Annotated[int, _counter("records_valid", "Records that count; read = valid + rejected + late.", "valid")] = 0
    rejected: Annotated[
        int,
        _counter("records_rejected", "Messages that are not valid records; each is a dead letter.", "rejected"),
    ] = 0
    late: Annotated[
        int, _counter("records_late", "Records that arrived too late to count; each is a dead letter.", "late")
    ] = 0
    duplicates: Annotated[
        int, _counter("records_duplicate", "Records that were applied before: repeated, or read again.", "duplicates")
    ] = 0
    refused: Annotated[
        int, _counter("documents_refused", "Documents that Elasticsearch refused permanently.", "refused")
    ] = 0
    retries: Annotated[int, _counter("documents_retried", "Documents sent again to Elasticsearch.", "retries")] = 0
    lag_records: Annotated[
        int,
        Metric("gauge", "consumer_lag_records", "Unread messages of owned partitions.", index_field="lag_records"),
    ]
    latency_p50_ms: Annotated[float, _quantile("sink_latency_seconds", "0.5", "latency_p50_ms", _LATENCY)] = 0.0
    latency_p99_ms: Annotated[float, _quantile("sink_latency_seconds", "0.99", "latency_p99_ms", _LATENCY)] = 0.0
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyProgress(Progress):
    """Progress of the roles `index` and `archive`, which copy records."""

    written: Annotated[int, _written("records")] = 0
    files: Annotated[int, _counter("files_written", "Parquet files written.")] = 0
    waiting_records: Annotated[int, _pending()]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesProgress(Progress):
    """Progress of the role `features`; freshness is over the latest documents followed."""

    applied: Annotated[int, _counter("records_applied", "Records that changed the state.")]
    rows_written: Annotated[int, _written("customers")]
    sessions_written: Annotated[int, _written("sessions")]
    orders_written: Annotated[int, _written("orders")]
    topic_rows_written: Annotated[int, _written("feature-topic")]
    alerts_written: Annotated[
        int, _counter("alerts_written", "Alerts of a risen churn risk that every sink has acknowledged.", "alerts")
    ] = 0
    dirty: Annotated[int, _pending()]
    customers: Annotated[int, Metric("gauge", "customers", "Customers in the state.")]
    stream_ts: Annotated[
        int,
        Metric(
            "gauge", "event_time_max_seconds", "Highest time of the records, epoch seconds.", "epoch ms", "max",
            index_field="stream_ts", unknown=0.0,
        ),
    ]  # fmt: skip
    freshness_p50_ms: Annotated[float, _quantile("freshness_seconds", "0.5", "freshness_p50_ms", _FRESHNESS)]
    freshness_p99_ms: Annotated[float, _quantile("freshness_seconds", "0.99", "freshness_p99_ms", _FRESHNESS)]
    checkpoints: Annotated[int, _counter("checkpoints", "Checkpoints made and committed.")]
    checkpoint_age_s: Annotated[
        float,
        Metric(
            "gauge", "checkpoint_age_seconds",
            "Age of the oldest of the partitions' current checkpoints; grows while nothing changes.", "s", "max",
            index_field="checkpoint_age_s",
        ),
    ]  # fmt: skip
    unsaved_s: Annotated[
        float,
        Metric(
            "gauge", "uncheckpointed_seconds", "Age of the oldest change that no checkpoint holds; 0 without one.",
            "s", "max", index_field="unsaved_s",
        ),
    ] = 0.0  # fmt: skip
    checkpoint_bytes: Annotated[
        int,
        Metric(
            "gauge", "checkpoint_bytes", "Bytes that the last checkpoint wrote.", "bytes",
            index_field="checkpoint_bytes",
        ),
    ]  # fmt: skip
    bundle: str | None = None
    drift: Mapping[str, float] = field(default_factory=dict)
    """`DRIFT_PREFIX` and the column -> its population stability index; empty if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapProgress(Progress):
    """Progress of the role `map`; read = valid + left out + rejected."""

    left_out: Annotated[int, _counter("", "Messages that are no records by a rule of a mapping.")] = 0
    behind: Annotated[
        int,
        _counter(
            "events_behind",
            "Events more than 48 hours older than an earlier record of their partition: they may be too late.",
        ),
    ] = 0
    left_out_by: Mapping[str, int] = field(default_factory=dict)
    """`LEFT_OUT_PREFIX` and the reason -> number of messages."""
    dropped: Annotated[int, _counter("", "Optional values that records cannot hold: the records are without them.")] = 0
    dropped_by: Mapping[str, int] = field(default_factory=dict)
    """`DROPPED_PREFIX`, mapping, path and reason -> number of values."""
    path_fill: Mapping[str, float] = field(default_factory=dict)
    """`PATH_FILL_PREFIX`, mapping and path -> share of the last messages that have it."""
    written: Annotated[int, _written("records")] = 0
    waiting_records: Annotated[int, _pending()]
    stream_ts: int = 0
    """Highest time of the records, epoch ms."""


_ADDED: Final[Mapping[str, Metric]] = {
    "memory_bytes": Metric(
        "gauge", "memory_bytes", "Resident memory of the worker's process.", "bytes",
        index_field="memory_bytes", unknown=0.0,
    ),
    "records_per_s": Metric("gauge", "", "Messages read a second.", "1/s", index_field="records_per_s"),
    "rows_per_s": Metric("gauge", "", "Documents and rows written a second.", "1/s", index_field="documents_per_s"),
    "restarts": _counter("worker_restarts", "Restarts of the worker's process.", "restarts"),
    "up": Metric("gauge", "worker_up", "Whether the worker runs."),
    "blocked": Metric("gauge", "sink_blocked", "Whether an error prevents the worker from writing."),
    "report_age_s": Metric(
        "gauge", "worker_last_report_age_seconds", "Age of the worker's last report, which its loop sends.", "s", "max"
    ),
    "partitions_owned": Metric("gauge", "partitions_owned", "Partitions that the group has assigned to the worker."),
}  # fmt: skip
"""Figures that the worker's process and its parent add to the role's progress."""


def _declared(kind: type) -> dict[str, Metric]:
    hints = get_type_hints(kind, include_extras=True)
    return {name: metric for name, hint in hints.items() for metric in getattr(hint, "__metadata__", ())}


METRICS: Final[Mapping[str, Metric]] = {
    **_declared(CopyProgress), **_declared(MapProgress), **_declared(FeaturesProgress), **_ADDED,
}  # fmt: skip
"""Every metric of every role by its figure; a role reports those that it has."""
PREFIXED_METRICS: Final[Mapping[str, tuple[str, Metric]]] = {
    DRIFT_PREFIX: (
        "feature",
        Metric(
            "gauge", "drift_psi",
            "Distance of a feature from the model's training data (population stability index).", merge="max",
        ),
    ),
    LEFT_OUT_PREFIX: (
        "reason", _counter("messages_left_out", "Messages that are no records by a rule of a mapping, by reason.")
    ),
    DROPPED_PREFIX: (
        "value",
        _counter("values_dropped", "Optional values that records cannot hold, by mapping, path and reason."),
    ),
    PATH_FILL_PREFIX: (
        "path",
        Metric(
            "gauge", "mapping_path_fill",
            "Share of the last 10,000 messages of the worker that have a path of the mapping.", merge="max",
        ),
    ),
}  # fmt: skip
"""Prefix of figures -> label that distinguishes them, and their metric: the rest of a figure's name is the label."""


def metric_of(figure: str) -> Metric | None:
    """Return the metric of a figure, with its labels; None if it has none."""
    if figure in METRICS:
        return METRICS[figure]
    for prefix, (label, metric) in PREFIXED_METRICS.items():
        if figure.startswith(prefix):
            return replace(metric, labels=((label, figure.removeprefix(prefix)),))
    return None

"""Defines a worker's metrics: meaning, unit, and the name of each in every output.

Rule of this file: each metric is defined once. The metrics endpoint, the documents of `RUN-pipeline`, `status` and the
table of the operations guide are derived from it. A metric added here therefore appears in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from consumers.metrics.prometheus import Figure
from features.schema import Field, FieldKind

PREFIX: Final = "shopstream_"
"""Prefix of every metric's name."""
DRIFT_PREFIX: Final = "psi."
"""Prefix of a feature's drift in a report: `psi.recency_days`."""

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """One metric of a worker.

    Attributes:
        figure: name in a report; a field of a role's progress, or one that the parent process adds.
        kind: a counter only grows while a worker runs, and restarts at 0 with the next worker.
        metric: name for Prometheus, without prefix and without a counter's `_total`; empty: not exported.
        help: meaning, as a sentence.
        labels: labels that distinguish figures of the same metric.
        scale: factor from the figure's unit to the metric's (milliseconds to seconds).
        field: field in the documents of `RUN-pipeline`; empty: none.
        field_kind: kind of that field.
        unknown: value that means "not known" and is not shown.
    """

    figure: str
    kind: Kind
    metric: str
    help: str
    labels: tuple[tuple[str, str], ...] = ()
    scale: float = 1.0
    field: str = ""
    field_kind: FieldKind = "int"
    unknown: float | None = None


def _counter(figure: str, metric: str, text: str, field: str = "", **labels: str) -> MetricDefinition:
    return MetricDefinition(figure, "counter", metric, text, labels=tuple(labels.items()), field=field)


def _quantile(figure: str, metric: str, quantile: str, text: str) -> MetricDefinition:
    labels = (("quantile", quantile),)
    return MetricDefinition(figure, "gauge", metric, text, labels, 1e-3, figure, "float", unknown=0.0)


def _written(figure: str, kind: str) -> MetricDefinition:
    return _counter(figure, "rows_written", "Documents and rows that were written, by kind.", kind=kind)


_FRESHNESS: Final = "From a record's append to its customer's newest row being found by a search."
_LATENCY: Final = "From sending a bulk request to its last acknowledgement, tries included."
_WAITING: Final = "Rows or records that wait to be written; they are written with their newest state."

MEASURES: Final[tuple[MetricDefinition, ...]] = (
    _counter("consumed", "records_read", "Messages read.", "records"),
    _counter("valid", "records_valid", "Records that count; read = valid + rejected + late.", "valid"),
    _counter("rejected", "records_rejected", "Messages that are not valid records; each is a dead letter.", "rejected"),
    _counter("late", "records_late", "Records that came too late to count; each is a dead letter.", "late"),
    _counter(
        "duplicates", "records_repeated", "Records that were there already: repeated, or read again.", "duplicates"
    ),
    _counter("applied", "records_applied", "Records that changed the state."),
    _written("rows_written", "customers"),
    _written("sessions_written", "sessions"),
    _written("orders_written", "orders"),
    _written("topic_rows_written", "feature-topic"),
    _written("written", "records"),
    _counter("refused", "documents_refused", "Documents that Elasticsearch refused for good.", "refused"),
    _counter("alerts_written", "alerts_written", "Alerts about customers whose churn risk rose.", "alerts"),
    _counter("files", "files_written", "Parquet files written."),
    _counter("retries", "documents_retried", "Documents sent again to Elasticsearch.", "retries"),
    MetricDefinition(
        "lag_records", "gauge", "lag_records", "Messages of its partitions not read yet.", field="lag_records"
    ),
    MetricDefinition("dirty", "gauge", "rows_waiting", _WAITING, field="waiting"),
    MetricDefinition("waiting_records", "gauge", "rows_waiting", _WAITING, field="waiting"),
    MetricDefinition("customers", "gauge", "customers", "Customers in the state."),
    MetricDefinition(
        "stream_ts", "gauge", "stream_time_seconds", "Highest time of the records, epoch seconds.",
        scale=1e-3, field="stream_ts", field_kind="time", unknown=0.0,
    ),
    _quantile("freshness_p50_ms", "freshness_seconds", "0.5", _FRESHNESS),
    _quantile("freshness_p99_ms", "freshness_seconds", "0.99", _FRESHNESS),
    _quantile("latency_p50_ms", "sink_latency_seconds", "0.5", _LATENCY),
    _quantile("latency_p99_ms", "sink_latency_seconds", "0.99", _LATENCY),
    _counter("alerts_written", "alerts", "Alerts of risen churn risk that every sink has."),
    _counter("checkpoints", "checkpoints", "Checkpoints made and committed."),
    MetricDefinition(
        "checkpoint_age_s", "gauge", "checkpoint_age_seconds",
        "Age of the oldest of the newest checkpoints; grows while nothing changes.",
        field="checkpoint_age_s", field_kind="float",
    ),
    MetricDefinition(
        "unsaved_s", "gauge", "unsaved_seconds", "Age of the oldest change that no checkpoint holds; 0: all are held.",
        field="unsaved_s", field_kind="float",
    ),
    MetricDefinition(
        "checkpoint_bytes", "gauge", "checkpoint_bytes", "Size of what the last checkpoint wrote.",
        field="checkpoint_bytes",
    ),
    MetricDefinition(
        "memory_bytes", "gauge", "memory_bytes", "Resident memory of the worker's process.",
        field="memory_bytes", unknown=0.0,
    ),
    MetricDefinition(
        "records_per_s", "gauge", "", "Messages read a second, lately.", field="records_per_s", field_kind="float"
    ),
    MetricDefinition(
        "rows_per_s", "gauge", "", "Documents and rows written a second, lately.",
        field="documents_per_s", field_kind="float",
    ),
    _counter("restarts", "worker_restarts", "How often the worker's process was started again.", "restarts"),
)  # fmt: skip
"""Every metric of every role; a role reports those that it has."""

WRITTEN: Final = ("written", "rows_written", "sessions_written", "orders_written")
"""Counters of the documents and rows written; rows of the feature topic repeat the customers' rows."""

PIPELINE_FIELDS: Final[tuple[Field, ...]] = (
    Field("at", "time", required=True),
    Field("role", "string", required=True),
    Field("worker", "int", required=True),
    Field("host", "string", required=True),
    Field("state", "string"),
    Field("trouble", "string"),
    Field("topic", "string"),
    Field("partition", "int"),
    Field("bundle", "string"),
    Field("documents", "int"),
    *{m.field: Field(m.field, m.field_kind) for m in MEASURES if m.field}.values(),
    Field("feature", "string"),
    Field("psi", "float"),
)
"""Fields of a document of `RUN-pipeline`: the status of a worker. `at` is the only wall-clock field of any index.

A document with `feature` holds the drift of that feature from the model's training data (`psi`).
"""


def rows_of(figures: Mapping[str, Figure]) -> int:
    """Return the number of documents and rows that a worker has written."""
    return sum(int(figures.get(name) or 0) for name in WRITTEN)


def readings(figures: Mapping[str, Figure]) -> Iterator[tuple[MetricDefinition, float]]:
    """Yield each defined metric that the report contains, with its reported value."""
    for measure in MEASURES:
        value = figures.get(measure.figure)
        if isinstance(value, int | float) and value != measure.unknown:
            yield measure, value


def drifts(figures: Mapping[str, Figure]) -> Iterator[tuple[str, float]]:
    """Yield each feature with a reported drift, and its population stability index."""
    for name, value in figures.items():
        if name.startswith(DRIFT_PREFIX) and isinstance(value, int | float):
            yield name.removeprefix(DRIFT_PREFIX), value


def pipeline_documents(
    figures: Mapping[str, Figure], *, role: str, worker: int, host: str, state: str, trouble: str | None, at_ms: int
) -> list[dict[str, Any]]:
    """Return the documents of one worker at one moment: its status, and one per feature with a known drift.

    Args:
        figures: reported metrics, with those that the parent process adds.
        role: role of the worker.
        worker: number of the worker.
        host: name of the worker's machine.
        state: stage of the worker.
        trouble: error that the worker currently has.
        at_ms: wall clock, epoch ms.
    """
    whose = {"at": at_ms, "role": role, "worker": worker, "host": host}
    document = {**whose, "state": state, "documents": rows_of(figures)}
    if trouble:
        document["trouble"] = trouble
    if figures.get("bundle"):
        document["bundle"] = figures["bundle"]
    for measure, value in readings(figures):
        document[measure.field] = int(value) if measure.field_kind in ("int", "time") else round(float(value), 3)
    document.pop("", None)
    return [document, *({**whose, "feature": name, "psi": round(psi, 6)} for name, psi in drifts(figures))]

"""Declares the pipeline board: throughput, freshness of the documents, and drift of the model's features."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import PIPELINE
from dashboards.conditions import Ago, Exists, Where
from dashboards.panels import Control, Dashboard, Measure, Panel, Position, ReferenceLine, Terms, Time
from features.schema import SECOND_MS

LATELY_MS: Final = 300 * SECOND_MS

_LATELY: Final[Where] = (Ago("at", after_ms=LATELY_MS),)
_WORKERS: Final[Where] = (Exists("state"),)
"""Measurements of workers. All others are drift measurements."""
_ROLE: Final = Terms("Role", "role", 5)
_FRESH_P50: Final = Measure("p50", "avg", "freshness_p50_ms", unit="milliseconds")
_FRESH_P99: Final = Measure("p99", "max", "freshness_p99_ms", unit="milliseconds")
_DRIFT_LINES: Final = (ReferenceLine("Stable below", 0.1), ReferenceLine("Drifted above", 0.25))

PIPELINE_BOARD: Final = Dashboard(
    "pipeline",
    "Pipeline",
    "Whether the pipeline is healthy, the data is fresh, and the model still fits.",
    days=1,
    controls=(Control("Role", "role", PIPELINE),),
    panels=(
        Panel(
            "pipeline-lag", "Consumer lag", "Unread messages of the slowest worker, in the last 5 minutes.",
            PIPELINE, "metric", Position(0, 0, 12, 6),
            (Measure("Messages", "max", "lag_records", _LATELY),),
        ),
        Panel(
            "pipeline-fresh", "Freshness (p99)", "Time from a record to its searchable row, in the last 5 minutes.",
            PIPELINE, "metric", Position(12, 0, 12, 6),
            (Measure("Freshness", "max", "freshness_p99_ms", _LATELY, "milliseconds"),),
        ),
        Panel(
            "pipeline-letters", "Rejected records", "Highest count of a worker since it started.",
            PIPELINE, "metric", Position(24, 0, 12, 6), (Measure("Rejected (max per worker)", "max", "rejected"),),
        ),
        Panel(
            "pipeline-drift", "Feature drift (max PSI)",
            "Population stability index: below 0.1 is stable, above 0.25 has drifted.",
            PIPELINE, "metric", Position(36, 0, 12, 6), (Measure("PSI", "max", "psi", unit="number"),),
            reference_lines=_DRIFT_LINES,
        ),
        Panel(
            "pipeline-rates", "Messages/s read", "Average per worker.",
            PIPELINE, "line", Position(0, 6, 24, 12),
            (Measure("Messages/s", "avg", "records_per_s", unit="per_second"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-documents", "Documents/s written", "Average per worker.",
            PIPELINE, "line", Position(24, 6, 24, 12),
            (Measure("Documents/s", "avg", "documents_per_s", unit="per_second"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-lag-trend", "Consumer lag over time", "Unread messages of the slowest worker.",
            PIPELINE, "line", Position(0, 18, 24, 12),
            (Measure("Messages", "max", "lag_records"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-freshness", "Freshness over time", "Time from a record to its searchable row.",
            PIPELINE, "line", Position(24, 18, 24, 12), (_FRESH_P50, _FRESH_P99), (Time("Time", "at"),),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-workers", "Workers", "Highest figures of the period, in the latest state of each worker.",
            PIPELINE, "table", Position(0, 30, 48, 12),
            (
                Measure("Last heard", "max", "at", unit="time"),
                Measure("Read", "max", "records"),
                Measure("Rejected", "max", "rejected"),
                Measure("Late", "max", "late"),
                Measure("Rejected by Elasticsearch", "max", "refused"),
                Measure("Retries", "max", "retries"),
                Measure("Restarts", "max", "restarts"),
                Measure("Memory", "max", "memory_bytes", unit="bytes"),
                Measure("Checkpoint age", "max", "checkpoint_age_s", _LATELY, "seconds"),
            ),
            (
                _ROLE,
                Terms("Worker", "worker", 20, numeric=True),
                Terms("State", "state", 1, by="Last heard"),
            ),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-waiting", "Write queue", "Rows of a worker that wait for Elasticsearch.",
            PIPELINE, "area", Position(0, 42, 24, 12),
            (Measure("Rows", "max", "waiting"),), (Time("Time", "at"), _ROLE), where=_WORKERS,
        ),
        Panel(
            "pipeline-features", "Drift by feature",
            "Population stability index (PSI) against the training data.",
            PIPELINE, "bar_horizontal", Position(24, 42, 24, 12),
            (Measure("PSI", "max", "psi", unit="number"),),
            (Terms("Feature", "feature", 20, by="PSI"),), where=(Exists("psi"),),
            reference_lines=_DRIFT_LINES,
        ),
    ),
)  # fmt: skip

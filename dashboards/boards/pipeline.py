"""Declares the pipeline board: throughput, freshness of the documents, and drift of the model's features."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import PIPELINE
from dashboards.conditions import Ago, Exists, Where
from dashboards.panels import Control, Dashboard, Measure, Panel, Position, Terms, Time
from features.schema import SECOND_MS

LATELY_MS: Final = 300 * SECOND_MS

_LATELY: Final[Where] = (Ago("at", after_ms=LATELY_MS),)
_WORKERS: Final[Where] = (Exists("state"),)
"""Measurements of workers. All others are drift measurements."""
_ROLE: Final = Terms("Role", "role", 5)
_FRESH_P50: Final = Measure("Median", "avg", "freshness_p50_ms", unit="milliseconds")
_FRESH_P99: Final = Measure("99th percentile", "max", "freshness_p99_ms", unit="milliseconds")

PIPELINE_BOARD: Final = Dashboard(
    "pipeline",
    "Pipeline",
    "Does the system keep up, how fresh are the documents, and does the model still fit?",
    days=1,
    controls=(Control("Role", "role", PIPELINE),),
    panels=(
        Panel(
            "pipeline-lag", "Lag", "How many messages is the slowest worker behind?",
            PIPELINE, "metric", Position(0, 0, 12, 6),
            (Measure("Messages, last 5 minutes", "max", "lag_records", _LATELY),),
        ),
        Panel(
            "pipeline-fresh", "Freshness", "How old is a record when a search finds its row?",
            PIPELINE, "metric", Position(12, 0, 12, 6),
            (Measure("99th percentile, last 5 minutes", "max", "freshness_p99_ms", _LATELY, "milliseconds"),),
        ),
        Panel(
            "pipeline-letters", "Dead letters", "How many records were rejected?",
            PIPELINE, "metric", Position(24, 0, 12, 6), (Measure("Rejected, highest of a worker", "max", "rejected"),),
            note="Since the worker started.",
        ),
        Panel(
            "pipeline-drift", "Drift", "How far has the most shifted feature moved?",
            PIPELINE, "metric", Position(36, 0, 12, 6), (Measure("Highest index", "max", "psi", unit="number"),),
            note="Population stability index: below 0.1 is stable, above 0.25 is a large shift.",
        ),
        Panel(
            "pipeline-rates", "Messages read per second", "How fast are topics read?",
            PIPELINE, "line", Position(0, 6, 24, 12),
            (Measure("Mean of a worker", "avg", "records_per_s", unit="per_second"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-documents", "Documents written per second", "How fast are documents written?",
            PIPELINE, "line", Position(24, 6, 24, 12),
            (Measure("Mean of a worker", "avg", "documents_per_s", unit="per_second"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-lag-trend", "Lag over time", "Does it keep up?",
            PIPELINE, "line", Position(0, 18, 24, 12),
            (Measure("Highest of a worker", "max", "lag_records"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-freshness", "Freshness over time", "How long from a record to its row in a search?",
            PIPELINE, "line", Position(24, 18, 24, 12), (_FRESH_P50, _FRESH_P99), (Time("Time", "at"),),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-workers", "Workers", "Which workers have problems?",
            PIPELINE, "table", Position(0, 30, 48, 12),
            (
                Measure("Last report", "max", "at", unit="time"),
                Measure("Read", "max", "records"),
                Measure("Rejected", "max", "rejected"),
                Measure("Late", "max", "late"),
                Measure("Refused", "max", "refused"),
                Measure("Retries", "max", "retries"),
                Measure("Restarts", "max", "restarts"),
                Measure("Memory", "max", "memory_bytes", unit="bytes"),
                Measure("Checkpoint age", "max", "checkpoint_age_s", _LATELY, "seconds"),
            ),
            (_ROLE, Terms("Worker", "worker", 20, numeric=True)),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-waiting", "Pending rows", "Does Elasticsearch keep up with what changes?",
            PIPELINE, "area", Position(0, 42, 24, 12),
            (Measure("Rows of a worker", "max", "waiting"),), (Time("Time", "at"), _ROLE), where=_WORKERS,
        ),
        Panel(
            "pipeline-features", "Drift by feature", "Which features differ from the training data?",
            PIPELINE, "bar_horizontal", Position(24, 42, 24, 12),
            (Measure("Stability index", "max", "psi", unit="number"),),
            (Terms("Feature", "feature", 20, by="Stability index"),), where=(Exists("psi"),),
        ),
    ),
)  # fmt: skip

"""Declares the pipeline board: throughput, freshness of the documents, and drift of the model's features."""

from __future__ import annotations

from typing import Final

from dashboards.boards.data import PIPELINE
from dashboards.conditions import Ago, Exists, Where
from dashboards.panels import Control, Dashboard, Measure, Panel, Place, Terms, Time
from features.schema import SECOND_MS

LATELY_MS: Final = 300 * SECOND_MS

_LATELY: Final[Where] = (Ago("at", after_ms=LATELY_MS),)
_WORKERS: Final[Where] = (Exists("state"),)
"""Measurements of workers. All others are drift measurements."""
_ROLE: Final = Terms("Role", "role", 5)
_FRESH_P50: Final = Measure("half within", "avg", "freshness_p50_ms", unit="milliseconds")
_FRESH_P99: Final = Measure("99 in 100 within", "max", "freshness_p99_ms", unit="milliseconds")

PIPELINE_BOARD: Final = Dashboard(
    "pipeline",
    "Pipeline",
    "Does the system keep up, how fresh is what is shown, and does the model still fit?",
    days=1,
    controls=(Control("Role", "role", PIPELINE),),
    panels=(
        Panel(
            "pipeline-lag", "Lag", "How many messages is the worker behind that is most behind?",
            PIPELINE, "metric", Place(0, 0, 12, 6),
            (Measure("Messages, last 5 minutes", "max", "lag_records", _LATELY),),
        ),
        Panel(
            "pipeline-fresh", "Freshness", "How old is a record when its row can be found?",
            PIPELINE, "metric", Place(12, 0, 12, 6),
            (Measure("99 in 100, last 5 minutes", "max", "freshness_p99_ms", _LATELY, "milliseconds"),),
        ),
        Panel(
            "pipeline-letters", "Dead letters", "How many records did not count?",
            PIPELINE, "metric", Place(24, 0, 12, 6), (Measure("Rejected, most of a worker", "max", "rejected"),),
            note="Since the worker started.",
        ),
        Panel(
            "pipeline-drift", "Drift", "How far has the feature moved that has moved most?",
            PIPELINE, "metric", Place(36, 0, 12, 6), (Measure("Highest index", "max", "psi", unit="number"),),
            note="Population stability index: below 0.1 nothing has moved, above 0.25 much has.",
        ),
        Panel(
            "pipeline-rates", "Messages read a second", "How fast are topics read?",
            PIPELINE, "line", Place(0, 6, 24, 12),
            (Measure("Mean of a worker", "avg", "records_per_s", unit="per_second"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-documents", "Documents written a second", "And how fast is written?",
            PIPELINE, "line", Place(24, 6, 24, 12),
            (Measure("Mean of a worker", "avg", "documents_per_s", unit="per_second"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-lag-trend", "Lag over time", "Does it keep up?",
            PIPELINE, "line", Place(0, 18, 24, 12),
            (Measure("Highest of a worker", "max", "lag_records"),), (Time("Time", "at"), _ROLE),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-freshness", "Freshness over time", "How long from a record to its row in a search?",
            PIPELINE, "line", Place(24, 18, 24, 12), (_FRESH_P50, _FRESH_P99), (Time("Time", "at"),),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-workers", "Workers", "Who is in trouble?",
            PIPELINE, "table", Place(0, 30, 48, 12),
            (
                Measure("Last word", "max", "at", unit="time"),
                Measure("Read", "max", "records"),
                Measure("Rejected", "max", "rejected"),
                Measure("Late", "max", "late"),
                Measure("Refused", "max", "refused"),
                Measure("Sent again", "max", "retries"),
                Measure("Restarts", "max", "restarts"),
                Measure("Memory", "max", "memory_bytes", unit="bytes"),
                Measure("Checkpoint age", "max", "checkpoint_age_s", _LATELY, "seconds"),
            ),
            (_ROLE, Terms("Worker", "worker", 20, numeric=True)),
            where=_WORKERS,
        ),
        Panel(
            "pipeline-waiting", "Rows that wait", "Does Elasticsearch keep up with what changes?",
            PIPELINE, "area", Place(0, 42, 24, 12),
            (Measure("Rows of a worker", "max", "waiting"),), (Time("Time", "at"), _ROLE), where=_WORKERS,
        ),
        Panel(
            "pipeline-features", "Drift by feature", "Which features have moved from what the model was trained on?",
            PIPELINE, "bar_horizontal", Place(24, 42, 24, 12),
            (Measure("Stability index", "max", "psi", unit="number"),),
            (Terms("Feature", "feature", 20, by="Stability index"),), where=(Exists("psi"),),
        ),
    ),
)  # fmt: skip

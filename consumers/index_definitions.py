"""Defines the indices of a run: of its consumers, of the trends of an archive, and of the readers of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from connectors.elasticsearch.mappings import IndexDefinition
from consumers.metrics.reports import PIPELINE_FIELDS
from features.schema import (
    COHORT_FIELDS,
    CONTACT_FIELDS,
    FORECAST_FIELDS,
    MOVEMENT_FIELDS,
    ORDER_FIELDS,
    ORDER_ITEM_FIELDS,
    SECOND_ORDER_FIELDS,
    SEGMENT_DAY_FIELDS,
    SESSION_FIELDS,
    Customer,
    Event,
    Field,
    record_fields,
)
from features.scores.alerts import ALERT_FIELDS
from features.scores.score import SCORED_ROW_FIELDS
from features.workspace import WORKSPACE_FIELDS


def index_definitions(customer_columns: Sequence[Field], *, contact: bool = False) -> tuple[IndexDefinition, ...]:
    """Return every index of a run that consumers write.

    Args:
        customer_columns: fields of a `customers` document in addition to the profile
            (`features.scores.score.SCORED_ROW_FIELDS`, `version`). A field of both is included once.
        contact: whether to map name and e-mail; without it a document with these fields is refused.
    """
    profile = tuple(f for f in record_fields(Customer) if contact or f.name not in CONTACT_FIELDS)
    profile_names = {f.name for f in profile}
    customers = (*profile, *(f for f in customer_columns if f.name not in profile_names))
    return (
        IndexDefinition("events", record_fields(Event), monthly=True),
        IndexDefinition("customers", customers),
        IndexDefinition("sessions", SESSION_FIELDS),
        IndexDefinition("orders", ORDER_FIELDS, monthly=True),
        IndexDefinition("order-items", ORDER_ITEM_FIELDS, monthly=True),
        IndexDefinition("alerts", ALERT_FIELDS),
        IndexDefinition("pipeline", PIPELINE_FIELDS),
    )


def trend_definitions() -> tuple[IndexDefinition, ...]:
    """Return the indices of a run that are computed from an archive; no consumer writes them."""
    return (
        IndexDefinition("segments-daily", SEGMENT_DAY_FIELDS, trend=True),
        IndexDefinition("cohorts", COHORT_FIELDS, trend=True),
        IndexDefinition("second-orders", SECOND_ORDER_FIELDS, trend=True),
        IndexDefinition("movement", MOVEMENT_FIELDS, trend=True),
        IndexDefinition("forecast", FORECAST_FIELDS, trend=True),
    )


def workspace_definitions() -> tuple[IndexDefinition, ...]:
    """Return the indices that readers of the page write: states of the work list, notes, saved views.

    They exist from the run's start, so that the page needs no permission to create an index.
    """
    return tuple(IndexDefinition(name, fields) for name, fields in WORKSPACE_FIELDS.items())


def run_definitions(*, contact: bool) -> tuple[IndexDefinition, ...]:
    """Return every index of a run: of its consumers, of the trends of an archive, and of the readers of the page."""
    written = index_definitions((*SCORED_ROW_FIELDS, Field("version", "int", required=True)), contact=contact)
    return (*written, *trend_definitions(), *workspace_definitions())


INDICES: Final = ("events", "customers", "sessions", "orders", "order-items")

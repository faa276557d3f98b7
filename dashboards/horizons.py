"""Names the horizon of the churn scores that panels show, from the bundles of their documents.

A score is the probability of no order within the horizon of its bundle. The declarations name no horizon, because each
bundle has its own: `train --horizon 60`. The live page reads it from the documents. A file for Kibana cannot, so its
texts stay as they are declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dashboards.boards.data import ALERTS, CHURN_LABELS, CUSTOMERS, SEGMENT_DAYS, WITHIN_HORIZON
from dashboards.conditions import AtLeast, Exists, Where, dsl
from dashboards.panels import Dashboard, Panel
from dashboards.queries import TIMEOUT
from features.scores.horizon import horizon_words
from features.scores.score import BUNDLE_FIELD

_SCORED: Final[Mapping[str, Where]] = {
    CUSTOMERS.index: (Exists("churn_probability"),),
    ALERTS.index: (Exists("churn_probability"),),
    SEGMENT_DAYS.index: (AtLeast("churn_customers", 1),),
}
"""Index with churn scores -> the documents that have one."""
_NO_AGE: Final = 0
"""The conditions have no age."""
BUNDLES_MAX: Final = 1_000
"""Most bundles of an index. With more of them, no horizon is named."""


@dataclass(frozen=True, slots=True)
class Horizons:
    """The horizons of the churn scores of each index.

    Attributes:
        days: index -> its horizons in words: `90 days`, `60 or 90 days`. An index without a known one is missing.
    """

    days: Mapping[str, str] = field(default_factory=dict)

    def of(self, index: str) -> str:
        """Return the horizons of an index in words; empty if they are not known."""
        return self.days.get(index, "")


def horizon_text(bundle: str | None) -> str:
    """Return the horizon of a bundle's churn model as a part of a sentence: `within 90 days`."""
    return within(horizon_words([bundle]))


def within(words: str) -> str:
    """Return horizons in words as a part of a sentence: `within 90 days`."""
    return f"within {words}" if words else WITHIN_HORIZON


# --- documents --------------------------------------------------------------------------------------------------------


def bundle_searches() -> list[tuple[str, dict[str, Any]]]:
    """Return the searches for the bundles of all indices with churn scores."""
    bundles = {"terms": {"field": BUNDLE_FIELD.name, "size": BUNDLES_MAX, "missing": ""}}
    return [
        (
            index,
            {
                "size": 0,
                "timeout": TIMEOUT,
                "query": {"bool": {"filter": dsl(where, _NO_AGE)}},
                "aggs": {"bundles": bundles},
            },
        )
        for index, where in _SCORED.items()
    ]


def read_horizons(responses: Sequence[Mapping[str, Any]]) -> Horizons:
    """Return the horizons in the responses to `bundle_searches`."""
    days = {}
    for index, response in zip(_SCORED, responses, strict=True):
        bundles = response.get("aggregations", {}).get("bundles", {})
        names = [bucket["key"] for bucket in bundles.get("buckets", ())]
        days[index] = "" if bundles.get("sum_other_doc_count") else horizon_words(names)
    return Horizons({index: words for index, words in days.items() if words})


# --- declarations -----------------------------------------------------------------------------------------------------


def with_horizons(dashboard: Dashboard, horizons: Horizons) -> Dashboard:
    """Return a dashboard whose texts name the horizons of its documents."""
    return replace(dashboard, panels=tuple(_panel(panel, horizons.of(panel.data.index)) for panel in dashboard.panels))


def _panel(panel: Panel, words: str) -> Panel:
    if not words:
        return panel
    return replace(
        panel,
        definition=panel.definition.replace(WITHIN_HORIZON, within(words)),
        measures=tuple(
            replace(figure, label=f"{figure.label}, {words}") if figure.label in CHURN_LABELS else figure
            for figure in panel.measures
        ),
    )

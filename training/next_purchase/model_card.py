"""Renders the next-purchase part of a model card."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from training.html import table
from training.markup import number, verdict

Report = Mapping[str, Any]

METRICS: Final[Mapping[str, Mapping[str, str]]] = {
    "purchase_probability_30d": {
        "pr_auc": "PR-AUC",
        "roc_auc": "ROC-AUC",
        "brier": "Brier",
        "log_loss": "log loss",
        "ece": "ECE",
    },
    "expected_days_to_purchase": {"mae": "mean error, days", "bias": "bias, days", "spearman": "Spearman"},
    "expected_revenue_90d": {
        "mae": "mean error",
        "spearman": "Spearman",
        "total": "total said / came",
        "tenths_gap": "gap of the tenths",
    },
}
"""Score column -> metric -> display name."""
_SAYS: Final = {
    "purchase_probability_30d": "P(an order within 30 days that stands at their end).",
    "expected_days_to_purchase": "Mean of the days to the next order, counted as 90 where there is none within 90: "
    "whoever has not come back by then is told apart no further.",
    "expected_revenue_90d": "Mean of the revenue of the next 90 days; sums over customers are what may be expected.",
}


def sections(report: Report) -> list[str]:
    """Return the HTML of every prediction in a report; empty without predictions."""
    found = report.get("next_purchase", {})
    if not found:
        return []
    return ["<h2>The next purchase</h2>", *(_section(column, one) for column, one in found.items())]


def _section(column: str, found: Report) -> str:
    names = METRICS[column]
    how = (
        f"later cut-offs; every window of {found['window_days']} days that taught had ended before"
        if found["validation"] == "time"
        else "five folds of whole customers"
    )
    about = (
        f"{_SAYS[column]} Of every customer, with or without an order. Taught by {found['taught_rows']:,} rows, tested "
        f"on {found['rows']:,} of {found['customers']:,} customers ({', '.join(found['tested'])}; {how}), where the "
        f"mean was {found['mean']:.3f}."
    )
    models = [
        [one["title"], *(number(one["metrics"][name], one["intervals"][name]) for name in names)]
        for one in found["models"].values()
    ]
    chosen = found["models"][found["chosen"]]
    return (
        f"<h3>{escape(column)}</h3><p>{escape(about)}</p>"
        + table(["model", *names.values()], models, chosen["title"])
        + _differences(found, names)
        + _tenths(chosen["tenths"])
    )


def _differences(found: Report, names: Mapping[str, str]) -> str:
    rows = [
        [f"against {found['models'][one['against']]['title']}", names[one["metric"]], f"{one['gap']:+.4f}",
         f"{one['interval'][0]:+.4f} to {one['interval'][1]:+.4f}", verdict(one["interval"])]
        for one in found["differences"]
    ]  # fmt: skip
    return table(["better by (above 0 is better)", "metric", "gap", "95 % interval", ""], rows)


def _tenths(found: Mapping[str, list[float]]) -> str:
    rows = [
        [str(place), f"{rows:,}", number(said), number(came)]
        for place, (rows, said, came) in enumerate(zip(found["rows"], found["said"], found["came"], strict=True), 1)
    ]
    return table(["tenth by what was said", "rows", "said, mean", "came, mean"], rows)

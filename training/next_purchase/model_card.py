"""Renders the next-purchase part of a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from training.html import Block, Heading, Table, Text, number, verdict

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
        "total": "predicted / actual total",
        "tenths_gap": "error by decile",
    },
}
"""Score column -> metric -> display name."""
_MEANING: Final = {
    "purchase_probability_30d": "P(an order within 30 days that is valid at their end).",
    "expected_days_to_purchase": "Mean of the days to the next order. Customers without an order within 90 days count "
    "as 90, whatever happens later.",
    "expected_revenue_90d": "Mean of the revenue of the next 90 days. Sums over customers are expectations.",
}


def blocks(report: Report) -> Iterator[Block]:
    """Yield the blocks of every prediction in a report; none without predictions."""
    if predictions := report.get("next_purchase"):
        yield Heading("Next purchase")
        for column, prediction in predictions.items():
            yield from _prediction(column, prediction)


def _prediction(column: str, prediction: Report) -> Iterator[Block]:
    names = METRICS[column]
    validation = (
        f"later cut-offs; the {prediction['window_days']}-day windows of all training rows had ended before"
        if prediction["validation"] == "time"
        else "five folds of whole customers"
    )
    yield Heading(column, 3)
    yield Text(
        f"{_MEANING[column]} For all customers, with or without an order. {prediction['taught_rows']:,} training rows; "
        f"{prediction['rows']:,} test rows of {prediction['customers']:,} customers "
        f"({', '.join(prediction['tested'])}; {validation}), with a mean of {prediction['mean']:.3f}."
    )
    models = prediction["models"]
    rows = [
        (one["title"], *(number(one["metrics"][name], one["intervals"][name]) for name in names))
        for one in models.values()
    ]
    chosen = models[prediction["chosen"]]
    yield Table(("model", *names.values()), rows, marked=chosen["title"])
    gains = [
        (f"against {models[one['against']]['title']}", names[one["metric"]], f"{one['gap']:+.4f}",
         f"{one['interval'][0]:+.4f} to {one['interval'][1]:+.4f}", verdict(one["interval"]))
        for one in prediction["differences"]
    ]  # fmt: skip
    yield Table(("gain (above 0 is better)", "metric", "gap", "95 % interval", ""), gains)
    tenths = chosen["tenths"]
    deciles = [
        (str(decile), f"{count:,}", number(predicted), number(actual))
        for decile, (count, predicted, actual) in enumerate(
            zip(tenths["rows"], tenths["said"], tenths["came"], strict=True), 1
        )
    ]
    yield Table(("decile of the prediction", "rows", "mean prediction", "mean outcome"), deciles)

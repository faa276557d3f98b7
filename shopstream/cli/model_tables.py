"""Prints the reports of `train` and `evaluate` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from shopstream.runtime.tables import table

Report = Mapping[str, Any]

_TRAINED: Final = {
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "brier": "Brier",
    "log_loss": "log loss",
    "lift_10": "lift",
    "ece": "ECE",
}
_EVALUATED: Final = {"pr_auc": "PR-AUC", "roc_auc": "ROC-AUC", "brier": "Brier", "ece": "ECE"}
_PARTS: Final = {"unseen": "unseen", "learnt": "trained on"}
_BOUNDS: Final = {
    "posterior": "posterior (history only)",
    "knows_present": "knows the truth so far",
    "knows_dropout": "knows the truth",
}
"""Predictors that know how a synthetic shop was generated, with their titles."""
_GROUPS: Final = {"recent": "recent buyers", "rest": "the rest"}


def print_models(console: Console, report: Report) -> None:
    """Print the metrics of a training's models on their held-out rows; the chosen models are marked."""
    from training.next_purchase.model_card import METRICS as NEXT_METRICS

    rows = _models(report["models"], report["chosen"], _TRAINED)
    bounds = report.get("bounds", {})
    for name, title in _BOUNDS.items():
        if name in bounds:
            rows.append([f"[dim]{value}[/]" for value in (title, *_values(bounds[name]["metrics"], _TRAINED))])
    title = f"{report['rows']:,} held-out rows, tested by {report['validation']}"
    console.print(table(title, ("model", *_TRAINED.values()), rows, text_columns=1, no_wrap=True))
    if "groups" in report:
        console.print(_groups(report))
    for column, part in report.get("next_purchase", {}).items():
        names = NEXT_METRICS[column]
        rows = _models(part["models"], part["chosen"], names)
        title = f"{column}: {part['rows']:,} held-out rows, tested by {part['validation']}"
        console.print(table(title, ("model", *names.values()), rows, text_columns=1, no_wrap=True))


def _groups(report: Report) -> Table:
    """Return the chosen model and the posterior, by group of customers."""
    rows = []
    for name, group in report["groups"].items():
        measured = {report["models"][report["chosen"]]["title"]: group["models"].get(report["chosen"])}
        measured[_BOUNDS["posterior"]] = group["bounds"].get("posterior")
        for title, one in measured.items():
            if one is not None:
                values = _values(one["metrics"], _TRAINED)
                rows.append((_GROUPS[name], title, f"{group['rows']:,}", f"{group['churned']:.1%}", *values))
    head = ("customers", "model", "rows", "churned", *_TRAINED.values())
    return table("recent buyers (an order within one horizon before) and the rest", head, rows, text_columns=2)


def print_evaluation(console: Console, report: Report) -> None:
    """Print a bundle's metrics by cut-offs of an archive, and the drift of the rows."""
    from training.next_purchase.model_card import METRICS as NEXT_METRICS

    rows = [
        (_span(title, part), f"{part['rows']:,}", f"{part['churned']:.1%}", *_values(part["metrics"], _EVALUATED))
        for title, part in report["parts"].items()
    ]
    title = f"{report['bundle']}: {report['horizon_days']} days"
    console.print(
        table(title, ("cut-offs", "rows", "churned", *_EVALUATED.values()), rows, text_columns=1, no_wrap=True)
    )
    for column, parts in report["next_purchase"].items():
        names = NEXT_METRICS[column]
        rows = [
            (_span(title, part), f"{part['rows']:,}", *_values(part["metrics"], names)) for title, part in parts.items()
        ]
        console.print(table(column, ("cut-offs", "rows", *names.values()), rows, text_columns=1, no_wrap=True))
    drift = ", ".join(f"{name} {value:.2f}" for name, value in list(report["psi"].items())[:5])
    console.print(f"largest drift since training (PSI): {drift}")
    if "unseen" not in report["parts"]:
        console.print(
            "No horizon began after the bundle's window: these metrics are optimistic; its card has unbiased ones."
        )


def _models(models: Mapping[str, Report], chosen: str, names: Mapping[str, str]) -> list[list[str]]:
    return [
        [model["title"] + (" *" if name == chosen else ""), *_values(model["metrics"], names)]
        for name, model in models.items()
    ]


def _values(metrics: Mapping[str, float], names: Mapping[str, str]) -> list[str]:
    return [f"{metrics[name]:.3f}" for name in names]


def _span(title: str, part: Report) -> str:
    return f"{_PARTS[title]}: {part['first']} to {part['last']}"

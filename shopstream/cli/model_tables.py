"""Print the reports of `train` and `evaluate` as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from training.next_purchase.model_card import METRICS as NEXT_METRICS

Report = Mapping[str, Any]

_TRAINED: Final = {
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "brier": "Brier",
    "log_loss": "log loss",
    "lift_10": "lift",
    "ece": "ECE",
}
_JUDGED: Final = {"pr_auc": "PR-AUC", "roc_auc": "ROC-AUC", "brier": "Brier", "ece": "ECE"}
_CEILINGS: Final = ("knows_present", "knows_dropout")


def print_models(console: Console, report: Report) -> None:
    """Print the metrics of a training's models on their held-out rows; the chosen models are marked."""
    table = _table(f"{report['rows']:,} held-out rows, tested by {report['validation']}", "model", _TRAINED)
    for family, one in report["models"].items():
        mark = " *" if family == report["chosen"] else ""
        table.add_row(one["title"] + mark, *_values(one["metrics"], _TRAINED))
    for title in _CEILINGS if "ceiling" in report else ():
        known = report["ceiling"][title]["metrics"]
        table.add_row(f"ceiling: {title}".replace("_", " "), *_values(known, _TRAINED), style="dim")
    console.print(table)
    for column, found in report.get("next_purchase", {}).items():
        names = NEXT_METRICS[column]
        table = _table(f"{column}: {found['rows']:,} held-out rows, tested by {found['validation']}", "model", names)
        for name, one in found["models"].items():
            mark = " *" if name == found["chosen"] else ""
            table.add_row(one["title"] + mark, *_values(one["metrics"], names))
        console.print(table)


def print_judgement(console: Console, report: Report) -> None:
    """Print a bundle's metrics by cut-offs of an archive, and the drift of the rows."""
    table = _table(
        f"{report['bundle']}: {report['horizon_days']} days", "cut-offs", {"": "rows", "_": "churned"} | _JUDGED
    )
    for title, one in report["parts"].items():
        share = f"{one['churned']:.1%}"
        table.add_row(_span(title, one), f"{one['rows']:,}", share, *_values(one["metrics"], _JUDGED))
    console.print(table)
    for column, parts in report["next_purchase"].items():
        table = _table(column, "cut-offs", {"": "rows", **NEXT_METRICS[column]})
        for title, one in parts.items():
            table.add_row(_span(title, one), f"{one['rows']:,}", *_values(one["metrics"], NEXT_METRICS[column]))
        console.print(table)
    moved = ", ".join(f"{name} {value:.2f}" for name, value in list(report["psi"].items())[:5])
    console.print(f"moved most since training (PSI): {moved}")
    if "unseen" not in report["parts"]:
        console.print("No horizon began after the bundle's window: these figures flatter it, its card has honest ones.")


def _table(title: str, first: str, names: Mapping[str, str]) -> Table:
    table = Table(title=title)
    for name in (first, *names.values()):
        table.add_column(name, justify="left" if name == first else "right", no_wrap=True)
    return table


def _values(metrics: Mapping[str, float], names: Mapping[str, str]) -> list[str]:
    return [f"{metrics[name]:.3f}" for name in names]


def _span(title: str, part: Report) -> str:
    return f"{title}: {part['first']} to {part['last']}"

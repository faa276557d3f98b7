"""Renders the model card: one self-contained HTML file from a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import plotly.graph_objects as go

from training.churn.candidates import TITLES
from training.html import Block, Bullets, Figure, Heading, Table, Text, facts, number, page, styled, verdict
from training.next_purchase import model_card as next_purchase_card

Report = Mapping[str, Any]

_METRICS: Final = {
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "f1": "F1",
    "brier": "Brier",
    "log_loss": "log loss",
    "lift_10": "lift at 10 %",
    "ece": "ECE",
}
_CURVES: Final = {
    "roc": ("ROC", "false positive rate", "true positive rate"),
    "pr": ("Precision and recall", "recall", "precision"),
    "gain": ("Gain: churners among the customers with the highest scores", "share of customers", "share of churners"),
    "calibration": ("Calibration", "predicted", "observed"),
}
_DRIVERS: Final = 15


def render(about: Report, report: Report, drivers: Mapping[str, float]) -> str:
    """Render the card as self-contained HTML.

    Args:
        about: contents of `bundle.json`.
        report: see `evaluation.report`.
        drivers: mean absolute contribution of each input, largest first.
    """
    return page(str(about["name"]), _blocks(about, report, drivers))


def _blocks(about: Report, report: Report, drivers: Mapping[str, float]) -> Iterator[Block]:
    chosen = report["models"][report["chosen"]]
    yield facts(_summary(about, report).items())
    yield Heading("Models on held-out customers")
    yield from _models(report)
    yield Heading("Comparison with the baselines")
    yield _differences(report)
    if "ceiling" in report:
        yield from _ceiling(report)
    for name in _CURVES:
        yield Figure(_curve(name, report), f"curve-{name}")
    yield Heading(f"Confusion matrix at 0.5: {chosen['title']}")
    yield _confusion(chosen["confusion"])
    yield Heading("By segment")
    yield _segments(report["segments"])
    yield Heading("Drivers of the score")
    yield Figure(_drivers(drivers), "drivers")
    yield from next_purchase_card.blocks(report)
    yield Heading("Candidates")
    yield from _candidates(report)
    yield Heading("Risk bands")
    yield Table(("risk", "probability"), [(name, f"from {value:.3f}") for name, value in about["thresholds"].items()])
    yield Text("From each probability on, the next effort pays, by the declared costs.", note=True)
    yield Heading("Limits")
    yield Bullets(_limits(report))


def _summary(about: Report, report: Report) -> dict[str, str]:
    window = about["window"]
    external = {}
    if "learnt" in window:
        fit = window["learnt"]
        external["fitted on Spark to"] = (
            f"{fit['rows']:,} rows by {fit['workers']} workers; the rows above are a sample of their customers, for "
            "the choice of settings, the calibration and the test"
        )
    return {
        "prediction": f"P(no order within {about['horizon_days']} days), for customers with an order",
        "model": report["models"][report["chosen"]]["title"],
        "fitted to": f"{window['rows']:,} rows of {window['customers']:,} customers at {len(window['cutoffs_ms'])} "
        "cut-offs",
        **external,
        "tested on": f"{report['rows']:,} rows of {report['customers']:,} customers, {report['churned']:.1%} of them "
        f"churned, at {', '.join(report['tested'])}",
        "validation": "later cut-offs; the horizons of all training rows had ended before"
        if report["validation"] == "time"
        else "five folds of whole customers, each scored by models that were fitted to the other folds",
        "libraries": ", ".join(f"{name} {version}" for name, version in about["libraries"].items()),
        "fingerprint": str(about["fingerprint"]),
    }


def _models(report: Report) -> Iterator[Block]:
    rows = [
        (one["title"], *(number(one["metrics"][name], one["intervals"][name]) for name in _METRICS))
        for one in report["models"].values()
    ]
    yield Table(("model", *_METRICS.values()), rows, marked=TITLES[report["chosen"]])
    yield Text("In brackets: 95 % intervals of a bootstrap of customers. The marked model is in the bundle.", note=True)


def _differences(report: Report) -> Table:
    rows = [
        (f"{TITLES[one['model']]} against {TITLES[one['against']]}", _METRICS[one["metric"]], f"{one['gap']:+.4f}",
         f"{one['interval'][0]:+.4f} to {one['interval'][1]:+.4f}", verdict(one["interval"]))
        for one in report["differences"]
    ]  # fmt: skip
    return Table(("", "metric", "gap", "95 % interval", ""), rows)


def _ceiling(report: Report) -> Iterator[Block]:
    ceilings = [one for name, one in report["ceiling"].items() if name != "rows"]
    yield Heading("Ceiling")
    yield Text("The parameters of this synthetic shop are known, so the best possible prediction is known too.")
    names = ("roc_auc", "pr_auc", "log_loss", "ece")
    rows = [(one["meaning"], *(number(one["metrics"][name]) for name in names)) for one in ceilings]
    yield Table(("predictor", *(_METRICS[name] for name in names)), rows)
    yield Text("Share of the ROC-AUC gain from `recency only` to the ceiling that each model reaches:")
    shares = [(TITLES[family], *(f"{one['way'][family]:.0%}" for one in ceilings)) for family in report["models"]]
    yield Table(("model", *(one["meaning"] for one in ceilings)), shares)


def _curve(name: str, report: Report) -> go.Figure:
    title, x, y = _CURVES[name]
    figure = go.Figure()
    if name in ("roc", "gain", "calibration"):
        figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#99a"}, showlegend=False)
    for family, one in report["models"].items():
        line = {"width": 3 if family == report["chosen"] else 1.5}
        mode = "lines+markers" if name == "calibration" else "lines"
        curve = one["curves"][name]
        figure.add_scatter(x=curve["x"], y=curve["y"], mode=mode, name=one["title"], line=line)
    return styled(figure, height=420, title=title, xaxis_title=x, yaxis_title=y)


def _confusion(counts: Mapping[str, int]) -> Table:
    rows = [
        ("churned", f"{counts['true_positive']:,}", f"{counts['false_negative']:,}"),
        ("stayed", f"{counts['false_positive']:,}", f"{counts['true_negative']:,}"),
    ]
    return Table(("", "predicted to churn", "predicted to stay"), rows)


def _segments(segments: Mapping[str, Report]) -> Table:
    names = ("roc_auc", "pr_auc", "brier", "ece")
    rows = [
        (segment, f"{one['rows']:,}", f"{one['churned']:.1%}",
         *(number(one["metrics"][name], one["intervals"][name]) for name in names))
        for segment, one in segments.items()
    ]  # fmt: skip
    return Table(("segment", "rows", "churned", *(_METRICS[name] for name in names)), rows)


def _drivers(drivers: Mapping[str, float]) -> go.Figure:
    names = list(drivers)[:_DRIVERS][::-1]
    figure = go.Figure(go.Bar(x=[drivers[name] for name in names], y=names, orientation="h"))
    margin = {"t": 20, "b": 40, "l": 180}
    return styled(figure, height=440, xaxis_title="mean absolute contribution, log odds", margin=margin)


def _candidates(report: Report) -> Iterator[Block]:
    rows = [
        (TITLES[one["family"]], one["treatment"], ", ".join(f"{k} {v:g}" for k, v in one["parameters"].items()) or "-",
         one["calibration"], number(one["log_loss"]), number(one["pr_auc"]), number(one["roc_auc"]))
        for one in report["tried"]
    ]  # fmt: skip
    yield Table(("model", "imbalance", "settings", "calibration", "log loss", "PR-AUC", "ROC-AUC"), rows)
    yield Text("On folds of customers within the training rows, after calibration.", note=True)


def _limits(report: Report) -> list[str]:
    ece = report["models"][report["chosen"]]["metrics"]["ece"]
    season = (
        f"Predicted and observed shares differ by {ece:.3f} on average. A season that no cut-off covers moves all "
        f"probabilities together. The pace of the last month is accounted for by the power {report['level']:.2f}."
    )
    return [
        season,
        "Early cut-offs have little history: counts over a year are low there.",
        "A score is the probability that a customer stays away. It does not show what would bring the customer back.",
        *(
            f"XGBoost is not better than {TITLES[one['against']]} in PR-AUC here ({one['gap']:+.4f}). The inputs "
            "already contain rates and rhythm in a form that simple models use as well; the rest is chance."
            for one in report["differences"]
            if one["model"] == "xgboost" and one["metric"] == "pr_auc" and verdict(one["interval"]) != "better"
        ),
    ]

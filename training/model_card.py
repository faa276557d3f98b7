"""Renders the model card: one self-contained HTML file from a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import plotly.graph_objects as go
import plotly.io as pio

from training.churn.candidates import TITLES
from training.html import document
from training.html import table as _table
from training.markup import number, verdict
from training.next_purchase import model_card as next_purchase_card

Report = dict[str, Any]

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
    "roc": ("ROC", "false positives", "true positives"),
    "pr": ("Precision and recall", "recall", "precision"),
    "gain": ("Gain: churners found by asking the riskiest first", "share of customers", "share of churners"),
    "calibration": ("Calibration", "predicted", "happened"),
}
_DRIVERS: Final = 15


def render(about: Mapping[str, Any], report: Report, drivers: Mapping[str, float]) -> str:
    """Render the card as self-contained HTML.

    Args:
        about: contents of `bundle.json`.
        report: see `evaluation.report`.
        drivers: mean absolute contribution of each input, largest first.
    """
    chosen = report["models"][report["chosen"]]
    parts = [
        f"<h1>{escape(str(about['name']))}</h1>",
        _summary(about, report),
        "<h2>Models on held-out customers</h2>",
        _models(report),
        _differences(report),
        _ceiling(report),
        *(_curve(name, report, first=name == "roc") for name in _CURVES),
        f"<h2>Confusion at 0.5: {escape(chosen['title'])}</h2>",
        _confusion(chosen["confusion"]),
        "<h2>By segment</h2>",
        _segments(report["segments"]),
        "<h2>What moves the score</h2>",
        _drivers(drivers),
        *next_purchase_card.sections(report),
        "<h2>What was tried</h2>",
        _tried(report["tried"]),
        "<h2>Bands of risk</h2>",
        _bands(about["thresholds"]),
        "<h2>Limits</h2>",
        _limits(report),
    ]
    return document(str(about["name"]), parts)


def _summary(about: Mapping[str, Any], report: Report) -> str:
    window = about["window"]
    said = {
        "says": f"P(no order within {about['horizon_days']} days), for customers who have ordered",
        "model": report["models"][report["chosen"]]["title"],
        "fitted to": f"{window['rows']:,} rows of {window['customers']:,} customers at {len(window['cutoffs_ms'])} "
        "cut-offs",
        **_elsewhere(window),
        "tested on": f"{report['rows']:,} rows of {report['customers']:,} customers, {report['churned']:.1%} of them "
        f"churned, at {', '.join(report['tested'])}",
        "tested how": "later cut-offs; every horizon that taught had ended before"
        if report["validation"] == "time"
        else "five folds of whole customers, each scored by models that had not seen them",
        "libraries": ", ".join(f"{name} {version}" for name, version in about["libraries"].items()),
        "fingerprint": about["fingerprint"],
    }
    return _table(["", ""], ([name, str(value)] for name, value in said.items()))


def _elsewhere(window: Mapping[str, Any]) -> dict[str, str]:
    """Return the summary row of a model that was fitted on more rows than the training set has."""
    if "learnt" not in window:
        return {}
    learnt = window["learnt"]
    return {
        "fitted on Spark to": f"{learnt['rows']:,} rows by {learnt['workers']} workers; the rows above are a "
        "sample of their customers, which the settings, the calibration and the tests come from"
    }


def _models(report: Report) -> str:
    rows = [
        [one["title"], *(number(one["metrics"][name], one["intervals"][name]) for name in _METRICS)]
        for one in report["models"].values()
    ]
    table = _table(["model", *_METRICS.values()], rows, TITLES[report["chosen"]])
    return (
        table
        + "<small>In brackets: 95 % intervals of a bootstrap of customers. The marked model is in the bundle.</small>"
    )


def _differences(report: Report) -> str:
    rows = [
        [f"{TITLES[one['model']]} against {TITLES[one['against']]}", _METRICS[one["metric"]], f"{one['gap']:+.4f}",
         f"{one['interval'][0]:+.4f} to {one['interval'][1]:+.4f}", verdict(one["interval"])]
        for one in report["differences"]
    ]  # fmt: skip
    return "<h2>Against the baselines</h2>" + _table(["", "metric", "gap", "95 % interval", ""], rows)


def _ceiling(report: Report) -> str:
    if "ceiling" not in report:
        return ""
    found = {name: one for name, one in report["ceiling"].items() if name != "rows"}
    rows = [[one["meaning"], *(number(one["metrics"][name]) for name in ("roc_auc", "pr_auc", "log_loss", "ece"))]
            for one in found.values()]  # fmt: skip
    ways = [[TITLES[family], *(f"{one['way'][family]:.0%}" for one in found.values())] for family in report["models"]]
    return (
        "<h2>Ceiling</h2><p>This shop was made by a known law, so one can say what nobody could beat.</p>"
        + _table(["a predictor that", "ROC-AUC", "PR-AUC", "log loss", "ECE"], rows)
        + "<p>Share of the way from recency only to it, in ROC-AUC:</p>"
        + _table(["model", *(one["meaning"] for one in found.values())], ways)
    )


def _curve(name: str, report: Report, *, first: bool) -> str:
    title, x, y = _CURVES[name]
    figure = go.Figure()
    if name in ("roc", "gain", "calibration"):
        figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#99a"}, showlegend=False)
    for family, one in report["models"].items():
        line = {"width": 3 if family == report["chosen"] else 1.5}
        mode = "lines+markers" if name == "calibration" else "lines"
        curve = one["curves"][name]
        figure.add_scatter(x=curve["x"], y=curve["y"], mode=mode, name=one["title"], line=line)
    figure.update_layout(
        title=title, xaxis_title=x, yaxis_title=y, template="plotly_white", height=420, margin={"t": 50, "b": 40}
    )
    return str(pio.to_html(figure, include_plotlyjs=first, full_html=False, div_id=f"curve-{name}"))


def _confusion(found: Mapping[str, int]) -> str:
    rows = [
        ["churned", f"{found['true_positive']:,}", f"{found['false_negative']:,}"],
        ["stayed", f"{found['false_positive']:,}", f"{found['true_negative']:,}"],
    ]
    return _table(["", "said to churn", "said to stay"], rows)


def _segments(found: Mapping[str, Report]) -> str:
    names = ("roc_auc", "pr_auc", "brier", "ece")
    rows = [
        [segment, f"{one['rows']:,}", f"{one['churned']:.1%}",
         *(number(one["metrics"][name], one["intervals"][name]) for name in names)]
        for segment, one in found.items()
    ]  # fmt: skip
    return _table(["segment", "rows", "churned", *(_METRICS[name] for name in names)], rows)


def _drivers(drivers: Mapping[str, float]) -> str:
    names = list(drivers)[:_DRIVERS][::-1]
    figure = go.Figure(go.Bar(x=[drivers[name] for name in names], y=names, orientation="h"))
    figure.update_layout(
        xaxis_title="mean size of the contribution, log odds", template="plotly_white", height=440,
        margin={"t": 20, "b": 40, "l": 180},
    )  # fmt: skip
    return str(pio.to_html(figure, include_plotlyjs=False, full_html=False, div_id="drivers"))


def _tried(tried: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [TITLES[one["family"]], one["treatment"], ", ".join(f"{k} {v:g}" for k, v in one["parameters"].items()) or "-",
         one["calibration"], number(one["log_loss"]), number(one["pr_auc"]), number(one["roc_auc"])]
        for one in tried
    ]  # fmt: skip
    head = ["model", "imbalance", "settings", "calibration", "log loss", "PR-AUC", "ROC-AUC"]
    return _table(head, rows) + "<small>On folds of customers within the rows that taught, after calibration.</small>"


def _bands(thresholds: Mapping[str, float]) -> str:
    rows = [[name, f"from {value:.3f}"] for name, value in thresholds.items()]
    return _table(["risk", "probability"], rows) + "<small>Where more effort begins to pay, by the costs.</small>"


def _limits(report: Report) -> str:
    ece = report["models"][report["chosen"]]["metrics"]["ece"]
    gap = (
        f"A mean gap of {ece:.3f} between predicted and observed share remains. A season that no cut-off has seen "
        "moves everybody's probability at once; the pace of the last month was taken into account as the power "
        f"{report['level']:.2f}."
    )
    said = [
        gap,
        "Early cut-offs know little of the past: counts over a year are short where history is.",
        "A score says how likely a customer is to stay away, not what would bring the customer back.",
    ]
    said += [
        f"In PR-AUC XGBoost does not beat {TITLES[one['against']]} here ({one['gap']:+.4f}): the inputs already hold "
        "rates and rhythm in a form that simple models use as well, and what is left is chance."
        for one in report["differences"]
        if one["model"] == "xgboost" and one["metric"] == "pr_auc" and verdict(one["interval"]) != "better"
    ]
    return "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in said) + "</ul>"

"""Renders the model card: one self-contained HTML file from a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import plotly.graph_objects as go

from training.churn.candidates import TITLES
from training.churn.evaluation import BOUNDS, GROUPS
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
_PARTS: Final = ("roc_auc", "pr_auc", "log_loss", "ece")
"""Metrics of parts of the rows."""
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
    yield Heading("Recent buyers and the rest")
    yield from _groups(report)
    yield Heading("Each cut-off by itself")
    yield from _cutoffs(report)
    if "bounds" in report:
        yield from _bounds(report)
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
    yield Text(_interval_meaning(report), note=True)


def _interval_meaning(report: Report) -> str:
    """Return what the intervals hold, and what they do not."""
    apart = (
        f"The {len(report['tested'])} tested horizons, {report['overlap']['summed_days']} days in sum, cover only "
        f"{report['overlap']['covered_days']:.0f} days, so they share outcomes. "
        if len(report["tested"]) > 1
        else ""
    )
    return (
        "The intervals hold the chance of these customers: all rows of a customer are drawn together. They do not hold "
        f"the chance of the season or of the fit. {apart}In another season all figures can move together by more than "
        "an interval. Resampling adds noise, which only raises an ECE, so its interval can be above the value."
    )


def _differences(report: Report) -> Table:
    rows = [
        (f"{TITLES[one['model']]} against {TITLES[one['against']]}", _METRICS[one["metric"]], f"{one['gap']:+.4f}",
         f"{one['interval'][0]:+.4f} to {one['interval'][1]:+.4f}", verdict(one["interval"]))
        for one in report["differences"]
    ]  # fmt: skip
    return Table(("", "metric", "gap", "95 % interval", ""), rows)


def _groups(report: Report) -> Iterator[Block]:
    for name, one in report["groups"].items():
        title = f"{GROUPS[name]}: {one['rows']:,} rows"
        if not one["models"]:
            yield Text(f"{title}, too few or all with one outcome: not measured.")
            continue
        rows = [(report["models"][family]["title"], *_part(each)) for family, each in one["models"].items()]
        rows += [(BOUNDS[bound], *_part(each)) for bound, each in one["bounds"].items()]
        yield Text(f"{title}, {one['churned']:.1%} churned.")
        yield Table(("", *(_METRICS[metric] for metric in _PARTS)), rows, marked=TITLES[report["chosen"]])
    yield Text(
        "Recent buyers have an order within one horizon before the cut-off. The others are easy: most of them have "
        "left. A figure over all rows mixes both.",
        note=True,
    )


def _part(one: Report) -> list[str]:
    return [number(one["metrics"][metric], one["intervals"][metric]) for metric in _PARTS]


def _cutoffs(report: Report) -> Iterator[Block]:
    chosen = report["chosen"]
    bound = any("posterior" in one["bounds"] for one in report["cutoffs"].values())
    rows = [
        (day, f"{one['rows']:,}", f"{one['churned']:.1%}",
         *(number(one["models"][chosen][metric]) for metric in _PARTS),
         *([number(one["bounds"]["posterior"]["roc_auc"]) if "posterior" in one["bounds"] else "-"] if bound else []))
        for day, one in report["cutoffs"].items()
    ]  # fmt: skip
    head = ("cut-off", "rows", "churned", *(_METRICS[metric] for metric in _PARTS))
    yield Table((*head, "ROC-AUC of the posterior") if bound else head, rows)
    yield Text(
        f"{TITLES[chosen]}. The differences between cut-offs hint at the season, which no interval holds.", note=True
    )


def _bounds(report: Report) -> Iterator[Block]:
    bounds = report["bounds"]
    known = [name for name in BOUNDS if name in bounds]
    yield Heading("What can be known")
    yield Text(
        f"A process with known parameters generated this shop. It gives predictions of {bounds['rows']:,} tested rows, "
        f"of {bounds['customers']:,} customers. The posterior knows the process, and of each customer the records up "
        "to the cut-off: no model can do better by the same records. The other two know the truth of each customer, "
        "which no record shows."
    )
    if not known:
        yield Text("These rows are too few, or all with one outcome: not measured.")
        return
    if "posterior" not in known:
        yield Text("This shop is too large for the posterior, which reads all of its events.")
    rows = [(BOUNDS[name], *_part(bounds[name])) for name in known]
    yield Table(("predictor", *(_METRICS[name] for name in _PARTS)), rows)
    yield Text("Share of the ROC-AUC gain from `recency only` to each predictor that a model reaches:")
    shares = [(TITLES[family], *(_share(bounds[name], family) for name in known)) for family in report["models"]]
    yield Table(("model", *(f"to: {BOUNDS[name]}" for name in known)), shares, marked=TITLES[report["chosen"]])
    yield Text("The share to the posterior is what a better model could still gain. The rest is chance.", note=True)


def _share(bound: Report, family: str) -> str:
    low, high = bound["way_intervals"][family]
    return f"{bound['way'][family]:.0%} ({low:.0%} to {high:.0%})"


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

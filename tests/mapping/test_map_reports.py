"""What `map run` counts by reason is in its closing tables, the figures and the metrics."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from consumers.metrics.definitions import MapProgress, metric_of
from consumers.metrics.reports import figures
from shopstream.runtime.worker_tables import reason_tables


def progress(**fields):
    fixed = {"lag_records": 0, "waiting_records": 0}
    return figures(MapProgress(role="map", **fixed, **fields))


def shown(reports):
    text = StringIO()
    console = Console(file=text, width=160)
    for one in reason_tables(reports):
        console.print(one)
    return text.getvalue()


def test_reasons_of_all_workers_are_added_in_two_tables():
    lost = "dropped.clicks.yaml: `lines[*].sku`: no code"
    text = shown(
        [
            progress(left_out_by={"left_out.tombstone": 2}, dropped_by={lost: 3}),
            progress(left_out_by={"left_out.tombstone": 5}, dropped_by={lost: 1_000}),
        ]
    )
    assert "values that records cannot hold" in text
    rows = [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]
    assert "tombstone 7" in rows
    assert "clicks.yaml: `lines[*].sku`: no code 1,003" in rows


def test_run_that_drops_nothing_has_no_table():
    assert shown([progress()]) == ""


@pytest.mark.parametrize(
    ("figure", "name", "label"),
    [
        ("dropped.clicks: `country`: no code", "values_dropped", ("value", "clicks: `country`: no code")),
        ("left_out.tombstone", "messages_left_out", ("reason", "tombstone")),
    ],
)
def test_reason_is_a_label_of_its_metric(figure, name, label):
    metric = metric_of(figure)
    assert (metric.name, metric.labels, metric.merge) == (name, (label,), "sum")

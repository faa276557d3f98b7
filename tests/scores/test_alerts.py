"""Bands with hysteresis, and the outbox that neither loses nor doubles an alert."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores.scorers import THRESHOLDS

from consumers.state.alert_outbox import AlertOutbox
from features.scores.alerts import ALERT_FIELDS, MARGIN, UNKNOWN, Alert, move

LOW, MEDIUM, HIGH, CRITICAL = range(4)


def path(*probabilities: float | None, start: int = UNKNOWN) -> tuple[list[int], list[int]]:
    """The bands held along a customer's probabilities, and the steps at which an alert is due."""
    held, bands, alerts = np.array([start], np.int8), [], []
    for step, probability in enumerate(probabilities):
        moved = move(held, np.array([np.nan if probability is None else probability]), THRESHOLDS)
        held = moved.held
        bands.append(int(held[0]))
        alerts += [step] if moved.risen[0] else []
    return bands, alerts


@pytest.mark.parametrize(
    ("probabilities", "bands", "alerts"),
    [
        ((0.95,), [CRITICAL], []),
        ((0.1, 0.3), [LOW, MEDIUM], [1]),
        ((0.1, 0.95), [LOW, CRITICAL], [1]),
        ((0.1, 0.6, 0.59, 0.6), [LOW, HIGH, HIGH, HIGH], [1]),
        ((0.1, 0.6, 0.541, 0.6), [LOW, HIGH, HIGH, HIGH], [1]),
        ((0.1, 0.6, 0.539, 0.6), [LOW, HIGH, MEDIUM, HIGH], [1, 3]),
        ((0.1, 0.95, 0.1, 0.95), [LOW, CRITICAL, LOW, CRITICAL], [1, 3]),
        ((0.1, 0.6, None, 0.6), [LOW, HIGH, HIGH, HIGH], [1]),
        ((None, 0.6, 0.9), [UNKNOWN, HIGH, CRITICAL], [2]),
    ],
    ids=["first score", "at a threshold", "two together", "wavering", "inside the margin", "beyond the margin",
         "down and up", "no score between", "no score before"],
)  # fmt: skip
def test_a_band_is_entered_at_its_threshold_and_left_well_below(probabilities, bands, alerts):
    assert path(*probabilities) == (bands, alerts)


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1.0), max_size=20))
def test_alert_is_due_exactly_when_the_band_rises(probabilities):
    bands, alerts = path(*probabilities)
    assert alerts == [n for n in range(1, len(bands)) if bands[n] > bands[n - 1]]
    for band, probability in zip(bands, probabilities, strict=True):
        thresholds = np.array([0.0, *THRESHOLDS.values])
        assert probability >= thresholds[band] * (1 - MARGIN)  # not held for too long
        assert band == CRITICAL or probability < thresholds[band + 1]  # not risen too late


# --- the outbox -------------------------------------------------------------------------------------------------------
def alert(n: int) -> Alert:
    return Alert(f"c{n}", "high", "2025-01-01", 1, "low", 0.7, None, "New", "call", 5.0, "b")


def test_alert_is_sent_after_its_commit_and_removed_after_all_acknowledgements():
    outbox = AlertOutbox()
    outbox.add([alert(0), alert(1)])
    stored = outbox.stored()
    outbox.add([alert(2)])
    assert not outbox.ready
    assert outbox.take_batch(10, 2) == {}
    outbox.committed(stored)
    assert outbox.uncommitted
    assert outbox.take_batch(1, 2) == {0: alert(0)}
    assert outbox.take_batch(9, 2) == {1: alert(1)}
    assert outbox.take_batch(9, 2) == {}
    assert outbox.acknowledge([0, 1]) == 0
    assert outbox.acknowledge([0]) == 1
    assert outbox.acknowledge([1]) == 1
    outbox.committed(outbox.stored())
    assert outbox.take_batch(9, 1) == {2: alert(2)}
    assert not outbox.uncommitted


def test_alerts_in_a_checkpoint_are_sent_by_the_next_owner():
    outbox = AlertOutbox()
    outbox.add([alert(0), alert(1)])
    outbox.committed(outbox.stored())
    outbox.take_batch(1, 1)  # in flight when it died
    later = AlertOutbox(outbox.stored())
    assert later.take_batch(9, 1) == {0: alert(0), 1: alert(1)}
    later.add([alert(2)])
    assert later.take_batch(9, 1) == {}


def test_alert_has_the_declared_fields():
    kinds = {field.name: field.kind for field in ALERT_FIELDS}
    assert kinds["ts"] == "time"
    assert kinds["churn_reasons"] == "strings"
    assert kinds["churn_probability"] == "float"

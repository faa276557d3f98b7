"""Drift: bins of a profile, the index, and one count for each customer and day."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scores.scorers import by_tenure, rows_of

import consumers.features.scoring
from consumers.features.scoring import DriftWatch
from consumers.state.partition import PartitionState
from features.schema import DAY_MS
from features.scores.drift import SHARE_MIN, Profile, count, drift_of, learn_profile, psi
from features.scores.score import Scoring


def test_stability_index_equals_values_worked_out_by_hand():
    # (0.5 - 0.25) ln(0.5 / 0.25) + (0.5 - 0.75) ln(0.5 / 0.75)
    assert psi([0.25, 0.75], np.array([10, 10])) == pytest.approx(0.25 * math.log(2) - 0.25 * math.log(2 / 3))
    assert psi([0.25, 0.75], np.array([25, 75])) == 0
    assert psi([0.25, 0.75], np.array([0, 0])) == 0


def test_empty_bin_does_not_dominate_the_index():
    result = psi([0.5, 0.5, 0.0], np.array([50, 50, 0]))
    assert result == 0
    assert 0 < psi([0.5, 0.5], np.array([100, 0])) < 0.5 * math.log(2) + 0.5 * math.log(0.5 / SHARE_MIN) + 1e-9


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_every_value_is_counted_once_and_a_sample_has_no_drift_from_itself(values):
    rows = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})
    profile = learn_profile(rows, ["x"])
    counts = count(profile.columns["x"], rows["x"])
    assert counts.sum() == len(values)
    assert counts[-1] == values.count(None)
    assert sum(profile.columns["x"].shares) == pytest.approx(1)
    assert drift_of(profile, rows, 0).psi["x"] == pytest.approx(0, abs=1e-12)


def test_value_at_an_edge_belongs_to_the_lower_bin():
    profile = learn_profile(pl.DataFrame({"x": [1, 2, 3, 4]}), ["x"], bins=2)
    assert profile.columns["x"].edges == (2.0,)
    assert count(profile.columns["x"], pl.Series([2.0, 2.1])).tolist() == [1, 1, 0]


def test_words_unknown_words_and_nulls_are_counted_separately():
    then = pl.DataFrame({"x": ["a", "a", "b", None]})
    profile = learn_profile(then, ["x"])
    assert profile.columns["x"].words == ("a", "b")
    assert profile.columns["x"].shares == (0.5, 0.25, 0.0, 0.25)
    assert count(profile.columns["x"], pl.Series(["b", "new", "new", None])).tolist() == [0, 1, 2, 1]


def test_column_with_drift_has_a_higher_index():
    rng = np.random.default_rng(1)
    then = pl.DataFrame({"same": rng.normal(size=4000), "moved": rng.normal(size=4000)})
    now = pl.DataFrame({"same": rng.normal(size=4000), "moved": rng.normal(0.8, size=4000)})
    drift = drift_of(learn_profile(then, ["same", "moved"]), now, 3)
    assert drift.most[0] == "moved"
    assert drift.psi["moved"] > 0.25 > 0.05 > drift.psi["same"]


# --- the watch --------------------------------------------------------------------------------------------------------
def watched(monkeypatch) -> tuple[DriftWatch, Scoring, PartitionState]:
    monkeypatch.setattr(consumers.features.scoring, "DRIFT_ROWS_MIN", 2)
    profile = learn_profile(rows_of(*({"orders_total": n} for n in range(4))), ["orders_total"])
    scoring = Scoring("b", by_tenure("b", 100).scorer, None, profile)
    partition = PartitionState(0)
    monkeypatch.setattr(type(partition.state), "customer_count", 4)
    return DriftWatch(), scoring, partition


def see(watch: DriftWatch, partition: PartitionState, scoring: Scoring, day: int, **orders: int) -> None:
    codes = np.array(["abcd".index(name) for name in orders], np.int32)
    watch.count(partition, rows_of(*({"orders_total": n} for n in orders.values())), codes, day * DAY_MS, scoring)


def test_customer_counts_once_a_day_for_any_number_of_writes(monkeypatch):
    watch, scoring, partition = watched(monkeypatch)
    see(watch, partition, scoring, 1, a=0, b=1)
    for _ in range(50):
        see(watch, partition, scoring, 1, a=9)
    assert watch.drift().rows == 2
    see(watch, partition, scoring, 1, c=2, d=3)
    assert watch.drift().rows == 4
    assert watch.drift().psi["orders_total"] == pytest.approx(0)
    assert watch.figures() == {"psi.orders_total": pytest.approx(0)}


def test_drift_of_yesterday_is_reported_until_today_has_enough_customers(monkeypatch):
    watch, scoring, partition = watched(monkeypatch)
    see(watch, partition, scoring, 1, a=0, b=1, c=2, d=3)
    see(watch, partition, scoring, 2, a=9, b=9)
    assert (watch.drift().day, watch.drift().rows) == (1, 4)
    see(watch, partition, scoring, 1, a=5)  # a partition that is behind
    see(watch, partition, scoring, 2, c=9, d=9)
    assert watch.drift().day == 2
    assert watch.drift().psi["orders_total"] > 1


def test_new_bundle_resets_drift_and_one_without_a_profile_has_none(monkeypatch):
    watch, scoring, partition = watched(monkeypatch)
    see(watch, partition, scoring, 1, a=0, b=1)
    see(watch, partition, Scoring("c", scoring.scorer, None, scoring.profile), 1, a=0)
    assert watch.drift() is None
    see(watch, partition, Scoring("d", scoring.scorer), 1, a=0, b=1)
    assert watch.figures() == {}


def test_drift_profile_reads_back_from_json():
    profile = learn_profile(rows_of({"orders_total": 1, "top_category_90d": "x"}), ["orders_total", "top_category_90d"])
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile

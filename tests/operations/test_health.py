"""Alive and ready: each condition alone turns the answer, and says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shopstream.runtime.coordinator_types import WorkerName, WorkerView
from shopstream.runtime.health import Bounds, alive, ready

NOW_S = 1_000.0
WELL = WorkerView(
    WorkerName("features", 0), "running", {"unsaved_s": 3.0}, 0, 0.0, 0.0, 0.0, None, owned=(0, 1), reported_s=NOW_S - 1
)
BOUNDS = Bounds(report_age_s=60, uncheckpointed_s=120)


def failing(verdict):
    return {check.name: check.reason for check in verdict.checks if not check.ok}


def test_worker_that_reports_and_keeps_up_is_alive_and_ready():
    assert alive([WELL], NOW_S, NOW_S, BOUNDS).ok
    assert ready([WELL], NOW_S, NOW_S, BOUNDS).ok


@pytest.mark.parametrize(
    ("changed", "is_alive", "word"),
    [
        ({"reported_s": NOW_S - 61}, False, "61.0 s ago"),
        ({"reported_s": NOW_S - 60}, True, None),
        ({"stage": "waiting", "last_error": "out of memory"}, True, "out of memory"),
        ({"stage": "starting", "reported_s": None}, True, "starting"),
        ({"stage": "stopping"}, True, "stopping"),
        ({"owned": None}, True, "not assigned"),
        ({"owned": ()}, True, None),
        ({"last_error": "429 too many requests"}, True, "429"),
        ({"figures": {"unsaved_s": 121.0}}, True, "in no checkpoint"),
        ({"figures": {"unsaved_s": 120.0}}, True, None),
        ({"figures": {}}, True, None),
        ({"stage": "done", "owned": None, "last_error": None}, True, None),
    ],
)
def test_each_condition_alone_changes_the_status(changed, is_alive, word):
    view = replace(WELL, **changed)
    assert alive([view], NOW_S, NOW_S, BOUNDS).ok is is_alive
    result = failing(ready([view], NOW_S, NOW_S, BOUNDS))
    assert (set(result) == {"features-0"}) is (word is not None)
    if word is not None:
        assert word in result["features-0"]


def test_a_parent_that_hangs_is_not_alive():
    assert set(failing(alive([WELL], NOW_S - 61, NOW_S, BOUNDS))) == {"parent"}


def test_unhealthy_worker_of_several_is_named():
    views = [WELL, replace(WELL, name=WorkerName("index", 1), last_error="blocked")]
    verdict = ready(views, NOW_S, NOW_S, BOUNDS)
    assert not verdict.ok
    assert failing(verdict) == {"index-1": "blocked"}
    assert [check["name"] for check in verdict.as_json()["checks"]] == ["parent", "features-0", "index-1"]

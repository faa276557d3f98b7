"""What the demo says where there is no terminal: a line for each step that is done, and what troubles a worker."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from shopstream.demo.screen import Screen
from shopstream.runtime.coordinator_types import WorkerName, WorkerView


@pytest.fixture
def told():
    return io.StringIO()


@pytest.fixture
def screen(told):
    return Screen(Console(file=told, width=300))


def a_view(role, consumed, last_error=None):
    return WorkerView(WorkerName(role, 0), "running", {"consumed": consumed}, 0, 0.0, 0.0, 0.0, last_error, (0,), 0.0)


def lines(told):
    return [re.sub(r"\d+\.\d s$", "N s", line) for line in told.getvalue().splitlines()]


def test_finished_step_is_one_line_with_its_duration(told, screen):
    with screen.round() as show:
        for sent in range(0, 5_001, 100):
            show("replay", sent, 5_000, [a_view("features", sent)])
        for share in range(100):  # whoever learns says so himself
            show("train", share, 100, [a_view("features", 5_000)], at="fitting")
        for consumed in range(5_000, 5_100):
            show("consume", 0, None, [a_view("features", consumed), a_view("index", 1)])
    assert lines(told) == [
        "demo replay: 5,000 of 5,000 in N s",
        "demo consume: features 5,099, index 1 in N s",
    ]


def test_error_of_a_worker_is_printed_when_it_occurs_and_when_it_changes(told, screen):
    with screen.round() as show:
        for last_error in (None, "slow", "slow", "gone", None, "slow"):
            show("train", 1, 100, [a_view("index", 1, last_error)], at="fitting")
    assert lines(told) == ["demo index-0: slow", "demo index-0: gone", "demo index-0: slow"]


def test_step_without_progress_prints_one_line_at_its_end(told, screen):
    with screen.step("counting again"):
        assert told.getvalue() == ""
    assert lines(told) == ["demo counting again: N s"]


def test_failed_step_is_not_marked_as_done(told, screen):
    with pytest.raises(OSError, match="gone"), screen.step("counting again"):
        raise OSError("gone")
    assert told.getvalue() == ""

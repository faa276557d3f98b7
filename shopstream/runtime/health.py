"""Checks liveness and readiness of the workers, by pure functions that return reasons.

Alive: nothing hangs; the remedy is a restart of the command. Ready: every worker does its work; the remedy is an
external system's recovery, or time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shopstream.runtime.coordinator_types import WorkerView


@dataclass(frozen=True, slots=True)
class Bounds:
    """Health thresholds.

    Attributes:
        report_age_s: longest time between two reports of a worker, or two steps of the parent.
        uncheckpointed_s: highest age of a change that is in no checkpoint.
    """

    report_age_s: float = 60.0
    uncheckpointed_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Check:
    """Health of one component, with the reason."""

    name: str
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Answer to a liveness or readiness question."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all checks pass."""
        return all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return `{"ok": …, "checks": [{"name": …, "ok": …, "reason": …}]}`."""
        checks = [{"name": check.name, "ok": check.ok, "reason": check.reason} for check in self.checks]
        return {"ok": self.ok, "checks": checks}


def alive(views: Sequence[WorkerView], stepped_s: float, now_s: float, bounds: Bounds) -> HealthReport:
    """Return whether the loops of parent and workers make progress.

    Args:
        views: state of every worker.
        stepped_s: time of the parent's last step, monotonic.
        now_s: current time, monotonic.
        bounds: health thresholds.
    """
    parent = _within("parent", now_s - stepped_s, bounds.report_age_s, "last step {age:.1f} s ago")
    return HealthReport((parent, *(_is_polling(view, now_s, bounds) for view in views)))


def ready(views: Sequence[WorkerView], stepped_s: float, now_s: float, bounds: Bounds) -> HealthReport:
    """Return whether every worker is up, has partitions, can write to its sinks and saves its state; see `alive`."""
    checks = [_within("parent", now_s - stepped_s, bounds.report_age_s, "last step {age:.1f} s ago")]
    for view in views:
        tests: tuple[Callable[[], Check], ...] = (
            lambda view=view: _up(view),  # type: ignore[misc]
            lambda view=view: _is_polling(view, now_s, bounds),  # type: ignore[misc]
            lambda view=view: _assigned(view),  # type: ignore[misc]
            lambda view=view: _writes(view),  # type: ignore[misc]
            lambda view=view: _checkpointed(view, bounds),  # type: ignore[misc]
        )
        results = [test() for test in tests] if view.stage != "done" else [_up(view)]
        checks.append(next((check for check in results if not check.ok), results[-1]))
    return HealthReport(tuple(checks))


def _within(name: str, age_s: float, bound_s: float, text: str) -> Check:
    reason = text.format(age=age_s)
    return Check(name, age_s <= bound_s, reason if age_s <= bound_s else f"{reason}, the bound is {bound_s:.0f} s")


def _is_polling(view: WorkerView, now_s: float, bounds: Bounds) -> Check:
    name = str(view.name)
    if view.stage not in ("running", "at end") or view.reported_s is None:
        # the parent restarts or ends a worker that is starting, waiting or dead
        return Check(name, True, view.stage)
    return _within(name, now_s - view.reported_s, bounds.report_age_s, "last poll and report {age:.1f} s ago")


def _up(view: WorkerView) -> Check:
    name = str(view.name)
    if view.stage in ("running", "at end", "done"):
        return Check(name, True, view.stage)
    return Check(name, False, f"{view.stage}: {view.last_error}" if view.last_error else view.stage)


def _assigned(view: WorkerView) -> Check:
    name = str(view.name)
    if view.owned is None:
        return Check(name, False, "the consumer group has not assigned partitions yet")
    reason = f"partitions {list(view.owned)}" if view.owned else "standby: the group has no partition for it"
    return Check(name, True, reason)


def _writes(view: WorkerView) -> Check:
    return Check(str(view.name), view.last_error is None, view.last_error or "its sinks accept rows")


def _checkpointed(view: WorkerView, bounds: Bounds) -> Check:
    age_s = float(view.figures.get("unsaved_s") or 0.0)
    text = (
        "reads, writes and checkpoints its state"
        if age_s <= bounds.uncheckpointed_s
        else "changes of {age:.0f} s are in no checkpoint"
    )
    return _within(str(view.name), age_s, bounds.uncheckpointed_s, text)

"""Schedules training: a first bundle once the archive is complete, then retraining and trends at an interval.

A failed step is reported and does not affect the others. The time of the last round is stored next to the bundles, so
a restart trains nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from connectors.files import write_whole
from connectors.kafka.admin import group_lags
from features.errors import ShopstreamError
from features.schema import group_name
from producers.pacing import Clock
from shopstream.embedded import KafkaEndpoint
from shopstream.jobs.step import StepOutcome, run_steps

STATE_FILE: Final = "trainer.json"
CHECK_EVERY_S: Final = 5.0
"""Time between two checks whether the archive has caught up."""
RETRY_S: Final = 300.0
"""Time until the next round after a failed step."""
PATIENCE_S: Final = 1_800.0
"""Maximum wait of the first round for a complete archive; then it uses the available data."""

LAG_MAX: Final = 1_000
"""Lag of the archive's consumers in messages that counts as caught up; against a live shop it never reaches 0."""
ARCHIVE_ROLE: Final = "archive"

RunStep = Callable[[Sequence[str]], StepOutcome]


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """Steps of a training round.

    Attributes:
        archive: folder of the archive to train from.
        segments_folder: output folder of `segment`.
        run: run whose trends are written.
        every_s: seconds from the end of one round to the start of the next.
        tries: number of XGBoost settings that `train` tries.
    """

    archive: Path
    segments_folder: Path
    run: str
    every_s: float
    tries: int

    def steps(self) -> tuple[tuple[str, ...], ...]:
        """Return the commands of a round, in their order."""
        archive = str(self.archive)
        return (
            ("train", archive, "--tries", str(self.tries), "--threads", "1"),
            ("rollup", archive, "--run", self.run),
            (
                "forecast",
                archive,
                "--out",
                str(self.segments_folder / "forecast.parquet"),
                "--index",
                "--run",
                self.run,
            ),
            ("segment", archive, "--out", str(self.segments_folder)),
        )


class ScheduleState(msgspec.Struct, frozen=True):
    """End of the last round, epoch ms, and the names of its failed steps."""

    ended_ms: int
    failed: tuple[str, ...] = ()


def due_in_s(state: ScheduleState | None, every_s: float, now_ms: int) -> float:
    """Return the seconds until the next round; 0 if it is due, at most one interval even if the clock jumps."""
    if state is None:
        return 0.0
    wait_s = min(RETRY_S, every_s) if state.failed else every_s
    return min(wait_s, max(0.0, state.ended_ms / 1_000 + wait_s - now_ms / 1_000))


def read_state(folder: Path) -> ScheduleState | None:
    """Read the state of the last round; None if there is none or it is unreadable."""
    try:
        return msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=ScheduleState)
    except (OSError, msgspec.MsgspecError):
        return None


def write_state(folder: Path, state: ScheduleState) -> None:
    """Replace the state file atomically."""
    write_whole(folder / STATE_FILE, lambda path: path.write_bytes(msgspec.json.encode(state) + b"\n"))


def caught_up(kafka: KafkaEndpoint, run: str) -> bool:
    """Return whether the archive has nearly caught up; False if no archive consumer has committed or Kafka is down."""
    try:
        groups = {lag.group: lag for lag in group_lags(kafka, run)}
    except ShopstreamError:
        return False
    archive = groups.get(group_name(run, ARCHIVE_ROLE))
    return archive is not None and bool(archive.lag_by_topic) and archive.lag <= LAG_MAX


def run_round(plan: SchedulePlan, run_step: RunStep, log: Callable[[str], None]) -> tuple[str, ...] | None:
    """Run every step; return the names of the failed steps, or None if the round was stopped."""
    failed = []
    for step in plan.steps():
        log(f"{step[0]} begins")
        outcome = run_step(step)
        if outcome == "stopped":
            return None
        log(f"{step[0]} {'is done' if outcome == 'done' else 'failed'}")
        if outcome == "failed":
            failed.append(step[0])
    return tuple(failed)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """Runs rounds until a stop is requested.

    Attributes:
        plan: steps and interval of the rounds.
        folder: folder of the bundles, with the state of the last round.
        heartbeat: file that is touched every few seconds, for health checks.
        clock: clock of the intervals.
        stop_requested: returns whether the scheduler has to stop.
        on_message: called with each line of the log.
    """

    plan: SchedulePlan
    folder: Path
    heartbeat: Path
    clock: Clock
    stop_requested: Callable[[], bool]
    on_message: Callable[[str], None]

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Before the first round, wait until the archive is complete, at most `PATIENCE_S`.

        Args:
            ready: returns whether the archive is complete.
        """
        if read_state(self.folder) is not None:
            return
        self.on_message("waiting until the archive has caught up with Kafka")
        end_s = self.clock.monotonic_s() + PATIENCE_S
        while not ready() and self.clock.monotonic_s() < end_s and self._sleep(CHECK_EVERY_S):
            pass

    def run(self, *, once: bool) -> tuple[str, ...] | None:
        """Run rounds; return the failed steps of the only round if `once`, or None after a stop."""
        while self._continue():
            due_s = due_in_s(read_state(self.folder), self.plan.every_s, self.clock.wall_ms())
            if not once and not self._sleep(due_s):
                break
            failed = run_round(self.plan, self._run_step, self.on_message)
            if failed is None:
                break
            write_state(self.folder, ScheduleState(self.clock.wall_ms(), failed))
            if once:
                return failed
        self.on_message("stopped")
        return None

    def _run_step(self, words: Sequence[str]) -> StepOutcome:
        (step,) = run_steps([words], lambda _: self._continue())
        return step.outcome

    def _continue(self) -> bool:
        self.heartbeat.touch()
        return not self.stop_requested()

    def _sleep(self, seconds: float) -> bool:
        end_s = self.clock.monotonic_s() + seconds
        while self._continue() and (left_s := end_s - self.clock.monotonic_s()) > 0:
            self.clock.sleep(min(left_s, 1.0))
        return not self.stop_requested()

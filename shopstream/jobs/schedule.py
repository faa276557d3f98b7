"""Schedules training: a first bundle once the archive is complete, then retraining and trends at an interval.

Each step is a command in its own process, which frees its memory afterwards. A failed step is reported and does not
affect the others. The time of the last round is stored beside the bundles, so a restart trains nothing twice.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from connectors.files import write_whole
from producers.pacing import Clock
from shopstream.runtime.children import python_command

NOTES: Final = "trainer.json"
SIGN_EVERY_S: Final = 5.0
"""Time between two heartbeats, and between two checks of a pending condition."""
RETRY_S: Final = 300.0
"""Time until the next round after a failed step."""
PATIENCE_S: Final = 1_800.0
"""Maximum wait of the first round for a complete archive; then it uses the available data."""

Outcome = Literal["done", "failed", "stopped"]
Run = Callable[[Sequence[str]], Outcome]


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """Steps of a training round.

    Attributes:
        archive: folder of the archive to train from.
        mart: folder of the segments.
        run: run whose trends are written.
        every_s: seconds from the end of one round to the start of the next.
        tries: number of XGBoost settings that `train` tries.
    """

    archive: Path
    mart: Path
    run: str
    every_s: float
    tries: int

    def steps(self) -> tuple[tuple[str, ...], ...]:
        """Return the commands of a round, in their order."""
        archive = str(self.archive)
        return (
            ("train", archive, "--tries", str(self.tries), "--threads", "1"),
            ("rollup", archive, "--run", self.run),
            ("forecast", archive, "--out", str(self.mart / "forecast.parquet"), "--index", "--run", self.run),
            ("segment", archive, "--out", str(self.mart)),
        )


class ScheduleState(msgspec.Struct, frozen=True):
    """End of the last round, epoch ms, and the names of its failed steps."""

    ended_ms: int
    failed: tuple[str, ...] = ()


def due_in_s(notes: ScheduleState | None, every_s: float, now_ms: int) -> float:
    """Return the seconds until the next round; 0 if it is due, at most one interval even if the clock jumps."""
    if notes is None:
        return 0.0
    wait_s = min(RETRY_S, every_s) if notes.failed else every_s
    return min(wait_s, max(0.0, notes.ended_ms / 1_000 + wait_s - now_ms / 1_000))


def read_notes(folder: Path) -> ScheduleState | None:
    """Read the state of the last round; None if there is none or it is unreadable."""
    try:
        return msgspec.json.decode((folder / NOTES).read_bytes(), type=ScheduleState)
    except (OSError, msgspec.MsgspecError):
        return None


def write_notes(folder: Path, notes: ScheduleState) -> None:
    """Replace the state file atomically."""
    write_whole(folder / NOTES, lambda path: path.write_bytes(msgspec.json.encode(notes) + b"\n"))


def go_through(plan: SchedulePlan, run: Run, told: Callable[[str], None]) -> tuple[str, ...] | None:
    """Run every step; return the names of the failed steps, or None if the round was stopped."""
    failed = []
    for step in plan.steps():
        told(f"{step[0]} begins")
        outcome = run(step)
        if outcome == "stopped":
            return None
        told(f"{step[0]} {'is done' if outcome == 'done' else 'failed'}")
        if outcome == "failed":
            failed.append(step[0])
    return tuple(failed)


def in_child(words: Sequence[str], living: Callable[[], bool]) -> Outcome:
    """Run a Shopstream command in its own process.

    Args:
        words: arguments after `shopstream`.
        living: callback every few seconds; False ends the command.
    """
    child = subprocess.Popen(python_command("shopstream", *words))
    while True:
        try:
            return "done" if child.wait(SIGN_EVERY_S) == 0 else "failed"
        except subprocess.TimeoutExpired:
            if living():
                continue
            child.terminate()
            try:
                child.wait(SIGN_EVERY_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            return "stopped"


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
        if read_notes(self.folder) is not None:
            return
        self.on_message("waiting until the archive has caught up with Kafka")
        end_s = self.clock.monotonic_s() + PATIENCE_S
        while not ready() and self.clock.monotonic_s() < end_s and self._sleep(SIGN_EVERY_S):
            pass

    def run(self, *, once: bool) -> tuple[str, ...] | None:
        """Run rounds; return the failed steps of the only round if `once`, or None after a stop."""
        while self._continue():
            due_s = due_in_s(read_notes(self.folder), self.plan.every_s, self.clock.wall_ms())
            if not once and not self._sleep(due_s):
                break
            failed = go_through(self.plan, lambda words: in_child(words, self._continue), self.on_message)
            if failed is None:
                break
            write_notes(self.folder, ScheduleState(self.clock.wall_ms(), failed))
            if once:
                return failed
        self.on_message("stopped")
        return None

    def _continue(self) -> bool:
        self.heartbeat.touch()
        return not self.stop_requested()

    def _sleep(self, seconds: float) -> bool:
        end_s = self.clock.monotonic_s() + seconds
        while self._continue() and (left_s := end_s - self.clock.monotonic_s()) > 0:
            self.clock.sleep(min(left_s, SIGN_EVERY_S / 5))
        return not self.stop_requested()

"""Training by schedule: a first bundle as soon as the archive is whole, then anew at an interval, trends with it.

Each step is a command of its own in a process of its own: what it took of memory is given back, and one that fails is
told and leaves the others alone. When it was last done is noted beside the bundles, so a restart trains nothing twice.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from connectors.files import write_whole
from shopstream.runtime.children import python_command

NOTES: Final = "trainer.json"
SIGN_EVERY_S: Final = 5.0
"""Between two signs of life, and two looks at what is awaited."""
RETRY_S: Final = 300.0
"""After a round of which a step failed."""
PATIENCE_S: Final = 1_800.0
"""How long the first round waits for the archive to be whole, before it takes what is there."""

Outcome = Literal["done", "failed", "stopped"]
Run = Callable[[Sequence[str]], Outcome]


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """What is done in a round.

    Attributes:
        archive: what is learnt from.
        mart: folder of the segments.
        run: the run whose trends are written.
        every_s: from the end of one round to the next.
        tries: settings of XGBoost that `train` tries.
    """

    archive: Path
    mart: Path
    run: str
    every_s: float
    tries: int

    def steps(self) -> tuple[tuple[str, ...], ...]:
        """The commands of a round, in their order."""
        archive = str(self.archive)
        return (
            ("train", archive, "--tries", str(self.tries), "--threads", "1"),
            ("rollup", archive, "--run", self.run),
            ("forecast", archive, "--out", str(self.mart / "forecast.parquet"), "--index", "--run", self.run),
            ("segment", archive, "--out", str(self.mart)),
        )


class ScheduleState(msgspec.Struct, frozen=True):
    """When a round ended, epoch ms, and which of its steps failed."""

    ended_ms: int
    failed: tuple[str, ...] = ()


def due_in_s(notes: ScheduleState | None, every_s: float, now_ms: int) -> float:
    """Seconds until the next round, at most an interval wherever the clock has gone; 0 when it is due."""
    if notes is None:
        return 0.0
    wait_s = min(RETRY_S, every_s) if notes.failed else every_s
    return min(wait_s, max(0.0, notes.ended_ms / 1_000 + wait_s - now_ms / 1_000))


def read_notes(folder: Path) -> ScheduleState | None:
    """Of the last round; None when there was none, or what was noted cannot be read."""
    try:
        return msgspec.json.decode((folder / NOTES).read_bytes(), type=ScheduleState)
    except (OSError, msgspec.MsgspecError):
        return None


def write_notes(folder: Path, notes: ScheduleState) -> None:
    """Replaces them in one step."""
    write_whole(folder / NOTES, lambda path: path.write_bytes(msgspec.json.encode(notes) + b"\n"))


def go_through(plan: SchedulePlan, run: Run, told: Callable[[str], None]) -> tuple[str, ...] | None:
    """Does every step; returns the names of those that failed, or None when it was stopped."""
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
    """A command of ours in a process of its own.

    Args:
        words: after `shopstream`.
        living: called every few seconds; False ends the command.
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

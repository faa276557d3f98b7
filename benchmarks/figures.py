"""Summarises the measurements: medians, ratios, targets, a table and JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.runner import ROOT, Lap
from benchmarks.workload import Sent
from features.errors import ShopstreamError

MICRO = 1e6


class StepRow(NamedTuple):
    """A part of the consumer's work, in seconds."""

    part: str
    own_thread: bool
    calls: int
    wall_s: float
    cpu_s: float


class Figures:
    """All laps of a benchmark.

    Args:
        names: letter -> name of the measured system.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._laps: dict[str, list[Lap]] = {}
        self._notes: list[str] = []
        self._wrong: list[str] = []
        self.sent: Sent | None = None
        self.steps: Sequence[StepRow] = ()
        self.memory: dict[str, Any] = {}

    def add(self, letter: str, lap: Lap) -> None:
        """Add a measurement."""
        self._laps.setdefault(letter, []).append(lap)

    def note(self, text: str, *, once: bool = False) -> None:
        """Add a line below the table."""
        if not once or text not in self._notes:
            self._notes.append(text)

    def wrong(self, letter: str, text: str) -> None:
        """Add an error."""
        self._wrong.append(f"({letter}) {text}")

    def state(self, work: Path, arguments: argparse.Namespace, console: Console) -> None:
        """Measure (f) in a process of its own."""
        console.print(f"(f) building the state of {arguments.state_customers:,} customers")
        command = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), str(arguments.state_customers), str(work)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
        if done.returncode:
            raise ShopstreamError("The measurement of the state's memory failed.")
        self.memory = json.loads(done.stdout)

    def median(self, letter: str, value: Callable[[Lap], float]) -> float:
        """Return the median over all laps of a letter."""
        return statistics.median(value(lap) for lap in self._laps[letter])

    @property
    def right(self) -> bool:
        """Whether no error was added."""
        return not self._wrong

    # --- out ---

    def show(self, console: Console, arguments: argparse.Namespace) -> None:
        """Print everything."""
        if self.sent is not None:
            console.print(
                f"\n{self.sent.events:,} events of {self.sent.event_bytes:.0f} bytes ({self.sent.repeated:,} repeated, "
                f"{self.sent.spoiled:,} invalid) and {self.sent.orders:,} order records, 4 partitions; medians of "
                f"{arguments.repeat}. Compiled code is cached; process start is not included.",
                highlight=False,
            )
        if self._laps:
            console.print(self._table())
            for line in self.aims():
                console.print(line, highlight=False)
        if self.steps and self.sent is not None:
            console.print(self._steps_table(self.sent.events))
        if self.memory:
            console.print(memory_table(self.memory))
        for note in self._notes:
            console.print(note, highlight=False)
        for wrong in self._wrong:
            console.print(f"[bold red]wrong[/] {wrong}", highlight=False)
        checked = [letter for letter in self._laps if letter in "bceg"]
        if checked and not self._wrong:
            console.print(f"[green]The last rows of {', '.join(checked)} equal the batch rows in every column.[/]")

    def _table(self) -> Table:
        table = Table(title="medians")
        table.add_column("what")
        for column in (
            "events/s",
            "of (a)",
            "until applied /s",
            "CPU s per million",
            "peak MB",
            "start s",
            "others, cores",
            "core's speed",
        ):
            table.add_column(column, justify="right")
        floor = self.median("a", lambda lap: lap.rate) if "a" in self._laps else None
        fastest_s = min(lap.yardstick_s for laps in self._laps.values() for lap in laps)
        for letter, laps in sorted(self._laps.items()):
            rate = self.median(letter, lambda lap: lap.rate)
            table.add_row(
                f"({letter}) {self._names[letter]}" + (f" [dim]of {len(laps)}[/]" if len(laps) == 1 else ""),
                f"{rate:,.0f}",
                f"{rate / floor:.2f}" if floor else "",
                f"{self.median(letter, lambda lap: lap.read_rate):,.0f}",
                f"{self.median(letter, lambda lap: lap.cpu_per_million):.2f}",
                f"{self.median(letter, lambda lap: lap.peak_mb):,.0f}",
                f"{self.median(letter, lambda lap: lap.startup_s):.1f}",
                f"{self.median(letter, lambda lap: lap.others_cores):.2f}",
                f"{fastest_s / self.median(letter, lambda lap: lap.yardstick_s):.0%}",
            )
        return table

    def aims(self) -> list[str]:
        """Return a line for each measured target, met or not."""
        lines = []

        def aim(text: str, value: float, bound: float, *, least: bool = True) -> None:
            met = value >= bound if least else value <= bound
            colour = "green" if met else "red"
            lines.append(
                f"[{colour}]{'✓' if met else '✗'}[/] {text}: {value:.2f} (aim {'≥' if least else '≤'} {bound:g})"
            )

        if {"a", "b"} <= self._laps.keys():
            aim("(b) in shares of (a), until applied", self._paired("b", "a", lambda lap: lap.read_rate), 0.5)
            aim("(b) in shares of (a), until durable", self._paired("b", "a", lambda lap: lap.rate), 0.5)
        if {"b", "d"} <= self._laps.keys():
            aim("(b) in multiples of (d)", self._paired("b", "d", lambda lap: lap.rate), 12)
        if {"b", "e"} <= self._laps.keys():
            aim("(e) two workers in multiples of (b)", self._paired("e", "b", lambda lap: lap.read_rate), 1.8)
        if "b" in self._laps:
            aim("(b) CPU s per million", self.median("b", lambda lap: lap.cpu_per_million), 2.5, least=False)
        if "g" in self._laps:
            aim(
                "(g) peak GB with a million customers", self.median("g", lambda lap: lap.peak_mb) / 1024, 4, least=False
            )
        return lines

    def _paired(self, one: str, other: str, value: Callable[[Lap], float]) -> float:
        """Return the median ratio of laps that ran in succession, since other load slows both."""
        pairs = zip(self._laps[one], self._laps[other], strict=False)
        return statistics.median(value(a) / value(b) for a, b in pairs)

    def _steps_table(self, events: int) -> Table:
        table = Table(title="time of (b) by part, µs per event")
        for column in ("part", "wall", "CPU", "calls"):
            table.add_column(column, justify="left" if column == "part" else "right")
        for own in (True, False):
            rows = sorted((row for row in self.steps if row.own_thread == own), key=lambda row: -row.cpu_s)
            for row in rows:
                wall = f"{row.wall_s / events * MICRO:.3f}" if row.wall_s else ""
                part = row.part if own or not row.calls else f"{row.part} [dim](other thread)[/]"
                table.add_row(part, wall, f"{row.cpu_s / events * MICRO:.3f}", f"{row.calls:,}" if row.calls else "")
            if own:
                wall_s, cpu_s = sum(row.wall_s for row in rows), sum(row.cpu_s for row in rows)
                table.add_row("[b]the loop's thread", f"{wall_s / events * MICRO:.3f}", f"{cpu_s / events * MICRO:.3f}")
                table.add_section()
        table.add_row("[b]the process", "", f"{sum(row.cpu_s for row in self.steps) / events * MICRO:.3f}")
        return table

    def to_json(self, arguments: argparse.Namespace) -> str:
        """Return all figures as JSON."""
        content = {
            "arguments": {name: str(value) for name, value in vars(arguments).items()},
            "sent": asdict(self.sent) if self.sent else None,
            "laps": {
                letter: [{**asdict(lap), "rate": lap.rate, "cpu_per_million": lap.cpu_per_million} for lap in laps]
                for letter, laps in self._laps.items()
            },
            "steps": [row._asdict() for row in self.steps],
            "memory": self.memory,
            "wrong": self._wrong,
            "notes": self._notes,
        }
        return json.dumps(content, indent=1, default=str) + "\n"


def memory_table(memory: Mapping[str, Any]) -> Table:
    """Return (f) as a table."""
    table = Table(title="(f) memory of the state")
    table.add_column("what")
    table.add_column("", justify="right")
    for name, value in memory.items():
        table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    return table

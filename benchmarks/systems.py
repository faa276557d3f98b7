"""Runs the measured systems: starts each with its task and checks its result."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from benchmarks import exact
from benchmarks.figures import Figures, StepRow
from benchmarks.runner import Lap, run
from benchmarks.servers import Servers
from benchmarks.workload import PARTITIONS, Sent, Size, make_archive, send
from connectors.elasticsearch.client import ElasticConnection, open_client
from producers.archive.event_order import ArchiveRange

WARM = Size(500, 20_000)


class Systems:
    """The measured systems over one topic.

    Args:
        servers: the servers.
        work: folder for archive, state and logs.
        arguments: the command line.
        console: console for progress.
    """

    def __init__(self, servers: Servers, work: Path, arguments: argparse.Namespace, console: Console) -> None:
        self._servers, self._work, self._arguments, self._console = servers, work, arguments, console
        self._work.mkdir(parents=True)
        self.run = servers.new_run()
        self.sent: Sent | None = None
        self._expected = pl.DataFrame()
        self._number = 0
        self.log = work / "measured.log"

    def prepare(self, size: Size) -> None:
        """Warm up on a tiny topic, then create the archive, its rows and the topic."""
        self._log("warming up compiled code and servers")
        warm = Systems(self._servers, self._work / "warm", self._arguments, Console(quiet=True))
        warm.make(WARM)
        for letter in (letter for letter in self._arguments.only if letter in "abce"):
            warm.lap(letter, warm.task())
        self._log(f"creating {size.events:,} events of {size.customers:,} customers in {size.days} days")
        self.make(size)

    def make(self, size: Size) -> None:
        """Create the archive, its expected rows, and the topic."""
        archive = self._work / "archive"
        make_archive(size, archive)
        self.sent = send(self._servers.kafka, self.run, ArchiveRange(archive))
        self._expected = exact.batch_rows(archive, self.sent.high_ms)

    def take_turn(self, letter: str, turn: int, figures: Figures) -> None:
        """Run and check one measurement."""
        if letter == "d" and not self._arguments.quix_python.exists():
            figures.note("(d) quixstreams is not installed: `make bench` installs it.", once=True)
            return
        if letter == "c":
            self._servers.make_indices(self.run)
        task = self.task()
        lap = self.lap(letter, task)
        figures.add(letter, lap)
        position = f"{turn + 1}/{self._arguments.repeat}"
        self._log(f"{position} ({letter}) {lap.rate:,.0f}/s, {lap.cpu_per_million:.2f} CPU s per million")
        for error in self.check(letter, lap, Path(task["state"])):
            figures.wrong(letter, error)
        shutil.rmtree(task["state"], ignore_errors=True)
        if letter == "c":
            self._servers.drop_indices(self.run)

    def task(self, **changes: Any) -> dict[str, Any]:
        """Return the task of a process: the common values with `changes`."""
        assert self.sent is not None
        self._number += 1
        return {
            "run": self.run,
            "kafka": self._servers.kafka,
            "group": f"{self.run}-{self._number}",
            "instance": "worker-0",
            "state": str(self._work / f"state-{self._number}"),
            "elastic": None,
            "messages": self.sent.events,
            "ends": self.sent.ends,
            "as_of": self.sent.high_ms,
            "partitions": PARTITIONS,
            "workers": 1,
            "steps": False,
            "checkpoint_interval_s": self._arguments.checkpoint_interval_s,
            **changes,
        }

    def lap(self, letter: str, task: Mapping[str, Any]) -> Lap:
        """Measure one of (a) to (e)."""
        assert self.sent is not None
        events = self.sent.events
        if letter == "a":
            return run(letter, events, "floor.py", [task], self.log)
        if letter == "d":
            return run(letter, events, "quix_app.py", [task], self.log, python=str(self._arguments.quix_python))
        tasks = [task]
        if letter == "c":
            tasks = [{**task, "elastic": self._servers.elastic}]
        if letter == "e":
            tasks = [
                {**task, "workers": 2, "partitions": PARTITIONS // 2, "instance": f"worker-{number}"}
                for number in range(2)
            ]
        return run(letter, events, "features_app.py", tasks, self.log)

    def steps(self) -> list[StepRow]:
        """Measure the parts of (b)."""
        lap = run("b", self.task()["messages"], "features_app.py", [self.task(steps=True)], self.log)
        return [StepRow(*row) for row in lap.figures[0]["steps"]]

    def check(self, letter: str, lap: Lap, state: Path) -> list[str]:
        """Return the differences from the expected result."""
        assert self.sent is not None
        sent = self.sent
        if letter in "ad":
            consumed = lap.figures[0]["consumed"]
            return [] if consumed == sent.events else [f"{consumed:,} messages read, {sent.events:,} sent"]
        progresses = [one["progress"] for one in lap.figures]
        planted = {"rejected": sent.spoiled, "duplicates": sent.repeated, "late": 0}
        errors = [
            f"{name}: {counted:,}, {expected:,} planted"
            for name, expected in planted.items()
            if (counted := sum(one[name] for one in progresses)) != expected
        ]
        errors += exact.differences(exact.checkpoint_rows(state, self.run, PARTITIONS, sent.high_ms), self._expected)
        if letter == "c":
            with open_client(ElasticConnection(**self._servers.elastic)) as client:
                errors += exact.differences(exact.elastic_rows(client, self.run), self._expected)
        return errors

    def clear(self) -> None:
        """Delete all files."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _log(self, what: str) -> None:
        self._console.print(what, highlight=False)

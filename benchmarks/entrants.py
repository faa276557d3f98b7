"""Those who are measured: how each is started, on which task, and whether what it reached is right."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from benchmarks import exact
from benchmarks.contest import Lap, run
from benchmarks.figures import Figures, StepRow
from benchmarks.ground import Ground
from benchmarks.workload import PARTITIONS, Sent, Size, make_archive, send
from connectors.elasticsearch.client import ElasticConnection, open_client
from producers.archive.event_order import Span

WARM = Size(500, 20_000)


class Entrants:
    """The measured processes over one topic.

    Args:
        ground: the servers.
        work: a folder for archive, state and logs.
        given: the command line.
        console: for progress.
    """

    def __init__(self, ground: Ground, work: Path, given: argparse.Namespace, console: Console) -> None:
        self._ground, self._work, self._given, self._console = ground, work, given, console
        self._work.mkdir(parents=True)
        self.run = ground.new_run()
        self.sent: Sent | None = None
        self._wanted = pl.DataFrame()
        self._number = 0
        self.log = work / "measured.log"

    def prepare(self, size: Size) -> None:
        """Warm up on a tiny topic, then make the archive, its rows and the topic."""
        self._say("warming up: compiled code goes to its cache, the servers to work")
        warm = Entrants(self._ground, self._work / "warm", self._given, Console(quiet=True))
        warm.make(WARM)
        for letter in (letter for letter in self._given.only if letter in "abce"):
            warm.lap(letter, warm.task())
        self._say(f"making {size.events:,} events of {size.customers:,} customers in {size.days} days")
        self.make(size)

    def make(self, size: Size) -> None:
        """The archive, the rows it leads to, and the topic."""
        archive = self._work / "archive"
        make_archive(size, archive)
        self.sent = send(self._ground.kafka, self.run, Span(archive))
        self._wanted = exact.batch_rows(archive, self.sent.high_ms)

    def take_turn(self, letter: str, turn: int, figures: Figures) -> None:
        """One measurement, checked."""
        if letter == "d" and not self._given.quix_python.exists():
            figures.note("(d) quixstreams is not installed: `make bench` does it.", once=True)
            return
        if letter == "c":
            self._ground.make_indices(self.run)
        task = self.task()
        lap = self.lap(letter, task)
        figures.add(letter, lap)
        self._say(
            f"{turn + 1}/{self._given.repeat} ({letter}) {lap.rate:,.0f}/s, {lap.cpu_per_million:.2f} CPU s per million"
        )
        for said in self.check(letter, lap, Path(task["state"])):
            figures.wrong(letter, said)
        shutil.rmtree(task["state"], ignore_errors=True)
        if letter == "c":
            self._ground.drop_indices(self.run)

    def task(self, **changes: Any) -> dict[str, Any]:
        """What a process is told; `changes` over what is common."""
        assert self.sent is not None
        self._number += 1
        return {
            "run": self.run,
            "kafka": self._ground.kafka,
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
            "checkpoint_interval_s": self._given.checkpoint_interval_s,
            **changes,
        }

    def lap(self, letter: str, task: Mapping[str, Any]) -> Lap:
        """Measure one of (a) to (e)."""
        assert self.sent is not None
        events = self.sent.events
        if letter == "a":
            return run(letter, events, "floor.py", [task], self.log)
        if letter == "d":
            return run(letter, events, "quix_app.py", [task], self.log, python=str(self._given.quix_python))
        tasks = [task]
        if letter == "c":
            tasks = [{**task, "elastic": self._ground.elastic}]
        if letter == "e":
            tasks = [
                {**task, "workers": 2, "partitions": PARTITIONS // 2, "instance": f"worker-{number}"}
                for number in range(2)
            ]
        return run(letter, events, "features_app.py", tasks, self.log)

    def steps(self) -> list[StepRow]:
        """Where the time of (b) goes."""
        lap = run("b", self.task()["messages"], "features_app.py", [self.task(steps=True)], self.log)
        return [StepRow(*row) for row in lap.figures[0]["steps"]]

    def check(self, letter: str, lap: Lap, state: Path) -> list[str]:
        """What is not as it must be."""
        assert self.sent is not None
        sent = self.sent
        if letter in "ad":
            consumed = lap.figures[0]["consumed"]
            return [] if consumed == sent.events else [f"{consumed:,} messages read, {sent.events:,} sent"]
        told = [one["progress"] for one in lap.figures]
        expected = {"rejected": sent.spoiled, "duplicates": sent.repeated, "late": 0}
        said = [
            f"{name}: {found:,}, {wanted:,} planted"
            for name, wanted in expected.items()
            if (found := sum(one[name] for one in told)) != wanted
        ]
        said += exact.differences(exact.checkpoint_rows(state, self.run, PARTITIONS, sent.high_ms), self._wanted)
        if letter == "c":
            with open_client(ElasticConnection(**self._ground.elastic)) as client:
                said += exact.differences(exact.elastic_rows(client, self.run), self._wanted)
        return said

    def clear(self) -> None:
        """Give back the disk."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _say(self, what: str) -> None:
        self._console.print(what, highlight=False)

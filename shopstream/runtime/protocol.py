"""The words of the parent: who there is, what is planned, what is to be done, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from consumers.metrics.prometheus import Figure
from shopstream.runtime.messages import Down, Figures


class WorkerName(NamedTuple):
    """A worker."""

    role: str
    number: int

    def __str__(self) -> str:
        return f"{self.role}-{self.number}"


# --- actions ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Start:
    """Start its process."""

    name: WorkerName


@dataclass(frozen=True, slots=True)
class Send:
    """Tell it."""

    name: WorkerName
    message: Down


@dataclass(frozen=True, slots=True)
class Kill:
    """End its process at once."""

    name: WorkerName


@dataclass(frozen=True, slots=True)
class Log:
    """Tell people."""

    level: Literal["info", "warning", "error"]
    event: str
    fields: Mapping[str, Figure]


Action = Start | Send | Kill | Log
Stage = Literal["starting", "running", "at end", "stopping", "done", "waiting", "dead"]


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What is to be run.

    Attributes:
        workers: role -> number of processes.
        partitions: the numbers that the workers of each role own together; with them, the workers have ends.
        as_of: the T that is wanted, epoch ms; None takes the highest stream time.
        agreeing: the role whose workers agree on T.
    """

    workers: Mapping[str, int]
    partitions: frozenset[int] | None = None
    as_of: int | None = None
    agreeing: str | None = None

    @property
    def until_end(self) -> bool:
        """Whether the workers have ends."""
        return self.partitions is not None

    def names(self) -> list[WorkerName]:
        """Every worker."""
        return [WorkerName(role, number) for role, count in self.workers.items() for number in range(count)]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why it ended badly."""

    message: str
    remedy: str = ""
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker at one moment, for people and for the metrics.

    Attributes:
        restarts: since the beginning.
        records_per_s: read, over the last seconds.
        mean_records_per_s: read, from its first report until the last record.
        rows_per_s: documents, rows or files' rows, over the last seconds.
        trouble: what it says is in its way, or how it died.
        owned: partition numbers it has; None while the group has given it no answer.
        reported_s: monotonic time of its last report, which its loop makes; None before the first.
    """

    name: WorkerName
    stage: Stage
    figures: Figures
    restarts: int
    records_per_s: float
    mean_records_per_s: float
    rows_per_s: float
    trouble: str | None
    owned: tuple[int, ...] | None = None
    reported_s: float | None = None

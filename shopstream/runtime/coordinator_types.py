"""Defines the data types of the coordinator: plan, actions, failures and the state of workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from consumers.metrics.definitions import Figure
from shopstream.runtime.protocol import Down, Figures


class WorkerName(NamedTuple):
    """Role and number of a worker."""

    role: str
    number: int

    def __str__(self) -> str:
        return f"{self.role}-{self.number}"


# --- actions ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Start:
    """Start the worker's process."""

    name: WorkerName


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to the worker."""

    name: WorkerName
    message: Down


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the worker's process."""

    name: WorkerName


@dataclass(frozen=True, slots=True)
class Log:
    """Log a line for the user."""

    level: Literal["info", "warning", "error"]
    event: str
    fields: Mapping[str, Figure]


Action = Start | Send | Kill | Log
Stage = Literal["starting", "running", "at end", "stopping", "done", "waiting", "dead"]


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """Workers to run.

    Attributes:
        workers: role -> number of processes.
        partitions: partition numbers that the workers of each role share; if set, the workers have end offsets.
        as_of: requested T, epoch ms; None takes the highest event time.
        agreeing: role whose workers agree on T.
        in_step: partitions that the workers read in step by their times, if they do.
    """

    workers: Mapping[str, int]
    partitions: frozenset[int] | None = None
    as_of: int | None = None
    agreeing: str | None = None
    in_step: frozenset[int] | None = None

    @property
    def until_end(self) -> bool:
        """Whether the workers have end offsets."""
        return self.partitions is not None

    def names(self) -> list[WorkerName]:
        """Return the names of all workers."""
        return [WorkerName(role, number) for role, count in self.workers.items() for number in range(count)]


@dataclass(frozen=True, slots=True)
class Failure:
    """Cause of a failed command, with its remedy."""

    message: str
    remedy: str = ""
    exit_code: int = 1


@dataclass(frozen=True, slots=True)
class WorkerView:
    """State of a worker at one moment, for display and metrics.

    Attributes:
        restarts: restarts since the beginning.
        records_per_s: rate of records read, over the last seconds.
        mean_records_per_s: rate of records read, from its first report until the last record.
        rows_per_s: rate of documents, rows or files' rows written, over the last seconds.
        last_error: problem that it reports, or the cause of its unplanned end.
        owned: partition numbers of the worker; None before the first assignment.
        reported_s: monotonic time of the last report, which its loop sends; None before the first.
    """

    name: WorkerName
    stage: Stage
    figures: Figures
    restarts: int
    records_per_s: float
    mean_records_per_s: float
    rows_per_s: float
    last_error: str | None
    owned: tuple[int, ...] | None = None
    reported_s: float | None = None

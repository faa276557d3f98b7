"""What the parent decides: who runs, when all stop, which T all are given. Pure: words go in, actions come out.

With ends, nobody may leave or write its last rows before all of the role have read everything:

    A  reading ──────── AtEnd ─────────────── AtEnd(1) ─┐
    B  reading ── AtEnd ── gets a partition ── AtEnd(1) ─┴─> T = max, FinalAsOf to all ─> Done, Done

A worker is asked a second time (`Ask`), since the group may have handed it a partition after its first word; and T is
decided only when the workers together own every partition and each of them that can have one has one: then no further
rebalance is due, and T holds for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from consumers.metrics import Figure, Meter
from shopstream.workers.messages import (
    Ask,
    AtEnd,
    Done,
    Down,
    End,
    Ends,
    Failed,
    Figures,
    FinalAsOf,
    Ready,
    Report,
    Said,
    Stop,
    Up,
)

RESTARTS_MAX: Final = 5
"""Restarts of one worker within `RESTARTS_WINDOW_S` before the parent gives up."""
RESTARTS_WINDOW_S: Final = 60.0
PAUSE_S: Final = 1.0
"""Before the first restart; doubles with each one in the window."""
LEAVE_TIMEOUT_S: Final = 60.0
"""How long a worker may take to finish its batch and checkpoint before it is killed."""
FOREIGN_TIMEOUT_S: Final = 30.0
"""How long partitions may be missing at the end before others are blamed for having them."""


class Name(NamedTuple):
    """A worker."""

    role: str
    number: int

    def __str__(self) -> str:
        return f"{self.role}-{self.number}"


# --- actions ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Start:
    """Start its process."""

    name: Name


@dataclass(frozen=True, slots=True)
class Send:
    """Tell it."""

    name: Name
    message: Down


@dataclass(frozen=True, slots=True)
class Kill:
    """End its process at once."""

    name: Name


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people."""

    level: Literal["info", "warning", "error"]
    event: str
    fields: Mapping[str, Figure]


Action = Start | Send | Kill | Tell
Stage = Literal["starting", "running", "at end", "stopping", "done", "waiting", "dead"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run.

    Attributes:
        workers: role -> number of processes.
        until_end: the workers have ends.
        as_of: the T that is wanted, epoch ms; None takes the highest stream time.
        agreeing: role whose workers agree on T -> the partition numbers that they own together.
    """

    workers: Mapping[str, int]
    until_end: bool = False
    as_of: int | None = None
    agreeing: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def names(self) -> list[Name]:
        """Every worker."""
        return [Name(role, number) for role, count in self.workers.items() for number in range(count)]


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
    """

    name: Name
    stage: Stage
    figures: Figures
    restarts: int
    records_per_s: float
    mean_records_per_s: float
    rows_per_s: float
    trouble: str | None


@dataclass(slots=True)
class _Worker:
    stage: Stage = "starting"
    figures: dict[str, Figure] = field(default_factory=dict)
    at_end: AtEnd | None = None
    last: Done | Failed | None = None
    deaths_s: list[float] = field(default_factory=list)
    start_at_s: float = 0.0
    restarts: int = 0
    killed: bool = False
    trouble: str | None = None
    records: Meter = field(default_factory=Meter)
    rows: Meter = field(default_factory=Meter)

    @property
    def alive(self) -> bool:
        return self.stage in ("starting", "running", "at end", "stopping")

    def reset(self) -> None:
        self.stage, self.at_end, self.last, self.killed = "starting", None, None, False
        self.figures, self.trouble = {}, None
        self.records, self.rows = Meter(), Meter()


ROW_COUNTS: Final = ("written", "rows_written", "sessions_written", "orders_written")
"""Figures that count what a worker has written."""


def rows_of(figures: Figures) -> int:
    """Documents and rows that a worker has written."""
    return sum(int(figures.get(name) or 0) for name in ROW_COUNTS)


class Crew:
    """The workers of one command.

    Args:
        plan: what is to be run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.failures: list[Failure] = []
        self.final_as_of: int | None = None
        self.interrupted = False
        self._workers = {name: _Worker() for name in plan.names()}
        self._ends: tuple[End, ...] | None = None
        self._round = dict.fromkeys(plan.agreeing, 0)
        self._stopping_s: float | None = None
        self._uncovered_s: float | None = None

    # --- what there is ---

    @property
    def finished(self) -> bool:
        """Whether no process runs and none is to be started."""
        return all(w.stage in ("done", "dead") for w in self._workers.values())

    @property
    def stopping(self) -> bool:
        """Whether all have been told to leave."""
        return self._stopping_s is not None

    def views(self) -> tuple[WorkerView, ...]:
        """Every worker as it is now."""
        return tuple(
            WorkerView(
                name, w.stage, dict(w.figures), w.restarts,
                w.records.per_s if w.alive else 0.0, w.records.mean_per_s, w.rows.per_s if w.alive else 0.0,
                w.trouble or str(w.figures.get("trouble") or "") or None,
            )
            for name, w in self._workers.items()
        )  # fmt: skip

    # --- what happens ---

    def begin(self) -> list[Action]:
        """All are started."""
        return [Start(name) for name in self._workers]

    def ends_known(self, ends: tuple[End, ...]) -> list[Action]:
        """The ends are known now; workers that start later are told too."""
        self._ends = ends
        return [Send(name, Ends(ends)) for name, w in self._workers.items() if w.alive]

    def heard(self, name: Name, message: Up, now_s: float) -> list[Action]:
        """A worker has said something."""
        worker = self._workers[name]
        match message:
            case Ready():
                worker.stage = "stopping" if self.stopping else "running"
                return [Send(name, Ends(self._ends))] if self._ends is not None else []
            case Report(figures):
                self._measure(worker, figures, now_s)
            case Said(level, event, fields):
                known: Literal["warning", "error"] = "error" if level in ("error", "critical") else "warning"
                return [Tell(known, event, {"worker": str(name), **fields})]
            case AtEnd():
                worker.at_end = message
                if not self.stopping:
                    worker.stage = "at end"
                return self._agree(name.role, now_s)
            case Done(figures):
                self._measure(worker, figures, now_s)
                worker.last = message
            case Failed():
                worker.last = message
        return []

    def died(self, name: Name, how: str, now_s: float) -> list[Action]:
        """Its process has ended; `how` tells with which code or signal and the last lines of its log."""
        worker = self._workers[name]
        worker.at_end = None
        if isinstance(worker.last, Done) and (self.plan.until_end or self.stopping):
            worker.stage = "done"
            return []
        if worker.killed:
            worker.stage, worker.trouble = "dead", "killed"
            return []
        failure = _failure(name, worker.last, how)
        worker.stage, worker.trouble = "dead", failure.message
        if self.plan.until_end or self.stopping or failure.exit_code == 2:
            return self._fail(failure, now_s)
        return self._restart(worker, failure, now_s)

    def stop(self, now_s: float, *, interrupted: bool = False) -> list[Action]:
        """All are to leave."""
        if self.stopping:
            return []
        self._stopping_s = now_s
        self.interrupted = interrupted
        actions: list[Action] = []
        for name, worker in self._workers.items():
            if worker.stage == "waiting":
                worker.stage = "dead"
            elif worker.alive:
                worker.stage = "stopping"
                actions.append(Send(name, Stop()))
        return actions

    def kill(self) -> list[Action]:
        """All end at once; what was not checkpointed is read again."""
        actions: list[Action] = []
        for name, worker in self._workers.items():
            if worker.alive:
                worker.killed = True
                actions.append(Kill(name))
        return actions

    def tick(self, now_s: float) -> list[Action]:
        """Time has passed."""
        actions: list[Action] = []
        for name, worker in self._workers.items():
            if worker.stage == "waiting" and now_s >= worker.start_at_s:
                worker.reset()
                worker.restarts += 1
                actions.append(Start(name))
            worker_is_slow = self._stopping_s is not None and now_s - self._stopping_s >= LEAVE_TIMEOUT_S
            if worker.stage == "stopping" and worker_is_slow and not worker.killed:
                worker.killed = True
                text = f"{name} did not leave within {LEAVE_TIMEOUT_S:.0f} s and was killed."
                self.failures.append(Failure(text, "What it had not checkpointed is read again at the next start."))
                actions.append(Kill(name))
        for role in self.plan.agreeing:
            actions += self._agree(role, now_s)
        return actions

    # --- how it is decided ---

    def _measure(self, worker: _Worker, figures: dict[str, Figure], now_s: float) -> None:
        worker.figures = {**worker.figures, **figures}
        worker.records.read(int(figures.get("consumed") or 0), now_s)
        worker.rows.read(rows_of(figures), now_s)

    def _fail(self, failure: Failure, now_s: float) -> list[Action]:
        self.failures.append(failure)
        return [Tell("error", failure.message, {}), *self.stop(now_s)]

    def _restart(self, worker: _Worker, failure: Failure, now_s: float) -> list[Action]:
        worker.deaths_s = [at_s for at_s in worker.deaths_s if now_s - at_s < RESTARTS_WINDOW_S]
        if len(worker.deaths_s) >= RESTARTS_MAX:
            count = f"{RESTARTS_MAX} restarts within {RESTARTS_WINDOW_S:.0f} s"
            return self._fail(Failure(f"{failure.message} ({count} did not help)", failure.remedy), now_s)
        pause_s = PAUSE_S * 2.0 ** len(worker.deaths_s)
        worker.deaths_s.append(now_s)
        worker.stage, worker.start_at_s = "waiting", now_s + pause_s
        return [Tell("warning", failure.message, {"restart_in_s": pause_s, "restart": len(worker.deaths_s)})]

    def _agree(self, role: str, now_s: float) -> list[Action]:
        """T, when every worker of the role is at its end and they own everything together."""
        if self.final_as_of is not None or self.stopping or not self.plan.until_end:
            return []
        names = [name for name in self._workers if name.role == role]
        words = [self._workers[name].at_end for name in names]
        said = [word for word in words if word is not None and word.round == self._round[role]]
        if len(said) < len(names):
            return []
        if not _is_settled(said, self.plan.agreeing[role]):
            return self._wait_for_owners(role, said, now_s)
        self._uncovered_s = None
        if self._round[role] == 0:
            self._round[role] = 1
            return [Send(name, Ask(1)) for name in names]
        highest = max(word.stream_ts for word in said)
        if self.plan.as_of is not None and self.plan.as_of < highest:
            text = f"--as-of {_iso(self.plan.as_of)} is before the highest stream time, {_iso(highest)}."
            return self._fail(Failure(text, "Give a later --as-of, or leave it out.", exit_code=2), now_s)
        self.final_as_of = highest if self.plan.as_of is None else self.plan.as_of
        return [Send(name, FinalAsOf(self.final_as_of)) for name in names]

    def _wait_for_owners(self, role: str, said: list[AtEnd], now_s: float) -> list[Action]:
        if self._uncovered_s is None:
            self._uncovered_s = now_s
        if now_s - self._uncovered_s < FOREIGN_TIMEOUT_S:
            return []
        missing = sorted(self.plan.agreeing[role].difference(*(word.owned or () for word in said)))
        text = f"Partitions {missing} of role {role} are read by workers that this command did not start."
        return self._fail(Failure(text, "--until-end needs the consumer group for itself: stop the others."), now_s)


def _is_settled(said: list[AtEnd], partitions: frozenset[int]) -> bool:
    owned = [word.owned for word in said]
    taken = [number for numbers in owned if numbers is not None for number in numbers]
    busy = sum(1 for numbers in owned if numbers)
    return None not in owned and sorted(taken) == sorted(partitions) and busy == min(len(said), len(partitions))


def _failure(name: Name, last: Done | Failed | None, how: str) -> Failure:
    if isinstance(last, Failed):
        return Failure(f"{name}: {last.message}", last.remedy, last.exit_code)
    if isinstance(last, Done):
        return Failure(f"{name} ended by itself, though it was to run for ever.")
    return Failure(f"{name} died: {how}", "What it had not checkpointed is read again at the next start.")


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Defines the messages between the parent and a worker process: one JSON object a line, in both directions.

parent                                   worker
  Task ────────────────────────────────>   role and configuration
  <──────────────────────────────── Ready   the role is open
  <─────────────────────────────── Report   each second
  <───────────────────────────── StepTime   lowest time of its partitions (role map)
  StepLimit ───────────────────────────>   lowest time of the other workers' partitions
  Ends ────────────────────────────────>   end offsets, if unknown at the start
  <─────────────────────────── ReachedEnd   everything up to the ends is read
  ConfirmEnd ──────────────────────────>   send ReachedEnd again
  FinalAsOf ───────────────────────────>   T, the same for all workers
  Stop ────────────────────────────────>   finish the batch, checkpoint, exit
  <──────────────────────── Done / Failed   last message
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from connectors.endpoints import RegistryEndpoint
from connectors.formats.money_format import UNSET_MONEY, ShopMoney
from consumers.metrics.definitions import Figure

Clock = Literal["stream", "wall"]
"""Time of rows: event time, or the wall clock while the lag is zero."""

Figures = Mapping[str, Figure]
"""Counters and measurements of a role by name: the fields of its progress and totals."""

End = tuple[str, int, int]
"""Full topic name, partition, offset."""

NO_END: Final = 2**62
"""Offset of an end that is not known yet: no topic reaches it."""


class ElasticLogin(msgspec.Struct, frozen=True):
    """Address and credentials of Elasticsearch."""

    url: str
    username: str | None
    password: str | None
    options: dict[str, object]

    def __repr__(self) -> str:
        return f"ElasticLogin({self.url!r})"


class MappingTask(msgspec.Struct, frozen=True):
    """Part of a task for the role `map`.

    Attributes:
        texts: name of each mapping, and its text as YAML.
        answers: name -> value for each `{ask: name}` of the mappings.
        guest_salt: secret of which ids of guests are made.
        registries: schema registries that the mappings name.
        partitions: every partition of the topics; its position identifies it in `Owned` and `StepTime`.
        starts: offsets of partitions at which a group without a committed offset starts; else at the first one.
        guests: fingerprint of the secret; empty if the mappings make no ids of guests.
        money: what the settings say about amounts.
        rates: name of a mapping -> text of its file of rates.
    """

    texts: tuple[tuple[str, str], ...]
    answers: dict[str, str]
    guest_salt: str
    registries: tuple[RegistryEndpoint, ...]
    partitions: tuple[tuple[str, int], ...]
    starts: tuple[End, ...] = ()
    guests: str = ""
    money: ShopMoney = UNSET_MONEY
    rates: dict[str, str] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"MappingTask({[name for name, _ in self.texts]!r})"


class Task(msgspec.Struct, frozen=True):
    """Configuration of a worker. Sent only over the socket, never in arguments, because it holds passwords.

    Attributes:
        role: `features`, `index`, `archive` or `map`.
        worker: number within the role, from 0.
        builder: `module:function` that opens the role from this task.
        run: name of the run.
        instance_id: group instance id, for static membership.
        kafka: librdkafka properties.
        elastic: Elasticsearch connection; None for a role that writes no documents.
        state: URI of the checkpoints.
        archive: URI of the archive that the archive consumer writes.
        ends: every partition with `NO_END`, since the parent sends the end offsets later; None runs for ever.
        clock: `stream` or `wall`.
        contact: whether names and e-mails are indexed.
        debug: whether to log debug lines.
        bundles: path of a bundle, or of a folder with a pointer to one; None: rows have no scores.
        mapping: topics and mappings of the role `map`.
    """

    role: str
    worker: int
    builder: str
    run: str
    instance_id: str
    kafka: dict[str, str]
    elastic: ElasticLogin | None
    state: str
    archive: str
    ends: tuple[End, ...] | None = None
    clock: Clock = "stream"
    contact: bool = False
    debug: bool = False
    bundles: str | None = None
    mapping: MappingTask | None = None

    def __repr__(self) -> str:
        return f"Task({self.role!r}, {self.worker})"


# --- worker to parent -------------------------------------------------------------------------------------------------
class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The role is open and starts to consume."""


class Report(msgspec.Struct, frozen=True, tag="report"):
    """Current counters and measurements."""

    figures: dict[str, Figure]


class Owned(msgspec.Struct, frozen=True, tag="owned"):
    """Partition numbers of the worker; None before the first assignment."""

    partitions: tuple[int, ...] | None


class ReachedEnd(msgspec.Struct, frozen=True, tag="at_end"):
    """Everything up to the end offsets is read; the worker waits for T.

    Attributes:
        max_event_time: highest event time of its records, epoch ms; 0 without records.
        owned: partition numbers of the worker; None before the first assignment.
        round: number of the last `ConfirmEnd` it received; 0 before the first.
    """

    max_event_time: int
    owned: tuple[int, ...] | None
    round: int


class StepTime(msgspec.Struct, frozen=True, tag="step_time"):
    """Lowest time of the worker's partitions that are not at their end.

    Attributes:
        time_ms: epoch ms; 0 is unknown, `NO_END` is no such partition.
        owned: partitions of the worker; None before the first assignment.
    """

    time_ms: int
    owned: tuple[int, ...] | None


class LogLine(msgspec.Struct, frozen=True, tag="log_line"):
    """A log line to show to the user."""

    level: str
    event: str
    fields: dict[str, Figure | bool]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Last message: the role has ended as planned."""

    figures: dict[str, Figure]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Last message: the role has ended with an error."""

    message: str
    remedy: str = ""
    exit_code: int = 1


Up = Ready | Owned | Report | ReachedEnd | StepTime | LogLine | Done | Failed


# --- parent to worker -------------------------------------------------------------------------------------------------
class Ends(msgspec.Struct, frozen=True, tag="ends"):
    """End offsets."""

    ends: tuple[End, ...]


class ConfirmEnd(msgspec.Struct, frozen=True, tag="confirm_end"):
    """Request to send `ReachedEnd` again as soon as it holds."""

    round: int


class FinalAsOf(msgspec.Struct, frozen=True, tag="final"):
    """T, epoch ms: request to write the final row of every customer as of this time."""

    as_of: int


class StepLimit(msgspec.Struct, frozen=True, tag="step_limit"):
    """Lowest time of the partitions of the other workers that are not at their end, epoch ms; as in `StepTime`."""

    time_ms: int


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Request to finish the batch, checkpoint and exit."""


Down = Ends | ConfirmEnd | FinalAsOf | StepLimit | Stop

_encode = msgspec.json.Encoder().encode
_UP: Final[msgspec.json.Decoder[Up]] = msgspec.json.Decoder(Up)
_DOWN: Final[msgspec.json.Decoder[Down]] = msgspec.json.Decoder(Down)
_TASK: Final[msgspec.json.Decoder[Task]] = msgspec.json.Decoder(Task)


def to_line(message: Task | Up | Down) -> bytes:
    """Encode a message as one line."""
    return _encode(message) + b"\n"


def read_up(line: bytes) -> Up:
    """Decode a message of a worker. Raises msgspec.MsgspecError."""
    return _UP.decode(line)


def read_down(line: bytes) -> Down:
    """Decode a message of the parent. Raises msgspec.MsgspecError."""
    return _DOWN.decode(line)


def read_task(line: bytes) -> Task:
    """Decode the parent's first line. Raises msgspec.MsgspecError."""
    return _TASK.decode(line)


class Lines:
    """Splits the data of a socket into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add data and yield the complete lines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from lines

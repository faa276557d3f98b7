"""The words between the parent and a worker process: one JSON object a line, in both directions.

parent                                   child
  Task ────────────────────────────────>   what to be
  <──────────────────────────────── Ready   the role stands
  <─────────────────────────────── Report   each second
  Ends ────────────────────────────────>   where to stop, when it was not known at the start
  <──────────────────────────────── AtEnd   everything up to the ends is read
  Ask ─────────────────────────────────>   say it again
  FinalAsOf ──────────────────────────────>   T, for all the same
  Stop ────────────────────────────────>   finish the batch, checkpoint, leave
  <──────────────────────── Done / Failed   the last word
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

Figure = int | float | str | None
Figures = Mapping[str, Figure]
"""What a role counted and measured, by name: the fields of its progress and totals."""

End = tuple[str, int, int]
"""Full topic name, partition, offset."""

NO_END: Final = 2**62
"""The offset of an end that is not known yet: no topic reaches it."""


class ElasticLogin(msgspec.Struct, frozen=True):
    """Where Elasticsearch is, and how to get in."""

    url: str
    username: str | None
    password: str | None
    options: dict[str, object]

    def __repr__(self) -> str:
        return f"ElasticLogin({self.url!r})"


class Task(msgspec.Struct, frozen=True):
    """All that a worker needs. It travels over the socket alone, never in arguments: it holds passwords.

    Attributes:
        role: `features`, `index` or `archive`.
        worker: number within the role, from 0.
        builder: `module:function` that opens the role from this task.
        run: the run's name.
        instance_id: for static membership.
        kafka: librdkafka properties.
        elastic: None for a role that writes no documents.
        state: URI of the checkpoints.
        archive: URI of the archive that the archive consumer writes.
        ends: every partition with `NO_END`, for the parent tells where to stop; None runs for ever.
        clock: `stream` or `wall`.
        contact: names and e-mails go into the index.
        debug: log debug lines too.
        bundles: a bundle, or a folder with a pointer to one; None: rows have no scores.
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
    clock: str = "stream"
    contact: bool = False
    debug: bool = False
    bundles: str | None = None

    def __repr__(self) -> str:
        return f"Task({self.role!r}, {self.worker})"


# --- up ---------------------------------------------------------------------------------------------------------------
class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The role stands and begins."""


class Report(msgspec.Struct, frozen=True, tag="report"):
    """How it goes."""

    figures: dict[str, Figure]


class Owned(msgspec.Struct, frozen=True, tag="owned"):
    """The partition numbers it has now; None when the group has given it no answer yet."""

    partitions: tuple[int, ...] | None


class ReachedEnd(msgspec.Struct, frozen=True, tag="at_end"):
    """Everything up to the ends is read; the worker waits for T.

    Attributes:
        stream_ts: highest time of its records, epoch ms; 0 when it has none.
        owned: partition numbers it has; None when the group has given it no answer yet.
        round: the number of the last `ConfirmEnd` it has heard; 0 before the first.
    """

    stream_ts: int
    owned: tuple[int, ...] | None
    round: int


class LogLine(msgspec.Struct, frozen=True, tag="said"):
    """A line of its log that people should see."""

    level: str
    event: str
    fields: dict[str, Figure | bool]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The role has ended as it should; its last word."""

    figures: dict[str, Figure]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The role has ended with an error; its last word."""

    message: str
    remedy: str = ""
    exit_code: int = 1


Up = Ready | Owned | Report | ReachedEnd | LogLine | Done | Failed


# --- down -------------------------------------------------------------------------------------------------------------
class Ends(msgspec.Struct, frozen=True, tag="ends"):
    """Where to stop."""

    ends: tuple[End, ...]


class ConfirmEnd(msgspec.Struct, frozen=True, tag="ask"):
    """Say again that you are at the end, as soon as it is so."""

    round: int


class FinalAsOf(msgspec.Struct, frozen=True, tag="final"):
    """T: write the final row of every customer at this time, epoch ms."""

    as_of: int


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Finish the batch, checkpoint and leave."""


Down = Ends | ConfirmEnd | FinalAsOf | Stop

_encode = msgspec.json.Encoder().encode
_UP: Final[msgspec.json.Decoder[Up]] = msgspec.json.Decoder(Up)
_DOWN: Final[msgspec.json.Decoder[Down]] = msgspec.json.Decoder(Down)
_TASK: Final[msgspec.json.Decoder[Task]] = msgspec.json.Decoder(Task)


def to_line(message: Task | Up | Down) -> bytes:
    """As it travels."""
    return _encode(message) + b"\n"


def read_up(line: bytes) -> Up:
    """A child's message. Raises msgspec.MsgspecError."""
    return _UP.decode(line)


def read_down(line: bytes) -> Down:
    """The parent's message. Raises msgspec.MsgspecError."""
    return _DOWN.decode(line)


def read_task(line: bytes) -> Task:
    """The parent's first line. Raises msgspec.MsgspecError."""
    return _TASK.decode(line)


class Lines:
    """Cuts what a socket gives into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from lines

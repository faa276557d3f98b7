"""Decides where the archive of a partition resumes: from memory, from its commit or from its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pyarrow as pa
import structlog

from connectors.kafka.offsets import check_same_topic
from connectors.kafka.source import CommittedOffset, Partition
from consumers.archive.files import Published
from consumers.archive.staging import MAX_EVENT_TIME, TOPIC_ID, Staged
from features.errors import ShopstreamError
from features.records.lateness import NO_HIGH
from features.schema import Customer

log = structlog.get_logger("archive")

NEW_RUN: Final = "Archive a new run (`--run NAME`) into a separate folder (`--archive`)."


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Metadata of a partition's committed offset.

    Attributes:
        max_event_time: max event time of the partition before the offset, epoch ms.
        epoch: epoch of the owner; 0 in commits of format 1.
        topic_id: the topic's id in the cluster; empty if unknown.
        token: token of the files staged for this commit; empty if there were no rows.
        archived: offset that the newest file reaches, staged ones included; 0 without files, and in format 1.
    """

    max_event_time: int = msgspec.field(name="high", default=NO_HIGH)
    epoch: int = 0
    topic_id: str = ""
    token: str = ""
    archived: int = 0


def read_position(metadata: str) -> Position:
    """Return the position in a commit's metadata; an empty one if the metadata is not the archive's."""
    try:
        return msgspec.json.decode(metadata, type=Position)
    except msgspec.DecodeError:
        return Position()


def write_position(position: Position) -> str:
    """Encode a position as commit metadata."""
    return msgspec.json.encode(position).decode()


def resume(
    partition: Partition,
    start: CommittedOffset,
    published: Sequence[Published],
    topic_id: str,
    metadata: Callable[[str], Mapping[str, str]],
) -> tuple[int, int]:
    """Return the offset to resume from, and the max event time before it.

    Files take precedence over the commit: only committed files are published. A commit before them was therefore reset,
    and a missing one has expired or was deleted.

    Args:
        partition: partition of the archive.
        start: committed offset; without one, the first offset of the log, without metadata.
        published: published files of the partition.
        topic_id: the topic's current id in the cluster; empty if unknown.
        metadata: function that reads the footer of a file.

    Raises:
        ShopstreamError: the files are of another topic, are missing, or do not state which offset they reach.
    """
    position = read_position(start.metadata)
    check_same_topic(*partition, position.topic_id, topic_id)
    if position.archived and not any(file.next == position.archived for file in published):
        raise ShopstreamError(
            f"The archive lacks the rows of {_name(partition)} before offset {position.archived}, which were "
            "committed: this is another folder, or its files were deleted.",
            f"Use the former folder (`--archive`), or restore it. {NEW_RUN}",
        )
    ends = {file.next: file.path for file in published if file.next is not None}
    archived = max(ends, default=0)
    if archived > start.offset or (archived and not start.metadata):
        footer = metadata(ends[archived])
        if MAX_EVENT_TIME in footer:
            check_same_topic(*partition, footer.get(TOPIC_ID, ""), topic_id)
            log.warning(
                "the archive is ahead of the committed offset; resuming from its files",
                partition=_name(partition),
                committed=start.offset if start.metadata else None,
                archived=archived,
            )
            return archived, int(footer[MAX_EVENT_TIME])
    if not start.metadata and any(f.next is None and f.first >= start.offset for f in published):
        raise ShopstreamError(
            f"The group no longer has a committed offset of {_name(partition)}, and the archive's files, of format 1, "
            "do not state which offset they reach.",
            NEW_RUN,
        )
    return start.offset, position.max_event_time


def never_committed(published: Sequence[Published], offset: int) -> list[str]:
    """Return the paths of files of format 1 from `offset` on, which were written but never committed."""
    return [f.path for f in published if f.next is None and f.first >= offset]


def _name(partition: Partition) -> str:
    return f"{partition.topic}[{partition.number}]"


@dataclass(slots=True)
class OwnedPartition:
    """Owned partition: its committed offset, its staged files and its rows in memory."""

    offset: int
    """The committed offset."""
    next_offset: int
    max_event_time: int
    epoch: int
    topic_id: str
    archived: int
    """Offset that the newest published file reaches; 0 without any."""
    staged: Staged | None = None
    """Files that are durable and not known to be committed."""
    committed: Staged | None = None
    """Files that are committed and not yet published."""
    rows: list[pa.RecordBatch] = field(default_factory=list)
    profiles: dict[str, Customer | None] = field(default_factory=dict)
    size: int = 0
    """Size of rows and profiles, bytes."""

    @property
    def records(self) -> int:
        """Number of rows and profiles that are only in memory."""
        rows: int = sum(batch.num_rows for batch in self.rows)
        return rows + len(self.profiles)

    @property
    def commit(self) -> tuple[int, str]:
        """Offset and metadata to commit: the end of the staged files, or else the current offset with a new epoch."""
        if self.staged is None:
            return self.offset, write_position(
                Position(self.max_event_time, self.epoch, self.topic_id, "", self.archived)
            )
        staged = self.staged
        token, archived = (staged.token, staged.next) if staged.files else ("", self.archived)
        return staged.next, write_position(
            Position(staged.max_event_time, staged.epoch, staged.topic_id, token, archived)
        )

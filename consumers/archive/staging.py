"""Staged files of an archive: written before the commit, published by it, removed when it never came.

    DIR/staged/RUN-TOPIC-pPPPPP-FIRST-NEXT-EPOCH-TOKEN/DAY.parquet

A commit names the token of what is staged. Whoever owns the partition next publishes what the committed metadata names
and removes what earlier owners staged in vain. A token is used once, so a former owner that wakes up can neither
replace nor extend what counts, and a file is published by one rename, so publishing again changes nothing.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.fs as pafs
import structlog

from connectors.files import make_folder, sync
from consumers.archive.files import PARTS_FOLDER, STAGED_FOLDER, ArchiveFolder, split_days
from features.schema import DAY_COLUMN, SOURCE_TOPICS

log = structlog.get_logger("archive")

SUFFIX: Final = ".parquet"
PART: Final = "part"
"""Stands for the day in the name of a staged part of profiles."""
HIGH: Final = "shopstream.high"
NEXT: Final = "shopstream.next_offset"
TOPIC_ID: Final = "shopstream.topic_id"


@dataclass(frozen=True, slots=True)
class Staged:
    """What was staged of one partition, from one message to another.

    Attributes:
        topic: without the run's name.
        number: of the partition.
        first: offset of the first message.
        next: the offset after the last message.
        high: H of the partition after the last message, epoch ms.
        topic_id: that the cluster gives the topic; empty if it is not known.
        epoch: of the owner.
        token: names it in a commit.
        rows: number of records.
        files: number of files.
    """

    topic: str
    number: int
    first: int
    next: int
    high: int
    topic_id: str
    epoch: int
    token: str
    rows: int = 0
    files: int = 0

    @property
    def metadata(self) -> dict[str, str]:
        """What the footer of each file says, so that reading can go on from the files alone."""
        return {NEXT: str(self.next), HIGH: str(self.high), TOPIC_ID: self.topic_id}


def new_token() -> str:
    """A name that is used once."""
    return uuid.uuid4().hex[:12]


class StagingArea:
    """The staged files of an archive.

    Args:
        folder: the archive.
    """

    def __init__(self, folder: ArchiveFolder) -> None:
        self._folder = folder
        topics = "|".join(SOURCE_TOPICS)
        self._name = re.compile(
            rf"{re.escape(folder.run)}-({topics})-p(\d{{5}})-(\d{{20}})-(\d{{20}})-(\d+)-([0-9a-f]{{12}})"
        )

    def stage(self, staged: Staged, table: pa.Table) -> int:
        """Writes rows durably, where no reader looks; returns the number of files.

        Args:
            staged: where the rows come from.
            table: events or orders, in any order; of `customers` the whole new part.

        Raises:
            OSError: they cannot be written; nothing is left behind as far as it can be removed.
        """
        place = self._folder.path(self._place(staged))
        files = 0
        try:
            make_folder(self._folder.files, place)
            for name, rows in _by_day(staged.topic, table):
                self._folder.write(f"{place}/{name}{SUFFIX}", rows, staged.metadata)
                files += 1
        except OSError:
            self.remove(staged)
            raise
        return files

    def found(self) -> dict[tuple[str, int], list[Staged]]:
        """Everything that is staged, by topic and partition; without H, topic ids and counts."""
        found: dict[tuple[str, int], list[Staged]] = {}
        for entry in self._folder.entries(STAGED_FOLDER):
            match = self._name.fullmatch(entry.base_name)
            if match is not None:
                one = Staged(match[1], int(match[2]), int(match[3]), int(match[4]), 0, "", int(match[5]), match[6])
                found.setdefault((one.topic, one.number), []).append(one)
        return found

    def publish(self, staged: Staged) -> None:
        """Moves what was committed to where readers look. Publishing it again, or beside another worker, is harmless.

        Raises:
            OSError: it cannot be moved; calling again goes on with the rest.
        """
        name = self._folder.file_name(staged.topic, staged.number, staged.first, staged.next)
        for entry in self._folder.entries(self._place(staged)):
            if entry.base_name.endswith(SUFFIX):
                self._move(entry, staged.topic, name)
        self.remove(staged)

    def remove(self, staged: Staged) -> None:
        """Removes what is staged, as far as it can be removed; the next owner tries again.

        Of others only what former owners staged may be removed, and only by an owner whose epoch is committed: a newer
        owner may have staged something since.
        """
        with suppress(OSError):
            self._folder.files.delete_dir(self._folder.path(self._place(staged)))

    def _move(self, entry: pafs.FileInfo, topic: str, name: str) -> None:
        files = self._folder.files
        day = entry.base_name.removesuffix(SUFFIX)
        target = self._folder.path(PARTS_FOLDER if day == PART else f"{topic}/date={day}")
        make_folder(files, target)
        # another worker may have moved it: the owner of before, or the next one
        with suppress(FileNotFoundError):
            files.move(entry.path, f"{target}/{name}")
        # the next commit no longer names this token, so the rename must outlast a power loss
        sync(files, target)

    def _place(self, staged: Staged) -> str:
        offsets = f"{staged.first:020d}-{staged.next:020d}"
        name = f"{self._folder.run}-{staged.topic}-p{staged.number:05d}-{offsets}-{staged.epoch}-{staged.token}"
        return f"{STAGED_FOLDER}/{name}"


def _by_day(topic: str, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    if topic not in DAY_COLUMN:
        yield PART, table
        return
    for day, rows in split_days(table, DAY_COLUMN[topic]):
        yield day.isoformat(), rows

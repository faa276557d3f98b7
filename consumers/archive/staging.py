"""Manages the staged files of an archive: written before the commit, published after it, removed without it.

    DIR/staged/RUN-TOPIC-pPPPPP-FIRST-NEXT-EPOCH-TOKEN/DAY.parquet

A commit names the token of its staged files. The next owner of the partition publishes the files that the committed
metadata names, and removes the uncommitted files of earlier owners. A token is used once, so a former owner that
resumes can neither replace nor extend committed files. A file is published by one rename, so publishing again changes
nothing.
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
"""Name of a staged part of profiles, in place of the day."""
MAX_EVENT_TIME: Final = "shopstream.high"
NEXT: Final = "shopstream.next_offset"
TOPIC_ID: Final = "shopstream.topic_id"


@dataclass(frozen=True, slots=True)
class Staged:
    """Staged files of one partition for a range of offsets.

    Attributes:
        topic: topic without the run's name.
        number: number of the partition.
        first: offset of the first message.
        next: offset after the last message.
        max_event_time: max event time of the partition after the last message, epoch ms.
        topic_id: the topic's id in the cluster; empty if unknown.
        epoch: epoch of the owner.
        token: name of the staged files in a commit.
        rows: number of records.
        files: number of files.
    """

    topic: str
    number: int
    first: int
    next: int
    max_event_time: int
    topic_id: str
    epoch: int
    token: str
    rows: int = 0
    files: int = 0

    @property
    def metadata(self) -> dict[str, str]:
        """Footer of each file, which allows reading to resume from the files alone."""
        return {NEXT: str(self.next), MAX_EVENT_TIME: str(self.max_event_time), TOPIC_ID: self.topic_id}


def new_token() -> str:
    """Return a single-use name."""
    return uuid.uuid4().hex[:12]


class StagingArea:
    """Staging area of an archive.

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
        """Write rows durably outside the folders that readers scan; return the number of files.

        Args:
            staged: origin of the rows.
            table: events or orders, in any order; for `customers` the whole new part.

        Raises:
            OSError: the files cannot be written; partial files are removed if possible.
        """
        path = self._folder.path(self._path(staged))
        files = 0
        try:
            make_folder(self._folder.files, path)
            for name, rows in _by_day(staged.topic, table):
                self._folder.write(f"{path}/{name}{SUFFIX}", rows, staged.metadata)
                files += 1
        except OSError:
            self.remove(staged)
            raise
        return files

    def list_staged(self) -> dict[tuple[str, int], list[Staged]]:
        """Return all staged files, by topic and partition; without max event time, topic ids and counts."""
        staged: dict[tuple[str, int], list[Staged]] = {}
        for entry in self._folder.entries(STAGED_FOLDER):
            match = self._name.fullmatch(entry.base_name)
            if match is not None:
                files = Staged(match[1], int(match[2]), int(match[3]), int(match[4]), 0, "", int(match[5]), match[6])
                staged.setdefault((files.topic, files.number), []).append(files)
        return staged

    def publish(self, staged: Staged) -> None:
        """Move committed files to the published folders; repeated and concurrent calls are harmless.

        Raises:
            OSError: a file cannot be moved; another call moves the remaining ones.
        """
        name = self._folder.file_name(staged.topic, staged.number, staged.first, staged.next)
        for entry in self._folder.entries(self._path(staged)):
            if entry.base_name.endswith(SUFFIX):
                self._move(entry, staged.topic, name)
        self.remove(staged)

    def remove(self, staged: Staged) -> None:
        """Remove staged files if possible; the next owner tries again.

        Other workers' files may be removed only if a former owner staged them, and only by an owner whose epoch is
        committed. Otherwise a newer owner may have staged them since.
        """
        with suppress(OSError):
            self._folder.files.delete_dir(self._folder.path(self._path(staged)))

    def _move(self, entry: pafs.FileInfo, topic: str, name: str) -> None:
        files = self._folder.files
        day = entry.base_name.removesuffix(SUFFIX)
        target = self._folder.path(PARTS_FOLDER if day == PART else f"{topic}/date={day}")
        make_folder(files, target)
        # another worker, the former or the next owner, may have moved the file already
        with suppress(FileNotFoundError):
            files.move(entry.path, f"{target}/{name}")
        # the next commit no longer names this token, so the rename must survive a power loss
        sync(files, target)

    def _path(self, staged: Staged) -> str:
        offsets = f"{staged.first:020d}-{staged.next:020d}"
        name = f"{self._folder.run}-{staged.topic}-p{staged.number:05d}-{offsets}-{staged.epoch}-{staged.token}"
        return f"{STAGED_FOLDER}/{name}"


def _by_day(topic: str, table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    if topic not in DAY_COLUMN:
        yield PART, table
        return
    for day, rows in split_days(table, DAY_COLUMN[topic]):
        yield day.isoformat(), rows

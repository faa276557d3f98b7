"""The files of an archive on any file system that `pyarrow.fs` opens, dealt out to tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from features.errors import ShopstreamError
from features.replayed import ReadDay
from features.schema import DAY_COLUMN, DAY_MS, TS_MAX
from producers.archive import day_start_ms
from producers.archive_columns import read_columns, reading_schema

ROWS_AT_ONCE: Final = 250_000
"""Rows of a file in memory at a time, where its row groups are not larger."""
FILE_BYTES: Final = 200_000
"""What opening a file costs, in bytes read meanwhile; so a task gets few large or many small files."""
_FOLDER: Final = re.compile(r"(?:date=)?(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of records.

    Attributes:
        topic: `events` or `orders`.
        path: on the archive's file system.
        size: in bytes.
    """

    topic: str
    path: str
    size: int


def list_files(uri: str, up_to: int) -> list[ArchiveFile]:
    """The files of an archive whose days begin by a time, by path.

    Args:
        uri: the archive's folder: a local path, or a URI that `pyarrow.fs` opens.
        up_to: epoch ms.

    Raises:
        ShopstreamError: it cannot be listed, is not an archive, or has a folder whose name is not a day.
    """
    remedy = "Give the folder that `shopstream generate`, `import` or the archive consumer wrote."
    try:
        files, root = fs.FileSystem.from_uri(uri)
        known = {topic: files.get_file_info(f"{root}/{topic}").type for topic in DAY_COLUMN}
        if fs.FileType.Directory not in known.values():
            raise ShopstreamError(f"{uri} is not an archive: it has no events and no orders folder.", remedy)
        return [
            ArchiveFile(topic, info.path, info.size)
            for topic, kind in known.items()
            if kind == fs.FileType.Directory
            for info in _in_days(files, f"{root}/{topic}", up_to)
        ]
    except (OSError, ValueError) as error:
        raise ShopstreamError(f"The archive {uri} cannot be listed: {error}.", remedy) from error


def _in_days(files: Any, folder: str, up_to: int) -> Iterator[Any]:
    for info in sorted(files.get_file_info(fs.FileSelector(folder, recursive=True)), key=lambda info: str(info.path)):
        day, *rest = info.path.removeprefix(f"{folder}/").split("/")
        hidden = day.startswith((".", "_"))
        if info.type != fs.FileType.File or hidden or len(rest) != 1 or not rest[0].endswith(".parquet"):
            continue
        match = _FOLDER.fullmatch(day)
        if match is None:
            raise ShopstreamError(
                f"{folder}/{day} is not a day's folder of an archive.",
                "Folders are named date=YYYY-MM-DD; move it away.",
            )
        if day_start_ms(date.fromisoformat(match[1])) <= up_to:
            yield info


def dealt(files: Sequence[ArchiveFile], tasks_min: int, task_bytes: int) -> list[list[ArchiveFile]]:
    """The files in lists of about equal work, the largest first.

    Args:
        files: of an archive.
        tasks_min: at least so many lists, where there are as many files.
        task_bytes: and so many that none has much more than this.
    """
    work = sum(file.size + FILE_BYTES for file in files)
    tasks = min(len(files), max(tasks_min, -(-work // task_bytes)))
    found: list[list[ArchiveFile]] = [[] for _ in range(tasks)]
    for place, file in enumerate(sorted(files, key=lambda file: (-file.size, file.path))):
        # there and back again, so that no list gets the larger one every time
        turn, at = divmod(place, tasks)
        found[at if turn % 2 == 0 else tasks - 1 - at].append(file)
    return found


def read_file(files: Any, file: ArchiveFile) -> Iterator[pa.Table]:
    """The rows of a file as `producers.archive.read_day` gives them, in tables of about ROWS_AT_ONCE rows.

    Args:
        files: the archive's file system.
        file: one of `list_files`.

    Raises:
        ShopstreamError: an unreadable file, a missing required column or one of a foreign type.
    """
    schema = reading_schema(file.topic)
    try:
        with files.open_input_file(file.path) as opened, pq.ParquetFile(opened) as source:
            groups: list[int] = []
            rows = 0
            for group in range(source.metadata.num_row_groups):
                group_rows = source.metadata.row_group(group).num_rows
                if groups and rows + group_rows > ROWS_AT_ONCE:
                    yield read_columns(source, file.path, file.topic, schema, groups)
                    groups, rows = [], 0
                groups.append(group)
                rows += group_rows
            if groups:
                yield read_columns(source, file.path, file.topic, schema, groups)
    except (pa.ArrowException, OSError) as error:
        raise ShopstreamError(
            f"{file.path} cannot be read: {error}", "Write the archive anew, or remove the file."
        ) from error


def days_of(uri: str) -> tuple[list[int], ReadDay]:
    """Numbers of the days of an archive, and a reader of a topic's rows of a day, as for an archive on this machine.

    Raises:
        ShopstreamError: as `list_files`.
    """
    files, _ = fs.FileSystem.from_uri(uri)
    found: dict[tuple[str, int], list[ArchiveFile]] = {}
    for file in list_files(uri, TS_MAX):
        match = _FOLDER.fullmatch(file.path.split("/")[-2])
        assert match is not None
        found.setdefault((file.topic, day_start_ms(date.fromisoformat(match[1])) // DAY_MS), []).append(file)

    def read_day(topic: str, day: int) -> Iterator[pa.Table]:
        for file in found.get((topic, day), ()):
            yield from read_file(files, file)

    return sorted({day for _, day in found}), read_day

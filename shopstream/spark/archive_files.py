"""The files of an archive: which ones they are, dealt out to tasks, and read by `pyarrow.fs`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from features.backfill import ReadDay
from features.errors import ShopstreamError
from features.schema import DAY_COLUMN, DAY_MS
from producers.archive.archive import day_start_ms
from producers.archive.columns import read_columns, reading_schema

ROWS_AT_ONCE: Final = 250_000
"""Rows of a file in memory at a time, where its row groups are not larger."""
FILE_BYTES: Final = 200_000
"""What opening a file costs, in bytes read meanwhile; so a task gets few large or many small files."""
REMEDY: Final = "Give the folder that `shopstream generate`, `import` or the archive consumer wrote."
"""Where something is no archive."""
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
    try:
        files, root = fs.FileSystem.from_uri(uri)
        known = {topic: files.get_file_info(f"{root}/{topic}").type for topic in DAY_COLUMN}
        found: dict[str, list[tuple[str, int]]] = {
            topic: [
                (info.path, info.size)
                for info in files.get_file_info(fs.FileSelector(f"{root}/{topic}", recursive=True))
                if info.type == fs.FileType.File
            ]
            for topic, kind in known.items()
            if kind == fs.FileType.Directory
        }
    except (OSError, ValueError) as error:
        raise ShopstreamError(f"The archive {uri} cannot be listed: {error}.", REMEDY) from error
    return of_days(uri, found, up_to)


def of_days(uri: str, found: Mapping[str, Iterable[tuple[str, int]]], up_to: int) -> list[ArchiveFile]:
    """The files of an archive among all that lie in the folders of its topics, by path.

    Args:
        uri: the archive's folder, for errors.
        found: topic -> paths of files in any depth, and their bytes; a topic without a folder is missing.
        up_to: epoch ms; days that begin later are left out.

    Raises:
        ShopstreamError: as `list_files`.
    """
    if not found:
        raise ShopstreamError(f"{uri} is not an archive: it has no events and no orders folder.", REMEDY)
    return [
        ArchiveFile(topic, path, size)
        for topic, files in found.items()
        for path, size in sorted(files)
        if _is_of_days(topic, path, up_to)
    ]


def _is_of_days(topic: str, path: str, up_to: int) -> bool:
    """Whether a file lies in the folder of a day, and is of records."""
    above, day, name = path.split("/")[-3:]
    if above != topic or day.startswith((".", "_")) or not name.endswith(".parquet"):
        return False
    if _FOLDER.fullmatch(day) is None:
        raise ShopstreamError(
            f"{path.removesuffix(f'/{name}')} is not a day's folder of an archive.",
            "Folders are named date=YYYY-MM-DD; move it away.",
        )
    return day_of(path) * DAY_MS <= up_to


def day_of(path: str) -> int:
    """The number of a file's day since 1970-01-01."""
    match = _FOLDER.fullmatch(path.split("/")[-2])
    assert match is not None
    return day_start_ms(date.fromisoformat(match[1])) // DAY_MS


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
    """The rows of a file as `producers.archive.archive.read_day` gives them, in tables of about ROWS_AT_ONCE rows.

    Args:
        files: the archive's file system.
        file: one of `list_files`.

    Raises:
        ShopstreamError: an unreadable file, a missing required column or one of a foreign type.
    """
    yield from read_opened(lambda: files.open_input_file(file.path), file.path, file.topic)


def read_opened(opened: Callable[[], Any], path: str, topic: str) -> Iterator[pa.Table]:
    """As `read_file`.

    Args:
        opened: gives the file, open.
        path: for errors.
        topic: of its rows.
    """
    schema = reading_schema(topic)
    try:
        with opened() as file, pq.ParquetFile(file) as source:
            groups: list[int] = []
            rows = 0
            for group in range(source.metadata.num_row_groups):
                group_rows = source.metadata.row_group(group).num_rows
                if groups and rows + group_rows > ROWS_AT_ONCE:
                    yield read_columns(source, path, topic, schema, groups)
                    groups, rows = [], 0
                groups.append(group)
                rows += group_rows
            if groups:
                yield read_columns(source, path, topic, schema, groups)
    except (pa.ArrowException, OSError) as error:
        raise ShopstreamError(
            f"{path} cannot be read: {error}", "Write the archive anew, or remove the file."
        ) from error


def days_of(
    files: Iterable[ArchiveFile], read: Callable[[ArchiveFile], Iterator[pa.Table]]
) -> tuple[list[int], ReadDay]:
    """Numbers of the days of an archive, and a reader of a topic's rows of a day, as for an archive on this machine."""
    found: dict[tuple[str, int], list[ArchiveFile]] = {}
    for file in files:
        found.setdefault((file.topic, day_of(file.path)), []).append(file)

    def read_day(topic: str, day: int) -> Iterator[pa.Table]:
        for file in found.get((topic, day), ()):
            yield from read(file)

    return sorted({day for _, day in found}), read_day

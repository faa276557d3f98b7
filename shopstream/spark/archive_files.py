"""Lists the files of an archive, distributes them to tasks, and reads them with `pyarrow.fs`."""

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

ROW_BATCH_SIZE: Final = 250_000
"""Rows of a file in memory at a time, unless a row group is larger."""
FILE_BYTES: Final = 200_000
"""Cost of opening a file, as bytes read in the same time; gives a task few large or many small files."""
REMEDY: Final = "Give the folder that `shopstream generate`, `import` or the archive consumer wrote."
"""Remedy if a folder is not an archive."""
_FOLDER: Final = re.compile(r"(?:date=)?(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True)
class DayFile:
    """A file of records.

    Attributes:
        topic: `events` or `orders`.
        path: path on the archive's file system.
        size: size in bytes.
    """

    topic: str
    path: str
    size: int


def list_files(uri: str, up_to: int) -> list[DayFile]:
    """List the files of an archive whose days begin by a time, ordered by path.

    Args:
        uri: the archive's folder: a local path, or a URI that `pyarrow.fs` opens.
        up_to: latest start of a day, epoch ms.

    Raises:
        ShopstreamError: the folder cannot be listed, is not an archive, or has a subfolder whose name is not a day.
    """
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
        known = {topic: filesystem.get_file_info(f"{root}/{topic}").type for topic in DAY_COLUMN}
        files_of: dict[str, list[tuple[str, int]]] = {
            topic: [
                (info.path, info.size)
                for info in filesystem.get_file_info(fs.FileSelector(f"{root}/{topic}", recursive=True))
                if info.type == fs.FileType.File
            ]
            for topic, kind in known.items()
            if kind == fs.FileType.Directory
        }
    except (OSError, ValueError) as error:
        raise ShopstreamError(f"The archive {uri} cannot be listed: {error}.", REMEDY) from error
    return select_days(uri, files_of, up_to)


def select_days(uri: str, files_of: Mapping[str, Iterable[tuple[str, int]]], up_to: int) -> list[DayFile]:
    """Select the files of an archive among all files in its topic folders, ordered by path.

    Args:
        uri: the archive's folder, for errors.
        files_of: topic -> paths of files at any depth, and their bytes; a topic without a folder is missing.
        up_to: latest start of a day, epoch ms; later days are left out.

    Raises:
        ShopstreamError: as `list_files`.
    """
    if not files_of:
        raise ShopstreamError(f"{uri} is not an archive: it has no events and no orders folder.", REMEDY)
    return [
        DayFile(topic, path, size)
        for topic, files in files_of.items()
        for path, size in sorted(files)
        if _is_of_days(topic, path, up_to)
    ]


def _is_of_days(topic: str, path: str, up_to: int) -> bool:
    """Return whether a file lies in the folder of a day up to a time, and holds records."""
    above, day, name = path.split("/")[-3:]
    if above != topic or day.startswith((".", "_")) or not name.endswith(".parquet"):
        return False
    if _FOLDER.fullmatch(day) is None:
        raise ShopstreamError(
            f"{path.removesuffix(f'/{name}')} is not a day folder of an archive.",
            "Day folders are named date=YYYY-MM-DD: remove this folder.",
        )
    return day_of(path) * DAY_MS <= up_to


def day_of(path: str) -> int:
    """Return the number of a file's day since 1970-01-01."""
    match = _FOLDER.fullmatch(path.split("/")[-2])
    assert match is not None
    return day_start_ms(date.fromisoformat(match[1])) // DAY_MS


def distribute(files: Sequence[DayFile], tasks_min: int, task_bytes: int) -> list[list[DayFile]]:
    """Distribute the files over lists of about equal work, the largest first.

    Args:
        files: files of an archive.
        tasks_min: minimum number of lists, if there are as many files.
        task_bytes: approximate maximum of bytes per list.
    """
    work = sum(file.size + FILE_BYTES for file in files)
    tasks = min(len(files), max(tasks_min, -(-work // task_bytes)))
    lists: list[list[DayFile]] = [[] for _ in range(tasks)]
    for index, file in enumerate(sorted(files, key=lambda file: (-file.size, file.path))):
        # back and forth, so that no list gets the larger file every time
        round_, task = divmod(index, tasks)
        lists[task if round_ % 2 == 0 else tasks - 1 - task].append(file)
    return lists


def read_file(files: Any, file: DayFile) -> Iterator[pa.Table]:
    """Yield the rows of a file like `producers.archive.archive.read_day`, in tables of about ROW_BATCH_SIZE rows.

    Args:
        files: the archive's file system.
        file: a file from `list_files`.

    Raises:
        ShopstreamError: an unreadable file, a missing required column or one of a foreign type.
    """
    yield from read_opened(lambda: files.open_input_file(file.path), file.path, file.topic)


def read_opened(open_file: Callable[[], Any], path: str, topic: str) -> Iterator[pa.Table]:
    """Yield the rows of a file like `read_file`.

    Args:
        open_file: function that opens the file.
        path: path for errors.
        topic: topic of the rows.
    """
    schema = reading_schema(topic)
    try:
        with open_file() as file, pq.ParquetFile(file) as source:
            groups: list[int] = []
            rows = 0
            for group in range(source.metadata.num_row_groups):
                group_rows = source.metadata.row_group(group).num_rows
                if groups and rows + group_rows > ROW_BATCH_SIZE:
                    yield read_columns(source, path, topic, schema, groups)
                    groups, rows = [], 0
                groups.append(group)
                rows += group_rows
            if groups:
                yield read_columns(source, path, topic, schema, groups)
    except (pa.ArrowException, OSError) as error:
        raise ShopstreamError(
            f"{path} cannot be read: {error}", "Write the archive again, or remove the file."
        ) from error


def days_of(files: Iterable[DayFile], read: Callable[[DayFile], Iterator[pa.Table]]) -> tuple[list[int], ReadDay]:
    """Return the day numbers of an archive, and a reader for the rows of one topic and day, as for a local archive."""
    files_of: dict[tuple[str, int], list[DayFile]] = {}
    for file in files:
        files_of.setdefault((file.topic, day_of(file.path)), []).append(file)

    def read_day(topic: str, day: int) -> Iterator[pa.Table]:
        for file in files_of.get((topic, day), ()):
            yield from read(file)

    return sorted({day for _, day in files_of}), read_day

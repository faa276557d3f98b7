"""Reads and writes the archive folder: immutable files with descriptive names, on any file system of pyarrow.

    DIR/events/date=YYYY-MM-DD/RUN-pPPPPP-FIRST-NEXT.parquet    rows of one partition and day, of offsets FIRST to NEXT
    DIR/orders/date=YYYY-MM-DD/…                                likewise
    DIR/customers.parts/RUN-pPPPPP-NEXT.parquet                 the profiles of one partition before NEXT
    DIR/customers.parquet                                       the newest part of every partition, joined
    DIR/staged/…                                                not published yet (`consumers.archive.staging`)

Versions without staging named files of events and orders `RUN-pPPPPP-FIRST.parquet`. A part depends only on its
partition's log up to NEXT: every worker writes the same one, so workers cannot corrupt each other's parts. The joined
file is rewritten when a part changes, and again if the parts have changed meanwhile. The last worker to write it has
therefore seen all parts. No lock is needed, and object stores offer none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from connectors.files import make_folder, store_whole
from features.errors import ShopstreamError
from features.records.columns import Int64
from features.schema import CUSTOMERS_FILE, DAY_COLUMN, DAY_MS, arrow_schema, record_fields

PARTS_FOLDER: Final = "customers.parts"
STAGED_FOLDER: Final = "staged"
JOIN_TRIES: Final = 50
COMPRESSION: Final = "zstd"

_UNFINISHED: Final = ".tmp"
"""Name suffix of the unfinished files in format 1."""
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Published:
    """A published file of one partition.

    Attributes:
        first: lowest offset that the rows may come from; 0 for a part, which holds all profiles before `next`.
        next: offset after the last message of the file; None in names of format 1.
        path: path of the file.
    """

    first: int
    next: int | None
    path: str


class ArchiveFolder:
    """Archive of one run, written by its consumers.

    Args:
        uri: local path, or any URI that `pyarrow.fs` opens.
        run: name of the run; part of the file names, so that no run removes another's files.

    Attributes:
        files: the file system.
        root: path of the folder on the file system.

    Raises:
        ShopstreamError: the URI cannot be opened, or holds an archive that no consumer wrote.
    """

    def __init__(self, uri: str | Path, run: str, *, files: Any = None) -> None:
        self.uri = str(uri)
        self.run = run
        self._name = re.compile(rf"{re.escape(run)}-p(\d{{5}})-(\d{{20}})(?:-(\d{{20}}))?\.parquet")
        try:
            if files is not None:
                self.files, self.root = files, self.uri
            elif "://" in self.uri:
                self.files, self.root = pafs.FileSystem.from_uri(self.uri)
            else:
                self.files, self.root = pafs.LocalFileSystem(), str(Path(uri).absolute())
            self._open()
        except (OSError, pa.ArrowInvalid) as error:
            raise ShopstreamError(f"The archive {self.uri} cannot be opened: {error}.", "Check its address.") from error

    def _open(self) -> None:
        if self.files.get_file_info([self.path(PARTS_FOLDER)])[0].type == pafs.FileType.NotFound:
            known = {*DAY_COLUMN, CUSTOMERS_FILE}
            present = {entry.base_name for entry in self.entries("")} & known
            if present:
                raise ShopstreamError(
                    f"{self.uri} holds an archive that no archive consumer wrote ({', '.join(sorted(present))}): "
                    "its rows would be stored twice.",
                    "Choose another folder.",
                )
        for folder in (PARTS_FOLDER, STAGED_FOLDER):
            make_folder(self.files, self.path(folder))

    # --- published files ---

    def published(self, topic: str) -> dict[int, list[Published]]:
        """Return the files of events, orders or profiles per partition, lowest offsets first."""
        files: dict[int, list[Published]] = {}
        for entry in self.entries(topic if topic in DAY_COLUMN else PARTS_FOLDER, recursive=True):
            match = self._name.fullmatch(entry.base_name)
            if match is None:
                continue
            if topic in DAY_COLUMN:
                file = Published(int(match[2]), int(match[3]) if match[3] else None, entry.path)
            else:
                file = Published(0, int(match[2]), entry.path)
            files.setdefault(int(match[1]), []).append(file)
        return {
            number: sorted(partition_files, key=lambda f: (f.first, f.next or 0))
            for number, partition_files in files.items()
        }

    def remove_unfinished(self, number: int) -> None:
        """Remove the unfinished files of a partition that a crashed version without staging left."""
        for topic in (*DAY_COLUMN, PARTS_FOLDER):
            for entry in self.entries(topic, recursive=True):
                match = self._name.fullmatch(entry.base_name.removesuffix(_UNFINISHED))
                if entry.base_name.endswith(_UNFINISHED) and match is not None and int(match[1]) == number:
                    self.files.delete_file(entry.path)

    def file_name(self, topic: str, number: int, first: int, after: int) -> str:
        """Return the name of a published file of offsets `first` to `after`."""
        offsets = f"{first:020d}-{after:020d}" if topic in DAY_COLUMN else f"{after:020d}"
        return f"{self.run}-p{number:05d}-{offsets}.parquet"

    # --- profiles ---

    def newest_part(self, number: int, next_offset: int) -> pa.Table | None:
        """Return the profiles of a partition's newest part up to `next_offset` at most; None without such a part."""
        parts = [part for part in self.published("customers").get(number, []) if (part.next or 0) <= next_offset]
        return self.read(parts[-1].path) if parts else None

    def join_profiles(self) -> None:
        """Write `customers.parquet` from the newest part of every partition; do nothing if there is no part.

        Raises:
            ShopstreamError: the parts changed during every attempt.
        """
        for _ in range(JOIN_TRIES):
            newest = self._newest()
            if not newest:
                return
            try:
                tables = [self.read(path) for path in newest]
            except FileNotFoundError:  # another worker has just replaced this part
                continue
            joined = pa.concat_tables(tables).replace_schema_metadata(None)
            self.write(self.path(CUSTOMERS_FILE), joined)
            if self._newest() == newest:
                return
        raise ShopstreamError(f"{self.uri}: the profiles changed {JOIN_TRIES} times while they were joined.")

    def remove_old_parts(self, number: int, committed: int) -> None:
        """Remove the parts of a partition that a newer committed part replaces."""
        parts = self.published("customers").get(number, [])
        done = [part.path for part in parts if (part.next or 0) <= committed]
        for path in done[:-1]:
            self.files.delete_file(path)

    def _newest(self) -> list[str]:
        return [parts[-1].path for _, parts in sorted(self.published("customers").items())]

    # --- files ---

    def write(self, path: str, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
        """Write a table atomically and durably; `metadata` goes into the file's footer."""
        if metadata is not None:
            table = table.replace_schema_metadata(metadata)
        store_whole(self.files, path, lambda stream: pq.write_table(table, stream, compression=COMPRESSION))

    def read(self, path: str) -> pa.Table:
        """Return the rows of a file without their metadata.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with self.files.open_input_file(path) as file:
            return pq.read_table(file).replace_schema_metadata(None)

    def metadata(self, path: str) -> dict[str, str]:
        """Return the metadata of a file's footer."""
        with self.files.open_input_file(path) as file:
            metadata = pq.read_schema(file).metadata or {}
        return {key.decode(): value.decode() for key, value in metadata.items()}

    def entries(self, folder: str, *, recursive: bool = False) -> Sequence[pafs.FileInfo]:
        """Return the entries of a folder; none if the folder does not exist."""
        selector = pafs.FileSelector(self.path(folder), recursive=recursive, allow_not_found=True)
        infos: list[pafs.FileInfo] = self.files.get_file_info(selector)
        return infos

    def path(self, path: str) -> str:
        """Return the file system's path of a path in the folder."""
        return f"{self.root}/{path}" if path else self.root


def split_days(rows: pa.Table, time_column: str) -> Iterator[tuple[date, pa.Table]]:
    """Yield the rows of each UTC day, days ascending; rows of a day keep their order."""
    if rows.num_rows == 0:
        return
    times: Int64 = rows[time_column].cast(pa.int64()).to_numpy()
    day_numbers = times // DAY_MS
    order = np.argsort(day_numbers, kind="stable")
    days, starts = np.unique(day_numbers[order], return_index=True)
    rows = rows if len(days) == 1 else rows.take(pa.array(order))
    ends = [*starts.tolist()[1:], rows.num_rows]
    for number, start, end in zip(days.tolist(), starts.tolist(), ends, strict=True):
        yield _EPOCH + timedelta(days=number), rows.slice(start, end - start)


def to_arrow(record: type[msgspec.Struct], records: Sequence[msgspec.Struct]) -> pa.RecordBatch:
    """Return records as columns of the archive."""
    schema = arrow_schema(record)
    columns = []
    for item in record_fields(record):
        values = [getattr(r, item.name) for r in records]
        if item.kind == "items":
            values = [None if v is None else [msgspec.structs.asdict(line) for line in v] for v in values]
        columns.append(pa.array(values, schema.field(item.name).type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)

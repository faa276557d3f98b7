"""The archive's folder as its consumer writes it: immutable files with telling names, on any file system of pyarrow.

    DIR/events/date=YYYY-MM-DD/RUN-pPPPPP-FIRST-NEXT.parquet    rows of one partition and day, of offsets FIRST to NEXT
    DIR/orders/date=YYYY-MM-DD/…                                likewise
    DIR/customers.parts/RUN-pPPPPP-NEXT.parquet                 the profiles of one partition before NEXT
    DIR/customers.parquet                                       the newest part of every partition, joined
    DIR/staged/…                                                not published yet (`consumers.archive.staging`)

Files of events and orders that versions before staging wrote are called `RUN-pPPPPP-FIRST.parquet`. A part is a
function of its partition's log up to NEXT: whichever worker writes it writes the same, so workers cannot spoil each
other's. The joined file is written again whenever a part changes, and again when the parts have changed meanwhile: the
last worker to write it has seen them all. No lock is needed, and none is where an object store has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from connectors.files import make_folder, store_whole
from features.errors import ShopstreamError
from features.records.columns import Int64
from features.schema import CUSTOMERS_FILE, DAY_COLUMN, DAY_MS

PARTS_FOLDER: Final = "customers.parts"
STAGED_FOLDER: Final = "staged"
JOIN_TRIES: Final = 50
COMPRESSION: Final = "zstd"

_UNFINISHED: Final = ".tmp"
"""Ends the names of files that earlier versions were writing when they died."""
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Published:
    """A published file of one partition.

    Attributes:
        first: offset of the first message that its rows may come from; 0 for a part, which holds all before `next`.
        next: the offset after the last of these messages; None in names that earlier versions gave.
        path: of the file.
    """

    first: int
    next: int | None
    path: str


class ArchiveFolder:
    """An archive of one run, written by its consumers.

    Args:
        uri: a local path, or any URI that `pyarrow.fs` opens.
        run: goes into the files' names, so that no run removes another's.

    Attributes:
        files: the file system.
        root: path of the folder on it.

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
            found = {entry.base_name for entry in self.entries("")} & known
            if found:
                raise ShopstreamError(
                    f"{self.uri} holds an archive that no archive consumer wrote ({', '.join(sorted(found))}): "
                    "its rows would stand there twice.",
                    "Give another folder.",
                )
        for folder in (PARTS_FOLDER, STAGED_FOLDER):
            make_folder(self.files, self.path(folder))

    # --- what is published ---

    def published(self, topic: str) -> dict[int, list[Published]]:
        """Partition -> its files of events, of orders or of profiles; those with the lowest offsets first."""
        found: dict[int, list[Published]] = {}
        for entry in self.entries(topic if topic in DAY_COLUMN else PARTS_FOLDER, recursive=True):
            match = self._name.fullmatch(entry.base_name)
            if match is None:
                continue
            if topic in DAY_COLUMN:
                file = Published(int(match[2]), int(match[3]) if match[3] else None, entry.path)
            else:
                file = Published(0, int(match[2]), entry.path)
            found.setdefault(int(match[1]), []).append(file)
        return {number: sorted(mine, key=lambda f: (f.first, f.next or 0)) for number, mine in found.items()}

    def remove_unfinished(self, number: int) -> None:
        """Removes the files of a partition that a version before staging was writing when it died."""
        for topic in (*DAY_COLUMN, PARTS_FOLDER):
            for entry in self.entries(topic, recursive=True):
                match = self._name.fullmatch(entry.base_name.removesuffix(_UNFINISHED))
                if entry.base_name.endswith(_UNFINISHED) and match is not None and int(match[1]) == number:
                    self.files.delete_file(entry.path)

    def file_name(self, topic: str, number: int, first: int, after: int) -> str:
        """The name of a published file of offsets `first` to `after`."""
        offsets = f"{first:020d}-{after:020d}" if topic in DAY_COLUMN else f"{after:020d}"
        return f"{self.run}-p{number:05d}-{offsets}.parquet"

    # --- profiles ---

    def newest_part(self, number: int, next_offset: int) -> pa.Table | None:
        """The profiles of a partition before an offset at most `next_offset`; None where there is no such part."""
        parts = [part for part in self.published("customers").get(number, []) if (part.next or 0) <= next_offset]
        return self.read(parts[-1].path) if parts else None

    def join_profiles(self) -> None:
        """Makes `customers.parquet` of the newest part of every partition; nothing where there is no part.

        Raises:
            ShopstreamError: the parts never stood still.
        """
        for _ in range(JOIN_TRIES):
            newest = self._newest()
            if not newest:
                return
            try:
                tables = [self.read(path) for path in newest]
            except FileNotFoundError:  # another worker has just written a newer one and removed it
                continue
            joined = pa.concat_tables(tables).replace_schema_metadata(None)
            self.write(self.path(CUSTOMERS_FILE), joined)
            if self._newest() == newest:
                return
        raise ShopstreamError(f"{self.uri}: the profiles changed {JOIN_TRIES} times while they were joined.")

    def remove_old_parts(self, number: int, committed: int) -> None:
        """Removes the parts of a partition that a newer committed one makes needless."""
        parts = self.published("customers").get(number, [])
        done = [part.path for part in parts if (part.next or 0) <= committed]
        for path in done[:-1]:
            self.files.delete_file(path)

    def _newest(self) -> list[str]:
        return [parts[-1].path for _, parts in sorted(self.published("customers").items())]

    # --- files ---

    def write(self, path: str, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
        """Writes a table whole and durably; `metadata` goes into the file's footer."""
        if metadata is not None:
            table = table.replace_schema_metadata(metadata)
        store_whole(self.files, path, lambda stream: pq.write_table(table, stream, compression=COMPRESSION))

    def read(self, path: str) -> pa.Table:
        """The rows of a file, their metadata left out.

        Raises:
            FileNotFoundError: there is no such file.
        """
        with self.files.open_input_file(path) as file:
            return pq.read_table(file).replace_schema_metadata(None)

    def metadata(self, path: str) -> dict[str, str]:
        """The metadata of a file's footer."""
        with self.files.open_input_file(path) as file:
            found = pq.read_schema(file).metadata or {}
        return {key.decode(): value.decode() for key, value in found.items()}

    def entries(self, folder: str, *, recursive: bool = False) -> Sequence[pafs.FileInfo]:
        """What is in a folder; nothing where there is no such folder."""
        selector = pafs.FileSelector(self.path(folder), recursive=recursive, allow_not_found=True)
        infos: list[pafs.FileInfo] = self.files.get_file_info(selector)
        return infos

    def path(self, path: str) -> str:
        """Path on the file system of a path in the folder."""
        return f"{self.root}/{path}" if path else self.root


def split_days(rows: pa.Table, time_column: str) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each UTC day, days ascending; rows of a day keep their order."""
    if rows.num_rows == 0:
        return
    times: Int64 = rows[time_column].cast(pa.int64()).to_numpy()
    day_numbers = times // DAY_MS
    order = np.argsort(day_numbers, kind="stable")
    found, starts = np.unique(day_numbers[order], return_index=True)
    rows = rows if len(found) == 1 else rows.take(pa.array(order))
    ends = [*starts.tolist()[1:], rows.num_rows]
    for number, start, end in zip(found.tolist(), starts.tolist(), ends, strict=True):
        yield _EPOCH + timedelta(days=number), rows.slice(start, end - start)

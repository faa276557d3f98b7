"""The archive's folder as its consumer writes it: immutable files with telling names, on any file system of pyarrow.

    DIR/events/date=YYYY-MM-DD/RUN-pPPPPP-OFFSET.parquet    rows of one partition from OFFSET on, of one day
    DIR/orders/date=YYYY-MM-DD/…                            likewise
    DIR/customers.parts/RUN-pPPPPP-OFFSET.parquet           the profiles of one partition before OFFSET
    DIR/customers.parquet                                   the newest part of every partition, joined

A part is a function of its partition's log up to OFFSET: whoever writes it writes the same, so workers cannot spoil
each other's. The joined file is made anew whenever a part changes, and again when the parts have changed meanwhile: the
last one to write it has seen them all. No lock is needed, and none is where an object store has none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from features.columns import Int64
from features.errors import ShopstreamError
from features.schema import CUSTOMERS_FILE, DAY_COLUMN, DAY_MS, Customer, arrow_schema

PARTS_FOLDER: Final = "customers.parts"
JOIN_TRIES: Final = 50
COMPRESSION: Final = "zstd"

# writing to these shows nothing before it is complete, and renaming would copy
_WHOLE_OR_NOTHING: Final = frozenset({"s3", "gcs", "abfs"})
_TEMPORARY: Final = ".tmp"
_EPOCH: Final = date(1970, 1, 1)


class ArchiveFolder:
    """An archive of one run, written by its consumers.

    Args:
        uri: a local path, or any URI that `pyarrow.fs` opens.
        run: goes into the files' names, so that no run removes another's.

    Raises:
        ShopstreamError: the URI cannot be opened, or holds an archive that no consumer wrote.
    """

    def __init__(self, uri: str | Path, run: str) -> None:
        self.uri = str(uri)
        self._run = run
        self._name = re.compile(rf"{re.escape(run)}-p(\d{{5}})-(\d{{20}})\.parquet")
        try:
            if "://" in self.uri:
                self._fs, self._root = pafs.FileSystem.from_uri(self.uri)
            else:
                self._fs, self._root = pafs.LocalFileSystem(), str(Path(uri).absolute())
            self._open()
        except (OSError, pa.ArrowInvalid) as error:
            raise ShopstreamError(f"The archive {self.uri} cannot be opened: {error}.", "Check its address.") from error

    def _open(self) -> None:
        parts = self._info(PARTS_FOLDER)
        if parts.type == pafs.FileType.NotFound:
            known = {*DAY_COLUMN, CUSTOMERS_FILE}
            found = {entry.base_name for entry in self._list("")} & known
            if found:
                raise ShopstreamError(
                    f"{self.uri} holds an archive that no archive consumer wrote ({', '.join(sorted(found))}): "
                    "its rows would stand there twice.",
                    "Give another folder.",
                )
        self._fs.create_dir(self._path(PARTS_FOLDER), recursive=True)

    # --- rows by day ---

    def write_rows(self, topic: str, number: int, first_offset: int, rows: pa.Table) -> int:
        """Writes one file for each day that `rows` have; returns the number of files.

        Args:
            topic: `events` or `orders`.
            number: the partition.
            first_offset: the offset of the first message that the rows may come from.
            rows: of the topic's Arrow schema, in any order.
        """
        name = self._file_name(number, first_offset)
        files = 0
        for day, table in split_days(rows, DAY_COLUMN[topic]):
            folder = f"{topic}/date={day.isoformat()}"
            self._fs.create_dir(self._path(folder), recursive=True)
            self._write(f"{folder}/{name}", table)
            files += 1
        return files

    def remove_from(self, topic: str, number: int, offset: int) -> int:
        """Removes the files of a partition that begin at `offset` or later: they were never committed.

        Unfinished files of the partition go too. Returns the number of removed files.
        """
        removed = 0
        for entry in self._list(topic if topic in DAY_COLUMN else PARTS_FOLDER, recursive=True):
            unfinished = entry.base_name.endswith(_TEMPORARY)
            place = self._place(entry.base_name.removesuffix(_TEMPORARY))
            # a part's offset is where it ends, so the part at `offset` is the one to go on from
            doubtful = place is not None and place[1] >= offset + (topic not in DAY_COLUMN)
            if place is not None and place[0] == number and (unfinished or doubtful):
                self._fs.delete_file(entry.path)
                removed += 1
        return removed

    # --- profiles ---

    def update_profiles(self, number: int, next_offset: int, changed: Collection[str], profiles: pa.Table) -> None:
        """Writes the part of a partition up to `next_offset`: its newest part with some customers' rows replaced.

        Args:
            number: the partition.
            next_offset: up to where its log is taken in.
            changed: customers that were written or removed.
            profiles: the newest row of each of those that were not removed.
        """
        mine = self._parts().get(number, [])
        older = [(offset, path) for offset, path in mine if offset < next_offset]
        if older:
            before = self._read(older[-1][1])
            kept = pc.invert(pc.is_in(before["customer_id"], pa.array(list(changed), pa.string())))
            profiles = pa.concat_tables([before.filter(kept), profiles])
        self._write(f"{PARTS_FOLDER}/{self._file_name(number, next_offset)}", profiles)

    def join_profiles(self, number: int) -> None:
        """Makes `customers.parquet` of the newest part of every partition; nothing where there is no part.

        Args:
            number: a partition that the caller owns: its name for the unfinished file, so that no two share one.

        Raises:
            ShopstreamError: the parts never stood still.
        """
        for _ in range(JOIN_TRIES):
            newest = self._newest()
            if not newest:
                return
            try:
                joined = pa.concat_tables([self._read(path) for path in newest])
            except FileNotFoundError:  # another worker has just written a newer one and removed it
                continue
            self._write(CUSTOMERS_FILE, joined, owner=f".p{number:05d}")
            if self._newest() == newest:
                return
        raise ShopstreamError(f"{self.uri}: the profiles changed {JOIN_TRIES} times while they were joined.")

    def remove_old_parts(self, number: int, committed: int) -> None:
        """Removes the parts of a partition that a newer committed one makes needless."""
        done = [path for offset, path in self._parts().get(number, []) if offset <= committed]
        for path in done[:-1]:
            self._fs.delete_file(path)

    def _newest(self) -> list[str]:
        return [parts[-1][1] for _, parts in sorted(self._parts().items())]

    def _parts(self) -> dict[int, list[tuple[int, str]]]:
        """Partition -> (offset, path) of its parts, ascending."""
        parts: dict[int, list[tuple[int, str]]] = {}
        for entry in self._list(PARTS_FOLDER):
            if (place := self._place(entry.base_name)) is not None:
                parts.setdefault(place[0], []).append((place[1], entry.path))
        return {number: sorted(found) for number, found in parts.items()}

    # --- files ---

    def _write(self, path: str, table: pa.Table, *, owner: str = "") -> None:
        whole = self._fs.type_name in _WHOLE_OR_NOTHING
        final = self._path(path)
        target = final if whole else f"{final}{owner}{_TEMPORARY}"
        with self._fs.open_output_stream(target) as stream:
            pq.write_table(table, stream, compression=COMPRESSION)
        if not whole:
            self._fs.move(target, final)

    def _read(self, path: str) -> pa.Table:
        with self._fs.open_input_file(path) as file:
            return pq.read_table(file)

    def _file_name(self, number: int, offset: int) -> str:
        return f"{self._run}-p{number:05d}-{offset:020d}.parquet"

    def _place(self, base_name: str) -> tuple[int, int] | None:
        match = self._name.fullmatch(base_name)
        return (int(match[1]), int(match[2])) if match else None

    def _list(self, folder: str, *, recursive: bool = False) -> Sequence[pafs.FileInfo]:
        selector = pafs.FileSelector(self._path(folder), recursive=recursive, allow_not_found=True)
        infos: list[pafs.FileInfo] = self._fs.get_file_info(selector)
        return infos

    def _info(self, path: str) -> pafs.FileInfo:
        return self._fs.get_file_info([self._path(path)])[0]

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


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


CUSTOMER_SCHEMA: Final = arrow_schema(Customer)

"""Keeps typed rows on disk in buckets, so that all rows of a customer or of an order are in memory together.

    rows -> bucket by hash of the key -> part: whole buckets, about `rows_max` rows
         -> hash of a second column and its bucket -> values that several buckets have

Invariant: the parts depend on the rows, not on their order or on the batches in which they arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa

BUCKETS: Final = 64
ROWS_PENDING_MAX: Final = 500_000
_HASHES_PER_ROW: Final = 8
"""Hashes with their bucket that take the memory of a row."""
_BUCKET: Final = "_bucket"
_HASH: Final = "hash"
_OF_ROW: Final = "_bucket_of_row"


class Spill:
    """Collects rows by the hash of a key.

    Args:
        folder: folder for the files; the caller deletes it.
        key: column whose equal values come back in one part. Its name begins with `_` if it does not come back itself.
        pending_max: rows in memory from which they are written.
        second: further column, whose values `in_several_buckets` finds.
    """

    def __init__(
        self, folder: Path, key: str, pending_max: int = ROWS_PENDING_MAX, *, second: str | None = None
    ) -> None:
        self._folder = folder
        self._pending_max = pending_max
        self._key = key
        self._second = second
        self._hashes = None if second is None else Spill(folder, _HASH, pending_max * _HASHES_PER_ROW)
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = 0
        self._rows = [0] * BUCKETS
        self._writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows. All calls have the same columns."""
        if rows.is_empty():
            return
        rows = rows.with_columns((pl.col(self._key).hash(0) % BUCKETS).cast(pl.Int32).alias(_BUCKET))
        for bucket, count in rows[_BUCKET].value_counts().iter_rows():
            self._rows[bucket] += count
        if self._hashes is not None and self._second is not None:
            known = rows.filter(pl.col(self._second).is_not_null())
            self._hashes.add(known.select(pl.col(self._second).hash(0).alias(_HASH), pl.col(_BUCKET).alias(_OF_ROW)))
        rows = rows.drop(self._key) if self._key.startswith("_") else rows
        self._pending.append(rows)
        self._pending_rows += len(rows)
        if self._pending_rows >= self._pending_max:
            self._flush()

    def parts(self, rows_max: int) -> Iterator[pl.DataFrame]:
        """Yield the rows in parts of whole buckets, each of about `rows_max` rows."""
        groups = self._groups(rows_max)
        if not self._writers:
            if self._pending:
                rows = pl.concat(self._pending)
                for group in groups:
                    yield rows.filter(pl.col(_BUCKET).is_in(group)).drop(_BUCKET)
            return
        self._flush()
        for writer in self._writers.values():
            writer.close()
        for group in groups:
            files = [self._file(bucket) for bucket in group if bucket in self._writers]
            yield pl.concat([pl.read_ipc(file) for file in files])

    def in_several_buckets(self, rows_max: int) -> pl.Series:
        """Return hashes of values of the second column that may be in several parts of `rows_max` rows.

        No such value is missed. Different values with equal hashes are among them, too.
        """
        hashes_of_parts = [pl.Series(_HASH, [], pl.UInt64)]
        if self._hashes is not None and len(self._groups(rows_max)) > 1:
            for hashes in self._hashes.parts(rows_max * _HASHES_PER_ROW):
                pairs = hashes.unique()
                hashes_of_parts.append(pairs[_HASH].filter(pairs[_HASH].is_duplicated()).unique())
        return pl.concat(hashes_of_parts)

    def _groups(self, rows_max: int) -> list[list[int]]:
        groups: list[list[int]] = []
        rows = 0
        for bucket, count in enumerate(self._rows):
            if count and (not groups or rows + count > rows_max):
                groups.append([])
                rows = 0
            if count:
                groups[-1].append(bucket)
                rows += count
        return groups

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = pl.concat(self._pending, rechunk=True).sort(_BUCKET, maintain_order=True)
        self._pending, self._pending_rows = [], 0
        buckets = rows[_BUCKET].rle().struct.unnest()
        every = rows.drop(_BUCKET).to_arrow(compat_level=pl.CompatLevel.oldest())
        begin = 0
        for length, bucket in buckets.iter_rows():
            table = every.slice(begin, length)
            begin += length
            if bucket not in self._writers:
                self._writers[bucket] = pa.ipc.new_file(self._file(bucket), table.schema)
            self._writers[bucket].write_table(table)

    def _file(self, bucket: int) -> Path:
        return self._folder / f"{self._key}-{bucket:02d}.arrow"

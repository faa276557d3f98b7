"""Keeps typed rows on disk in buckets, so that all rows of a customer or of an order are in memory together.

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
_BUCKET: Final = "_bucket"


class Spill:
    """Collects rows by the hash of a key.

    Args:
        folder: folder for the files; the caller deletes it.
        key: column whose equal values come back in one part.
        pending_max: rows in memory from which they are written.
    """

    def __init__(self, folder: Path, key: str, pending_max: int = ROWS_PENDING_MAX) -> None:
        self._folder = folder
        self._pending_max = pending_max
        self._key = key
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
        rows = pl.concat(self._pending).sort(_BUCKET, maintain_order=True)
        self._pending, self._pending_rows = [], 0
        for (bucket,), part in rows.partition_by(_BUCKET, as_dict=True, include_key=False).items():
            table = part.to_arrow(compat_level=pl.CompatLevel.oldest())
            if bucket not in self._writers:
                self._writers[bucket] = pa.ipc.new_file(self._file(bucket), table.schema)
            self._writers[bucket].write_table(table)

    def _file(self, bucket: int) -> Path:
        return self._folder / f"{self._key}-{bucket:02d}.arrow"

"""Writes the records of dead letters as rows of an archive, where late records are still accepted.

An archive has no lateness, and `replay` sends it in the order of the times in the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.files import write_whole
from consumers.archive.files import COMPRESSION, split_days, to_arrow
from consumers.dead_letters.review import StoredDeadLetter, source_of
from features.errors import ShopstreamError
from features.records.decode import decode
from features.schema import DAY_COLUMN, RECORD_TYPES


def add_to_archive(directory: Path, run: str, dead_letters: Sequence[StoredDeadLetter], now_ms: int) -> list[Path]:
    """Write the records of events and orders among the dead letters into separate files; return their paths.

    The files are named after the dead letters, so that writing the same dead letters again replaces them.

    Args:
        directory: folder of an archive.
        run: name of the run.
        dead_letters: dead letters with valid records (`review.plan_replay`).
        now_ms: current time for the check of future times, epoch ms.

    Raises:
        ShopstreamError: there is no archive, or it cannot be written.
    """
    if not any((directory / topic).is_dir() for topic in DAY_COLUMN):
        raise ShopstreamError(
            f"{directory} is not an archive: it has no events and no orders folder.", "Choose another folder."
        )
    written: list[Path] = []
    for source, column in DAY_COLUMN.items():
        selected = [dead_letter for dead_letter in dead_letters if source_of(dead_letter.topic, run) == source]
        if not selected:
            continue
        decoded = decode(
            source,
            [dead_letter.value for dead_letter in selected],
            [dead_letter.key for dead_letter in selected],
            [now_ms] * len(selected),
        )  # type: ignore[call-overload]
        rows = pa.Table.from_batches([to_arrow(RECORD_TYPES[source], decoded.records)])
        numbers = [dead_letter.number for dead_letter in selected]
        name = f"letters-{run}-{min(numbers)}-{max(numbers)}.parquet"
        for day, table in split_days(rows, column):
            written.append(_write(directory / source / f"date={day.isoformat()}" / name, table))
    return written


def _write(path: Path, table: pa.Table) -> Path:
    try:
        write_whole(path, lambda partial: pq.write_table(table, partial, compression=COMPRESSION))
    except OSError as error:
        raise ShopstreamError(f"{path} cannot be written: {error.strerror}.") from error
    return path

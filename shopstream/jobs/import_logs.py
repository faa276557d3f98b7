"""Imports foreign logs into an archive, or tries it without one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from connectors.clock import wall_clock_ms
from connectors.formats.csv_safety import safe_frame
from features.errors import UsageError
from producers.importing.importer import ImportReport, Log, import_logs
from producers.importing.refusals import FileReport

_COLUMNS: Final = ("file", "line", "reason", "column", "value", "detail")
_HEADER: Final = ",".join(_COLUMNS).encode()
"""Beginning of a file of refused rows, by which a former one is recognized."""


def import_files(
    logs: Sequence[Log],
    out: Path | None,
    *,
    force: bool = False,
    refused_file: Path | None = None,
    guest_salt: bytes = b"",
    on_progress: Callable[[str, int], None] = lambda _file, _rows: None,
) -> ImportReport:
    """Write the archive of foreign logs.

    Args:
        logs: files, folders or patterns, each with the name of its mapping and the mapping.
        out: folder of the archive; None: the archive is written to a temporary folder and deleted.
        force: whether to replace an existing archive.
        refused_file: CSV file for all refused rows.
        guest_salt: key of the hash that makes ids of guests.
        on_progress: callback that receives the file's name and the number of rows read from it.

    Raises:
        UsageError: a file lacks a column that its mapping needs, or `refused_file` may not be written.
        ShopstreamError: a file is unreadable, or no row is a record.
    """
    parts: list[pl.DataFrame] = []
    if refused_file is not None:
        _refuse_other_file(refused_file)

    def collect(file: FileReport, rows: pl.DataFrame) -> None:
        if refused_file is not None:
            parts.append(rows.select(pl.lit(file.file).alias("file"), pl.all()))

    with tempfile.TemporaryDirectory(prefix="shopstream-import-") as folder:
        target = Path(folder) / "archive" if out is None else out
        try:
            return import_logs(
                logs, target, now_ms=wall_clock_ms(), force=force, guest_salt=guest_salt, on_progress=on_progress,
                on_refused=collect,
            )  # fmt: skip
        finally:
            if refused_file is not None:
                _write_refused(parts, refused_file)


def _refuse_other_file(file: Path) -> None:
    """Refuse a file for refused rows that is no such file: a log, a mapping or a folder."""
    if not file.absolute().parent.is_dir():
        raise UsageError(f"{file} cannot be written: there is no folder {file.parent}.", "Name another file.")
    if not file.is_file() and not file.is_dir():  # absent, or a pipe such as /dev/stdout
        return
    with contextlib.suppress(OSError), file.open("rb") as opened:
        if opened.read(len(_HEADER)) in (_HEADER, b""):
            return
    raise UsageError(f"{file} exists and holds no refused rows.", "Name another file of --refused.")


def _write_refused(parts: Sequence[pl.DataFrame], file: Path) -> None:
    rows = pl.concat(parts) if parts else pl.DataFrame(schema=list(_COLUMNS))
    try:
        safe_frame(rows).write_csv(file)
    except OSError as error:
        raise UsageError(
            f"{file} cannot be written: {error.strerror or error}.", "Name another file of --refused."
        ) from error

"""Cleans an archive: reads its files, runs the cleaning and writes the result with its report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq
from polars import col

from features.errors import UsageError
from features.schema import CUSTOMERS_FILE, DAY_COLUMN
from producers.archive import archive
from producers.archive.archive import CUSTOMER_IDS_FILE, DROPPED_FILE, FLAGS_FILE, REPORT_FILE, REPORT_PAGE
from producers.archive.known_until import read_known_until
from training.cleaning.accuracy import against_truth
from training.cleaning.change_log import DROPPED_SCHEMA
from training.cleaning.pipeline import Cleaned, DirtyArchive, clean
from training.cleaning.plan import CleaningPlan
from training.cleaning.reading import ArchiveFile
from training.cleaning.report import render, report


def clean_archive(
    directory: Path,
    out: Path,
    plan: CleaningPlan,
    now_ms: int,
    *,
    force: bool = False,
    source: Mapping[str, Any] | None = None,
    ids: pl.DataFrame | None = None,
    on_step: Callable[[str, float], None] = lambda *_: None,
) -> dict[str, Any]:
    """Write the clean archive of a dirty one, completely or not at all, with its report.

    Args:
        directory: folder of the dirty archive; it is not changed.
        out: folder of the clean archive, with the files named in `producers.archive.archive`.
        plan: cleaning settings.
        now_ms: current time for the cleaning rules, epoch ms.
        force: replace an existing archive at `out`.
        source: description of the source in the report, if it is not `directory`.
        ids: old_id, new_id, first_purchase_ts of customer ids that an earlier step replaced.
        on_step: called with the name of the current step, and the share that is done.

    Returns:
        The report, see `training.cleaning.report.report`.

    Raises:
        UsageError: `out` lies in `directory`, or the other way round.
        ShopstreamError: a file cannot be read, or `out` may not be written.
    """
    here, there = directory.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise UsageError(f"{out} and {directory} contain one another.", "Give another folder for --out.")
    dirty = dirty_archive(directory)
    with archive.ArchiveWriter(out, force=force) as sink:
        dropped = pq.ParquetWriter(
            sink.path_of(DROPPED_FILE), pl.DataFrame(schema=DROPPED_SCHEMA).to_arrow().schema,
            compression="zstd",
        )  # fmt: skip
        with dropped:
            cleaned = clean(dirty, sink, plan, now_ms, lambda rows: dropped.write_table(rows.to_arrow()), on_step)
        truth = _truth(directory, sink.path_of(DROPPED_FILE))
        now = datetime.fromtimestamp(now_ms / 1_000, UTC).isoformat(timespec="seconds")
        known = read_known_until(directory)
        source = {"refused": {} if known is None else dict(known.refused), **(source or {"name": directory.name})}
        cleaning_report = report(cleaned, plan, now, source, truth)
        sink.write_text(REPORT_FILE, json.dumps(cleaning_report, indent=1, ensure_ascii=False) + "\n")
        sink.write_text(REPORT_PAGE, render(cleaning_report))
        _write_frames(cleaned, ids, sink)
        if known is not None and cleaned.last_ms is not None:
            sink.write_known_until(msgspec.structs.replace(known, known_until_ms=known.last_ms(cleaned.last_ms) + 1))
        if cleaned.mapping.is_empty():  # truth and shop use the old customer ids
            for name in (archive.TRUTH_FILE, archive.SHOP_FILE):
                if (directory / name).is_file():
                    shutil.copyfile(directory / name, sink.path_of(name))
    return cleaning_report


def dirty_archive(directory: Path) -> DirtyArchive:
    """List the files of an archive. Raises ShopstreamError if there is no archive."""

    def named(path: Path) -> ArchiveFile:
        return ArchiveFile(path, path.relative_to(directory).as_posix())

    days = {
        topic: [
            (day, [named(path) for path in archive.day_files(directory, topic, day)])
            for day in archive.days(directory, topic)
            if archive.day_files(directory, topic, day)
        ]
        for topic in DAY_COLUMN
    }
    profiles = directory / CUSTOMERS_FILE
    return DirtyArchive(days, named(profiles) if profiles.is_file() else None)


def _truth(directory: Path, dropped: Path) -> dict[str, Any] | None:
    labels = directory / archive.TRUTH_DIRT_FILE
    if not labels.is_file():
        return None
    return against_truth(
        pl.read_parquet(labels, columns=["topic", "id", "kind"]),
        pl.read_parquet(dropped, columns=["topic", "id", "about"]),
    )


def _write_frames(cleaned: Cleaned, before: pl.DataFrame | None, sink: archive.ArchiveWriter) -> None:
    sink.write_table(FLAGS_FILE, cleaned.flags.to_arrow())
    mapping = cleaned.mapping
    if before is not None and len(before):
        again = mapping.select(col("old_id").alias("new_id"), col("new_id").alias("_again"))
        made = before.join(again, on="new_id", how="left").with_columns(pl.coalesce("_again", "new_id").alias("new_id"))
        rest = mapping.join(before.select(col("new_id").alias("old_id")), on="old_id", how="anti")
        mapping = pl.concat([made.drop("_again"), rest], how="diagonal").sort("first_purchase_ts", "old_id", "new_id")
    if not mapping.is_empty():
        sink.write_table(CUSTOMER_IDS_FILE, mapping.to_arrow())

"""Reads customer tables for clustering and writes the resulting clusters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from connectors.files import write_made, write_whole
from connectors.formats.csv_safety import safe_frame
from connectors.tables.file_format import FileFormat
from connectors.tables.log_files import log_files
from connectors.tables.reader import header, read_batches
from features.errors import ShopstreamError, UsageError
from producers.archive.archive import TRUTH_FILE
from shopstream.jobs.history import known_history
from shopstream.jobs.segment import OnStep, customers_at
from training.clusters import page
from training.clusters.bundle import CLUSTERS_FILE, comparison_frame, encode, labelled
from training.clusters.cluster import Clusters
from training.clusters.mapping import TableMapping
from training.clusters.personas import profiles
from training.segments.customer_table import CUSTOMER_TABLE_FILE

CUSTOMERS_FILE = "customers.parquet"
FILES = (CLUSTERS_FILE, CUSTOMERS_FILE, "comparison.csv", "profiles.csv", "clusters.html")


def read_table(source: Path, separator: str, as_of: int | None, on_step: OnStep) -> pl.DataFrame:
    """Read a table of customers: a CSV or Parquet file, a customer table, or the customers of an archive.

    Args:
        source: the file, or the folder of a customer table or an archive.
        separator: column separator of a CSV file.
        as_of: time for an archive, epoch ms; None: its last event or order.
        on_step: called with the name of the current step.

    Raises:
        UsageError: the file does not exist.
        ShopstreamError: the file cannot be read.
    """
    if is_archive(source):
        return customers_at(source, known_history(source).end_ms if as_of is None else as_of, on_step)
    if source.is_dir():
        source = source / CUSTOMER_TABLE_FILE
    if not source.is_file():
        raise UsageError(
            f"The table {source} does not exist.",
            "Give a CSV or Parquet file, an output folder of `segment`, or an archive.",
        )
    if source.suffix != ".parquet":
        return _read_csv(source, separator)
    try:
        return pl.read_parquet(source)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ShopstreamError(
            f"The table {source} cannot be read: {str(error).splitlines()[0]}.", "Write the Parquet file again."
        ) from None


def is_archive(source: Path) -> bool:
    """Return whether a source of customers is a folder without a customer table."""
    return source.is_dir() and not (source / CUSTOMER_TABLE_FILE).is_file()


def _read_csv(file: Path, separator: str) -> pl.DataFrame:
    """Read every column as text, so that ids keep their zeros and NA stays a country; empty text is null."""
    try:
        how = FileFormat(format="csv", separator=separator)
    except ValueError:
        raise UsageError(f"{separator!r} separates no columns.", "Set another separator in the mapping.") from None
    logs = log_files([file])
    if len(logs) > 1:
        raise UsageError(f"{file} has {len(logs)} files, and a table is one.", "Unpack it, and give one file.")
    try:
        names = header(logs[0], how)
        batches = list(read_batches(logs[0], how, None))
    except ShopstreamError as error:  # its remedy is about mappings of an import
        raise ShopstreamError(
            f"The table cannot be read: {error.message}",
            "Write it as UTF-8 text with a header line, and set its separator in the mapping.",
        ) from None
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise ShopstreamError(f"The header of {file} names the column {twice} twice.", "Rename one of them.")
    for one in (one for batch in batches for one in batch.refused if not one.left_out):
        raise ShopstreamError(
            f"{file}, line {one.line}: {one.reason}: {one.value}.",
            "Quote values that contain the separator, or set the separator in the mapping.",
        )
    parts = [pl.DataFrame(schema=dict.fromkeys(filter(None, names), pl.String))]
    return pl.concat([*parts, *(batch.rows.select(parts[0].columns) for batch in batches)])


def known_groups(source: Path, table: pl.DataFrame) -> pl.Series | None:
    """Return the latent types of a synthetic shop's customers, in the order of the table; None for other archives."""
    truth = source / TRUTH_FILE
    if not truth.is_file():
        return None
    types = pl.read_parquet(truth, columns=["customer_id", "latent_type"]).rename({"customer_id": "id"})
    return table.select("id").join(types, on="id", how="left", maintain_order="left")["latent_type"]


def write_clusters(clusters: Clusters, mapping: TableMapping, text: str, out: Path, made_of: Mapping[str, str]) -> None:
    """Write the bundle of clusters, with its tables, its page and its provenance."""
    chosen = clusters.comparison.candidates[clusters.comparison.chosen]
    about = {
        "customers": f"{len(clusters.table):,}",
        "columns": ", ".join(name for name in mapping.columns if name not in clusters.left_out),
        **{f"left out: {name}": reason for name, reason in clusters.left_out.items()},
        "clusters": f"{chosen.clusters}, by {chosen.title}",
        "seed": str(clusters.plan.seed),
    }
    customers = labelled(clusters.table["id"], clusters.labels, clusters.personas)
    content, html = encode(clusters, text), page.render(clusters, about)
    write_whole(out / CLUSTERS_FILE, lambda path: path.write_bytes(content))
    write_whole(out / CUSTOMERS_FILE, partial(customers.write_parquet, compression="zstd"))
    write_whole(out / FILES[2], safe_frame(comparison_frame(clusters.comparison, clusters.null)).write_csv)
    write_whole(out / FILES[3], safe_frame(profiles(clusters.table, clusters.labels, clusters.personas)).write_csv)
    write_whole(out / FILES[4], lambda path: path.write_text(html, "utf-8"))
    write_made(out, made_of, list(FILES))

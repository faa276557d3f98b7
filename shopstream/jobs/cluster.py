"""Reads customer tables for clustering and writes the resulting clusters."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from connectors.files import write_made, write_whole
from connectors.formats.csv_safety import safe_frame
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
CSV_ROWS = 50_000
"""Rows of a CSV that are Python objects at a time."""
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
    try:
        if source.suffix == ".parquet":
            return pl.read_parquet(source)
        return _read_csv(source, separator)
    except (pl.exceptions.PolarsError, OSError, csv.Error, UnicodeDecodeError) as error:
        raise ShopstreamError(
            f"The table {source} cannot be read: {str(error).splitlines()[0]}.",
            "Write it as UTF-8 with a header line, and set its separator in the mapping.",
        ) from None


def is_archive(source: Path) -> bool:
    """Return whether a source of customers is a folder without a customer table."""
    return source.is_dir() and not (source / CUSTOMER_TABLE_FILE).is_file()


def _read_csv(file: Path, separator: str) -> pl.DataFrame:
    """Read every column as text, so that ids keep their zeros and NA stays a country; empty text is null."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, delimiter=separator, strict=True)
        names = next(rows, [])
        if len(set(names)) < len(names):
            raise ShopstreamError(f"The header of {file} names a column twice.", "Give each column its own name.")
        parts = [pl.DataFrame(schema=dict.fromkeys(names, pl.String))]
        while chunk := [_fields(row, names, rows.line_num, file) for row in itertools.islice(rows, CSV_ROWS) if row]:
            columns = [pl.Series(name, of, pl.String) for name, of in zip(names, zip(*chunk, strict=True), strict=True)]
            parts.append(pl.DataFrame(columns))
    return pl.concat(parts).with_columns(pl.when(pl.all() != "").then(pl.all()))


def _fields(row: list[str], names: list[str], line: int, file: Path) -> list[str]:
    if len(row) != len(names):
        raise ShopstreamError(
            f"{file}, line {line} has {len(row)} fields, but the header has {len(names)}.",
            "Quote fields that contain the separator, or set the separator in the mapping.",
        )
    return row


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
    write_whole(out / FILES[2], safe_frame(comparison_frame(clusters.comparison)).write_csv)
    write_whole(out / FILES[3], safe_frame(profiles(clusters.table, clusters.labels, clusters.personas)).write_csv)
    write_whole(out / FILES[4], lambda path: path.write_text(html, "utf-8"))
    write_made(out, made_of, list(FILES))

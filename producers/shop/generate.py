"""Generates a complete archive of the synthetic shop and writes it while it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from features.errors import UsageError
from producers.archive.archive import SHOP_FILE, TRUTH_DIRT_FILE, TRUTH_FILE, ArchiveWriter, utc_day
from producers.shop.archive_dirt import ArchiveDirt
from producers.shop.deletions import Deletions
from producers.shop.history import Batch, HistoryCounts, history
from producers.shop.profiles import profile_blocks, truth_table
from producers.shop.random_streams import Stream, generator
from producers.shop.shop import EVENTS_PER_SESSION, Model, Shop, build, checked, shop_to_json


@dataclass(frozen=True, slots=True)
class Generated:
    """Counts of written records. Dirt is counted only in its own field."""

    customers: int
    events: int
    order_records: int
    dirty_rows: int
    counts: HistoryCounts
    deleted_orders: int = 0
    deleted_revenue_cents: int = 0
    """Revenue of the deleted orders, which `counts` contains."""


def generate(
    shop: Shop,
    directory: Path,
    *,
    force: bool = False,
    csv: bool = False,
    dirt: float = 0.0,
    deleted: float = 0.0,
    derive: Callable[[Path], None] = lambda _: None,
    on_events: Callable[[int], None] = lambda _: None,
) -> Generated:
    """Write the archive of a shop: events, orders, profiles, the truth and `shop.json`. All or nothing.

    Args:
        shop: shop to draw.
        directory: target folder: missing, empty, or with `force` an archive to replace.
        force: whether to replace an archive.
        csv: whether to write every file as CSV too.
        dirt: duplicates and invalid rows per clean row, 0 to 1; labelled in truth_dirt.parquet.
        deleted: share of the orders that are deleted, 0 to 1: their last record is `void`.
        derive: function that writes more files of the complete archive, into its folder.
        on_events: callback that receives the number of events written since the last call.

    Raises:
        UsageError: an impossible shop, or `dirt` or `deleted` out of its bounds.
        ShopstreamError: the directory may not be replaced or cannot be written.
    """
    if not 0 <= dirt <= 1:
        raise UsageError(f"Dirt is a share of the rows, not {dirt}.", "Give a number from 0 to 1, for example 0.01.")
    if not 0 <= deleted <= 1:
        raise UsageError(f"{deleted} is no share of deleted orders.", "Give a number from 0 to 1, for example 0.01.")
    deletions = Deletions(deleted, generator(shop.seed, Stream.DELETIONS)) if deleted else None
    planter = ArchiveDirt(dirt, generator(shop.seed, Stream.DIRT)) if dirt else None
    with ArchiveWriter(directory, force=force, csv=csv) as writer:
        model = build(checked(shop))
        events = order_records = 0
        total = HistoryCounts()
        for drawn in history(model):
            batch = drawn
            if deletions is not None:
                batch = replace(drawn, orders=deletions.among(drawn.orders, drawn.end_ms))
            _write(writer, batch, planter)
            events += batch.events.num_rows
            order_records += batch.orders.num_rows
            total += batch.counts
            on_events(batch.events.num_rows)
        writer.write_customers(_profiles(model, planter))
        truth = truth_table(
            model.population, model.events_per_activity / EVENTS_PER_SESSION, model.conversion_factor, shop.end_ms
        )
        writer.write_table(TRUTH_FILE, truth)
        labels = planter.labels() if planter else None
        if labels is not None:
            writer.write_table(TRUTH_DIRT_FILE, labels)
        writer.write_text(SHOP_FILE, shop_to_json(shop))
        derive(writer.folder)
    return Generated(
        shop.customers, events, order_records, labels.num_rows if labels is not None else 0, total,
        deletions.orders if deletions else 0, deletions.revenue_cents if deletions else 0,
    )  # fmt: skip


def _write(writer: ArchiveWriter, batch: Batch, planter: ArchiveDirt | None) -> None:
    for topic, table in (("events", batch.events), ("orders", batch.orders)):
        if table.num_rows == 0:
            continue
        if planter is None:
            writer.write_day(topic, utc_day(batch.start_ms), table)
            continue
        for planted in planter.among(topic, table):
            assert planted.day is not None
            writer.write_day(topic, planted.day, planted.rows)


def _profiles(model: Model, planter: ArchiveDirt | None) -> Iterator[pa.Table]:
    for block in profile_blocks(model.shop.seed, model.population):
        if planter is None:
            yield block
        else:
            yield from (planted.rows for planted in planter.among("customers", block))

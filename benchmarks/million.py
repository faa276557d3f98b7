"""Measures (g): the features consumer with a million customers in its state.

Each customer places an order on the first day, in addition to the synthetic shop's records. A consumer reads the past
once and keeps its checkpoint. Each measurement continues from a copy of it and reads the later records. The final rows
cover all customers, so reaching durability takes more than reading.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks import exact
from benchmarks.figures import Figures
from benchmarks.runner import run
from benchmarks.servers import Servers
from benchmarks.systems import Systems
from benchmarks.workload import END_MS, PARTITIONS, Size, make_archive, send
from features.schema import DAY_MS, Order, arrow_schema
from producers.archive.archive import utc_day
from producers.archive.event_order import ArchiveRange

HISTORY = 4
"""Ratio of history to the measured part."""


def million(servers: Servers, work: Path, arguments: argparse.Namespace, figures: Figures, console: Console) -> None:
    """Create the history, read it, and measure the rest."""
    size = Size(arguments.million_customers, arguments.events * (HISTORY + 1))
    systems = Systems(servers, work, arguments, console)
    console.print(f"(g) making {size.events:,} events of {size.customers:,} customers in {size.days} days")
    archive = work / "archive"
    make_archive(size, archive)
    add_first_orders(archive, END_MS - size.days * DAY_MS)
    border_ms = END_MS - max(1, size.days // (HISTORY + 1)) * DAY_MS
    past = send(servers.kafka, systems.run, ArchiveRange(archive, end_ms=border_ms))
    systems.sent = past
    task = systems.task()
    before = Path(task["state"])
    lap = run("g", past.events, "features_app.py", [task], systems.log)
    now = send(servers.kafka, systems.run, ArchiveRange(archive, start_ms=border_ms), profiles=False)
    systems.sent = replace(now, high_ms=max(now.high_ms, past.high_ms))
    expected = exact.batch_rows(archive, systems.sent.high_ms)
    figures.note(
        f"(g) {past.events:,} past events of {expected.height:,} customers were read at {lap.read_rate:,.0f}/s, "
        f"peak {lap.peak_mb:,.0f} MB; the last checkpoint of one of {PARTITIONS} partitions has "
        f"{lap.figures[0]['progress']['checkpoint_bytes'] / 1e6:,.0f} MB."
    )
    for turn in range(arguments.repeat):
        task = systems.task()
        state = Path(task["state"])
        # a checkpoint's files never change, so a link is a copy
        shutil.copytree(before, state, copy_function=lambda a, b: Path(b).hardlink_to(a))
        lap = run("g", now.events, "features_app.py", [task], systems.log)
        figures.add("g", lap)
        console.print(f"{turn + 1}/{arguments.repeat} (g) {lap.read_rate:,.0f}/s until applied", highlight=False)
        if turn == 0:
            rows = exact.checkpoint_rows(state, systems.run, PARTITIONS, systems.sent.high_ms)
            for error in exact.differences(rows, expected):
                figures.wrong("g", error)
        shutil.rmtree(state)
    systems.clear()


def add_first_orders(archive: Path, day_ms: int) -> None:
    """Add an order of every customer on an archive's first day."""
    ids = pq.read_table(archive / "customers.parquet", columns=["customer_id"])["customer_id"]
    numbers = np.arange(len(ids))
    ts = pa.array(day_ms + numbers * DAY_MS // len(ids)).cast(pa.timestamp("ms", tz="UTC"))
    columns: dict[str, Any] = {
        "order_id": pc.binary_join_element_wise("first", pa.array(numbers).cast(pa.string()), "-"),
        "customer_id": ids.cast(pa.string()),
        "ts": ts,
        "updated_ts": ts,
        "status": pa.array(["placed"]).take(pa.array(np.zeros(len(ids), np.int64))),
        "total": pa.array(np.full(len(ids), 49.9)),
    }
    schema = arrow_schema(Order)
    for field in schema:
        columns.setdefault(field.name, pa.nulls(len(ids), field.type))
    folder = archive / "orders" / f"date={utc_day(day_ms)}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({field.name: columns[field.name] for field in schema}, schema), folder / "first.parquet")

"""(g): the features consumer with a million customers in its state.

Each has placed an order on the first day, beside what the synthetic shop's customers do. Their past is read once by a
consumer whose checkpoint is kept; each measurement goes on from a copy of it and reads what came after. The final rows
are those of all customers, so until durable there is more to do than to read.
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
from benchmarks.contest import run
from benchmarks.entrants import Entrants
from benchmarks.figures import Figures
from benchmarks.ground import Ground
from benchmarks.workload import END_MS, PARTITIONS, Size, make_archive, send
from features.schema import DAY_MS, Order, arrow_schema
from producers.archive.archive import utc_day
from producers.archive.event_order import Span

HISTORY = 4
"""Parts of history for one part that is measured."""


def million(ground: Ground, work: Path, given: argparse.Namespace, figures: Figures, console: Console) -> None:
    """Make the history, read it, measure what comes after."""
    size = Size(given.million_customers, given.events * (HISTORY + 1))
    entrants = Entrants(ground, work, given, console)
    console.print(f"(g) making {size.events:,} events of {size.customers:,} customers in {size.days} days")
    archive = work / "archive"
    make_archive(size, archive)
    add_first_orders(archive, END_MS - size.days * DAY_MS)
    border_ms = END_MS - max(1, size.days // (HISTORY + 1)) * DAY_MS
    past = send(ground.kafka, entrants.run, Span(archive, end_ms=border_ms))
    entrants.sent = past
    task = entrants.task()
    before = Path(task["state"])
    lap = run("g", past.events, "features_app.py", [task], entrants.log)
    now = send(ground.kafka, entrants.run, Span(archive, start_ms=border_ms), profiles=False)
    entrants.sent = replace(now, high_ms=max(now.high_ms, past.high_ms))
    wanted = exact.batch_rows(archive, entrants.sent.high_ms)
    figures.note(
        f"(g) {past.events:,} events of the past of {wanted.height:,} customers were read at {lap.read_rate:,.0f}/s, "
        f"peak {lap.peak_mb:,.0f} MB; the last checkpoint of one of {PARTITIONS} partitions has "
        f"{lap.figures[0]['progress']['checkpoint_bytes'] / 1e6:,.0f} MB."
    )
    for turn in range(given.repeat):
        task = entrants.task()
        state = Path(task["state"])
        # a checkpoint's files never change, so a link is a copy
        shutil.copytree(before, state, copy_function=lambda a, b: Path(b).hardlink_to(a))
        lap = run("g", now.events, "features_app.py", [task], entrants.log)
        figures.add("g", lap)
        console.print(f"{turn + 1}/{given.repeat} (g) {lap.read_rate:,.0f}/s until applied", highlight=False)
        if turn == 0:
            found = exact.checkpoint_rows(state, entrants.run, PARTITIONS, entrants.sent.high_ms)
            for said in exact.differences(found, wanted):
                figures.wrong("g", said)
        shutil.rmtree(state)
    entrants.clear()


def add_first_orders(archive: Path, day_ms: int) -> None:
    """An order of every customer of an archive on its first day, so that each of them is seen."""
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

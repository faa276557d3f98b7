"""Times `shopstream import` of a click log and of order lines as CSV, with the highest memory of the process.

python benchmarks/import_log.py --rows 10000000
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

DAYS = 365
CLICKS_OF_A_CUSTOMER = 100


def click_log(rows: int, file: Path) -> None:
    """Write clicks in random order, without sessions or ids: times, customers, types, products and prices."""
    random = np.random.default_rng(7)
    start = np.datetime64("2024-01-01T00:00:00", "ms")
    times = start + random.integers(0, DAYS * 86_400_000, rows)
    types = np.array(["view", "view", "view", "cart", "order"])
    pl.DataFrame(
        {
            "timestamp": pl.Series(times).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
            "customer_id": pl.Series(random.integers(1, max(rows // CLICKS_OF_A_CUSTOMER, 2), rows)).cast(pl.String),
            "event_type": types[random.integers(0, len(types), rows)],
            "product_id": pl.Series(random.integers(1, 5_000, rows)).cast(pl.String),
            "category": pl.Series(random.integers(1, 30, rows)).cast(pl.String),
            "price": pl.Series(random.integers(100, 99_999, rows) / 100).cast(pl.String),
            "device": np.array(["mobile", "desktop"])[random.integers(0, 2, rows)],
            "country": np.array(["DE", "FR", "PL"])[random.integers(0, 3, rows)],
        }
    ).write_csv(file)


def order_lines(rows: int, file: Path) -> None:
    """Write order lines, three to an order: invoice, customer, time, product, quantity, unit price."""
    random = np.random.default_rng(8)
    orders = np.arange(3, rows + 3) // 3
    times = np.datetime64("2024-01-01T00:00:00", "ms") + random.integers(0, DAYS * 86_400, orders[-1] + 1) * 1_000
    customers = random.integers(1, max(rows // 30, 2), orders[-1] + 1)
    pl.DataFrame(
        {
            "InvoiceNo": pl.Series(orders).cast(pl.String),
            "StockCode": pl.Series(random.integers(1, 5_000, rows)).cast(pl.String),
            "Quantity": random.integers(1, 9, rows),
            "InvoiceDate": pl.Series(times[orders]).dt.strftime("%Y-%m-%d %H:%M:%S"),
            "UnitPrice": pl.Series(random.integers(100, 9_999, rows) / 100).cast(pl.String),
            "CustomerID": pl.Series(customers[orders]).cast(pl.String),
            "Country": np.array(["Germany", "France"])[random.integers(0, 2, rows)],
        }
    ).write_csv(file)


LINES = """\
kind: orders
file: {format: csv}
time: {column: InvoiceDate}
order: {rows: line, id: InvoiceNo, customer: CustomerID, product: StockCode, quantity: Quantity, unit_price: UnitPrice}
"""


def measure(file: Path, mapping: str, out: Path) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and the highest resident memory in GB of an import."""
    command = [sys.executable, "-m", "shopstream", "import", str(file), "--mapping", mapping, "--out", str(out)]
    before = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the import of {file.name} ended with {process.returncode}")
    scale = 1 if sys.platform == "darwin" else 1_024
    return time.monotonic() - before, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale / 1e9


def main() -> None:
    """Write the logs, import them and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "lines.yaml").write_text(LINES)
        print(f"{'log':<12} {'rows':>12} {'MB':>6} {'wall s':>8} {'CPU s':>8} {'rows/s':>10} {'GB':>6}")
        for name, write, mapping in (
            ("clicks", click_log, "clicks-csv"), ("order lines", order_lines, str(work / "lines.yaml")),
        ):  # fmt: skip
            file = work / f"{name.replace(' ', '-')}.csv"
            # in a process of its own: a child begins with the memory of its parent, which would count as its highest
            writer = multiprocessing.get_context("spawn").Process(target=write, args=(rows, file))
            writer.start()
            writer.join()
            wall_s, cpu_s, memory = measure(file, mapping, work / f"archive-{name}")
            size, rate = file.stat().st_size / 1e6, rows / wall_s
            print(f"{name:<12} {rows:>12,} {size:>6,.0f} {wall_s:>8.1f} {cpu_s:>8.1f} {rate:>10,.0f} {memory:>6.2f}")
            file.unlink()


if __name__ == "__main__":
    main()

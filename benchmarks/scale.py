"""Compares `spark backfill` on one and on two cores with `shopstream features`: same archive, same rows.

    .venv/spark/bin/python benchmarks/scale.py ARCHIVE [--as-of T] [--times N] [--repeat N]

Runs alternate, each in its own process. Prints a line of JSON for each: seconds, CPU seconds and peak memory of all its
processes. Every run's rows are compared with those of `features`. ARCHIVE is made by, for example,
`shopstream generate --customers 50000 --events 10000000 --days 365 --out ARCHIVE`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import polars as pl
import psutil

SHOPSTREAM = str(Path(sys.executable).parent / "shopstream")
DAY_S = 86_400
SAMPLE_S = 0.2


def measured(command: list[str]) -> dict[str, float]:
    """Return seconds, CPU seconds and peak memory of a command with all its children."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    cpu: dict[int, float] = {}
    peaks = [0.0]
    ended = threading.Event()
    sampler = threading.Thread(target=sample, args=(process.pid, cpu, peaks, ended))
    sampler.start()
    _, errors = process.communicate()
    seconds = time.monotonic() - began
    ended.set()
    sampler.join()
    if process.returncode:
        sys.exit(errors[-3000:])
    return {"seconds": round(seconds, 1), "cpu_s": round(sum(cpu.values()), 1), "peak_mb": round(max(peaks) / 1e6)}


def sample(pid: int, cpu: dict[int, float], peaks: list[float], ended: threading.Event) -> None:
    """Sample CPU seconds by process and the total memory until the end."""
    while not ended.wait(SAMPLE_S):
        resident = 0
        try:
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.Error:
            continue
        for one in tree:
            try:
                times = one.cpu_times()
                cpu[one.pid] = times.user + times.system
                # pages that forked workers share would count twice in the resident sizes
                resident += one.memory_full_info().pss
            except psutil.Error:
                continue
        peaks.append(resident)


def rows_of(out: Path) -> pl.DataFrame:
    """Return the rows that either command wrote."""
    if out.is_file():
        return pl.read_parquet(out).sort("customer_id", "as_of")
    rows = pl.read_parquet(out / "as_of=*" / "*.parquet", hive_partitioning=True)
    return rows.select("customer_id", "as_of", pl.exclude("customer_id", "as_of")).sort("customer_id", "as_of")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--as-of", type=int, required=True, help="epoch ms")
    parser.add_argument("--times", type=int, default=30, help="number of times of the last run, a day apart")
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    single = str(folder / "rows.parquet")
    many = [f"--as-of={options.as_of - days * DAY_S * 1000}" for days in range(options.times)]
    backfill = [SHOPSTREAM, "spark", "backfill", str(options.archive), "--conf", "spark.driver.memory=1g"]
    spark = [*backfill, "--out", str(folder / "spark"), "--force"]
    runs = {
        "features": [SHOPSTREAM, "features", str(options.archive), "--as-of", str(options.as_of), "--out", single],
        "spark, 1 core": [*spark, "--master", "local[1]", "--as-of", str(options.as_of)],
        "spark, 2 cores": [*spark, "--master", "local[2]", "--as-of", str(options.as_of)],
        f"spark, 2 cores, {options.times} times": [*spark, "--master", "local[2]", *many],
    }
    try:
        for _ in range(options.repeat):
            for name, command in runs.items():
                print(json.dumps({"run": name} | measured(command)), flush=True)
                if name != "features":
                    got = rows_of(folder / "spark").filter(pl.col("as_of") == options.as_of)
                    assert got.equals(rows_of(Path(single))), f"{name}: other rows"
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

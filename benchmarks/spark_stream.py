"""Compares `spark stream` on one and on two cores with `consume --roles features`: same records, same documents.

    SHOPSTREAM_HOME=DIR .venv/spark/bin/python benchmarks/spark_stream.py ARCHIVE [--batch-records N]

Needs the servers of `shopstream up`. Each system gets its own run, filled by `replay` beforehand and dropped
afterwards, and writes rows, sessions and orders to Elasticsearch and rows to their topic. Prints a line of JSON for
each: records a second from the command's start to its end, CPU seconds and peak memory of its processes (not of the
servers). ARCHIVE is made by, for example, `shopstream generate --customers 5000 --events 1000000 --out ARCHIVE`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from elasticsearch.helpers import scan
from scale import SHOPSTREAM, measured

from connectors.elasticsearch.client import connection, open_client
from shopstream import embedded
from shopstream.settings import load_settings


def documents(run: str, index: str) -> dict[str, dict[str, object]]:
    """Return id -> document without its version."""
    with open_client(connection(embedded.endpoints(load_settings()))) as client:
        name = f"{run}-{index}"
        client.indices.refresh(index=f"{name}*")
        hits = scan(client, index=name, size=5_000)
        return {hit["_id"]: {k: v for k, v in hit["_source"].items() if k != "version"} for hit in hits}


def shopstream(*arguments: str) -> str:
    """Return the output of a command; exit with its errors if it fails."""
    done = subprocess.run([SHOPSTREAM, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--batch-records", type=int, default=250_000)
    options = parser.parse_args()
    began = str(time.monotonic_ns())
    expected: dict[str, dict[str, dict[str, object]]] = {}
    with tempfile.TemporaryDirectory(prefix="spark-stream-") as folder:
        spark = ["spark", "stream", "--until-end", "--batch-records", str(options.batch_records)]
        spark += ["--conf", "spark.driver.memory=1g"]
        competitors = {
            "consume": ["consume", "--roles", "features", "--until-end", "--state", f"{folder}/state"],
            "spark1": [*spark, "--checkpoint", f"{folder}/one", "--master", "local[1]"],
            "spark2": [*spark, "--checkpoint", f"{folder}/two", "--master", "local[2]"],
        }
        for name, command in competitors.items():
            run = f"bench-{name}-{began}"
            output = shopstream("replay", str(options.archive), "--run", run)
            records = int(re.search(r"([\d,]+) acknowledged", output)[1].replace(",", ""))
            try:
                usage = measured([SHOPSTREAM, *command, "--run", run])
                rate = round(records / usage["seconds"])
                print(json.dumps({"run": name, "records": records, "records_per_s": rate} | usage), flush=True)
                written = {index: documents(run, index) for index in ("customers", "sessions", "orders")}
                assert not expected or written == expected, f"{name}: other documents"
                expected = written
            finally:
                shopstream("runs", "drop", run, "--yes")


if __name__ == "__main__":
    main()

"""Small archives made by hand."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.schema import RECORD_TYPES, arrow_schema
from producers.archive.archive import ArchiveWriter, utc_day

DAY = 86_400_000
NOON = 19_000 * DAY + DAY // 2


def event(number, ts, **fields):
    return {
        "event_id": f"e{number}", "event_type": "page_view", "customer_id": f"c{number % 7}", "session_id": "s",
        "ts": ts, "device": "mobile",
    } | fields  # fmt: skip


def order(number, updated_ts, **fields):
    return {
        "order_id": f"o{number}", "customer_id": f"c{number % 7}", "ts": updated_ts, "updated_ts": updated_ts,
        "status": "placed", "total": 10.5,
    } | fields  # fmt: skip


def table(topic, rows):
    schema = pa.schema([field.with_nullable(True) for field in arrow_schema(RECORD_TYPES[topic])])
    return pa.Table.from_pylist(rows, schema=schema)


def write(directory: Path, *, events=(), orders=(), customers=None) -> Path:
    """An archive; rows of one call lie in one file for each day, rows of the same day in files by thirds."""
    with ArchiveWriter(directory, force=True) as archive:
        for topic, rows in (("events", list(events)), ("orders", list(orders))):
            for third in range(3):
                if rows[third::3]:
                    archive.write(topic, table(topic, rows[third::3]))
        if customers is not None:
            archive.write_customers([table("customers", customers)])
    return directory


def put(directory: Path, topic, day_ms, rows, name="extra") -> None:
    """One more file in a day's folder, whatever the rows say."""
    folder = directory / topic / f"date={utc_day(day_ms)}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(topic, rows), folder / f"{name}.parquet")

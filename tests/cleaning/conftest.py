"""A small dirty shop, and archives written by hand."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop
from shopstream.jobs.clean import clean_archive
from training.cleaning.plan import CleaningPlan

NOW_MS = day_start_ms(date(2025, 6, 2))
T0 = day_start_ms(date(2025, 5, 1))
HOUR = 3_600_000


@pytest.fixture(scope="session")
def dirty(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("shop") / "dirty"
    shop = Shop(end_ms=day_start_ms(date(2025, 6, 1)), seed=3, customers=300, events=20_000, days=40)
    generate(shop, directory, dirt=0.05)
    return directory


@pytest.fixture(scope="session")
def cleaned(dirty, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("clean") / "archive"
    clean_archive(dirty, out, CleaningPlan(), NOW_MS)
    return out


def event(number: int, **fields) -> dict:
    return {
        "event_id": f"e{number}", "event_type": "page_view", "customer_id": "ann", "session_id": "s1",
        "ts": T0 + number * 1_000, "device": "mobile", **fields,
    }  # fmt: skip


def order(number: int, **fields) -> dict:
    ts = fields.pop("ts", T0 + number * HOUR)
    return {
        "order_id": f"o{number}", "customer_id": "ann", "ts": ts, "updated_ts": fields.pop("updated_ts", ts),
        "status": "placed", "total": 10.0, **fields,
    }  # fmt: skip


def write(directory: Path, events=(), orders=(), customers=(), day="2025-05-01") -> Path:
    """An archive with the given rows, as they are, in one folder a topic."""
    for topic, rows in (("events", events), ("orders", orders)):
        folder = directory / topic / f"date={day}"
        folder.mkdir(parents=True, exist_ok=True)
        if rows:
            pl.DataFrame(rows, infer_schema_length=None, strict=False).write_parquet(folder / "part.parquet")
    if customers:
        pl.DataFrame(customers, infer_schema_length=None).write_parquet(directory / "customers.parquet")
    return directory


def read(directory: Path, topic: str) -> pl.DataFrame:
    files = (
        sorted((directory / topic).rglob("*.parquet")) if topic != "customers" else [directory / "customers.parquet"]
    )
    frames = [pl.read_parquet(file, hive_partitioning=False) for file in files]
    times = ["ts", "updated_ts", "event_id", "order_id"]
    return pl.concat(frames) if frames else pl.DataFrame(schema=times)


class Cleaning:
    """Cleans what is written by hand and looks at what came of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.count = 0

    def __call__(self, source: Path | None = None, plan=None, **rows) -> "Cleaning":
        self.count += 1
        source = source or write(self.folder / f"in{self.count}", **rows)
        self.out = self.folder / f"out{self.count}"
        self.report = clean_archive(source, self.out, plan or CleaningPlan(), NOW_MS)
        return self

    def rule(self, topic: str, rule: str) -> dict:
        (found,) = [one for one in self.report["rules"] if (one["topic"], one["rule"]) == (topic, rule)]
        return found

    def rules(self) -> dict:
        return {(one["topic"], one["rule"]): one["count"] for one in self.report["rules"]}

    def events(self) -> list[dict]:
        return read(self.out, "events").sort("ts", "event_id").to_dicts()

    def orders(self) -> list[dict]:
        return read(self.out, "orders").sort("updated_ts", "order_id").to_dicts()

    def customers(self) -> list[dict]:
        return read(self.out, "customers").to_dicts()

    def stored_report(self) -> dict:
        return json.loads((self.out / "cleaning_report.json").read_text("utf-8"))


@pytest.fixture
def clean(tmp_path) -> Cleaning:
    return Cleaning(tmp_path)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)

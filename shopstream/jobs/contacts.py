"""Imports contacts made elsewhere, exports the log of contacts, and measures the effect of contacts."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import polars as pl
from polars import col

from connectors.clock import iso, wall_clock_ms
from connectors.elasticsearch.client import elastic_connection, open_client
from connectors.elasticsearch.contact_log import ContactLog
from connectors.files import write_whole
from features.backfill import rows_at
from features.errors import UsageError
from features.hold_out import HoldOut
from features.schema import DAY_MS, TS_MAX
from features.scores.score import REASONED_RISKS, Scorer
from features.workspace import CONTACTS, DONE_MS, INACTIVE_AFTER_DAYS, Contact
from shopstream import embedded
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.history import History
from shopstream.settings import Settings
from training.report.uplift import Uplift, enter, from_json, measure_uplift, to_json, uplift_sentence
from training.sales import valid_orders
from training.segments.customer_table import whole_profiles

if TYPE_CHECKING:
    from training.bundle import Bundle

COLUMNS: Final = ("customer_id", "contacted_at")
EFFECT_FILE: Final = "effect.json"
"""File next to the customer table from which the page reads the measured effect."""
WAVE_MS: Final = 7 * DAY_MS
_FORM: Final = "Write a CSV file with the columns customer_id and contacted_at, such as 2026-11-27 or an ISO 8601 time."


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of an import.

    Attributes:
        contacts: contacts of known customers, new or already in the log.
        unknown: ids that the run does not know, in the order of the file; their contacts are not imported.
        held_out: ids of the hold-out group that were contacted, against the plan.
    """

    contacts: int
    unknown: tuple[str, ...]
    held_out: tuple[str, ...]


def read_contacts(path: Path, parse_time: Callable[[str], int], latest_ms: int | None = None) -> pl.DataFrame:
    """Read a CSV file of contacts.

    Args:
        path: file with the columns customer_id and contacted_at.
        parse_time: function from a day or time to epoch ms; raises UsageError.
        latest_ms: latest possible time, epoch ms; None: any.

    Returns:
        customer_id, ts (epoch ms), each contact once.

    Raises:
        UsageError: the file cannot be read, or a line is wrong; the message names it.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The contacts {path} cannot be read: {error}.", _FORM) from None
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise UsageError(f"The contacts {path} have no column {missing[0]}.", _FORM)
    rows = []
    try:
        for row in reader:
            rows.append(_contact(row, parse_time, latest_ms))  # noqa: PERF401 - the line number is that of the mistake
    except (UsageError, csv.Error) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"{path}, line {reader.line_num}: {reason}.", _FORM) from None
    if not rows:
        raise UsageError(f"The contacts {path} have no line.", _FORM)
    return pl.DataFrame(rows, schema={"customer_id": pl.String, "ts": pl.Int64}, orient="row").unique(
        maintain_order=True
    )


def _contact(row: Mapping[str, str | None], parse_time: Callable[[str], int], latest_ms: int | None) -> tuple[str, int]:
    customer = (row["customer_id"] or "").strip()
    time = parse_time((row["contacted_at"] or "").strip())
    if not customer:
        raise UsageError("there is no customer_id")
    if not 0 <= time < TS_MAX or (latest_ms is not None and time > latest_ms):
        raise UsageError(f"{row['contacted_at']} is in the future, or out of range")
    return customer, time


def import_contacts(settings: Settings, contacts: pl.DataFrame) -> Imported:
    """Write contacts to the log of the run; importing them again changes nothing.

    A customer without a state on the work list who was contacted within 30 days becomes done.

    Args:
        settings: address of Elasticsearch, the run and the hold-out group.
        contacts: see `read_contacts`.

    Raises:
        ShopstreamError: there is no such run, or Elasticsearch does not answer or refuses.
    """
    now_ms = wall_clock_ms()
    with _log(settings) as log:
        known = log.known(contacts["customer_id"].unique(maintain_order=True).to_list())
        rows = contacts.filter(col("customer_id").is_in(list(known)))
        newest = rows.group_by("customer_id").agg(col("ts").max()).filter(col("ts") > now_ms - DONE_MS)
        log.write(
            [_document(customer, ts, 0) for customer, ts in rows.iter_rows()],
            [_document(customer, ts, ts + DONE_MS) for customer, ts in newest.iter_rows()],
        )
    rule = settings.hold_out.to_rule()
    unknown = [one for one in contacts["customer_id"].unique(maintain_order=True) if one not in known]
    held_out = [one for one in rows["customer_id"].unique(maintain_order=True) if rule.contains(one)]
    return Imported(len(rows), tuple(unknown), tuple(held_out))


def _document(customer_id: str, ts: int, until_ts: int) -> dict[str, object]:
    return msgspec.structs.asdict(Contact(customer_id, "done", ts, until_ts, ts))


def stored_contacts(settings: Settings) -> pl.DataFrame:
    """Return the log of a run: customer_id, ts (epoch ms), in order of time. Raises ShopstreamError."""
    with _log(settings) as log:
        rows = log.read()
    frame = pl.DataFrame(rows, schema={"customer_id": pl.String, "ts": pl.Int64}, orient="row")
    return frame.unique().sort("ts", "customer_id")


def write_contacts(contacts: pl.DataFrame, out: Path) -> None:
    """Write contacts as the CSV file that `read_contacts` reads."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((customer, iso(ts)) for customer, ts in contacts.iter_rows())
    write_whole(out, lambda path: path.write_text(buffer.getvalue(), "utf-8"))


@contextlib.contextmanager
def _log(settings: Settings) -> Iterator[ContactLog]:
    with open_client(elastic_connection(embedded.elastic_endpoint(settings)), connections=1) as client:
        yield ContactLog(client, settings.run, CONTACTS)


# --- effect -----------------------------------------------------------------------------------------------------------


def check_hold_out(hold_out: HoldOut) -> None:
    """Raise UsageError if there is no hold-out group."""
    if hold_out.share <= 0:
        raise UsageError(
            "The effect of contacts cannot be measured: there is no hold-out group.",
            "Set hold_out.share, such as 0.1, before customers are contacted.",
        )


def measure_effect(
    directory: Path,
    bundle: Bundle,
    contacts: pl.DataFrame,
    hold_out: HoldOut,
    history: History,
    on_step: Callable[[str, float | None], None] = lambda *_: None,
) -> Uplift:
    """Measure the effect of contacts by the hold-out group.

    For the beginning of each week with contacts, the archive and the bundle give the customers who qualify for the list
    *Contact today*. An order counts within the horizon of the bundle.

    Args:
        directory: folder of the archive.
        bundle: bundle of the churn model.
        contacts: customer_id, ts (epoch ms).
        hold_out: rule of the hold-out group.
        history: part of the archive that counts.
        on_step: called with the name of the current step, and the share that is done or None.

    Raises:
        UsageError: there is no hold-out group.
    """
    check_hold_out(hold_out)
    horizon_ms = bundle.horizon_days * DAY_MS
    starts = (contacts["ts"] // WAVE_MS * WAVE_MS).unique().sort().to_list()
    waves = [start for start in starts if history.first_ms < start <= history.end_ms]
    days, read_day = archive_days(directory, history.limit_ms)
    position_of = {day: position for position, day in enumerate(days)}
    qualified: dict[int, pl.DataFrame] = {}
    if waves:
        scorer = bundle.scorer()

        def on_day(day: int) -> None:
            on_step("customers who qualify", position_of[day] / len(days))

        for time, rows in rows_at(days, read_day, waves, None, on_day):
            qualified[time] = _qualified(rows, scorer, hold_out)
    on_step("orders", None)
    orders = valid_orders(days, read_day).select("customer_id", "ts", (col("cents") / 100).alias("revenue"))
    entered, pending = enter(qualified, contacts, orders, horizon_ms, history.end_ms)
    return measure_uplift(entered, bundle.horizon_days, pending, hold_out.share)


def _qualified(rows: pl.DataFrame, scorer: Scorer, hold_out: HoldOut) -> pl.DataFrame:
    """Return the customers of the list *Contact today* by their rows: customer_id, held_out, savable."""
    frame = whole_profiles(rows)
    scored = frame.hstack(scorer.score(frame))
    at_risk = scored.filter(col("churn_risk").is_in(REASONED_RISKS), col("days_since_visit") <= INACTIVE_AFTER_DAYS)
    history = col("revenue_365d") * 90 / 365
    worth = pl.coalesce("expected_revenue_90d", history) if "expected_revenue_90d" in scored.columns else history
    return at_risk.select(
        "customer_id",
        pl.Series("held_out", hold_out.members(at_risk["customer_id"]), pl.Boolean),
        (col("churn_probability") * worth.fill_null(0.0)).alias("savable"),
    )


def write_effect(uplift: Uplift, path: Path) -> None:
    """Write a measured effect."""
    text = json.dumps(to_json(uplift), indent=1) + "\n"
    write_whole(path, lambda file: file.write_text(text, "utf-8"))


def read_effect(path: Path) -> Uplift:
    """Read a measured effect. Raises UsageError."""
    try:
        return from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(
            f"The effect {path} cannot be read: {error}.",
            "Measure it: shopstream contacts effect DIR --out effect.json.",
        ) from None


def effect_sentence(path: Path) -> str:
    """Return the measured effect in a file as a sentence; empty without a file, the reason if it is damaged."""
    if not path.is_file():
        return ""
    try:
        return uplift_sentence(read_effect(path))
    except UsageError as error:
        return str(error).splitlines()[0]

"""Measures an archive once, writes the figures to files, and builds the final report from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from connectors.files import write_made, write_whole
from connectors.formats.csv_safety import safe_frame
from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from features.backfill import ArchiveCounts
from features.calendar import day_name
from features.errors import ShopstreamError, UsageError
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.history import History, known_history
from shopstream.jobs.sales import read_sales
from shopstream.jobs.segment import OnStep, Segmented, segment_customers, write_segments
from training.archive_period import last_whole_day
from training.forecast import shop_forecast
from training.forecast.special_days import NO_SPECIAL_DAYS, SpecialDays
from training.report.drivers import drivers
from training.report.funnel import funnel
from training.report.interventions import Assumptions, as_frame, interventions
from training.report.rendering import as_html, as_markdown, check
from training.report.sections import FILES, Findings, model_figures, sections
from training.report.uplift import Uplift

if TYPE_CHECKING:
    from training.bundle import Bundle

TITLE = "Customers: findings and actions"
PAGES = ("report.html", "report.md")


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Options of a report.

    Attributes:
        horizon: days to forecast.
        forecast: file written by `shopstream forecast`, with its JSON next to it; None: forecast the total sales now.
        assumptions: assumptions of the interventions.
        money: format of amounts of money.
        special_days: special days of a forecast that is made now.
        uplift: measured effect of contacts; None: not measured.
    """

    horizon: int = 30
    forecast: Path | None = None
    assumptions: Assumptions = field(default_factory=Assumptions)
    money: MoneyFormat = PLAIN_MONEY
    special_days: SpecialDays = NO_SPECIAL_DAYS
    uplift: Uplift | None = None


def read_assumptions(path: Path) -> Assumptions:
    """Read assumptions from a JSON file. Raises UsageError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Assumptions)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The assumptions {path} cannot be read: {error}.", 'Write them as {"cart_recovered": 0.05, "days": 90}.'
        ) from None


def compute_findings(
    directory: Path,
    as_of: int,
    bundle: Bundle,
    request: ReportRequest,
    on_step: OnStep,
    history: History | None = None,
) -> tuple[Findings, Segmented]:
    """Measure everything that the report shows of an archive, from the records known at a time.

    Args:
        directory: folder of the archive.
        as_of: time of the report, epoch ms.
        bundle: bundle of the churn model.
        request: options, see `ReportRequest`.
        on_step: called with the name of the current step, and the share that is done or None.
        history: part of the archive that counts at `as_of`; None: all records known by then.

    Raises:
        ShopstreamError: a figure cannot be computed: no visits, no orders, or a history that is too short.
    """
    counts = ArchiveCounts()
    segmented = segment_customers(directory, as_of, bundle, None, [], on_step, counts, request.money)
    on_step("funnel", None)
    days, read_day = archive_days(directory, as_of)
    steps = funnel(days, read_day, as_of)
    on_step("drivers of churn", None)
    pushed = drivers(bundle.scorer(), segmented.customer_table)
    history = replace(history or known_history(directory, as_of), limit_ms=as_of)
    frame, tested = _forecast(directory, as_of, request, on_step, history)
    customer_table = segmented.customer_table
    date_of = history.calendar.date_of
    data = {
        "archive": directory.name, "first": date_of(history.first_ms), "last": date_of(as_of),
        "customers": len(customer_table), "events": counts.read["events"], "orders": counts.read["orders"],
        "invalid": counts.rejected.total(),
        "duplicates": counts.duplicates, "orders_365d": int(customer_table["orders_365d"].sum()),
        "currency": request.money.currency or None,
        "revenue_365d": request.money.number(float(customer_table["revenue_365d"].sum())),
    }  # fmt: skip
    model = model_figures(bundle.name, bundle.horizon_days, bundle.metrics)
    actions = interventions(customer_table, steps, request.assumptions, request.money, request.uplift)
    return (
        Findings(
            data,
            steps,
            customer_table,
            segmented.groups,
            model,
            pushed,
            frame,
            tested,
            actions,
            request.assumptions,
            request.money,
            request.uplift,
        ),
        segmented,
    )


def write_report(findings: Findings, segmented: Segmented, out: Path, made_of: dict[str, str]) -> None:
    """Write the data files and the two pages.

    Raises:
        ShopstreamError: a figure is missing; then no page is written.
    """
    contents = sections(findings)
    check(contents)
    write_segments(segmented, out / "data", made_of)
    frames: dict[str, Callable[[Path], object]] = {
        "funnel": findings.funnel.write_csv,
        "drivers": findings.drivers.write_csv,
        "forecast": findings.forecast.write_parquet,
        "interventions": safe_frame(as_frame(list(findings.interventions), findings.money)).write_csv,
    }
    for name, write in frames.items():
        write_whole(out / FILES[name], write)
    values = {
        "data": findings.data,
        "model": findings.model,
        "tested": findings.tested,
        "assumptions": findings.assumptions,
        "uplift": findings.uplift,
    }
    for name, value in values.items():
        text = json.dumps(msgspec.to_builtins(value), indent=1, ensure_ascii=False) + "\n"
        write_whole(out / FILES[name], _writer(text))
    for name, text in zip(PAGES, (as_html(TITLE, contents), as_markdown(TITLE, contents)), strict=True):
        write_whole(out / name, _writer(text))
    write_made(out, made_of, [*PAGES, *FILES.values()])


def _writer(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, "utf-8")


def _forecast(
    directory: Path, as_of: int, request: ReportRequest, on_step: OnStep, history: History
) -> tuple[pl.DataFrame, dict[str, object]]:
    """Return a forecast and its back-test metrics: from a file, or of the total sales now."""
    if request.forecast is None:
        sales = read_sales(directory, 0, on_step, history)
        forecast = shop_forecast.forecast_shop(
            sales, request.horizon, lambda name, share: on_step(f"forecast {name}", share), request.special_days
        )
        return shop_forecast.frame(forecast), shop_forecast.figures(forecast)
    try:
        read = pl.read_csv if request.forecast.suffix == ".csv" else pl.read_parquet
        rows, tested = read(request.forecast), json.loads(request.forecast.with_suffix(".json").read_text("utf-8"))
        last = str(tested["last"])
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise ShopstreamError(
            f"The forecast {request.forecast} or its .json cannot be read: {error}.",
            "Write both files: shopstream forecast DIR --out forecast.parquet.",
        ) from None
    known = day_name(last_whole_day(as_of, history.calendar))
    if last > known:
        raise UsageError(
            f"The forecast {request.forecast} uses sales up to {last}, but the report only those up to {known}.",
            "Leave out --forecast, or give a later --as-of.",
        )
    return rows, tested

"""Writes the final report of an archive as two pages, with every number in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import Archive, AsOf, Bundle, ForecastDays, OutFolder
from shopstream.cli.progress import progress, state_currency, stated_history


def report(
    directory: Archive,
    out: OutFolder = Path("report"),
    as_of: AsOf = None,
    bundle: Bundle = None,
    horizon: ForecastDays = 30,
    forecast: Annotated[
        Path | None,
        typer.Option("--forecast", help="Output file of `forecast`; default: forecast the total now."),
    ] = None,
    assumptions: Annotated[
        Path | None,
        typer.Option("--assumptions", help="JSON file with effects of interventions; default: those in the report."),
    ] = None,
    effect: Annotated[
        Path | None,
        typer.Option("--effect", help="Output file of `contacts effect`; default: effects are assumed."),
    ] = None,
) -> None:
    """Write the final report of an archive as HTML and Markdown: actions, funnel, segments, churn, forecast.

    Only records that were known at --as-of count. The folder `data` of the report has every number in a file; if a
    number is missing the command fails and writes no page.

    Example: `shopstream report shop-archive --bundle bundles/first --out report`

    Example: `shopstream report shop-archive --effect segments/effect.json`
    """
    from shopstream.jobs.contacts import read_effect
    from shopstream.jobs.report import ReportRequest, compute_findings, read_assumptions, write_report
    from shopstream.jobs.segment import chosen_bundle
    from shopstream.settings import load_settings
    from training.forecast.special_days import load_special_days
    from training.report.interventions import Assumptions

    console = Console(stderr=True)
    settings = load_settings()
    money = settings.shop.money
    churn_bundle = chosen_bundle(bundle, settings.home)
    if churn_bundle is None:
        raise UsageError(
            "A report needs a churn model, and the data folder has no current bundle.",
            "Train one first: shopstream train DIR; or give --bundle.",
        )
    effects = Assumptions() if assumptions is None else read_assumptions(assumptions)
    special = load_special_days(settings.shop.special_days)
    uplift = None if effect is None else read_effect(effect)
    request = ReportRequest(horizon, forecast, effects, money, special, uplift)
    history = stated_history(console, directory, as_of, settings.shop)
    moment = history.end_ms if as_of is None else as_of
    with progress(console) as on_step:
        findings, segmented = compute_findings(directory, moment, churn_bundle, request, on_step, history)
        on_step("writing", None)
        made_of = {
            "archive": str(directory), "as_of": str(moment), "bundle": churn_bundle.name, "horizon": str(horizon),
            "forecast": "made now" if forecast is None else str(forecast),
        }  # fmt: skip
        write_report(findings, segmented, out, made_of)
    for rank, finding in enumerate(findings.interventions, 1):
        console.print(
            f"{rank:>2} {money.text(finding.effect, whole=True):>12}  {finding.name}", highlight=False, markup=False
        )
    state_currency(console, money)
    console.print(f"→ {out} (report.html, report.md; numbers in data)", highlight=False, markup=False)

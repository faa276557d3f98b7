"""`shopstream report`: writes the final report of an archive as two pages, with every number in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")] = Path("report"),
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="ISO 8601; only what was known then counts. Default: the archive's last moment."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Of the churn model; default: the current bundle of the data folder."),
    ] = None,
    horizon: Annotated[int, typer.Option("--horizon", help="Days to forecast.", min=1, max=180)] = 30,
    forecast: Annotated[
        Path | None,
        typer.Option("--forecast", help="File of `shopstream forecast`; default: the total is forecast now."),
    ] = None,
    assumptions: Annotated[
        Path | None,
        typer.Option("--assumptions", help="JSON of what interventions achieve; default: those that the report lists."),
    ] = None,
) -> None:
    """Write the final report of an archive, as HTML and Markdown: what to do, funnel, segments, churn, forecast.

    Every number stands in a file of its folder `data`; where one is missing the command fails and writes no page.

    Example: `shopstream report shop-archive --bundle bundles/first --out report`
    """
    from rich.console import Console

    from features.errors import UsageError
    from shopstream.cli.options import parse_time
    from shopstream.cli.progress import progress
    from shopstream.jobs.report import ReportRequest, find, read_assumptions, write_report
    from shopstream.jobs.segment import chosen_bundle, last_moment
    from shopstream.settings import load_settings
    from training.report.interventions import Assumptions

    console = Console(stderr=True)
    loaded = chosen_bundle(bundle, load_settings().home)
    if loaded is None:
        raise UsageError(
            "A report needs a churn model, and the data folder has no current bundle.",
            "Train one first: shopstream train DIR; or give --bundle.",
        )
    asked = ReportRequest(horizon, forecast, Assumptions() if assumptions is None else read_assumptions(assumptions))
    with progress(console) as on_step:
        moment = last_moment(directory) if as_of is None else parse_time(as_of, "--as-of")
        found, segmented = find(directory, moment, loaded, asked, on_step)
        on_step("writing", None)
        made_of = {
            "archive": str(directory), "as_of": str(moment), "bundle": loaded.name, "horizon": str(horizon),
            "forecast": "made now" if forecast is None else str(forecast),
        }  # fmt: skip
        write_report(found, segmented, out, made_of)
    for rank, one in enumerate(found.interventions, 1):
        console.print(f"{rank:>2} {one.effect:>12,.0f}  {one.name}", highlight=False, markup=False)
    console.print(f"→ {out} (report.html, report.md; numbers in data)", highlight=False, markup=False)

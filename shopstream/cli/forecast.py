"""Forecasts daily sales, in total and by category."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import Archive, AsOf, ForecastDays, OutFile, Run
from shopstream.cli.progress import progress, stated_history, write_table
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from connectors.formats.money_format import MoneyFormat


def forecast(
    directory: Archive,
    out: OutFile,
    horizon: ForecastDays = 30,
    categories: Annotated[
        int,
        typer.Option(
            "--categories", help="Number of largest categories; the others are combined. 0: total only.", min=0, max=100
        ),
    ] = 12,
    index: Annotated[
        bool, typer.Option("--index", help="Write the documents of the index `RUN-forecast` too.")
    ] = False,
    special_days: Annotated[
        Path | None,
        typer.Option(
            "--special-days",
            help="YAML file of holidays, campaigns and closed days; default: the setting shop.special_days.",
            dir_okay=False,
        ),
    ] = None,
    run: Run = None,
    as_of: AsOf = None,
) -> None:
    """Forecast the sales of the coming days, in total and by category, with a back-test.

    Writes a page with charts (.html) and the results of the back-test (.json) next to the file.

    Example: `shopstream forecast shop-archive --horizon 30 --out forecast.parquet`

    Example: `shopstream forecast shop-archive --special-days holidays.yaml --out forecast.csv`
    """
    from connectors.elasticsearch.period_writer import Trend
    from connectors.files import write_whole
    from shopstream.jobs.sales import read_sales
    from shopstream.jobs.shop_calendar import trend_calendar
    from shopstream.jobs.write_trends import check_elastic, write_trends
    from shopstream.settings import load_settings
    from training.forecast import page as forecast_page
    from training.forecast import shop_forecast
    from training.forecast.special_days import load_special_days

    if out.suffix in (".html", ".json"):
        raise UsageError(
            f"--out {out} is the name of the page or of the back-test.", "Give a name that ends in .parquet or .csv."
        )
    console = Console(stderr=True)
    settings = load_settings(run=run)
    money = settings.shop.money
    special = load_special_days(special_days or settings.shop.special_days)
    if index:
        check_elastic(settings)
    known = trend_calendar(settings) if index else None
    history = stated_history(console, directory, as_of, settings.shop, known)
    with progress(console) as on_step:
        sales = read_sales(directory, categories, on_step, history)
        result = shop_forecast.forecast_shop(
            sales, horizon, lambda name, share: on_step(f"forecasting {name}", share), special
        )
        rows = shop_forecast.frame(result)
        figures = shop_forecast.figures(result)
        on_step("writing", None)
        write_table(out, rows)
        write_whole(
            out.with_suffix(".html"), lambda path: path.write_text(forecast_page.render(result, money), "utf-8")
        )
        text = json.dumps(figures, indent=1) + "\n"
        write_whole(out.with_suffix(".json"), lambda path: path.write_text(text, "utf-8"))
        if index:
            write_trends(settings, [Trend("forecast", rows)], history.calendar)
    _print(console, figures, money)
    where = f", {settings.run}-forecast" if index else ""
    console.print(f"{horizon} days after {figures['last']} → {out}{where} (see {out.with_suffix('.html').name})")


def _print(console: Console, figures: dict[str, Any], money: MoneyFormat) -> None:
    from training.forecast.page import UNTESTED, effect_text, measures_row, remarks

    total = figures["series"][0]
    rows = [(name, *measures_row(one)) for name, one in total["models"].items()]
    title = f"total, {figures['horizon']} days ahead from {total['origins']} origins; share in the intervals"
    columns = ("model", money.heading("RMSE"), money.heading("MAE"), "MAPE", "MASE", "vs naive", "80 %", "95 %")
    tested = table(title, columns, rows, text_columns=1, no_wrap=True)
    console.print(tested if rows else UNTESTED)
    for sentence in remarks(figures):
        console.print(sentence, highlight=False)
    for day in figures["special_days"]:
        if day["name"]:
            console.print(f"{day['day']} {day['name']}: {effect_text(day)}", highlight=False, markup=False)
    if len(figures["series"]) > 1:
        console.print(f"categories are forecast separately; their sum is {figures['apart']:+.1%} from the total")

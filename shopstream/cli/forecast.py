"""Forecasts daily sales, in total and by category."""

from __future__ import annotations

import json
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
    run: Run = None,
    as_of: AsOf = None,
) -> None:
    """Forecast the sales of the coming days, in total and by category, with a back-test.

    Writes a page with charts (.html) and the results of the back-test (.json) next to the file.

    Example: `shopstream forecast shop-archive --horizon 30 --out forecast.parquet`
    """
    from connectors.elasticsearch.period_writer import Trend
    from connectors.files import write_whole
    from shopstream.jobs.sales import read_sales
    from shopstream.jobs.shop_calendar import trend_calendar
    from shopstream.jobs.write_trends import check_elastic, write_trends
    from shopstream.settings import load_settings
    from training.forecast import page as forecast_page
    from training.forecast import shop_forecast

    if out.suffix in (".html", ".json"):
        raise UsageError(
            f"--out {out} is the name of the page or of the back-test.", "Give a name that ends in .parquet or .csv."
        )
    console = Console(stderr=True)
    settings = load_settings(run=run)
    money = settings.shop.money
    if index:
        check_elastic(settings)
    known = trend_calendar(settings) if index else None
    history = stated_history(console, directory, as_of, settings.shop, known)
    with progress(console) as on_step:
        sales = read_sales(directory, categories, on_step, history)
        result = shop_forecast.forecast_shop(sales, horizon, lambda name, share: on_step(f"forecasting {name}", share))
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
    from training.forecast.page import UNTESTED

    total = figures["series"][0]
    models = dict(total["models"])
    if total["nested"]:
        models["chosen at each origin"] = total["nested"]
    rows = [
        (
            name, f"{error['rmse']:,.0f}", f"{error['mae']:,.0f}",
            "-" if error["mape"] is None else f"{error['mape']:.1%}",
            f"{error['mase']:.3f}", f"{error['against_naive']:.3f}",
            f"{error['coverage_80']:.1%}", f"{error['coverage_95']:.1%}",
        )
        for name, error in models.items()
    ]  # fmt: skip
    title = f"total, {figures['horizon']} days ahead from {total['origins']} origins; share in the intervals"
    columns = ("model", money.heading("RMSE"), money.heading("MAE"), "MAPE", "MASE", "vs naive", "80 %", "95 %")
    tested = table(title, columns, rows, text_columns=1, no_wrap=True)
    console.print(tested if rows else UNTESTED)
    if len(figures["series"]) > 1:
        console.print(f"categories are forecast separately; their sum is {figures['apart']:+.1%} from the total")

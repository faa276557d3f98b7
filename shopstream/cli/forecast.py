"""`shopstream forecast`: forecasts daily sales, in total and by category."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectors.files import write_whole
from shopstream.cli.progress import progress, write_table

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("forecast")(forecast)


def forecast(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive.")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file, or CSV by its ending.", show_default=False)],
    horizon: Annotated[int, typer.Option("--horizon", help="Days to forecast.", min=1, max=180)] = 30,
    categories: Annotated[
        int,
        typer.Option("--categories", help="The largest ones; the others are one. 0: the total only.", min=0, max=100),
    ] = 12,
    index: Annotated[
        bool, typer.Option("--index", help="Also write the documents of `RUN-forecast` in Elasticsearch.")
    ] = False,
    run: Annotated[str | None, typer.Option("--run", help="The run whose index it is.")] = None,
) -> None:
    """Forecast the sales of the days to come, in all and by category, tested on the past.

    Beside the file stand a page with figures (.html) and what the back-test measured (.json).

    Example: `shopstream forecast shop-archive --horizon 30 --out forecast.parquet`
    """
    import json

    from rich.console import Console

    from connectors.elasticsearch.period_writer import Trend
    from shopstream.jobs.sales import read_sales
    from shopstream.jobs.write_trends import check_elastic, write_trends
    from shopstream.settings import load_settings
    from training.forecast import page as forecast_page
    from training.forecast import shop_forecast

    console = Console(stderr=True)
    settings = load_settings(run=run)
    if index:
        check_elastic(settings)
    with progress(console) as on_step:
        sales = read_sales(directory, categories, on_step)
        found = shop_forecast.forecast_shop(sales, horizon, lambda name, share: on_step(f"forecasting {name}", share))
        rows = shop_forecast.frame(found)
        said = shop_forecast.figures(found)
        on_step("writing", None)
        write_table(out, rows)
        write_whole(out.with_suffix(".html"), lambda path: path.write_text(forecast_page.render(found), "utf-8"))
        write_whole(out.with_suffix(".json"), lambda path: path.write_text(json.dumps(said, indent=1) + "\n", "utf-8"))
        if index:
            write_trends(settings, [Trend("forecast", rows)])
    _print(console, said)
    where = f", {settings.run}-forecast" if index else ""
    console.print(f"{horizon} days after {said['last']} → {out}{where} (see {out.with_suffix('.html').name})")


def _print(console: Console, said: dict[str, Any]) -> None:
    from rich.table import Table

    total = said["series"][0]
    table = Table(title=f"total, {said['horizon']} days ahead from {total['origins']} origins; share in the intervals")
    for name in ("model", "RMSE", "MAE", "MAPE", "MASE", "vs naive", "80 %", "95 %"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    found = dict(total["models"])
    if total["nested"]:
        found["chosen at each origin"] = total["nested"]
    for title, one in found.items():
        table.add_row(
            title, f"{one['rmse']:,.0f}", f"{one['mae']:,.0f}", "-" if one["mape"] is None else f"{one['mape']:.1%}",
            *(f"{one[name]:.3f}" for name in ("mase", "against_naive")),
            *(f"{one[f'coverage_{level}']:.1%}" for level in (80, 95)),
        )  # fmt: skip
    console.print(table if found else "The history is too short to be tested on: this is last week again.")
    if len(said["series"]) > 1:
        console.print(f"categories are forecast alone; their sum lies {said['apart']:+.1%} from the total")

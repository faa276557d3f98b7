"""Explores an archive, as a page with charts and as a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import Archive, AsOf
from shopstream.cli.progress import progress, stated_history


def explore(
    directory: Archive,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="Output file (.html), with the notebook next to it.", show_default=False
        ),
    ],
    zone: Annotated[
        str | None,
        typer.Option("--zone", metavar="ZONE", help="Time zone of days and hours; default: that of the shop."),
    ] = None,
    as_of: AsOf = None,
) -> None:
    """Explore an archive, preferably clean: days, weeks, funnel, cohorts, products, customers, with explained charts.

    The page is one self-contained file. A notebook (.ipynb) next to it draws the same charts.

    Example: `shopstream explore shop-archive --out exploration.html`
    """
    from connectors.files import write_whole
    from shopstream.jobs.explore import explore_archive
    from shopstream.settings import load_settings
    from training.exploration.notebook import notebook
    from training.exploration.page import make_panels, render

    if out.suffix != ".html":
        raise UsageError(f"--out {out} is not an HTML file.", "Give a name that ends in .html.")
    console = Console(stderr=True)
    settings = load_settings(shop=None if zone is None else {"time_zone": zone})
    money = settings.shop.money
    history = stated_history(console, directory, as_of, settings.shop)
    with progress(console) as on_step:
        observed = explore_archive(directory, on_step, history, money)
        on_step("drawing", 1.0)
        exploration = make_panels(observed)
        write_whole(out, lambda path: path.write_text(render(exploration), "utf-8"))
        moment = None if history.limit_ms is None else history.end_ms
        book = notebook(str(directory.resolve()), history.calendar, moment, money)
        write_whole(out.with_suffix(".ipynb"), lambda path: path.write_text(book, "utf-8"))
    console.print(exploration.summary)
    for title, panels in exploration.sections.items():
        console.print(f"[bold]{title}[/]")
        for panel in panels:
            console.print(f"  {panel.title}: {panel.sentence}", markup=False, highlight=False)
    if exploration.absent:
        console.print(f"No data for: {', '.join(exploration.absent)}.", markup=False, highlight=False)
    console.print(f"→ {out} and {out.with_suffix('.ipynb').name}", markup=False)

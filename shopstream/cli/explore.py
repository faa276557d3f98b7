"""`shopstream explore`: explores an archive, as a page with charts and as a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.files import write_whole
from features.errors import UsageError
from shopstream.cli.progress import progress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explore")(explore)


def explore(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The archive; best a clean one.")],
    out: Annotated[Path, typer.Option("--out", help="HTML file; the notebook stands beside it.", show_default=False)],
    zone: Annotated[str, typer.Option("--zone", help="Time zone in which hours and weekdays are told.")] = "UTC",
) -> None:
    """Explore an archive: days, weeks, funnel, cohorts, products, customers, each picture with what it says.

    The page is one file that loads nothing; beside it stands a notebook (.ipynb) that makes the same pictures.

    Example: `shopstream explore shop-archive --out exploration.html`
    """
    from rich.console import Console

    from shopstream.jobs.explore import look
    from training.exploration.notebook import notebook
    from training.exploration.page import make_panels, render

    if out.suffix != ".html":
        raise UsageError(f"--out {out} is no HTML file.", "Give a name that ends in .html.")
    console = Console(stderr=True)
    with progress(console) as on_step:
        seen = look(directory, zone, on_step)
        on_step("drawing", 1.0)
        shown = make_panels(seen)
        write_whole(out, lambda path: path.write_text(render(shown), "utf-8"))
        book = notebook(str(directory.resolve()), zone)
        write_whole(out.with_suffix(".ipynb"), lambda path: path.write_text(book, "utf-8"))
    console.print(shown.summary)
    for title, found in shown.sections.items():
        console.print(f"[bold]{title}[/]")
        for panel in found:
            console.print(f"  {panel.title}: {panel.sentence}", markup=False, highlight=False)
    console.print(f"→ {out} and {out.with_suffix('.ipynb').name}", markup=False)

"""Imports and exports contacts of customers, and measures their effect by the hold-out group."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from shopstream.cli.options import Archive, AsOf, Bundle, Run, parse_time
from shopstream.cli.progress import progress, stated_history

if TYPE_CHECKING:
    from shopstream.settings import Settings

_SHOWN = 5


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV file with customer_id and contacted_at.")],
    run: Run = None,
) -> None:
    """Import contacts made elsewhere into the log of a run. The same file twice is the same contacts.

    A day without a time begins in the shop's zone. A wrong line refuses the whole file.

    Example: `shopstream contacts import calls.csv --run shop`
    """
    from connectors.clock import wall_clock_ms
    from shopstream.jobs import contacts

    console = Console(stderr=True)
    settings = _settings(run)
    rows = contacts.read_contacts(file, lambda text: parse_time(text, "contacted_at"), wall_clock_ms())
    done = contacts.import_contacts(settings, rows)
    console.print(f"{done.contacts:,} contacts → {settings.run}-contacts", highlight=False, markup=False)
    for ids, reason in (
        (done.unknown, "customers are unknown to the run; their contacts are not imported"),
        (done.held_out, "customers of the hold-out group were contacted, which weakens the measured effect"),
    ):
        if ids:
            some = ", ".join(ids[:_SHOWN]) + (" ..." if len(ids) > _SHOWN else "")
            console.print(f"{len(ids):,} {reason}: {some}", highlight=False, markup=False)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV file to write.")],
    run: Run = None,
) -> None:
    """Export the log of contacts of a run as CSV: customer_id and contacted_at, in order of time.

    Example: `shopstream contacts export contacts.csv --run shop`
    """
    from shopstream.jobs import contacts

    settings = _settings(run)
    stored = contacts.stored_contacts(settings)
    contacts.write_contacts(stored, file)
    Console(stderr=True).print(f"{len(stored):,} contacts → {file}", highlight=False, markup=False)


def effect(
    directory: Archive,
    out: Annotated[
        Path, typer.Option("--out", help="JSON file; the page reads effect.json in the folder of `segment`.")
    ] = Path("segments/effect.json"),
    file: Annotated[
        Path | None,
        typer.Option("--contacts", help="CSV file of contacts; default: the log of the run.", dir_okay=False),
    ] = None,
    bundle: Bundle = None,
    run: Run = None,
    as_of: AsOf = None,
) -> None:
    """Measure the effect of contacts by the hold-out group, with its interval.

    Needs the setting hold_out.share. Before there are enough customers, the command prints how many it needs.

    Example: `shopstream contacts effect shop-archive --out segments/effect.json`

    Example: `shopstream contacts effect shop-archive --contacts calls.csv --bundle bundles/first`
    """
    from features.errors import UsageError
    from shopstream.jobs import contacts
    from shopstream.jobs.segment import chosen_bundle
    from training.report.uplift import uplift_sentence

    console = Console(stderr=True)
    settings = _settings(run)
    rule = settings.hold_out.to_rule()
    model = chosen_bundle(bundle, settings.home)
    if model is None:
        raise UsageError(
            "The effect needs a churn model, and the data folder has no current bundle.",
            "Train one first: shopstream train DIR; or give --bundle.",
        )
    contacts.check_hold_out(rule)
    rows = (
        contacts.stored_contacts(settings)
        if file is None
        else contacts.read_contacts(file, lambda text: parse_time(text, "contacted_at"))
    )
    history = stated_history(console, directory, as_of, settings.shop)
    with progress(console) as on_step:
        measured = contacts.measure_effect(directory, model, rows, rule, history, on_step)
    contacts.write_effect(measured, out)
    console.print(uplift_sentence(measured), highlight=False, markup=False)
    console.print(f"→ {out}", highlight=False, markup=False)


def _settings(run: str | None) -> Settings:
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.settings import load_settings

    quiet_client_logs()
    return load_settings(run=run)

"""Notifies people of alerts, and sends digests."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import Run, parse_duration_s, time_option


class DigestPeriod(StrEnum):
    """Period of a digest."""

    day = "day"
    week = "week"


def printer(console: Console) -> Callable[[str], None]:
    """Return the function that prints a sentence, which may hold brackets."""
    return lambda text: console.print(text, markup=False, highlight=False)


def alerts(run: Run = None) -> None:
    """Send new churn alerts to the configured targets (webhook, Slack, Teams, e-mail), until Ctrl-C.

    The first start sends the alerts raised from then on. A later start continues where the last one stopped. An alert
    that a target refuses is set aside; `notify retry` sends it again. docs/notifications.md describes the targets.

    Example: `shopstream notify alerts`
    """
    from shopstream.jobs.notify import follow_alerts
    from shopstream.jobs.produce import stop_on_signal
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    with stop_on_signal() as stopped:
        counts = follow_alerts(load_settings(run=run), stopped, printer(console))
    for name, one in counts.items():
        typer.echo(f"{name}: {one.delivered:,} delivered, {one.retries:,} repeated, {one.set_aside:,} set aside")


def digest(
    period: Annotated[DigestPeriod, typer.Option("--period", help="Digest of the last complete day or week.")] = (
        DigestPeriod.day
    ),
    every: Annotated[
        DigestPeriod | None, typer.Option("--every", help="Send one digest after each day or week, until Ctrl-C.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Send the digest even if it was sent already.")] = False,
    as_of: Annotated[
        int | None, time_option("--as-of", "ISO 8601 time, before which the period ends; default: now.")
    ] = None,
    run: Run = None,
) -> None:
    """Send a digest to the configured targets: figures of the last complete day or week, and customers to contact.

    Revenue, orders, conversion rate and alerts are compared with the previous period. Days and weeks are those of the
    shop's calendar. A target gets the digest of a period once. The exit code is 1 if a target does not accept it.

    Example: `shopstream notify digest`

    Example: `shopstream notify digest --every week`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.jobs.digest import DigestRequest, send_digests
    from shopstream.jobs.produce import stop_on_signal
    from shopstream.settings import load_settings

    if every is not None and (as_of is not None or again):
        raise UsageError("--every sends each digest once, when its period is over.", "Omit --as-of and --again.")
    quiet_client_logs()
    console = Console(stderr=True)
    request = DigestRequest((every or period).value, repeat=every is not None, again=again, as_of_ms=as_of)
    with stop_on_signal() as stopped:
        failed = send_digests(load_settings(run=run), request, stopped, printer(console))
    if failed:
        raise typer.Exit(1)


def retry(
    give_up_after: Annotated[
        str, typer.Option("--give-up-after", help="Time of unsuccessful attempts for each alert: `30s`, `10m`.")
    ] = "30s",
    run: Run = None,
) -> None:
    """Send the alerts again that targets had refused, after the cause is corrected; `notify alerts` must not run.

    The exit code is 1 if some are still refused, or can never be sent. The latter are noted in
    RUN.undeliverable.jsonl and are not tried again.

    Example: `shopstream notify retry`
    """
    from features.schema import ALERT_TOPIC, topic_name
    from shopstream.jobs.notify import retry_set_aside, undeliverable_file
    from shopstream.jobs.produce import stop_on_signal
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    seconds = parse_duration_s(give_up_after, "--give-up-after")
    with stop_on_signal() as stopped:
        settings = load_settings(run=run)
        retried = retry_set_aside(settings, stopped, printer(console), seconds)
    never = f", {retried.undeliverable:,} that can never be sent" if retried.undeliverable else ""
    typer.echo(f"{retried.delivered:,} delivered, {retried.left:,} still set aside{never}")
    if retried.undeliverable:
        printer(console)(
            f"{undeliverable_file(settings).path} has the offsets of the messages that are deleted or are not alerts. "
            f"The index of alerts has the deleted ones. Find the program that writes others to the topic "
            f"{topic_name(settings.run, ALERT_TOPIC)}."
        )
    if retried.left or retried.undeliverable:
        raise typer.Exit(1)

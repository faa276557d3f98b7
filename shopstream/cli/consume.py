"""Runs the consumers as worker processes under one parent."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import FinalAsOf, IndexPii, Run, State, UntilEnd, chosen
from shopstream.runtime.logs import configure_logs
from shopstream.runtime.protocol import Clock


def consume(  # noqa: PLR0917 - typer makes an option of each
    context: typer.Context,
    workers: Annotated[int, typer.Option("--workers", help="Number of processes per role.")] = 1,
    roles: Annotated[
        str, typer.Option("--roles", help="Comma-separated roles: features, index, archive.")
    ] = "features,index,archive",
    until_end: UntilEnd = False,
    as_of: FinalAsOf = None,
    clock: Annotated[
        Clock,
        typer.Option("--clock", help="Time of rows: event time, or the wall clock while the lag is zero."),
    ] = "stream",
    state: State = None,
    archive: Annotated[
        str | None, typer.Option("--archive", help="Folder or URI that the role archive writes to.")
    ] = None,
    run: Run = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Bundle that scores customers, or folder with a current one.")
    ] = None,
    index_pii: IndexPii = False,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", help="Port of /metrics, /healthz and /readyz; 0 takes a free one."),
    ] = None,
) -> None:
    """Consume a run's topics: exact features, documents in Elasticsearch, the Parquet archive.

    Runs until Ctrl-C. Each worker then finishes its batch, writes a checkpoint and exits; a second Ctrl-C stops all at
    once. A worker that crashes is restarted. With --until-end the command stops at the current end offsets.

    The bundle of --bundle, or the current one of the data folder, scores the customers. A new current bundle is loaded
    while the command runs; an invalid one is rejected.

    Example: `shopstream consume --until-end --as-of 2025-06-01T00:00:00Z`
    """
    from consumers.checkpoints.inventory import check_writable
    from consumers.first_records import check_first_records
    from features.schema import topic_name
    from shopstream import embedded
    from shopstream.jobs import consume as consume_job
    from shopstream.runtime.run_workers import Reports, watch
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(run=run, metrics=None if metrics_port is None else {"port": metrics_port})
    consumption = consume_job.checked(
        consume_job.Consumption(
            workers=workers,
            roles=chosen("--roles", roles, consume_job.ROLES),
            until_end=until_end,
            as_of=as_of,
            clock=clock,
            state=consume_job.state_folder(settings, state),
            archive=consume_job.archive_folder(settings, archive),
            contact=index_pii,
            bundle=consume_job.chosen_bundle(bundle),
            debug=bool((context.obj or {}).get("debug")),
        )
    )
    configure_logs(json=not console.is_terminal, debug=consumption.debug)
    endpoints = embedded.endpoints(settings)
    with consume_job.exclusive_consumer_lock(settings, consumption.roles):
        if "features" in consumption.roles:
            check_writable(consumption.state)
        report = consume_job.prepare(
            settings, endpoints, documents=consumption.roles != ("archive",), contact=consumption.contact
        )
        for warning in report.warnings:
            console.print(f"[yellow]warning[/] {warning}", highlight=False)
        if topic_name(settings.run, "events") in report.created:
            console.print(f"run {settings.run} is new: its topics were created and are empty", highlight=False)
        if consume_job.AGREEING in consumption.roles:
            check_first_records(endpoints.kafka.client_properties(), settings.run)
        ends = consume_job.current_ends(endpoints.kafka.client_properties(), settings.run) if until_end else None
        supervisor = consume_job.open_supervisor(settings, endpoints, consumption, ends)
        outcome = watch(supervisor, Reports(settings, supervisor, endpoints), console)
    outcome.raise_failure()
    if outcome.interrupted and until_end:
        raise typer.Exit(130)

"""`consume`: runs the consumers as worker processes under one parent."""

from __future__ import annotations

from typing import Annotated

import typer

UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Stop at what is the end now, after a final row of every customer.")
]
FinalAsOf = Annotated[
    str | None, typer.Option("--as-of", help="ISO 8601 time of the final rows; default: the highest stream time.")
]
ConsumedRun = Annotated[str | None, typer.Option("--run", help="The run to consume; default: shop.")]
IndexContact = Annotated[
    bool, typer.Option("--index-contact", help="Put names and e-mail addresses into the index too.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(consume)


def consume(  # noqa: PLR0917 - typer makes an option of each
    context: typer.Context,
    workers: Annotated[int, typer.Option("--workers", help="Processes of each role.")] = 1,
    roles: Annotated[str, typer.Option("--roles", help="Of features, index, archive.")] = "features,index,archive",
    until_end: UntilEnd = False,
    as_of: FinalAsOf = None,
    clock: Annotated[
        str, typer.Option("--clock", help="stream, or wall: rows follow the wall clock while all is read.")
    ] = "stream",
    state: Annotated[str | None, typer.Option("--state", help="Folder or URI of the checkpoints.")] = None,
    archive: Annotated[str | None, typer.Option("--archive", help="Folder or URI of the role archive.")] = None,
    run: ConsumedRun = None,
    bundle: Annotated[
        str | None,
        typer.Option("--bundle", help="Score by this bundle, or by the current one of this folder of bundles."),
    ] = None,
    index_contact: IndexContact = False,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", help="Serve /metrics, /healthz and /readyz on this port; 0 takes a free one."),
    ] = None,
) -> None:
    """Consume a run's topics: exact features, documents in Elasticsearch, the Parquet archive.

    Runs until Ctrl-C: each worker finishes its batch, checkpoints and leaves; a second Ctrl-C ends them at once. A
    worker that dies is started again. With --until-end it stops at the offsets that are the end now.

    Customers are scored by the bundle that `bundles/current` of the data folder names, or by --bundle; another bundle
    is taken up while it runs, and one that is broken is refused.

    Example: `shopstream consume --until-end --as-of 2025-06-01T00:00:00Z`
    """
    from rich.console import Console

    from consumers.checkpoints.inventory import check_writable
    from features.schema import topic_name
    from shopstream import embedded
    from shopstream.cli.options import chosen_clock, chosen_roles, parse_time
    from shopstream.jobs import consume as consume_job
    from shopstream.runtime.logs import configure_logs
    from shopstream.runtime.run_workers import Reports, watch
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(run=run, metrics=None if metrics_port is None else {"port": metrics_port})
    consumption = consume_job.checked(
        consume_job.Consumption(
            workers=workers,
            roles=chosen_roles(roles),
            until_end=until_end,
            as_of=None if as_of is None else parse_time(as_of, "--as-of"),
            clock=chosen_clock(clock),
            state=consume_job.state_folder(settings, state),
            archive=consume_job.archive_folder(settings, archive),
            contact=index_contact,
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
            console.print(f"run {settings.run} is new: its topics were made, and nothing is in them", highlight=False)
        ends = consume_job.current_ends(endpoints.kafka.client_properties(), settings.run) if until_end else None
        supervisor = consume_job.open_supervisor(settings, endpoints, consumption, ends)
        outcome = watch(supervisor, Reports(settings, supervisor, endpoints), console)
    outcome.raise_failure()
    if outcome.interrupted and until_end:
        raise typer.Exit(130)

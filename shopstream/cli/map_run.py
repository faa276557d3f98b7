"""Maps topics of other systems to the topics of a run, as worker processes under one parent."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from shopstream.cli.options import Answers, Run, parse_answers, parse_time, parsed_option
from shopstream.runtime.logs import configure_logs


def _start(text: str, option: str) -> int | str:
    return text if text in ("earliest", "latest") else parse_time(text, option)


def run_mappings(
    context: typer.Context,
    mappings: Annotated[
        list[str], typer.Argument(metavar="MAPPING...", help="YAML files of mappings with `from`, or ready mappings.")
    ],
    answers: Answers = None,
    run: Run = None,
    workers: Annotated[int, typer.Option("--workers", help="Number of processes.")] = 1,
    start: Annotated[
        str | None,
        parsed_option(
            "--from",
            _start,
            "TIME",
            "Where a partition without a committed offset starts: earliest (the default), latest, or an ISO 8601 time.",
        ),
    ] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the current end offsets.")] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", help="Port of /metrics, /healthz and /readyz; 0 takes a free one."),
    ] = None,
) -> None:
    """Map topics of other systems to the topics of a run: events and orders that `consume` reads.

    Runs until Ctrl-C, and continues at the committed offsets after the next start. A message gives all of its records,
    is left out by a rule of its mapping, or becomes a dead letter with the reason.

    All mappings of a run belong into one command: it reads the partitions of all topics in step by the times of their
    records, so that no record of a backlog is too late.

    Example: `shopstream map run clicks.yaml orders.yaml`

    Example: `shopstream map run clicks.yaml --workers 2 --from 2026-01-01 --until-end`
    """
    from connectors.kafka.foreign_topics import EARLIEST
    from consumers.mapping.consumer import ROLE
    from shopstream import embedded
    from shopstream.jobs import map_topics as job
    from shopstream.jobs.consume import exclusive_consumer_lock
    from shopstream.runtime.run_workers import Reports, watch
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(run=run, metrics=None if metrics_port is None else {"port": metrics_port})
    mapped = job.load_mappings(settings, mappings, parse_answers(answers))
    workers = job.checked_workers(workers)
    debug = bool((context.obj or {}).get("debug"))
    configure_logs(json=not console.is_terminal, debug=debug)
    endpoints = embedded.endpoints(settings)
    with exclusive_consumer_lock(settings, (ROLE,)):
        for warning in job.prepare(settings, endpoints).warnings:
            console.print(f"[yellow]warning[/] {warning}", highlight=False)
        supervisor = job.open_supervisor(
            settings, endpoints, mapped, workers=workers, start=start or EARLIEST, until_end=until_end, debug=debug
        )
        outcome = watch(supervisor, Reports(settings, supervisor), console)
    outcome.raise_failure()
    if outcome.interrupted and until_end:
        raise typer.Exit(130)

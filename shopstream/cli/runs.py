"""`runs list|drop` and `promote`: list, delete and promote runs, such as a reprocessed history beside the live run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from shopstream.jobs.promote import Comparison
    from shopstream.jobs.runs import Overview, Run

StateOption = Annotated[
    str | None, typer.Option("--state", help="Folder or URI of the checkpoints; default: below the data folder.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(help="The runs there are: list them, drop one.", no_args_is_help=True)
    group.command("list")(list_runs)
    group.command("drop")(drop)
    app.add_typer(group, name="runs")
    app.command()(promote)


def list_runs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One run, with everything it has.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    state: StateOption = None,
) -> None:
    """List every run: topics, consumers with their lag, documents, checkpoints, and which one readers see.

    What does not answer is told, and the rest listed; the exit code is 1 then.

    Example: `shopstream runs list --json`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from features.errors import ShopstreamError
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import runs as runs_job
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings()
    found = runs_job.overview(settings, consume_job.state_folder(settings, state))
    shown = found.runs if name is None else {key: run for key, run in found.runs.items() if key == name}
    if as_json:
        problems = {part: str(error) for part, error in found.problems.items()}
        typer.echo(json.dumps({"runs": {k: run.as_json() for k, run in shown.items()}, "problems": problems}, indent=2))
    elif name is None:
        _print_overview(found, Console())
    else:
        for run in shown.values():
            _print_run(run, Console())
    _print_problems(found, Console(stderr=True))
    if name is not None and not shown:
        raise ShopstreamError(f"There is no run {name}.", "`shopstream runs list` names those there are.")
    if found.problems:
        raise typer.Exit(1)


def drop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Leave its Parquet archive below the data folder.")
    ] = False,
    state: StateOption = None,
) -> None:
    """Remove all that a run has: topics, groups, indices, templates, checkpoints, archive, logs and metrics.

    Refused for the run that readers see, and while workers consume it. If it fails midway, call it again.

    Example: `shopstream runs drop corrected --yes`
    """
    from rich.markup import escape

    from connectors.elasticsearch.admin import quiet_client_logs
    from features.schema import check_run
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import runs as runs_job
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings()
    folder = consume_job.state_folder(settings, state)
    found = runs_job.overview(settings, folder)
    for error in found.problems.values():
        raise error
    run = found.runs.get(check_run(name), runs_job.Run(name))
    console = Console(stderr=True)
    if run.members:
        # a worker that has exited stays a member until its session times out
        with console.status(f"waiting for the workers of run {name} to leave ..."):
            runs_job.await_idle(settings, run)
    runs_job.check_droppable(run, settings.run)
    if name in found.runs:
        _print_run(run, console)
        if not yes:
            typer.confirm(f"Delete all of run {name}?", abort=True)
    # even a run that is not listed may have templates left
    stays = runs_job.drop_run(settings, name, folder, keep_archive=keep_archive)
    if name not in found.runs:
        console.print(f"there is no run {name}: nothing to delete", highlight=False)
    else:
        console.print(f"run {name} is gone", highlight=False)
    for what in stays:
        console.print(f"[yellow]warning[/] {escape(what)}", highlight=False)


def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run that readers shall see.")],
    run: Annotated[
        str | None, typer.Option("--run", help="Whose aliases they ask: RUN-customers ...; default: shop.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if it is not complete.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for workers that are completing it.")
    ] = 60.0,
    state: StateOption = None,
) -> None:
    """Let readers see another run: all aliases (`shop-customers` ...) move to its indices in one step.

    First it is checked that the run has consumed and written all of its topics. `shopstream promote shop` goes back.

    Example: `shopstream promote corrected`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from features.errors import ShopstreamError
    from features.schema import check_run
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import promote as promote_job
    from shopstream.settings import load_settings

    quiet_client_logs()
    check_run(name)
    console = Console(stderr=True)
    settings = load_settings(run=run)
    try:
        found = promote_job.compare(settings, name, consume_job.state_folder(settings, state), wait_s=wait)
        _print_comparison(found, Console())
        lacking = found.lacking
    except ShopstreamError as error:
        if not force:
            raise
        lacking = [str(error)]
    if lacking and not force:
        raise ShopstreamError(
            f"Run {name} is not complete: {'; '.join(lacking)}.",
            f"Finish it with `shopstream consume --run {name} --until-end`, or promote it as it is with --force.",
        )
    for what in lacking:
        console.print(f"[yellow]warning[/] {what}", highlight=False)
    promote_job.promote(settings, name)
    console.print(f"readers of {settings.run}-* see run {name} now", highlight=False)


# --- output -----------------------------------------------------------------------------------------------------------


def _print_overview(found: Overview, console: Console) -> None:
    from rich import box
    from rich.table import Table

    if not found.runs:
        console.print("there are no runs")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("seen by", overflow="fold")
    for heading in ("messages", "lag", "workers", "documents", "size", "kept"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, run in found.runs.items():
        table.add_row(
            name,
            "\n".join(f"{view}-*" for view in run.views) or "nobody",
            f"{run.messages:,}" if run.topics else "-",
            f"{max(group.lag for group in run.groups):,}" if run.groups else "-",
            f"{run.members}" if run.groups else "-",
            f"{run.documents:,}" if run.indices else "-",
            _size(run.index_bytes + (run.state.size_bytes if run.state else 0)),
            "-" if run.state is None or run.state.newest_ms is None else f"{_age(run.state.newest_ms)} ago",
        )
    console.print(table)


def _print_run(run: Run, console: Console) -> None:
    from rich.table import Table

    seen = ", ".join(f"{view}-*" for view in run.views)
    console.print(f"run [bold]{run.name}[/], " + (f"seen by readers of {seen}" if seen else "seen by no reader"))
    if run.topics:
        table = Table("topic", "messages", "offsets of each partition")
        for topic in run.topics:
            spans = "  ".join(f"{first}-{end}" for _, (first, end) in sorted(topic.offsets.items()))
            table.add_row(topic.topic, f"{topic.messages:,}", spans)
        console.print(table)
    if run.groups:
        table = Table("group", "workers", "lag")
        for group in run.groups:
            table.add_row(group.group, str(group.members) if group.members else "none", f"{group.lag:,}")
        console.print(table)
    if run.indices:
        table = Table("index", "parts", "documents", "size", "aliases")
        for index in run.indices:
            aliases = ", ".join(index.aliases) or "none"
            table.add_row(index.name, str(len(index.parts)), f"{index.documents:,}", _size(index.size_bytes), aliases)
        console.print(table)
    console.print(f"checkpoints: {_checkpoints(run)}", highlight=False)
    if run.archive is not None:
        console.print(f"archive: {_size(run.archive_bytes)} in {run.archive}", highlight=False, soft_wrap=True)
    if run.files:
        console.print(f"metrics, logs: {len(run.files)} files", highlight=False)


def _print_comparison(found: Comparison, console: Console) -> None:
    from rich.table import Table

    now = f"now ({found.present})" if found.present else "now (nothing)"
    table = Table("readers of", now, f"then ({found.next.run})", "difference")
    for index in sorted({*found.documents, *found.next.documents}):
        before, after = found.documents.get(index, 0), found.next.documents.get(index, 0)
        table.add_row(
            f"{found.view}-{index}", f"{before:,}", f"{after:,}", f"{after - before:+,}" if after - before else ""
        )
    console.print(table)


def _print_problems(found: Overview, console: Console) -> None:
    from rich.markup import escape

    for part, error in found.problems.items():
        console.print(f"[yellow]not listed[/] {part}: {escape(str(error))}", highlight=False)


def _checkpoints(run: Run) -> str:
    if run.state is None:
        return "none"
    text = f"{_size(run.state.size_bytes)} in {run.state.partitions} partitions"
    return text if run.state.newest_ms is None else f"{text}, the newest {_age(run.state.newest_ms)} old"


def _age(moment_ms: int) -> str:
    seconds = max(0.0, time.time_ns() / 1e9 - moment_ms / 1e3)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1_000
    return f"{size:.1f} TB"

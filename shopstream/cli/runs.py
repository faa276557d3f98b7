"""Lists, deletes and promotes runs, such as a reprocessed history next to the live run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape

from features.errors import ShopstreamError
from shopstream.cli.options import AsJson, State, Yes
from shopstream.runtime.tables import table

if TYPE_CHECKING:
    from shopstream.jobs.promote import RunComparison
    from shopstream.jobs.runs import Overview, Run


def list_runs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of one run, to list its details.")] = None,
    as_json: AsJson = False,
    state: State = None,
) -> None:
    """List every run: topics, consumers with their lag, documents, checkpoints, and the aliases that point to it.

    A server that does not answer is reported, and the exit code is 1; the rest is listed.

    Example: `shopstream runs list --json`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import runs as runs_job
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings()
    overview = runs_job.overview(settings, consume_job.state_folder(settings, state))
    shown = overview.runs if name is None else {key: run for key, run in overview.runs.items() if key == name}
    if as_json:
        problems = {part: str(error) for part, error in overview.problems.items()}
        typer.echo(json.dumps({"runs": {k: run.as_json() for k, run in shown.items()}, "problems": problems}, indent=2))
    elif name is None:
        _print_overview(overview, Console())
    else:
        for run in shown.values():
            _print_run(run, Console())
    _print_problems(overview, Console(stderr=True))
    if name is not None and not shown:
        raise ShopstreamError(f"There is no run {name}.", "`shopstream runs list` lists the runs.")
    if overview.problems:
        raise typer.Exit(1)


def drop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the run.")],
    yes: Yes = False,
    keep_archive: Annotated[
        bool, typer.Option("--keep-archive", help="Keep the run's Parquet archive below the data folder.")
    ] = False,
    state: State = None,
) -> None:
    """Delete all data of a run: topics, groups, indices, templates, checkpoints, archive, logs and metrics.

    The command refuses a promoted run, and a run with active workers. After a failure, call it again.

    Example: `shopstream runs drop corrected --yes`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from features.schema import check_run
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import runs as runs_job
    from shopstream.jobs.runs import Run
    from shopstream.settings import load_settings

    quiet_client_logs()
    settings = load_settings()
    folder = consume_job.state_folder(settings, state)
    overview = runs_job.overview(settings, folder)
    for error in overview.problems.values():
        raise error
    run = overview.runs.get(check_run(name), Run(name))
    console = Console(stderr=True)
    if run.members:
        # a worker that has exited stays a member until its session times out
        with console.status(f"waiting for the workers of run {name} to stop ..."):
            runs_job.await_idle(settings, run)
    runs_job.check_droppable(run, settings.run)
    if name in overview.runs:
        _print_run(run, console)
        if not yes:
            typer.confirm(f"Delete all of run {name}?", abort=True)
    # even a run that is not listed may have templates left
    warnings = runs_job.drop_run(settings, name, folder, keep_archive=keep_archive)
    if name not in overview.runs:
        console.print(f"there is no run {name}: nothing to delete", highlight=False)
    else:
        console.print(f"run {name} is deleted", highlight=False)
    for warning in warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}", highlight=False)


def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the run to promote.")],
    run: Annotated[
        str | None, typer.Option("--run", help="Run name in the aliases to move: RUN-customers ...; default: shop.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote the run even if it is incomplete.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for workers that are completing the run.")
    ] = 60.0,
    state: State = None,
) -> None:
    """Promote a run for readers: move all aliases (`shop-customers` ...) to its indices in one step.

    The command first checks that the run has consumed and written all of its topics. `shopstream promote shop` moves
    the aliases back.

    Example: `shopstream promote corrected`
    """
    from connectors.elasticsearch.admin import quiet_client_logs
    from features.schema import check_run
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import promote as promote_job
    from shopstream.settings import load_settings

    quiet_client_logs()
    check_run(name)
    console = Console(stderr=True)
    settings = load_settings(run=run)
    try:
        comparison = promote_job.compare(settings, name, consume_job.state_folder(settings, state), wait_s=wait)
        _print_comparison(comparison, Console())
        missing = comparison.missing
    except ShopstreamError as error:
        if not force:
            raise
        missing = [str(error)]
    if missing and not force:
        raise ShopstreamError(
            f"Run {name} is not complete: {'; '.join(missing)}.",
            f"Finish it with `shopstream consume --run {name} --until-end`, or promote it as it is with --force.",
        )
    for problem in missing:
        console.print(f"[yellow]warning[/] {problem}", highlight=False)
    promote_job.promote(settings, name)
    console.print(f"readers of {settings.run}-* see run {name} now", highlight=False)


# --- output -----------------------------------------------------------------------------------------------------------


def _print_overview(overview: Overview, console: Console) -> None:
    if not overview.runs:
        console.print("there are no runs")
        return
    rows = [
        (
            name,
            "\n".join(f"{alias_set}-*" for alias_set in run.alias_sets) or "nobody",
            f"{run.messages:,}" if run.topics else "-",
            f"{max(group.lag for group in run.groups):,}" if run.groups else "-",
            f"{run.members}" if run.groups else "-",
            f"{run.documents:,}" if run.indices else "-",
            _size(run.index_bytes + (run.state.size_bytes if run.state else 0)),
            "-" if run.state is None or run.state.newest_ms is None else f"{_age(run.state.newest_ms)} ago",
        )
        for name, run in overview.runs.items()
    ]
    columns = ("run", "seen by", "messages", "lag", "workers", "documents", "size", "checkpoint")
    built = table(None, columns, rows, text_columns=2, no_wrap=True, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in built.columns[:2]:
        column.overflow = "fold"
    console.print(built)


def _print_run(run: Run, console: Console) -> None:
    readers = ", ".join(f"{alias_set}-*" for alias_set in run.alias_sets)
    console.print(f"run [bold]{run.name}[/], " + (f"seen by readers of {readers}" if readers else "seen by no reader"))
    if run.topics:
        topics = [
            (
                topic.topic, f"{topic.messages:,}",
                "  ".join(f"{first}-{end}" for _, (first, end) in sorted(topic.offsets.items())),
            )
            for topic in run.topics
        ]  # fmt: skip
        console.print(table(None, ("topic", "messages", "offsets of each partition"), topics))
    if run.groups:
        groups = [(group.group, str(group.members or "none"), f"{group.lag:,}") for group in run.groups]
        console.print(table(None, ("group", "workers", "lag"), groups))
    if run.indices:
        indices = [
            (
                index.name, str(len(index.parts)), f"{index.documents:,}", _size(index.size_bytes),
                ", ".join(index.aliases) or "none",
            )
            for index in run.indices
        ]  # fmt: skip
        console.print(table(None, ("index", "parts", "documents", "size", "aliases"), indices))
    console.print(f"checkpoints: {_checkpoints(run)}", highlight=False)
    if run.archive is not None:
        console.print(f"archive: {_size(run.archive_bytes)} in {run.archive}", highlight=False, soft_wrap=True)
    if run.files:
        console.print(f"metrics, logs: {len(run.files)} files", highlight=False)


def _print_comparison(comparison: RunComparison, console: Console) -> None:
    now = f"now ({comparison.present})" if comparison.present else "now (nothing)"
    rows = []
    for index in sorted({*comparison.documents, *comparison.next.documents}):
        before, after = comparison.documents.get(index, 0), comparison.next.documents.get(index, 0)
        difference = f"{after - before:+,}" if after - before else ""
        rows.append((f"{comparison.alias_set}-{index}", f"{before:,}", f"{after:,}", difference))
    console.print(table(None, ("readers of", now, f"then ({comparison.next.run})", "difference"), rows))


def _print_problems(overview: Overview, console: Console) -> None:
    for part, error in overview.problems.items():
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

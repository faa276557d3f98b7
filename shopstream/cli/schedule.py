"""`schedule`: trains models and computes trends, forecast and segments at an interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connectors.clock import iso

if TYPE_CHECKING:
    from shopstream.jobs.step import Outcome


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(schedule)


def schedule(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The archive; default: what the run's consumers write.")
    ] = None,
    every: Annotated[str, typer.Option("--every", help="Between two rounds: `24h`, `30m`.")] = "24h",
    mart: Annotated[
        Path, typer.Option("--mart", metavar="DIR", help="Folder of the segments and the forecast.")
    ] = Path("mart"),
    tries: Annotated[int, typer.Option("--tries", help="Settings of XGBoost that are tried.", min=1, max=200)] = 6,
    once: Annotated[bool, typer.Option("--once", help="End after one round; exit code 1 when a step failed.")] = False,
    run: Annotated[str | None, typer.Option("--run", help="The run; default: shop.")] = None,
) -> None:
    """Train a bundle, roll trends up, forecast and segment, then again at an interval, until Ctrl-C.

    The first round waits until the run's archive consumer has caught up with Kafka. The bundle becomes the current one
    of the data folder, and running consumers take it up. A failed step is reported, and the round is tried again.

    Example: `shopstream schedule --every 24h`
    """
    from rich.console import Console

    from shopstream import embedded
    from shopstream.cli.options import parse_duration_s
    from shopstream.jobs import consume as consume_job
    from shopstream.jobs import produce as produce_job
    from shopstream.jobs import schedule as schedule_job
    from shopstream.jobs.step import run_steps
    from shopstream.runtime.bundles import FOLDER
    from shopstream.settings import load_settings

    console = Console(stderr=True)
    settings = load_settings(run=run)
    every_s = parse_duration_s(every, "--every")
    assert every_s is not None
    archive = directory or Path(consume_job.archive_folder(settings, None))
    plan = schedule_job.SchedulePlan(archive, mart, settings.run, every_s, tries)
    clock = produce_job.wall_clock()
    heartbeat = settings.home / "trainer.alive"
    settings.home.mkdir(parents=True, exist_ok=True)

    def log(text: str) -> None:
        console.print(f"{iso(clock.wall_ms())} {text}", highlight=False)

    with produce_job.stop_on_signal() as signalled:

        def keep_on() -> bool:
            heartbeat.touch()
            return not signalled()

        def wait(seconds: float) -> bool:
            end_s = clock.monotonic_s() + seconds
            while keep_on() and (left_s := end_s - clock.monotonic_s()) > 0:
                clock.sleep(min(left_s, 1.0))
            return not signalled()

        def run_step(words: Sequence[str]) -> Outcome:
            (step,) = run_steps([words], lambda _: keep_on())
            return step.outcome

        folder = settings.home / FOLDER
        kafka = embedded.kafka_endpoint(settings)
        if directory is None and schedule_job.read_state(folder) is None:
            log("waits until the archive holds what Kafka holds")
            end_s = clock.monotonic_s() + schedule_job.PATIENCE_S
            while (
                not schedule_job.caught_up(kafka, settings.run)
                and clock.monotonic_s() < end_s
                and wait(schedule_job.CHECK_EVERY_S)
            ):
                pass
        while keep_on():
            if not once and not wait(schedule_job.due_in_s(schedule_job.read_state(folder), every_s, clock.wall_ms())):
                break
            failed = schedule_job.run_round(plan, run_step, log)
            if failed is None:
                break
            schedule_job.write_state(folder, schedule_job.ScheduleState(clock.wall_ms(), failed))
            if once:
                raise typer.Exit(1 if failed else 0)
    log("stopped")

"""`trainer`: models, trends, forecast and segments by schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopstream.moments import iso


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(trainer)


def trainer(
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
    of the data folder, and running consumers take it up. A step that fails is told, and the round is tried again.

    Example: `shopstream trainer --every 24h`
    """
    from rich.console import Console  # noqa: PLC0415

    from shopstream import consuming, producing, schooling, servers  # noqa: PLC0415
    from shopstream.bundles import FOLDER  # noqa: PLC0415
    from shopstream.settings import load_settings  # noqa: PLC0415
    from shopstream.waiting import caught_up  # noqa: PLC0415

    console = Console(stderr=True)
    settings = load_settings(run=run)
    every_s = producing.parse_duration_s(every, "--every")
    assert every_s is not None
    archive = directory or Path(consuming.archive_folder(settings, None))
    plan = schooling.Plan(archive, mart, settings.run, every_s, tries)
    clock = producing.wall_clock()
    sign = settings.home / "trainer.alive"
    settings.home.mkdir(parents=True, exist_ok=True)

    def told(said: str) -> None:
        console.print(f"{iso(clock.wall_ms())} {said}", highlight=False)

    with producing.stop_on_signal() as signalled:

        def living() -> bool:
            sign.touch()
            return not signalled()

        def rest(seconds: float) -> bool:
            end_s = clock.monotonic_s() + seconds
            while living() and (left_s := end_s - clock.monotonic_s()) > 0:
                clock.sleep(min(left_s, schooling.SIGN_EVERY_S / 5))
            return not signalled()

        folder = settings.home / FOLDER
        kafka = servers.kafka_endpoint(settings)
        if directory is None and schooling.read_notes(folder) is None:
            told("waits until the archive holds what Kafka holds")
            end_s = clock.monotonic_s() + schooling.PATIENCE_S
            while not caught_up(kafka, settings.run) and clock.monotonic_s() < end_s and rest(schooling.SIGN_EVERY_S):
                pass
        while living():
            if not once and not rest(schooling.due_in_s(schooling.read_notes(folder), every_s, clock.wall_ms())):
                break
            failed = schooling.go_through(plan, lambda words: schooling.in_child(words, living), told)
            if failed is None:
                break
            schooling.write_notes(folder, schooling.Notes(clock.wall_ms(), failed))
            if once:
                raise typer.Exit(1 if failed else 0)
    told("stopped")

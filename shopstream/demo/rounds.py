"""Runs the workers of every role for the demo while it replays, trains, goes live and shows progress."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from connectors.clock import iso
from producers.archive.archive import utc_day
from producers.live import live, resume_from
from producers.pacing import Progress as Position
from producers.publisher import Publisher, newest_event_ms
from producers.shop.shop import Shop, build
from shopstream.demo import first_bundle
from shopstream.demo.screen import Screen, Show
from shopstream.demo.summary import Round
from shopstream.embedded import Endpoints
from shopstream.jobs import consume as consume_job
from shopstream.jobs import seed_history
from shopstream.jobs.consume import Consumption
from shopstream.jobs.produce import wall_clock
from shopstream.jobs.step import Step, run_steps
from shopstream.runtime import run_workers
from shopstream.runtime.bundles import FOLDER as BUNDLES
from shopstream.runtime.protocol import End
from shopstream.settings import ENV_PREFIX, Settings, ShopSettings
from training.options import Horizon

if TYPE_CHECKING:
    from training.bundle import Bundle


LOADED_WITHIN_S: Final = 60.0
"""Workers check for a new bundle every two seconds; a worker that refuses it continues without."""


class DemoRun:
    """Workers of every role, and the work that the demo does while they run.

    Args:
        settings: data folder and run.
        endpoints: addresses of the servers.
        screen: screen that shows the progress.
        history: folder of the history's archive.
        shop: shop of the history.
        workers: processes per role.
    """

    def __init__(
        self, settings: Settings, endpoints: Endpoints, screen: Screen, history: Path, shop: Shop, workers: int
    ) -> None:
        self._settings = settings
        self._kafka = endpoints.kafka.client_properties()
        self._endpoints = endpoints
        self._screen = screen
        self._history = history
        self._shop = shop
        self._consumption = Consumption(
            workers=workers,
            state=consume_job.state_folder(settings, None),
            archive=consume_job.archive_folder(settings, None),
        )

    def consume_all(self, bundle: Bundle | None, horizon: Horizon | None, *, is_sent: bool) -> Round:
        """Consume the whole run; return when everything is consumed and scored.

        Args:
            bundle: current bundle, if no training is needed.
            horizon: horizon of the bundle that is trained once the history is sent; None: no training.
            is_sent: whether the run holds the whole history; if not, it is sent at full speed meanwhile.

        Raises:
            ShopstreamError: a worker, the replay or the training failed.
            KeyboardInterrupt: a signal came.
        """
        messages, replay_s = 0, None
        workers = self._workers(consume_job.later_ends(self._kafka, self._settings.run))
        with self._working(workers) as (show, ended):
            if not is_sent:
                messages, replay_s = self._replay(workers, show, ended)
            if horizon is not None and not ended():
                bundle = self._train(horizon, workers, show, ended)
            if not ended():
                workers.supervisor.ends_known(consume_job.current_ends(self._kafka, self._settings.run))
            else:
                workers.supervisor.stop(interrupted=True)
            outcome = workers.join(lambda: show("consume", 0, None, workers.supervisor.views()))
        outcome.raise_failure()
        if outcome.interrupted:
            raise KeyboardInterrupt
        return Round(outcome, replay_s, messages, bundle)

    def write_trends(self) -> None:
        """Roll up the archive that the consumers have written and forecast its sales, both into the run's indices.

        Raises:
            CrashedError: the process of a command crashed.
        """
        archive, run = self._consumption.archive, self._settings.run

        def keep_on(steps: Sequence[Step]) -> bool:
            active = [f"{step.name}: {step.last_line or 'starting'}" for step in steps if step.outcome == "running"]
            show("trends", 0, None, (), at="; ".join(active))
            return True

        with tempfile.TemporaryDirectory() as folder, self._screen.round() as show:
            forecast = ("forecast", archive, "--out", f"{folder}/forecast.parquet", "--index", "--run", run)
            steps = run_steps(
                [("rollup", archive, "--run", run), forecast],
                keep_on,
                capture=True,
                variables=shop_variables(self._settings.shop),
            )
        for step in steps:
            if step.outcome == "done":
                self._screen.print_line(f"{step.name} done in {step.seconds:.1f} s")
            else:
                self._screen.warn(f"no {step.name}: {step.error()}")

    def go_live(self, speed: float) -> None:
        """Continue the shop live and consume it until a signal comes.

        Args:
            speed: event seconds per second, until the shop reaches the wall clock.
        """
        folder, run = self._history.parent, self._settings.run
        model = build(self._shop)
        start_ms = resume_from(model, newest_event_ms(self._kafka, run))
        state = seed_history.read_state(folder, run)
        assert state is not None
        seed_history.write_state(folder, run, msgspec.structs.replace(state, sent_unknown=True))
        workers = self._workers(None)
        self._screen.print_line(f"live from {utc_day(start_ms)} at {speed:g}x; Ctrl-C stops it")
        with self._working(workers) as (show, ended):

            def on_progress(position: Position) -> None:
                at = iso(position.event_ms)[:16] if position.event_ms else ""
                show("live", position.sent, None, workers.supervisor.views(), at)

            report = live(
                model,
                lambda on_failure: Publisher(self._kafka, run, on_failure),
                wall_clock(),
                ended,
                on_progress,
                start_ms=start_ms,
                speed=speed,
            )
            seed_history.write_state(folder, run, state.with_delivered(report.delivery.delivered))
            workers.supervisor.stop(interrupted=True)
            outcome = workers.join(lambda: show("live", 0, None, workers.supervisor.views()))
        self._screen.print_line(f"live stopped after {sum(report.delivery.delivered.values()):,} messages")
        outcome.raise_failure()

    # --- parts ---

    @contextmanager
    def _working(self, workers: run_workers.Background) -> Iterator[tuple[Show, Callable[[], bool]]]:
        """Run workers within the context; yields the display, and whether workers or the user ended the round.

        On an error, all workers are stopped.
        """
        with (
            run_workers.leave_on_signal(workers.supervisor, self._screen.console) as signals,
            self._screen.round() as show,
        ):
            workers.start()
            try:
                yield show, lambda: signals() > 0 or workers.ended
            except BaseException:
                workers.supervisor.stop(interrupted=True)
                workers.join()
                raise

    def _replay(self, workers: run_workers.Background, show: Show, ended: Callable[[], bool]) -> tuple[int, float]:
        """Send the part of the history that the run lacks; return its number of messages, and the seconds."""
        folder, run = self._history.parent, self._settings.run
        total = seed_history.remaining(self._history, seed_history.read_state(folder, run))
        began_s = time.monotonic()

        def on_progress(position: Position) -> None:
            show("replay", position.sent, total, workers.supervisor.views())

        target = seed_history.SeedTarget(self._endpoints.kafka, run, wall_clock(), ended, on_progress)
        seed_history.send_history(self._history, self._shop, target)
        return total, time.monotonic() - began_s

    def _train(
        self, horizon: Horizon, workers: run_workers.Background, show: Show, ended: Callable[[], bool]
    ) -> Bundle | None:
        """Train the first bundle and wait until the workers use it; None if the history is not enough, or at an end."""
        self._screen.print_line(
            f"the first bundle is trained: {first_bundle.SEARCH} (`shopstream train` searches wider)"
        )

        def keep_on(steps: Sequence[Step]) -> bool:
            show("train", 0, None, workers.supervisor.views(), at=steps[0].last_line or "starting")
            return not ended()

        (step,) = run_steps([first_bundle.train_command(self._history, horizon)], keep_on, capture=True)
        if step.outcome == "stopped":
            return None
        if step.outcome == "failed":
            self._screen.warn(f"no bundle, so no scores: {step.error()}")
            return None
        bundle = first_bundle.record_trained(self._settings.home / BUNDLES, self._history.name)
        self._screen.print_line(f"{bundle.name} trained in {step.seconds:.1f} s: {bundle.folder / 'card.html'}")
        self._await_bundle(bundle.name, workers, show, ended)
        return bundle

    def _await_bundle(self, name: str, workers: run_workers.Background, show: Show, ended: Callable[[], bool]) -> None:
        end_s = time.monotonic() + LOADED_WITHIN_S
        while not ended():
            views = workers.supervisor.views()
            if all(view.figures.get("bundle") == name for view in views if view.name.role == consume_job.AGREEING):
                self._screen.print_line("the running consumers loaded it and score every customer again")
                return
            if time.monotonic() > end_s:
                self._screen.warn("the consumers have not loaded it yet: see the workers' logs")
                return
            show("train", 0, None, views, at="waiting until the consumers load it")
            time.sleep(0.25)

    def _workers(self, ends: tuple[End, ...] | None) -> run_workers.Background:
        supervisor = consume_job.open_supervisor(self._settings, self._endpoints, self._consumption, ends)
        return run_workers.Background(supervisor, run_workers.Reports(self._settings, supervisor, self._endpoints))


def shop_variables(shop: ShopSettings) -> dict[str, str]:
    """Return the settings of the shop as environment variables, for a command that is started."""
    given = shop.model_dump(exclude_none=True)
    return {f"{ENV_PREFIX}SHOP__{name.upper()}": str(value) for name, value in given.items()}

"""Serves the HTTP endpoint of a consuming command: `/metrics` for Prometheus, `/healthz` and `/readyz` with reasons.

The parent serves one endpoint with the metrics of all workers, by label. It outlives its workers, so a dead worker
shows as dead instead of as a target without an answer. One port serves any `--workers`, and a scrape costs the workers
nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from consumers.metrics.definitions import PREFIX, Figure
from consumers.metrics.definitions import Metric as MetricDefinition
from consumers.metrics.reports import readings
from features.errors import ShopstreamError
from shopstream.runtime.coordinator_types import WorkerView
from shopstream.runtime.health import Bounds, alive, ready
from shopstream.runtime.http_server import listen, serve_in_thread

IDENTITY: Final = ("run", "role", "worker")
"""Labels of every metric of a worker."""
PATHS: Final = "there are /metrics, /healthz and /readyz"


class Watched(Protocol):
    """The part of a supervisor that the endpoint reads."""

    @property
    def stepped_s(self) -> float:
        """Time of the supervisor's last step, monotonic."""

    def views(self) -> tuple[WorkerView, ...]:
        """Return the state of every worker."""


class WorkerMetrics(Collector):
    """Collects metrics from the newest reports of the workers at each scrape.

    Args:
        run: name of the run.
        watched: supervisor of the workers.
        clock: source of monotonic seconds.
    """

    def __init__(self, run: str, watched: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._watched, self._clock = run, watched, clock

    def collect(self) -> Iterable[Metric]:
        """Yield every metric of every worker."""
        yield InfoMetricFamily(f"{PREFIX}build", "The program.", {"version": version("shopstream"), "run": self._run})
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for view in self._watched.views():
            identity = [self._run, view.name.role, str(view.name.number)]
            for metric, value in readings({**view.figures, **self._added(view)}):
                if metric.name:
                    family = families.setdefault(metric.name, _family(metric))
                    family.add_metric([*identity, *(label for _, label in metric.labels)], value * metric.scale)
        yield from families.values()

    def _added(self, view: WorkerView) -> dict[str, Figure]:
        return {
            "restarts": view.restarts,
            "up": int(view.stage in _RUNNING),
            "blocked": int(view.last_error is not None),
            "report_age_s": None if view.reported_s is None else self._clock() - view.reported_s,
            "partitions_owned": None if view.owned is None else len(view.owned),
        }


def _family(metric: MetricDefinition) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(PREFIX + metric.name, metric.help, labels=[*IDENTITY, *(name for name, _ in metric.labels)])


_RUNNING: Final = ("running", "at end", "stopping", "done")


def application(run: str, watched: Watched, bounds: Bounds) -> Starlette:
    """Return the application of the endpoint.

    Args:
        run: name of the run.
        watched: supervisor of the workers.
        bounds: health thresholds.
    """
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(run, watched))
    ProcessCollector(registry=registry)

    async def metrics(request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": kind})

    async def health(request: Request) -> Response:
        check = alive if request.url.path == "/healthz" else ready
        verdict = check(watched.views(), watched.stepped_s, time.monotonic(), bounds)
        body = json.dumps(verdict.as_json(), indent=1) + "\n"
        return Response(body, 200 if verdict.ok else 503, media_type="application/json")

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = "only GET" if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else PATHS
        return JSONResponse({"error": message}, error.status_code)

    async def fail(_: Request, error: Exception) -> Response:
        structlog.get_logger("metrics").warning("request failed", error=f"{type(error).__name__}: {error}")
        return JSONResponse({"error": "internal error"}, 500)

    routes = [Route("/metrics", metrics), Route("/healthz", health), Route("/readyz", health)]
    return Starlette(routes=routes, exception_handlers={HTTPException: refuse, Exception: fail})


@contextmanager
def serve_metrics(run: str, watched: Watched, bounds: Bounds, host: str, port: int) -> Iterator[str]:
    """Serve the endpoint in a thread within the context; yield its URL, such as `http://127.0.0.1:9308`.

    Args:
        run: name of the run.
        watched: supervisor of the workers.
        bounds: health thresholds.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.

    Raises:
        ShopstreamError: the port is not available.
    """
    try:
        opened = listen(host, port)
    except (OSError, OverflowError) as error:
        raise ShopstreamError(
            f"The metrics endpoint cannot listen on {host}:{port}: {error}.",
            "Give another --metrics-port, or correct metrics.host.",
        ) from error
    address, number = opened.getsockname()[:2]
    with serve_in_thread(application(run, watched, bounds), opened, "metrics"):
        yield f"http://[{address}]:{number}" if ":" in address else f"http://{address}:{number}"

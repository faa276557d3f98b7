"""Serve the HTTP endpoint of a consuming command: `/metrics` for Prometheus, `/healthz` and `/readyz` with reasons.

The parent serves one endpoint with the metrics of all workers, by label. It outlives its workers, so a dead worker
shows as dead instead of as a target without an answer. One port serves any `--workers`, and a scrape costs the workers
nothing.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from socketserver import ThreadingMixIn
from typing import Any, Final, Protocol, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from consumers.metrics.definitions import DRIFT_HELP, DRIFT_METRIC, PREFIX, Figure
from consumers.metrics.definitions import Metric as MetricDefinition
from consumers.metrics.reports import drifts, readings
from features.errors import ShopstreamError
from shopstream.runtime.health import Bounds, Verdict, alive, ready
from shopstream.runtime.protocol import WorkerView

IDENTITY: Final = ("run", "role", "worker")
"""Labels of every metric of a worker."""
JSON: Final = "application/json"
REQUEST_TIMEOUT_S: Final = 10.0
"""Time limit from the opening of a connection to the end of its response."""
CONNECTIONS_MAX: Final = 16
"""Each connection has a thread; above this count, each new connection closes the oldest."""


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
        drift = GaugeMetricFamily(DRIFT_METRIC, DRIFT_HELP, labels=[*IDENTITY, "feature"])
        for view in self._watched.views():
            identity = [self._run, view.name.role, str(view.name.number)]
            for metric, value in readings({**view.figures, **self._added(view)}):
                if metric.name:
                    family = families.setdefault(metric.name, _family(metric))
                    family.add_metric([*identity, *(label for _, label in metric.labels)], value * metric.scale)
            for feature, psi in drifts(view.figures):
                drift.add_metric([*identity, feature], psi)
        yield from families.values()
        if drift.samples:
            yield drift

    def _added(self, view: WorkerView) -> dict[str, Figure]:
        return {
            "restarts": view.restarts,
            "up": int(view.stage in _RUNNING),
            "blocked": int(view.trouble is not None),
            "report_age_s": None if view.reported_s is None else self._clock() - view.reported_s,
            "partitions_owned": None if view.owned is None else len(view.owned),
        }


def _family(metric: MetricDefinition) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(PREFIX + metric.name, metric.help, labels=[*IDENTITY, *(name for name, _ in metric.labels)])


_RUNNING: Final = ("running", "at end", "stopping", "done")

Answer = tuple[str, str, bytes]
"""Status line, content type, body."""


class Pages:
    """WSGI application that answers the requests, without a socket.

    Args:
        run: name of the run.
        watched: supervisor of the workers.
        bounds: health thresholds.
        clock: source of monotonic seconds.
    """

    def __init__(self, run: str, watched: Watched, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._watched, self._bounds, self._clock = watched, bounds, clock
        self._registry = CollectorRegistry()
        self._registry.register(WorkerMetrics(run, watched, clock))
        ProcessCollector(registry=self._registry)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """Answer one WSGI request."""
        status, kind, body = self.answer(
            environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/"), environ.get("HTTP_ACCEPT", "")
        )
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def answer(self, method: str, path: str, accept: str = "") -> Answer:
        """Return status line, content type and body for a request."""
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", JSON, b'{"error": "only GET"}\n'
        match path:
            case "/metrics":
                encode, kind = choose_encoder(accept)
                return "200 OK", kind, encode(self._registry)
            case "/healthz":
                return _told(alive(self._watched.views(), self._watched.stepped_s, self._clock(), self._bounds))
            case "/readyz":
                return _told(ready(self._watched.views(), self._watched.stepped_s, self._clock(), self._bounds))
        return "404 Not Found", JSON, b'{"error": "there are /metrics, /healthz and /readyz"}\n'


def _told(verdict: Verdict) -> Answer:
    body = json.dumps(verdict.as_json(), indent=1).encode() + b"\n"
    return ("200 OK" if verdict.ok else "503 Service Unavailable"), JSON, body


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *args: Any, **options: Any) -> None:
        self._open: dict[socket.socket, float] = {}  # deadline of each connection, monotonic
        self._mutex = threading.Lock()
        super().__init__(*args, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._mutex:
            while len(self._open) >= CONNECTIONS_MAX:
                self._hang_up(min(self._open, key=self._open.__getitem__))
            self._open[request] = time.monotonic() + REQUEST_TIMEOUT_S
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        # called after each connection, and every 0.5 s without one
        with self._mutex:
            for late in [one for one, end_s in self._open.items() if end_s < time.monotonic()]:
                self._hang_up(late)

    def shutdown_request(self, request: Any) -> None:
        with self._mutex:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def _hang_up(self, request: socket.socket) -> None:
        del self._open[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)  # its thread reads the end of the stream and closes the socket

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the base class calls it
        error = sys.exception()
        if not isinstance(error, OSError):  # clients that time out or disconnect are normal
            structlog.get_logger("metrics").warning("request failed", said=f"{type(error).__name__}: {error}")

    def server_bind(self) -> None:
        # the base class resolves the host's name, which may take seconds without a resolver
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S  # an idle client must not hold its thread for ever

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Log nothing: a scrape arrives every few seconds."""


class Endpoint:
    """Serves the pages on a port from a thread of its own; a context manager.

    Args:
        pages: WSGI application.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.

    Raises:
        ShopstreamError: the port is not available.
    """

    def __init__(self, pages: Pages, host: str, port: int) -> None:
        try:
            self._server = make_server(host, port, pages, server_class=_Server, handler_class=_Handler)
        except OSError as error:
            raise ShopstreamError(
                f"The metrics endpoint cannot listen on {host}:{port}: {error.strerror}.",
                "Give another --metrics-port, or correct metrics.host.",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def url(self) -> str:
        """URL of the endpoint, such as `http://127.0.0.1:9308`."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

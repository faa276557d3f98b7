"""Starts and stops the embedded servers: chooses ports, waits for health, records the state."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import filelock
import msgspec
from rich.console import Console

from connectors.endpoints import ElasticEndpoint, Endpoints, KafkaEndpoint
from connectors.files import private_lock
from features.errors import ShopstreamError
from shopstream.embedded import (
    artifacts,
    certificates,
    elasticsearch,
    kafka,
    ports,
    process,
    process_identity,
    state_file,
)
from shopstream.embedded.elastic_users import ADMIN, PAGE, READER
from shopstream.embedded.elasticsearch import ElasticsearchServer
from shopstream.embedded.process_identity import Identity
from shopstream.embedded.servers import EmbeddedServer, Servers, with_tls_mode
from shopstream.embedded.state_file import Record, ServerRecord
from shopstream.settings import Settings

PORT_ATTEMPTS: Final = 4
"""Starts of one server, each with other ports, if another process takes a port between choice and start."""
POLL_S: Final = 0.2
_PORT_TAKEN: Final = re.compile(r"Address already in use|BindException|BindHttpException|Failed to bind")


@dataclass(slots=True)
class _ServerRecords:
    """The server records while both servers start in parallel: each change is written immediately."""

    home: Path
    known: Record
    mutex: threading.Lock = field(default_factory=threading.Lock)
    interrupted: threading.Event = field(default_factory=threading.Event)
    """Set on Ctrl-C: a start in progress is undone."""

    def of(self, name: str) -> ServerRecord | None:
        entry: ServerRecord | None = getattr(self.known, name)
        return entry

    def note(self, name: str, entry: ServerRecord) -> None:
        with self.mutex:
            self.known = msgspec.structs.replace(self.known, **{name: entry})
            state_file.write(self.home, self.known)

    def ports_of_others(self, name: str) -> set[int]:
        with self.mutex:
            other = self.known.elasticsearch if name == "kafka" else self.known.kafka
        return {other.port, other.inner_port} if other else set()


def up(settings: Settings, console: Console) -> Endpoints:
    """Start the embedded servers that do not run, wait until they are healthy, check external ones.

    Args:
        settings: settings with data folder, cache, ports, memory and external servers.
        console: console for progress.

    Returns:
        The endpoints of both servers.

    Raises:
        ShopstreamError: a download, a start or an external server failed. A server that did start stays up.
    """
    if settings.kafka.bootstrap_servers is None:
        kafka.check_home(settings.home)
    _make_home(settings.home)
    with exclusive(settings.home, console):
        records = _ServerRecords(settings.home, with_tls_mode(state_file.read(settings.home), settings.secure))
        servers = Servers.of(settings, records.known)
        running_now = [server for server in servers.embedded() if _runs(server, records, console)]
        stopped = [server for server in servers.embedded() if server not in running_now]
        _start_all(stopped, records, settings, console)
        ended = [server for server in running_now if not _await_running(server, records, settings, console)]
        _start_all(ended, records, settings, console)
        if servers.elasticsearch in running_now and servers.elasticsearch not in ended:
            _complete_users(servers.elasticsearch, records)
    return _checked_endpoints(replace(servers, known=records.known))


def _complete_users(server: ElasticsearchServer | None, records: _ServerRecords) -> None:
    entry = records.of("elasticsearch")
    if server is not None and entry is not None:
        server.complete_users(entry.port)


def _runs(server: EmbeddedServer, records: _ServerRecords, console: Console) -> bool:
    entry = records.of(server.name)
    identity = running(records.home, server.name, entry)
    if identity is None:
        if entry is not None and entry.identity is not None:
            gone = entry.identity.pid
            console.print(
                f"{server.title} was not stopped properly (pid {gone} does not exist any more)", highlight=False
            )
            records.note(server.name, msgspec.structs.replace(entry, identity=None))
        return False
    if entry is None:
        raise ShopstreamError(
            f"A {server.title} of {records.home} runs (pid {identity.pid}), but {state_file.RECORD_FILE} lacks it.",
            "Run `shopstream down`, then `shopstream up`.",
        )
    if identity != entry.identity:
        records.note(server.name, msgspec.structs.replace(entry, identity=identity))
    console.print(f"{server.title} is running (pid {identity.pid}, port {entry.port})", highlight=False)
    return True


def running(home: Path, name: str, entry: ServerRecord | None) -> Identity | None:
    """Return the process of a server of the data folder, even if the record does not name it; None without one."""
    if entry is not None and entry.is_running():
        return entry.identity
    owns = {"kafka": kafka.owns, "elasticsearch": elasticsearch.owns}[name]
    return process_identity.find(lambda command: owns(home, command))


def lock_file(home: Path, name: str) -> Path:
    """Return the file whose lock a server holds while it lives."""
    return home / f".{name}.lock"


def _await_running(server: EmbeddedServer, records: _ServerRecords, settings: Settings, console: Console) -> bool:
    """Wait for a server that an interrupted `up` has started; False if it ends before it answers."""
    entry = records.of(server.name)
    assert entry is not None
    assert entry.identity is not None
    with console.status(f"Waiting for {server.title} ..."):
        problem = _await_health(server, entry.port, entry.identity, settings.start_timeout_s, records.interrupted)
    if entry.identity.process() is None:
        console.print(f"{server.title} {problem}; starting it again", highlight=False)
        records.note(server.name, msgspec.structs.replace(entry, identity=None))
        return False
    if problem is not None:
        log = settings.home / "logs" / f"{server.name}.log"
        raise ShopstreamError(
            f"{server.title} (pid {entry.identity.pid}) {problem}. The end of {log}:\n{process.tail(log)}",
            "Run `shopstream down`, then `shopstream up`.",
        )
    return True


def _start_all(stopped: list[EmbeddedServer], records: _ServerRecords, settings: Settings, console: Console) -> None:
    if not stopped:
        return
    files = [artifact for server in stopped for artifact in server.needed()]
    artifacts.fetch(files, settings.cache, console, artifacts.central_repository(settings.maven_url))
    if any(server.secure for server in stopped):
        certificates.make(settings.home)  # once, before two threads could both make them
    # Ports are chosen one server after the other, so that two threads cannot choose the same one.
    for server in stopped:
        _choose_ports(server, records)
    titles = " and ".join(server.title for server in stopped)
    failures: list[ShopstreamError] = []
    with console.status(f"Starting {titles} ..."), ThreadPoolExecutor(len(stopped)) as pool:
        jobs: list[Future[None]] = [pool.submit(_start, server, records, settings, console) for server in stopped]
        try:
            for job in jobs:
                try:
                    job.result()
                except ShopstreamError as error:
                    failures.append(error)
        except BaseException:
            records.interrupted.set()  # leaving the pool waits for its threads
            raise
    if failures:
        remedy = " ".join(dict.fromkeys(error.remedy for error in failures if error.remedy))
        raise ShopstreamError("\n".join(error.message for error in failures), remedy)


def _choose_ports(server: EmbeddedServer, records: _ServerRecords, avoid: frozenset[int] = frozenset()) -> ServerRecord:
    before = records.of(server.name)
    taken = records.ports_of_others(server.name) | avoid
    port = ports.choose(before.port if before and before.port not in avoid else server.preferred_port, taken)
    inner = before.inner_port if before and before.inner_port not in avoid else server.inner_port
    entry = ServerRecord(server.version, port, ports.choose(inner, taken | {port}), secure=server.secure)
    records.note(server.name, entry)
    return entry


def _start(server: EmbeddedServer, records: _ServerRecords, settings: Settings, console: Console) -> None:
    with process_identity.held(lock_file(settings.home, server.name)) as lock:
        _start_locked(server, records, settings, console, lock)


def _start_locked(
    server: EmbeddedServer, records: _ServerRecords, settings: Settings, console: Console, lock: int
) -> None:
    began = time.monotonic()
    entry = records.of(server.name)
    assert entry is not None
    tried: frozenset[int] = frozenset()
    for attempt in range(1, PORT_ATTEMPTS + 1):
        launch = server.prepare(entry.port, entry.inner_port, console, lock)
        log_start = launch.log.stat().st_size if launch.log.exists() else 0
        started = process.start(launch)
        records.note(server.name, msgspec.structs.replace(entry, identity=started))
        problem = _await_health(server, entry.port, started, settings.start_timeout_s, records.interrupted)
        if problem is None:
            took = time.monotonic() - began
            console.print(f"{server.title} {server.version} is up on port {entry.port} ({took:.0f} s)", highlight=False)
            return
        process.stop(started, settings.stop_timeout_s)
        records.note(server.name, entry)
        if attempt == PORT_ATTEMPTS or not _PORT_TAKEN.search(_since(launch.log, log_start)):
            raise ShopstreamError(
                f"{server.title} {problem}. The end of {launch.log}:\n{process.tail(launch.log)}",
                "Run `shopstream doctor`; SHOPSTREAM_START_TIMEOUT_S sets a longer wait.",
            )
        both = {entry.port, entry.inner_port}
        # the address that clients know stays if only the inner port is taken
        tried |= {port for port in both if not ports.is_free(port)} or both
        entry = _choose_ports(server, records, tried)


def _since(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return file.read(1_000_000).decode("utf-8", "replace")


def _await_health(
    server: EmbeddedServer, port: int, started: Identity, timeout_s: float, interrupted: threading.Event
) -> str | None:
    """Wait until the server is healthy; return None, or the problem."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if started.process() is None:
            return "ended while starting"
        if server.is_healthy(port):
            return None
        if interrupted.wait(POLL_S):
            return "was interrupted while starting"
    return f"was not healthy within {timeout_s:.0f} s"


def _checked_endpoints(servers: Servers) -> Endpoints:
    endpoints = Endpoints(servers.kafka_endpoint(), servers.elastic_endpoint())
    if servers.kafka is None:
        from connectors.kafka import admin as kafka_admin  # noqa: PLC0415 - loads the client

        kafka_admin.check(endpoints.kafka)
    if servers.elasticsearch is None:
        from connectors.elasticsearch import admin as elastic_admin  # noqa: PLC0415 - loads the client

        elastic_admin.check(endpoints.elasticsearch)
    return endpoints


def endpoints(settings: Settings) -> Endpoints:
    """Return the endpoints of the servers, without a request to them.

    Raises:
        ShopstreamError: an embedded server does not run.
    """
    return Endpoints(kafka_endpoint(settings), elastic_endpoint(settings))


def kafka_endpoint(settings: Settings) -> KafkaEndpoint:
    """Return Kafka's endpoint, without a request to it. Raises ShopstreamError if the embedded one does not run."""
    return _running_servers(settings, "kafka").kafka_endpoint()


def elastic_endpoint(settings: Settings, *, read_only: bool = False) -> ElasticEndpoint:
    """Return Elasticsearch's endpoint, without a request to it.

    Args:
        settings: settings of the servers.
        read_only: whether to log in to the embedded one as the read-only user; an external one has one user only.

    Raises:
        ShopstreamError: the embedded server does not run.
    """
    return _running_servers(settings, "elasticsearch").elastic_endpoint(READER if read_only else ADMIN)


def page_endpoint(settings: Settings) -> ElasticEndpoint:
    """Return Elasticsearch's endpoint for the live page, without a request to it.

    The embedded server has a user for it, who may also write what readers note. An external one has one user only.

    Raises:
        ShopstreamError: the embedded server does not run.
    """
    return _running_servers(settings, "elasticsearch").elastic_endpoint(PAGE)


def _running_servers(settings: Settings, name: Literal["kafka", "elasticsearch"]) -> Servers:
    """Return the servers of the settings. Raises ShopstreamError if the named one is embedded and does not run."""
    servers = Servers.of(settings, state_file.read(settings.home))
    server: EmbeddedServer | None = getattr(servers, name)
    entry: ServerRecord | None = getattr(servers.known, name)
    if server is not None and (entry is None or not entry.is_running()):
        raise ShopstreamError(
            f"{server.title} is not running (data folder {settings.home}).",
            "Run `shopstream up`, or name an existing server in the settings.",
        )
    return servers


@dataclass(frozen=True, slots=True)
class Stopped:
    """A server stopped by `down`."""

    name: str
    graceful: bool
    """False if it had to be killed; its data survive that, the next start takes longer."""


def down(settings: Settings, console: Console | None = None) -> list[Stopped]:
    """Stop the running embedded servers of the data folder, both in parallel."""
    if not settings.home.is_dir():
        return []
    with exclusive(settings.home, console or Console(quiet=True)):
        known = state_file.read(settings.home)
        entries = {"kafka": known.kafka, "elasticsearch": known.elasticsearch}
        identities = {name: running(settings.home, name, entry) for name, entry in entries.items()}
        alive = {name: identity for name, identity in identities.items() if identity is not None}
        if not alive:
            return []
        with ThreadPoolExecutor(len(alive)) as pool:
            jobs = {name: pool.submit(process.stop, one, settings.stop_timeout_s) for name, one in alive.items()}
            stopped = [Stopped(name, job.result()) for name, job in jobs.items()]
        idle = {name: msgspec.structs.replace(entry, identity=None) for name, entry in entries.items() if entry}
        state_file.write(settings.home, msgspec.structs.replace(known, **idle))
        return stopped


def _make_home(home: Path) -> None:
    try:
        # the account of Elasticsearch may pass through the folder, but not list it
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise ShopstreamError(
            f"The data folder {home} cannot be created: {error.strerror}.", "Set SHOPSTREAM_HOME to a folder of yours."
        ) from error


@contextmanager
def exclusive(home: Path, console: Console) -> Iterator[None]:
    """Hold the lock against another `up` or `down` on this data folder."""
    path = home / ".servers.lock"
    try:
        lock = private_lock(path)
        lock.acquire(blocking=False)
    except filelock.Timeout:
        console.print("another `up` or `down` runs on this data folder; waiting for it")
        lock.acquire()
    except OSError as error:
        raise ShopstreamError(
            f"{path} cannot be opened: {error.strerror}.", "Run as the user who ran `shopstream up`."
        ) from error
    try:
        yield
    finally:
        lock.release()

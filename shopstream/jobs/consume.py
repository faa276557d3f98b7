"""Prepares the servers, topics and indices and builds the worker tasks for `consume` and the demo."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import check, connection, open_client
from connectors.files import private_folder, private_lock
from connectors.kafka.client import TopicReport, check_broker, consumer_config, ensure_topics, open_consumer
from connectors.kafka.offsets import end_offsets, partitions_of
from consumers.index_definitions import run_definitions
from features.errors import ShopstreamError, UsageError
from features.schema import SOURCE_TOPICS, group_name, topic_name
from shopstream.embedded import Endpoints
from shopstream.runtime.bundles import FOLDER as BUNDLES
from shopstream.runtime.coordinator_types import WorkerName, WorkerPlan
from shopstream.runtime.protocol import NO_END, Clock, ElasticLogin, End, Task
from shopstream.runtime.roles import BUILDERS
from shopstream.runtime.supervisor import Supervisor
from shopstream.settings import Settings

ROLES: Final = tuple(BUILDERS)
AGREEING: Final = "features"
"""Role whose workers agree on the final as-of."""
WORKERS_MAX: Final = 256
LOCKS: Final = "locks"
"""Folder below the data folder; `RUN-ROLE.lock` is held while a process consumes the role from this data folder."""


@dataclass(frozen=True, slots=True)
class Consumption:
    """Options of a consumption.

    Attributes:
        workers: processes per role.
        roles: roles to run, from `ROLES`.
        until_end: stop at the ends of the topics.
        as_of: time of the final rows, epoch ms; None: the max event time.
        clock: `wall` lets as_of follow the wall clock while everything is read.
        state: path or URI of the checkpoints.
        archive: path or URI of the archive that the role `archive` writes.
        contact: write names and e-mails to the index.
        debug: log debug lines of the workers too.
        bundle: bundle that scores the customers, or a folder whose `current` names one; None: the folder below the data
            folder.
    """

    workers: int = 1
    roles: tuple[str, ...] = ROLES
    until_end: bool = False
    as_of: int | None = None
    clock: Clock = "stream"
    state: str = ""
    archive: str = ""
    contact: bool = False
    debug: bool = False
    bundle: Path | None = None


def checked(consumption: Consumption) -> Consumption:
    """Return the consumption unchanged if its options are valid.

    Raises:
        UsageError: an option is invalid, or conflicts with another one.
    """
    if not 1 <= consumption.workers <= WORKERS_MAX:
        raise UsageError(
            f"Invalid value for --workers: {consumption.workers}.", f"Give a number from 1 to {WORKERS_MAX}."
        )
    if consumption.as_of is not None and not consumption.until_end:
        raise UsageError(
            "--as-of sets the time of the final rows, but there are none without --until-end.", "Add --until-end."
        )
    if consumption.as_of is not None and AGREEING not in consumption.roles:
        raise UsageError(f"--as-of needs the role {AGREEING}, which is not in --roles.", "Add {AGREEING} to --roles.")
    return consumption


def state_folder(settings: Settings, given: str | None) -> str:
    """Return the folder of the checkpoints: the given URI, or the default below the data folder."""
    return _location(given, settings.home / "state")


def archive_folder(settings: Settings, given: str | None) -> str:
    """Return the folder that the role `archive` writes: the given URI, or a folder per run below the data folder."""
    return _location(given, settings.home / "archive" / settings.run)


def chosen_bundle(given: str | None) -> Path | None:
    """Check and return the given bundle. Raises UsageError or ShopstreamError if it is missing or does not fit."""
    if given is None:
        return None
    from training.bundle import load_bundle  # noqa: PLC0415 - only who asks for a bundle waits for its libraries

    path = Path(given).expanduser().absolute()
    load_bundle(path)
    return path


def _location(given: str | None, default: Path) -> str:
    if given is None:
        return str(default)
    return given if "://" in given else str(Path(given).expanduser().absolute())


# --- servers ----------------------------------------------------------------------------------------------------------


@contextmanager
def exclusive_consumer_lock(settings: Settings, roles: Sequence[str]) -> Iterator[None]:
    """Hold an exclusive lock on these roles of the run, within this data folder.

    The workers of a second process would have the same member names, and both would fence each other repeatedly. A
    killed process leaves no lock behind.

    Raises:
        ShopstreamError: another process holds a lock.
    """
    folder = settings.home / LOCKS
    with ExitStack() as held:
        for role in roles:
            try:
                private_folder(folder)
                held.enter_context(private_lock(folder / f"{settings.run}-{role}.lock").acquire(blocking=False))
            except filelock.Timeout:
                raise ShopstreamError(
                    f"Another process already runs the role {role} of run {settings.run} from {settings.home}.",
                    "Stop it first (Ctrl-C), or start it with more --workers. Workers on other machines join "
                    "automatically.",
                ) from None
            except OSError as error:
                raise ShopstreamError(
                    f"The data folder {settings.home} cannot be written: {error.strerror}.",
                    "Set SHOPSTREAM_HOME to a folder that you own.",
                ) from error
        yield


def prepare(settings: Settings, endpoints: Endpoints, *, documents: bool = True, contact: bool = False) -> TopicReport:
    """Check both servers, and create topics, templates and indices of the run; idempotent.

    Args:
        settings: the run and its number of partitions.
        endpoints: addresses of the servers.
        documents: whether Elasticsearch is needed.
        contact: whether names and e-mails are mapped.

    Raises:
        ShopstreamError: within seconds, if a server does not answer or refuses, or a topic has other partitions.
    """
    kafka = endpoints.kafka.client_properties()
    check_broker(kafka)
    if documents:
        with open_client(connection(endpoints)) as client:
            check(client)
            report = ensure_topics(kafka, settings.run, settings.kafka.partitions)
            install(client, settings.run, run_definitions(contact=contact))
            return report
    return ensure_topics(kafka, settings.run, settings.kafka.partitions)


def current_ends(kafka: Mapping[str, str], run: str) -> tuple[End, ...]:
    """Return the current end offsets of the run's source topics."""
    consumer = open_consumer(consumer_config(kafka, group_name(run, "ends")))
    try:
        ends = end_offsets(consumer, [topic_name(run, topic) for topic in SOURCE_TOPICS])
    finally:
        consumer.close()
    return tuple((topic, partition, offset) for (topic, partition), offset in ends.items())


def later_ends(kafka: Mapping[str, str], run: str) -> tuple[End, ...]:
    """Return placeholder ends, one per partition of the run's source topics, to be set later."""
    consumer = open_consumer(consumer_config(kafka, group_name(run, "ends")))
    try:
        partitions = partitions_of(consumer, [topic_name(run, topic) for topic in SOURCE_TOPICS])
    finally:
        consumer.close()
    return tuple((partition.topic, partition.partition, NO_END) for partition in partitions)


# --- workers ----------------------------------------------------------------------------------------------------------


def instance_id(settings: Settings, name: WorkerName, state: str) -> str:
    """Return the static member id: stable across restarts, unique by machine, data folder, state folder and number.

    The data folder is part of it because `exclusive_consumer_lock` holds the lock there. Two commands with the same
    name would fence each other.
    """
    run, home = settings.run, settings.home.resolve()
    digest = hashlib.sha256(f"{platform.node()}\0{home}\0{state}".encode()).hexdigest()[:12]
    return f"{run}-{name}-{digest}"


def open_supervisor(
    settings: Settings, endpoints: Endpoints, consumption: Consumption, ends: Sequence[End] | None
) -> Supervisor:
    """Create the supervisor with its workers, not started yet.

    Args:
        settings: the run and the data folder, which holds the logs.
        endpoints: addresses of the servers.
        consumption: options of the consumption.
        ends: stop offsets from `current_ends`, or placeholders from `later_ends` to be set later; None: run without
            end.
    """
    plan = WorkerPlan(
        workers=dict.fromkeys(consumption.roles, consumption.workers),
        partitions=None if ends is None else frozenset(partition for _, partition, _ in ends),
        as_of=consumption.as_of,
        agreeing=AGREEING if AGREEING in consumption.roles else None,
    )
    elastic = endpoints.elasticsearch
    login = ElasticLogin(elastic.url, elastic.username, elastic.password, dict(elastic.options))

    def task_of(name: WorkerName) -> Task:
        return Task(
            role=name.role,
            worker=name.number,
            builder=BUILDERS[name.role],
            run=settings.run,
            instance_id=instance_id(settings, name, consumption.state),
            kafka=endpoints.kafka.client_properties(),
            elastic=login,
            state=consumption.state,
            archive=consumption.archive,
            ends=None if ends is None else tuple((topic, number, NO_END) for topic, number, _ in ends),
            clock=consumption.clock,
            contact=consumption.contact,
            debug=consumption.debug,
            bundles=str((consumption.bundle or settings.home / BUNDLES).absolute()),
        )

    supervisor = Supervisor(plan, task_of, settings.home / "logs")
    if ends is not None and all(offset != NO_END for _, _, offset in ends):
        supervisor.ends_known(tuple(ends))
    return supervisor

"""What `consume` and `demo` have in common: servers checked, topics and indices made, workers given their tasks."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import filelock

from connectors.elasticsearch.aliases import install
from connectors.elasticsearch.client import check, connection, open_client
from connectors.files import private_folder, private_lock
from connectors.kafka.client import (
    TopicReport,
    check_broker,
    consumer_config,
    end_offsets,
    ensure_topics,
    open_consumer,
    partitions_of,
)
from consumers.index_definitions import run_definitions
from features.errors import ShopstreamError, UsageError
from features.schema import SOURCE_TOPICS, group_name, topic_name
from shopstream.embedded import Endpoints
from shopstream.runtime.bundles import FOLDER as BUNDLES
from shopstream.runtime.messages import NO_END, ElasticLogin, End, Task
from shopstream.runtime.protocol import WorkerName, WorkerPlan
from shopstream.runtime.roles import BUILDERS
from shopstream.runtime.supervisor import Supervisor
from shopstream.settings import Settings

ROLES: Final = tuple(BUILDERS)
AGREEING: Final = "features"
"""The role whose workers agree on T."""
WORKERS_MAX: Final = 256
LOCKS: Final = "locks"
"""Below the data folder: `RUN-ROLE.lock`, held while the role is consumed from here."""

Clock = Literal["stream", "wall"]
CLOCKS: Final[tuple[Clock, ...]] = ("stream", "wall")


@dataclass(frozen=True, slots=True)
class Consumption:
    """What is to be consumed, and how.

    Attributes:
        workers: processes of each role.
        roles: of `ROLES`.
        until_end: stop at the ends of the topics.
        as_of: the T of the final rows, epoch ms; None takes the highest stream time.
        clock: `wall` lets as_of follow the wall clock while everything is read.
        state: path or URI of the checkpoints.
        archive: path or URI of the archive that the role `archive` writes.
        contact: names and e-mails go into the index.
        debug: workers log debug lines too.
        bundle: what customers are scored by: a bundle, or a folder whose `current` names one; None looks below the
            data folder.
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
    """The same.

    Raises:
        UsageError: an option cannot be, or not with another one.
    """
    if not 1 <= consumption.workers <= WORKERS_MAX:
        raise UsageError(f"--workers is {consumption.workers}.", f"Give a number from 1 to {WORKERS_MAX}.")
    if consumption.as_of is not None and not consumption.until_end:
        raise UsageError(
            "--as-of names the time of the final rows, but without --until-end there are none.", "Add --until-end."
        )
    if consumption.as_of is not None and AGREEING not in consumption.roles:
        raise UsageError(f"--as-of is for the role {AGREEING}, which is not asked for.", "Add it to --roles.")
    return consumption


def state_folder(settings: Settings, given: str | None) -> str:
    """Where checkpoints are: the URI given, else below the data folder."""
    return _place(given, settings.home / "state")


def archive_folder(settings: Settings, given: str | None) -> str:
    """Where the role `archive` writes: the URI given, else below the data folder, a folder for each run."""
    return _place(given, settings.home / "archive" / settings.run)


def chosen_bundle(given: str | None) -> Path | None:
    """The bundle asked for. Raises UsageError or ShopstreamError when there is none, or it does not fit."""
    if given is None:
        return None
    from training.bundle import load_bundle  # noqa: PLC0415 - only who asks for a bundle waits for its libraries

    path = Path(given).expanduser().absolute()
    load_bundle(path)
    return path


def _place(given: str | None, default: Path) -> str:
    if given is None:
        return str(default)
    return given if "://" in given else str(Path(given).expanduser().absolute())


# --- servers ----------------------------------------------------------------------------------------------------------


@contextmanager
def alone(settings: Settings, roles: Sequence[str]) -> Iterator[None]:
    """While it lasts, no other process consumes these roles of the run from this data folder.

    Its workers would have the names of ours: each would push the other out of the group, again and again. A process
    that is killed leaves no lock behind.

    Raises:
        ShopstreamError: another one does.
    """
    folder = settings.home / LOCKS
    with ExitStack() as held:
        for role in roles:
            try:
                private_folder(folder)
                held.enter_context(private_lock(folder / f"{settings.run}-{role}.lock").acquire(blocking=False))
            except filelock.Timeout:
                raise ShopstreamError(
                    f"Another process consumes the role {role} of run {settings.run} from {settings.home} already.",
                    "Stop it first (Ctrl-C), or give it more processes: --workers. Other machines join by themselves.",
                ) from None
            except OSError as error:
                raise ShopstreamError(
                    f"The data folder {settings.home} cannot be written: {error.strerror}.",
                    "Set SHOPSTREAM_HOME to a folder of yours.",
                ) from error
        yield


def prepare(settings: Settings, endpoints: Endpoints, *, documents: bool = True, contact: bool = False) -> TopicReport:
    """Checks both servers and makes topics, templates and indices of the run; doing it again changes nothing.

    Args:
        settings: the run and its number of partitions.
        endpoints: where the servers are.
        documents: Elasticsearch is needed too.
        contact: names and e-mails are mapped.

    Raises:
        ShopstreamError: within seconds: a server does not answer or refuses, a topic is cut differently.
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
    """Where the run's source topics end now."""
    consumer = open_consumer(consumer_config(kafka, group_name(run, "ends")))
    try:
        ends = end_offsets(consumer, [topic_name(run, topic) for topic in SOURCE_TOPICS])
    finally:
        consumer.close()
    return tuple((topic, partition, offset) for (topic, partition), offset in ends.items())


def later_ends(kafka: Mapping[str, str], run: str) -> tuple[End, ...]:
    """Ends that are told later, one for each partition of the run's source topics."""
    consumer = open_consumer(consumer_config(kafka, group_name(run, "ends")))
    try:
        found = partitions_of(consumer, [topic_name(run, topic) for topic in SOURCE_TOPICS])
    finally:
        consumer.close()
    return tuple((partition.topic, partition.partition, NO_END) for partition in found)


# --- workers ----------------------------------------------------------------------------------------------------------


def instance_id(settings: Settings, name: WorkerName, state: str) -> str:
    """The static name of a member: the same after a restart, unique by machine, data folder, state folder and number.

    The data folder is part of it because `alone` holds the lock there: two commands with one name would push each other
    out of the group.
    """
    run, home = settings.run, settings.home.resolve()
    place = hashlib.sha256(f"{platform.node()}\0{home}\0{state}".encode()).hexdigest()[:12]
    return f"{run}-{name}-{place}"


def open_supervisor(
    settings: Settings, endpoints: Endpoints, consumption: Consumption, ends: Sequence[End] | None
) -> Supervisor:
    """The workers of a consumption, not started yet.

    Args:
        settings: the run and the data folder, where the logs go.
        endpoints: where the servers are.
        consumption: what is to be run.
        ends: where all stop, as `current_ends` or, to be told when they are known, `later_ends` gives them; None runs
            for ever.
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

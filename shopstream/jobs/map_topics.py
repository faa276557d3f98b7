"""Prepares the topics and builds the worker tasks for `map run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.kafka.client import TopicReport, check_broker, ensure_topics
from connectors.kafka.foreign_topics import EARLIEST, foreign_topics
from connectors.kafka.topic_settings import topic_configs
from consumers.mapping.consumer import ROLE
from features.errors import UsageError
from features.schema import group_name
from producers.importing.mapping import mapping_text, parse_mapping
from producers.topic_mapping.mapper import TopicMapper
from shopstream.embedded import Endpoints
from shopstream.jobs.consume import WORKERS_MAX, instance_id
from shopstream.runtime.coordinator_types import WorkerName, WorkerPlan
from shopstream.runtime.protocol import NO_END, MappingTask, Task
from shopstream.runtime.roles import MAP_BUILDER
from shopstream.runtime.supervisor import Supervisor
from shopstream.settings import Settings, guest_salt


@dataclass(frozen=True, slots=True)
class MappedTopics:
    """Mappings to run, and what they need.

    Attributes:
        texts: name of each mapping, and its text as YAML.
        topics: full names of the topics, ascending.
        guest_salt: secret of which ids of guests are made.
    """

    texts: tuple[tuple[str, str], ...]
    topics: tuple[str, ...]
    guest_salt: str


def load_mappings(settings: Settings, names: Sequence[str]) -> MappedTopics:
    """Load and check mappings of topics.

    Args:
        settings: run, and secret of guests.
        names: YAML files or ready mappings.

    Raises:
        UsageError: a mapping is missing or invalid, reads no topic, or reads a topic of the run.
    """
    texts: dict[str, str] = {}
    topics: set[str] = set()
    salt = guest_salt(settings)
    for given in names:
        text, origin = mapping_text(given)
        if origin in texts:
            raise UsageError(f"The mapping {origin} is given twice.", "Give each mapping once.")
        mapper = TopicMapper(origin, parse_mapping(text, origin), salt)
        if mapper.topic in topic_configs(settings.run):
            raise UsageError(
                f"The mapping {origin} reads {mapper.topic}, which is a topic of the run that it writes.",
                "Correct `from.topic`, or give another --run.",
            )
        texts[origin] = text
        topics.add(mapper.topic)
    return MappedTopics(tuple(texts.items()), tuple(sorted(topics)), salt.decode())


def open_mappers(settings: Settings, names: Sequence[str]) -> list[TopicMapper]:
    """Return the mappers of mappings; errors as `load_mappings`."""
    mapped = load_mappings(settings, names)
    salt = mapped.guest_salt.encode()
    return [TopicMapper(name, parse_mapping(text, name), salt) for name, text in mapped.texts]


def checked_workers(workers: int) -> int:
    """Return the number of workers. Raises UsageError if it is out of range."""
    if not 1 <= workers <= WORKERS_MAX:
        raise UsageError(f"Invalid value for --workers: {workers}.", f"Give a number from 1 to {WORKERS_MAX}.")
    return workers


def prepare(settings: Settings, endpoints: Endpoints) -> TopicReport:
    """Check Kafka, and create the topics of the run; errors as `ensure_topics`."""
    kafka = endpoints.kafka.client_properties()
    check_broker(kafka)
    return ensure_topics(kafka, settings.run, settings.kafka.partitions)


def open_supervisor(
    settings: Settings,
    endpoints: Endpoints,
    mapped: MappedTopics,
    *,
    workers: int = 1,
    start: int | str = EARLIEST,
    until_end: bool = False,
    debug: bool = False,
) -> Supervisor:
    """Create the supervisor with its workers, not started yet.

    Args:
        settings: the run and the data folder, which holds the logs.
        endpoints: addresses of the servers.
        mapped: mappings.
        workers: number of processes.
        start: where a partition without a committed offset starts: EARLIEST, LATEST, or the first message of a time,
            epoch ms.
        until_end: whether to stop at the current end offsets.
        debug: log debug lines of the workers too.

    Raises:
        ShopstreamError: a topic does not exist, or Kafka does not respond.
    """
    kafka = endpoints.kafka.client_properties()
    topics = foreign_topics(kafka, group_name(settings.run, "ends"), mapped.topics, start)
    numbers = frozenset(range(len(topics.partitions)))
    starts = tuple((*partition, offset) for partition, offset in topics.starts.items())
    task = MappingTask(mapped.texts, mapped.guest_salt, topics.partitions, starts)

    def task_of(name: WorkerName) -> Task:
        return Task(
            role=name.role,
            worker=name.number,
            builder=MAP_BUILDER,
            run=settings.run,
            instance_id=instance_id(settings, name, ""),
            kafka=kafka,
            elastic=None,
            state="",
            archive="",
            ends=tuple((*partition, NO_END) for partition in topics.partitions) if until_end else None,
            debug=debug,
            mapping=task,
        )

    plan = WorkerPlan({ROLE: workers}, partitions=numbers if until_end else None, in_step=numbers)
    supervisor = Supervisor(plan, task_of, settings.home / "logs")
    if until_end:
        supervisor.ends_known(tuple((*partition, offset) for partition, offset in topics.ends.items()))
    return supervisor

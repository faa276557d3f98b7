"""Prepares the topics and builds the worker tasks for `map run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.endpoints import RegistryEndpoint
from connectors.formats.money_format import ShopMoney
from connectors.kafka.client import TopicReport, check_broker, ensure_topics, open_admin
from connectors.kafka.foreign_topics import EARLIEST, foreign_topics
from connectors.kafka.offsets import committed_metadata
from connectors.kafka.topic_settings import topic_configs
from consumers.mapping.committed_facts import check_same_guests, read_facts
from consumers.mapping.consumer import ROLE
from features.errors import UsageError
from features.schema import group_name
from producers.importing.mapping import check_answers
from producers.topic_mapping.mapper import TopicMapper
from producers.topic_mapping.ready import LoadedMapping, read_topic_mapping
from shopstream.embedded import Endpoints
from shopstream.jobs.consume import WORKERS_MAX, instance_id
from shopstream.runtime.coordinator_types import WorkerName, WorkerPlan
from shopstream.runtime.protocol import NO_END, MappingTask, Task
from shopstream.runtime.roles import MAP_BUILDER
from shopstream.runtime.supervisor import Supervisor
from shopstream.runtime.topic_mapper import guests_fingerprint, open_mapper, registries_of, shop_money
from shopstream.settings import Settings, guest_salt


@dataclass(frozen=True, slots=True)
class MappedTopics:
    """Mappings to run, and what they need.

    Attributes:
        texts: name of each mapping, and its text as YAML.
        answers: name -> value for each `{ask: name}` of the mappings.
        mappers: their mappers.
        guest_salt: secret of which ids of guests are made.
        registries: schema registries that the mappings name.
        guests: fingerprint of the secret; empty if the mappings make no ids of guests.
        money: what the settings say about amounts.
        rates: name of a mapping -> text of its file of rates.
    """

    texts: tuple[tuple[str, str], ...]
    answers: Mapping[str, str]
    mappers: tuple[TopicMapper, ...]
    guest_salt: str
    registries: tuple[RegistryEndpoint, ...]
    guests: str
    money: ShopMoney
    rates: Mapping[str, str]

    @property
    def topics(self) -> list[str]:
        """Full names of the topics, ascending."""
        return sorted({mapper.topic for mapper in self.mappers})


def load_mappings(settings: Settings, names: Sequence[str], answers: Mapping[str, str]) -> MappedTopics:
    """Load and check mappings of topics.

    Args:
        settings: run, secret of guests, and registries.
        names: YAML files or ready mappings.
        answers: name -> value for each `{ask: name}` of the mappings.

    Raises:
        UsageError: a mapping is missing or invalid, reads no topic, or reads a topic of the run.
    """
    money = shop_money(settings)
    loaded: list[LoadedMapping] = []
    for given in names:
        one = read_topic_mapping(given, answers, money)
        _check_not_twice(one, loaded)
        if one.mapping.topic is not None and one.mapping.topic.topic in topic_configs(settings.run):
            raise UsageError(
                f"{one.line('from', 'topic')}: from.topic: {one.mapping.topic.topic} is a topic of the run that the"
                " mapping writes.",
                "Correct `from.topic`, or give another --run.",
            )
        loaded.append(one)
    check_answers([one.text for one in loaded], answers)
    salt, registries = guest_salt(settings), registries_of(settings, loaded)
    mappers = tuple(open_mapper(one.origin, one.mapping, salt, registries, shows_values=False) for one in loaded)
    texts = tuple((one.origin, one.text) for one in loaded)
    guests = guests_fingerprint(settings.run, salt, (one.mapping for one in loaded))
    rates = {
        one.origin: one.mapping.conversion.rates.text for one in loaded if one.mapping.conversion.rates is not None
    }
    return MappedTopics(texts, answers, mappers, salt.decode(), tuple(registries.values()), guests, money, rates)


def _check_not_twice(one: LoadedMapping, others: Sequence[LoadedMapping]) -> None:
    """Refuse a mapping that is given twice, also as a copy: each of its records would be written twice."""
    for other in others:
        if other.origin == one.origin:
            raise UsageError(f"The mapping {one.origin} is given twice.", "Give each mapping once.")
        if other.mapping.model_copy(update={"about": one.mapping.about}) == one.mapping:
            raise UsageError(
                f"The mappings {other.origin} and {one.origin} are equal: every record would be written twice.",
                "Give one of them.",
            )


def checked_workers(workers: int) -> int:
    """Return the number of workers. Raises UsageError if it is out of range."""
    if not 1 <= workers <= WORKERS_MAX:
        raise UsageError(f"Invalid value for --workers: {workers}.", f"Give a number from 1 to {WORKERS_MAX}.")
    return workers


def check_guests(kafka: Mapping[str, Any], run: str, mapped: MappedTopics) -> None:
    """Check that ids of guests are made of the secret with which the run began.

    Args:
        kafka: librdkafka properties.
        run: name of the run.
        mapped: mappings.

    Raises:
        ShopstreamError: the secret is another one, or Kafka does not respond.
    """
    if mapped.guests:
        committed = committed_metadata(open_admin(kafka), group_name(run, ROLE))
        check_same_guests((read_facts(one).guests for one in committed.values()), mapped.guests)


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
        ShopstreamError: a topic does not exist, the secret of guests is another one, or Kafka does not respond.
    """
    kafka = endpoints.kafka.client_properties()
    check_guests(kafka, settings.run, mapped)
    topics = foreign_topics(kafka, group_name(settings.run, "ends"), mapped.topics, start)
    numbers = frozenset(range(len(topics.partitions)))
    starts = tuple((*partition, offset) for partition, offset in topics.starts.items())
    task = MappingTask(
        mapped.texts,
        dict(mapped.answers),
        mapped.guest_salt,
        mapped.registries,
        topics.partitions,
        starts,
        mapped.guests,
        mapped.money,
        dict(mapped.rates),
    )

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

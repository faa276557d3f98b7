"""Opens the role of a worker: from a task to a consumer with its real clients, imported only for that role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from connectors.kafka.source import Partition
from consumers.metrics.definitions import Figure
from consumers.metrics.reports import figures
from features.schema import group_name, topic_name

if TYPE_CHECKING:
    from connectors.elasticsearch.client import ElasticConnection
    from connectors.kafka.source import Source
    from consumers.features.consumer import FeaturesConsumer
    from consumers.mapping.consumer import MapRole
    from consumers.metrics.definitions import CopyProgress, FeaturesProgress
    from shopstream.runtime.protocol import Task
    from shopstream.runtime.worker import Role

BUILDERS: Final = {
    "features": "shopstream.runtime.roles:open_features_role",
    "index": "shopstream.runtime.roles:open_index_role",
    "archive": "shopstream.runtime.roles:open_archive_role",
}
"""Role of `consume` -> function that opens it, as a task names it."""
MAP_BUILDER: Final = "shopstream.runtime.roles:open_map_role"
"""The same for the role `map`."""

Until = Mapping[tuple[str, int], int]


_OF_PARTITIONS: Final = ("customers", "stream_ts")
"""Figures of the owned partitions; they keep their last values once the partitions are released."""


class _FeaturesRole:
    def __init__(self, consumer: FeaturesConsumer) -> None:
        self._consumer = consumer
        self._last_owned: dict[str, Figure] = {}

    def run(
        self,
        stop: Callable[[], bool],
        until: Until | None,
        final_as_of: Callable[[int], int | None],
        report: Callable[[Mapping[str, Figure]], None],
        others_ms: Callable[[int], int],  # noqa: ARG002 - of the protocol
    ) -> Mapping[str, Figure]:
        return self._figures(self._consumer.run(stop, until, final_as_of, lambda p: report(self._figures(p))))

    def _figures(self, progress: FeaturesProgress) -> dict[str, Figure]:
        values = figures(progress)
        if self._consumer.owned():
            self._last_owned = {name: values[name] for name in _OF_PARTITIONS}
        return {**values, **self._last_owned}

    def owned(self) -> tuple[int, ...] | None:
        return self._consumer.owned()


class _Copier(Protocol):
    """A role that copies records without state: index or archive. It needs no T."""

    def run(
        self, stop: Callable[[], bool], until: Until | None, report: Callable[[CopyProgress], None]
    ) -> CopyProgress: ...


class _CopyingRole:
    def __init__(self, role: _Copier, source: Source, close: Callable[[], None]) -> None:
        self._role = role
        self._source = source
        self._close = close

    def run(
        self,
        stop: Callable[[], bool],
        until: Until | None,
        final_as_of: Callable[[int], int | None],  # noqa: ARG002 - of the protocol
        report: Callable[[Mapping[str, Figure]], None],
        others_ms: Callable[[int], int],  # noqa: ARG002 - of the protocol
    ) -> Mapping[str, Figure]:
        try:
            return figures(self._role.run(stop, until, lambda progress: report(figures(progress))))
        finally:
            self._close()

    def owned(self) -> tuple[int, ...] | None:
        return self._source.owned()


class _MappingRole:
    def __init__(self, role: MapRole, partitions: Sequence[tuple[str, int]], close: Callable[[], None]) -> None:
        self._role = role
        self._numbers = {Partition(*partition): number for number, partition in enumerate(partitions)}
        self._close = close

    def run(
        self,
        stop: Callable[[], bool],
        until: Until | None,
        final_as_of: Callable[[int], int | None],  # noqa: ARG002 - of the protocol
        report: Callable[[Mapping[str, Figure]], None],
        others_ms: Callable[[int], int],
    ) -> Mapping[str, Figure]:
        try:
            return figures(self._role.run(stop, until, lambda progress: report(figures(progress)), others_ms))
        finally:
            self._close()

    def owned(self) -> tuple[int, ...] | None:
        """Return the positions of the partitions among all of the task; one that was added since has none."""
        owned = self._role.partitions()
        return None if owned is None else tuple(self._numbers[p] for p in owned if p in self._numbers)


def open_features_role(task: Task) -> Role:
    """Open the features consumer: state, rows, sessions, orders, dead letters."""
    from consumers.features.build import FeaturesOptions, open_features  # noqa: PLC0415
    from shopstream.runtime.bundles import FolderBundles  # noqa: PLC0415

    options = FeaturesOptions(
        run=task.run,
        kafka=task.kafka,
        elastic=_connection(task),
        state=task.state,
        instance_id=task.instance_id,
        clock=task.clock,
        contact=task.contact,
        bundles=None if task.bundles is None else FolderBundles(Path(task.bundles)),
    )
    return _FeaturesRole(open_features(options))


def open_index_role(task: Task) -> Role:
    """Open the index consumer: events as documents."""
    from connectors.elasticsearch.client import open_sink  # noqa: PLC0415
    from connectors.elasticsearch.index_identity import open_identities  # noqa: PLC0415
    from consumers.dead_letters.producer import open_dead_letters  # noqa: PLC0415
    from consumers.index.consumer import ROLE, TOPICS, IndexRole  # noqa: PLC0415

    sink = open_sink(_connection(task))
    dead_letters = open_dead_letters(task.kafka, task.run)
    source = _source(task, ROLE, TOPICS)
    identities = open_identities(_connection(task), task.run, TOPICS)
    topic_id = _topic_ids(task, TOPICS)["events"]
    role = IndexRole(source, sink, task.run, dead_letters=dead_letters, identities=identities, topic_id=topic_id)

    def close() -> None:
        sink.close()
        dead_letters.close()
        identities.close()

    return _CopyingRole(role, source, close)


def open_archive_role(task: Task) -> Role:
    """Open the archive consumer: records as Parquet."""
    from consumers.archive.consumer import ROLE, TOPICS, ArchiveRole  # noqa: PLC0415
    from consumers.archive.files import ArchiveFolder  # noqa: PLC0415

    source = _source(task, ROLE, TOPICS)
    folder = ArchiveFolder(task.archive, task.run)
    role = ArchiveRole(source, folder, task.run, topic_ids=_topic_ids(task, TOPICS))
    return _CopyingRole(role, source, lambda: None)


def open_map_role(task: Task) -> Role:
    """Open the role `map`: messages of foreign topics as records of the run."""
    from connectors.kafka.client import consumer_config, open_admin, open_consumer  # noqa: PLC0415
    from connectors.kafka.offsets import topic_ids  # noqa: PLC0415
    from connectors.kafka.record_writer import open_record_writer  # noqa: PLC0415
    from connectors.kafka.source import Source  # noqa: PLC0415
    from consumers.collector import tune_collector  # noqa: PLC0415
    from consumers.dead_letters.producer import open_dead_letters  # noqa: PLC0415
    from consumers.mapping.consumer import ROLE, MapRole  # noqa: PLC0415
    from producers.importing.mapping import parse_mapping  # noqa: PLC0415
    from shopstream.runtime.topic_mapper import open_mapper  # noqa: PLC0415

    mapping = task.mapping
    assert mapping is not None
    waiting: list[MapRole] = []

    def wait(seconds: float) -> None:
        waiting[0].wait(seconds)

    registries = {registry.name: registry for registry in mapping.registries}
    mappers = [
        open_mapper(
            name,
            parse_mapping(text, name, mapping.answers, mapping.money, mapping.rates.get(name)),
            mapping.guest_salt.encode(),
            registries,
            wait=wait,
            shows_values=False,
        )
        for name, text in mapping.texts
    ]
    topics = sorted({mapper.topic for mapper in mappers})
    config = consumer_config(task.kafka, group_name(task.run, ROLE), task.instance_id, assignment="roundrobin")
    writer = open_record_writer(task.kafka, task.run, task.instance_id)
    dead_letters = open_dead_letters(task.kafka, task.run)
    role = MapRole(
        Source(open_consumer(config), task.run, topics, foreign=True),
        mappers,
        writer,
        dead_letters,
        topic_ids=partial(topic_ids, open_admin(task.kafka), topics),
        starts={Partition(topic, number): offset for topic, number, offset in mapping.starts},
        guests=mapping.guests,
    )

    waiting.append(role)
    tune_collector()

    def close() -> None:
        writer.close()
        dead_letters.close()

    return _MappingRole(role, mapping.partitions, close)


def _topic_ids(task: Task, topics: tuple[str, ...]) -> dict[str, str]:
    from connectors.kafka.client import open_admin  # noqa: PLC0415
    from connectors.kafka.offsets import topic_ids  # noqa: PLC0415

    names = {topic: topic_name(task.run, topic) for topic in topics}
    ids = topic_ids(open_admin(task.kafka), list(names.values()))
    return {topic: ids[name] for topic, name in names.items()}


def _source(task: Task, role: str, topics: tuple[str, ...]) -> Source:
    from connectors.kafka.client import consumer_config, open_consumer  # noqa: PLC0415
    from connectors.kafka.source import Source  # noqa: PLC0415

    config = consumer_config(task.kafka, group_name(task.run, role), task.instance_id)
    return Source(open_consumer(config), task.run, topics)


def _connection(task: Task) -> ElasticConnection:
    from connectors.elasticsearch.client import ElasticConnection  # noqa: PLC0415

    login = task.elastic
    assert login is not None
    return ElasticConnection(login.url, login.username, login.password, options=login.options)

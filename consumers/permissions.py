"""Declares the least permissions of each duty: ACLs of Kafka, roles of Elasticsearch.

The documents print them; the tests create users with them on real servers and run the commands as these users.

A run may be called `shop-x` next to a run `shop`, so a permission on `shop-*` would include the other run. Groups and
indices are therefore named one by one. Topic names have a full stop after the run, which no run's name contains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from features.schema import (
    ALERT_TOPIC,
    DEAD_LETTER_TOPIC,
    FEATURE_TOPIC,
    GROUPS,
    SOURCE_TOPICS,
    group_name,
    topic_name,
    transaction_prefix,
)
from features.workspace import WORKSPACE_FIELDS

Resource = Literal["topic", "group", "transactional-id"]
WORKERS: Final = ("features", "index", "archive", "ends", "spark")
"""Groups that consumers join or query."""


@dataclass(frozen=True, slots=True)
class KafkaPermission:
    """An ACL that allows operations.

    Attributes:
        resource: kind of the resource.
        name: name of the resource; a final `*` matches all names with that prefix.
        operations: operations by Kafka's names.
    """

    resource: Resource
    name: str
    operations: tuple[str, ...]

    @property
    def prefixed(self) -> bool:
        """Whether `name` is a prefix."""
        return self.name.endswith("*")


def _all_topics(run: str, *operations: str) -> KafkaPermission:
    return KafkaPermission("topic", topic_name(run, "*"), operations)


def _each(run: str, topics: tuple[str, ...], *operations: str) -> tuple[KafkaPermission, ...]:
    return tuple(KafkaPermission("topic", topic_name(run, topic), operations) for topic in topics)


def _groups(run: str, groups: tuple[str, ...], *operations: str) -> tuple[KafkaPermission, ...]:
    return tuple(KafkaPermission("group", group_name(run, group), operations) for group in groups)


def _produce(run: str) -> tuple[KafkaPermission, ...]:
    # `live` resumes from the newest event, so it reads too; it commits nothing and joins no group
    return (
        _all_topics(run, "Describe", "DescribeConfigs"),
        *_each(run, SOURCE_TOPICS, "Write"),
        *_each(run, ("events",), "Read"),
    )


def _map(run: str) -> tuple[KafkaPermission, ...]:
    # in addition, the topics that the mappings read need Read
    return (
        _all_topics(run, "Describe", "DescribeConfigs"),
        *_each(run, ("events", "orders", DEAD_LETTER_TOPIC), "Write"),
        *_groups(run, ("map", "ends"), "Read"),
    )


def _consume(run: str) -> tuple[KafkaPermission, ...]:
    return (
        _all_topics(run, "Describe", "DescribeConfigs"),
        *_each(run, SOURCE_TOPICS, "Read"),
        *_each(run, (FEATURE_TOPIC, ALERT_TOPIC, DEAD_LETTER_TOPIC), "Write"),
        # the offset that fences the rows is committed on their own topic
        *_each(run, (FEATURE_TOPIC,), "Read"),
        *_groups(run, WORKERS, "Read"),
        # rows are written in transactions, whose ids keep a former owner from writing
        KafkaPermission("transactional-id", f"{transaction_prefix(run)}*", ("Describe", "Write")),
    )


def _notify(run: str) -> tuple[KafkaPermission, ...]:
    return (*_each(run, (ALERT_TOPIC,), "Describe", "Read"), *_groups(run, ("notify",), "Read"))


def _admin(run: str) -> tuple[KafkaPermission, ...]:
    return (
        _all_topics(run, "Create", "Delete", "Describe", "DescribeConfigs", "Alter", "AlterConfigs", "Read", "Write"),
        *_groups(run, GROUPS, "Describe", "Read", "Delete"),
        KafkaPermission("transactional-id", f"{transaction_prefix(run)}*", ("Describe", "Write")),
    )


def _watch(run: str) -> tuple[KafkaPermission, ...]:
    return (_all_topics(run, "Describe"), *_groups(run, GROUPS, "Describe"))


KafkaDuty = Literal["produce", "map", "consume", "notify", "watch", "admin"]
KAFKA_DUTIES: Final[Mapping[KafkaDuty, Callable[[str], tuple[KafkaPermission, ...]]]] = {
    "produce": _produce,
    "map": _map,
    "consume": _consume,
    "notify": _notify,
    "watch": _watch,
    "admin": _admin,
}
"""Permissions of each duty, by the run's name. `produce`: replay, live. `map`: map run. `consume`: the consumers.
`notify`: notify alerts. `watch`: status. `admin`: creates and deletes topics; for the first `replay`, `live` or
`consume` of a run, and `demo`.
"""

ElasticDuty = Literal["write", "read", "page", "admin"]


PAGE_ACTIONS: Final = ("indices:data/write/index*", "indices:data/write/bulk*", "delete")
"""Rights of the page on the indices of its readers. The privilege `index` could also change mappings."""


def elastic_role(duty: ElasticDuty, run: str) -> dict[str, Any]:
    """Return the Elasticsearch role for a duty, in the format of `PUT /_security/role/NAME` and `roles.yml`.

    Args:
        duty: `write` is for the consumers, `read` for dashboards and reports, `page` for the live page, `admin` for
            all commands.
        run: name of the run; `*` is every run.
    """
    cluster = {"write": ["monitor", "manage_index_templates"], "read": ["monitor"], "page": ["monitor"]}
    cluster["admin"] = cluster["write"]
    privileges = {
        # two single actions instead of `manage`, which could delete and close indices
        "write": [
            "create_index",
            "index",
            "read",
            "view_index_metadata",
            "indices:admin/aliases",
            "indices:admin/mapping/put",
        ],
        "read": ["read", "view_index_metadata"],
        "page": ["read", "view_index_metadata"],
        "admin": ["all"],
    }
    indices = [{"names": _index_names(run), "privileges": privileges[duty]}]
    if duty == "write":
        # a consumer deletes only expired measurements
        indices.append({"names": _index_names(run, ("pipeline",)), "privileges": ["delete"]})
    if duty == "page":
        # documents only: the indices exist from the run's start
        indices.append({"names": _index_names(run, tuple(WORKSPACE_FIELDS)), "privileges": list(PAGE_ACTIONS)})
    return {"cluster": cluster[duty], "indices": indices}


def _index_names(run: str, only: tuple[str, ...] = ()) -> list[str]:
    """Return aliases, and concrete names or patterns that match no index of another run."""
    # slow imports, and `up` imports this module
    from connectors.elasticsearch.mappings import alias, index_pattern, write_index  # noqa: PLC0415
    from consumers.index_definitions import run_definitions  # noqa: PLC0415

    definitions = [one for one in run_definitions(contact=False) if not only or one.name in only]
    return [
        name
        for definition in definitions
        for name in (
            alias(run, definition.name),
            (index_pattern if definition.monthly else write_index)(run, definition.name),
        )
    ]


ELASTIC_DUTIES: Final[tuple[ElasticDuty, ...]] = ("write", "read", "page", "admin")


def acl_commands(duty: KafkaDuty, run: str, principal: str) -> list[str]:
    """Return the calls of Kafka's own tool that grant a duty's permissions to a user, without address and login.

    Args:
        duty: a key of `KAFKA_DUTIES`.
        run: name of the run.
        principal: name of the user.
    """
    lines = []
    for permission in KAFKA_DUTIES[duty](run):
        kind = " --resource-pattern-type prefixed" if permission.prefixed else ""
        operations = " ".join(f"--operation {operation}" for operation in permission.operations)
        name = permission.name.removesuffix("*")
        lines.append(f"--add --allow-principal User:{principal} {operations} --{permission.resource} {name}{kind}")
    return lines

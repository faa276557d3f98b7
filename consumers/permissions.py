"""The rights that each duty needs and no more: ACLs of Kafka, roles of Elasticsearch. Declared here, once.

The documents print them, the tests make users with them on real servers and run the commands as these users.

A run may be called `shop-x` beside a run `shop`. So groups and indices are named one by one: a right on `shop-*` would
be one on the other run too. Names of topics have a full stop behind the run, which no run's name holds.
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

Resource = Literal["topic", "group", "transactional-id"]
WORKERS: Final = ("features", "index", "archive", "ends", "spark")
"""Groups that consumers are members of, or ask by."""


@dataclass(frozen=True, slots=True)
class KafkaRight:
    """An ACL that allows.

    Attributes:
        resource: of what kind.
        name: of the resource; ending in `*`, of all whose names begin so.
        operations: as Kafka names them.
    """

    resource: Resource
    name: str
    operations: tuple[str, ...]

    @property
    def prefixed(self) -> bool:
        """Whether `name` is the beginning of names."""
        return self.name.endswith("*")


def _all_topics(run: str, *operations: str) -> KafkaRight:
    return KafkaRight("topic", topic_name(run, "*"), operations)


def _each(run: str, topics: tuple[str, ...], *operations: str) -> tuple[KafkaRight, ...]:
    return tuple(KafkaRight("topic", topic_name(run, topic), operations) for topic in topics)


def _groups(run: str, groups: tuple[str, ...], *operations: str) -> tuple[KafkaRight, ...]:
    return tuple(KafkaRight("group", group_name(run, group), operations) for group in groups)


def _produce(run: str) -> tuple[KafkaRight, ...]:
    # `live` goes on from the newest event, so it reads too; it commits nothing and is in no group
    return (
        _all_topics(run, "Describe", "DescribeConfigs"),
        *_each(run, SOURCE_TOPICS, "Write"),
        *_each(run, ("events",), "Read"),
    )


def _consume(run: str) -> tuple[KafkaRight, ...]:
    return (
        _all_topics(run, "Describe", "DescribeConfigs"),
        *_each(run, SOURCE_TOPICS, "Read"),
        *_each(run, (FEATURE_TOPIC, ALERT_TOPIC, DEAD_LETTER_TOPIC), "Write"),
        # the offset that fences the rows stands beside their own topic
        *_each(run, (FEATURE_TOPIC,), "Read"),
        *_groups(run, WORKERS, "Read"),
        # rows are written in transactions: their ids keep a former owner from writing
        KafkaRight("transactional-id", f"{transaction_prefix(run)}*", ("Describe", "Write")),
    )


def _admin(run: str) -> tuple[KafkaRight, ...]:
    return (
        _all_topics(run, "Create", "Delete", "Describe", "DescribeConfigs", "Alter", "AlterConfigs", "Read", "Write"),
        *_groups(run, GROUPS, "Describe", "Read", "Delete"),
        KafkaRight("transactional-id", f"{transaction_prefix(run)}*", ("Describe", "Write")),
    )


def _watch(run: str) -> tuple[KafkaRight, ...]:
    return (_all_topics(run, "Describe"), *_groups(run, GROUPS, "Describe"))


KafkaDuty = Literal["produce", "consume", "watch", "admin"]
KAFKA_DUTIES: Final[Mapping[KafkaDuty, Callable[[str], tuple[KafkaRight, ...]]]] = {
    "produce": _produce,
    "consume": _consume,
    "watch": _watch,
    "admin": _admin,
}
"""What a user of each duty may do, by the run's name. `produce`: replay, live. `consume`: the consumers. `watch`:
status. `admin`: makes and drops topics; the first `replay`, `live` or `consume` of a run, and `demo`."""

ElasticDuty = Literal["write", "read", "admin"]


def elastic_role(duty: ElasticDuty, run: str) -> dict[str, Any]:
    """The role of Elasticsearch for a duty, as `PUT /_security/role/NAME` takes it, and as `roles.yml` has it.

    Args:
        duty: `write` is for the consumers, `read` for dashboards and reports, `admin` for all commands.
        run: the run's name; `*` is every run.
    """
    cluster = {"write": ["monitor", "manage_index_templates"], "read": ["monitor"]}
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
        "admin": ["all"],
    }
    indices = [{"names": _index_names(run), "privileges": privileges[duty]}]
    if duty == "write":
        # measurements that are too old; nothing else is deleted by a consumer
        indices.append({"names": _index_names(run, ("pipeline",)), "privileges": ["delete"]})
    return {"cluster": cluster[duty], "indices": indices}


def _index_names(run: str, only: tuple[str, ...] = ()) -> list[str]:
    """Aliases, and concrete names or patterns that fit no index of another run."""
    # heavy, and `up` imports this module
    from connectors.elasticsearch.mappings import alias, index_pattern, write_index  # noqa: PLC0415
    from consumers.index_definitions import index_definitions, trend_definitions  # noqa: PLC0415

    found = [one for one in (*index_definitions(()), *trend_definitions()) if not only or one.name in only]
    return [
        name
        for one in found
        for name in (alias(run, one.name), (index_pattern if one.monthly else write_index)(run, one.name))
    ]


ELASTIC_DUTIES: Final[tuple[ElasticDuty, ...]] = ("write", "read", "admin")


def acl_commands(duty: KafkaDuty, run: str, principal: str) -> list[str]:
    """The calls of Kafka's own tool that give a user the rights of a duty, without address and login.

    Args:
        duty: of `KAFKA_DUTIES`.
        run: the run's name.
        principal: the user's name.
    """
    lines = []
    for right in KAFKA_DUTIES[duty](run):
        kind = " --resource-pattern-type prefixed" if right.prefixed else ""
        operations = " ".join(f"--operation {operation}" for operation in right.operations)
        name = right.name.removesuffix("*")
        lines.append(f"--add --allow-principal User:{principal} {operations} --{right.resource} {name}{kind}")
    return lines

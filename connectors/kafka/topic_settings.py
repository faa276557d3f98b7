"""Defines the settings of a run's topics and warns about topics created with other settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from features.schema import (
    ALERT_TOPIC,
    COMPACTED_TOPICS,
    DAY_MS,
    DEAD_LETTER_TOPIC,
    FEATURE_TOPIC,
    REPLAYED_TOPIC,
    RUN_NAME_PATTERN,
    SOURCE_TOPICS,
    topic_name,
)

DEAD_LETTER_BYTES_MAX: Final = 16 * 1024 * 1024
DEAD_LETTER_RETENTION_MS: Final = 30 * DAY_MS
ALERT_RETENTION_MS: Final = 90 * DAY_MS
OWN_TOPICS: Final = (FEATURE_TOPIC, ALERT_TOPIC, DEAD_LETTER_TOPIC, REPLAYED_TOPIC)
"""Topics that only the commands of a run create."""
OWN_TOPICS_MIN: Final = 2
TOMBSTONE_SETTING: Final = "delete.retention.ms"
TOMBSTONE_RETENTION_MS: Final = 7 * DAY_MS
"""Minimum time that a compacted topic keeps a null value: Kafka's default of `offsets.retention.minutes`."""


def topic_configs(run: str) -> dict[str, dict[str, str]]:
    """Return full topic name -> settings.

    Sources keep everything for ever (`retention.ms` -1). History is what is replayed, and records stamped years ago
    would otherwise be deleted within minutes. The broker stamps them (LogAppendTime): otherwise it would refuse a
    record two hours ahead with its whole batch. Append time is also the clock for validity.
    """
    forever = {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"}
    configs = {topic_name(run, t): {**forever, "message.timestamp.type": "LogAppendTime"} for t in SOURCE_TOPICS}
    configs[topic_name(run, FEATURE_TOPIC)] = {"message.timestamp.type": "LogAppendTime"}
    configs[topic_name(run, ALERT_TOPIC)] = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(ALERT_RETENTION_MS),
    }
    configs[topic_name(run, DEAD_LETTER_TOPIC)] = {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(DEAD_LETTER_RETENTION_MS),
        # a dead letter holds the largest record that a source accepts, and its headers
        "max.message.bytes": str(DEAD_LETTER_BYTES_MAX),
    }
    configs[topic_name(run, REPLAYED_TOPIC)] = {
        "message.timestamp.type": "LogAppendTime",
        # no dead letter outlives the note of its replay
        "retention.ms": str(DEAD_LETTER_RETENTION_MS),
    }
    for topic in COMPACTED_TOPICS:
        configs[topic_name(run, topic)] |= {
            "cleanup.policy": "compact",
            # a consumer that pauses as long as its offsets are kept still reads the deletions of that time
            TOMBSTONE_SETTING: str(TOMBSTONE_RETENTION_MS),
        }
    return configs


def run_topics(names: Iterable[str]) -> dict[str, list[str]]:
    """Return run -> full names of its topics, of the topics of a cluster.

    The names of the sources are common: `web.orders` of another producer is not a topic of a run `web`. The topics
    belong to a run only if at least two of those exist that nobody but Shopstream creates.

    Args:
        names: full names of all topics of the cluster.
    """
    by_run: dict[str, list[str]] = {}
    for name in sorted(names):
        run, _, topic = name.partition(".")
        if topic in {*SOURCE_TOPICS, *OWN_TOPICS} and re.fullmatch(RUN_NAME_PATTERN, run, re.ASCII):
            by_run.setdefault(run, []).append(name)
    return {
        run: topics
        for run, topics in by_run.items()
        if sum(topic.partition(".")[2] in OWN_TOPICS for topic in topics) >= OWN_TOPICS_MIN
    }


def settings_warnings(topic: str, settings: Mapping[str, str | None], run: str, pause_ms: int) -> list[str]:
    """Return warnings about a source topic that was created with other settings.

    Args:
        topic: full name of the topic.
        settings: settings: name -> value.
        run: name of the run.
        pause_ms: longest pause of a consumer after which its offsets are still kept.
    """
    warnings = []
    if settings.get("message.timestamp.type") != "LogAppendTime":
        warnings.append(
            f"Topic {topic} has message.timestamp.type=CreateTime: future times are compared with the "
            "consumer's clock, and old records may be deleted immediately. LogAppendTime is recommended."
        )
    retention_ms = int(settings.get(TOMBSTONE_SETTING) or pause_ms)
    if topic == topic_name(run, "customers") and retention_ms < pause_ms:
        warnings.append(
            f"Topic {topic} keeps a tombstone for only {retention_ms / 3_600_000:g} hours: a consumer "
            f"that pauses longer keeps the removed profile. Set {TOMBSTONE_SETTING}={pause_ms} on the topic."
        )
    if "delete" in (settings.get("cleanup.policy") or "") and settings.get("retention.ms") != "-1":
        warnings.append(
            f"Topic {topic} deletes records after {settings.get('retention.ms')} ms: records that no "
            "consumer has read by then are lost, and no replay reaches further back."
        )
    return warnings

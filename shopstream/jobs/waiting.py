"""Checks whether the archive has caught up with Kafka, by the lag of its consumer group."""

from __future__ import annotations

from typing import Final

from connectors.kafka.admin import group_lags
from features.errors import ShopstreamError
from features.schema import group_name
from shopstream.embedded import KafkaEndpoint

BEHIND_MAX: Final = 1_000
"""Lag in messages that counts as caught up; against a live shop the lag never reaches 0."""
ROLE: Final = "archive"


def caught_up(kafka: KafkaEndpoint, run: str) -> bool:
    """Return whether the archive has nearly caught up; False if no archive consumer has committed or Kafka is down."""
    try:
        groups = {found.group: found for found in group_lags(kafka, run)}
    except ShopstreamError:
        return False
    archive = groups.get(group_name(run, ROLE))
    return archive is not None and bool(archive.lag_by_topic) and archive.lag <= BEHIND_MAX

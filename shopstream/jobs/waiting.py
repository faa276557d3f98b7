"""Has the archive caught up with Kafka? Asked of the consumer group that writes it."""

from __future__ import annotations

from typing import Final

from connectors.kafka.admin import group_lags
from features.errors import ShopstreamError
from features.schema import group_name
from shopstream.embedded import KafkaEndpoint

BEHIND_MAX: Final = 1_000
"""Messages; a live shop is never caught up with to the last one."""
ROLE: Final = "archive"


def caught_up(kafka: KafkaEndpoint, run: str) -> bool:
    """Whether the archive lacks less than a moment of the run; False while nobody has archived or Kafka is away."""
    try:
        groups = {found.group: found for found in group_lags(kafka, run)}
    except ShopstreamError:
        return False
    archive = groups.get(group_name(run, ROLE))
    return archive is not None and bool(archive.lag_by_topic) and archive.lag <= BEHIND_MAX

"""Counts the messages of the role `map` by what became of them."""

from __future__ import annotations

from collections import Counter

from consumers.dead_letters.producer import OTHER_REASON, REASONS_MAX
from consumers.mapping.held_messages import Released
from consumers.metrics.definitions import DROPPED_PREFIX, LEFT_OUT_PREFIX


class MapCounts:
    """Counts since the start.

    Attributes:
        totals: fields of `MapProgress` that count messages or records.
    """

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def add(self, released: Released) -> None:
        """Count messages that are written: read = valid + left out + rejected."""
        count, refused, left_out = len(released.offsets), len(released.refused), len(released.left_out)
        self.totals.update(
            consumed=count,
            rejected=refused,
            left_out=left_out,
            valid=count - refused - left_out,
            written=len(released.records),
            dropped=len(released.dropped),
        )
        for reason in released.left_out.values():
            _count(self._left_out, reason)
        for value in released.dropped:
            _count(self._dropped, value)

    def by_reason(self) -> dict[str, int]:
        """Return the messages that were left out, by figures with the reason; rare reasons are together."""
        return {f"{LEFT_OUT_PREFIX}{reason}": count for reason, count in self._left_out.items()}

    def dropped(self) -> dict[str, int]:
        """Return the optional values that records cannot hold, by figures with mapping, path and reason."""
        return {f"{DROPPED_PREFIX}{value}": count for value, count in self._dropped.items()}


def _count(counts: Counter[str], reason: str) -> None:
    known = reason in counts or len(counts) < REASONS_MAX
    counts[reason if known else OTHER_REASON] += 1

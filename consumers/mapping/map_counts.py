"""Counts the messages of the role `map` by what became of them."""

from __future__ import annotations

from collections import Counter

from consumers.dead_letters.producer import OTHER_REASON, REASONS_MAX
from consumers.mapping.held_messages import Released
from consumers.metrics.definitions import LEFT_OUT_PREFIX


class MapCounts:
    """Counts since the start.

    Attributes:
        totals: fields of `MapProgress` that count messages or records.
    """

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def add(self, released: Released) -> None:
        """Count messages that are written: read = valid + left out + rejected."""
        count, refused, left_out = len(released.offsets), len(released.refused), len(released.left_out)
        self.totals.update(
            consumed=count,
            rejected=refused,
            left_out=left_out,
            valid=count - refused - left_out,
            written=len(released.records),
        )
        for reason in released.left_out.values():
            known = reason in self._left_out or len(self._left_out) < REASONS_MAX
            self._left_out[reason if known else OTHER_REASON] += 1

    def by_reason(self) -> dict[str, int]:
        """Return the messages that were left out, by figures with the reason; rare reasons are together."""
        return {f"{LEFT_OUT_PREFIX}{reason}": count for reason, count in self._left_out.items()}

"""Writes the features consumer's rows again when an index has lost acknowledged documents.

Each partition's checkpoint holds the identities of the indices that acknowledged its rows. When an index gets a new
identity, the partition's rows of that index become dirty, and then the new identity is held. After a crash in between,
this is repeated. A partition without identities (an older checkpoint) takes the current ones.

The state holds every customer, and the sessions that may still change. It holds no sent alerts, no ended sessions and
no records of orders: their loss is logged with the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import structlog

from connectors.elasticsearch.mappings import belongs_to, write_index
from consumers.state.partition import PartitionState
from features.state.tables import NONE

log = structlog.get_logger("indices")

FIXED: Final = ("customers", "sessions", "alerts")
WATCHED: Final = (*FIXED, "orders", "order-items")
"""Indices that hold documents acknowledged to a partition."""
_REBUILD: Final = "Restore a snapshot of the index, or read the history into a new run (`--run NAME`) and promote it."
_CONSEQUENCES: Final = {
    "customers": ("every customer is written again", ""),
    "sessions": ("sessions that may still change are written again; the state holds no ended sessions", _REBUILD),
    "alerts": ("the state holds no sent alerts; their topic holds them for 90 days", ""),
    "orders": ("orders are written again when they change; the state holds no earlier orders", _REBUILD),
    "order-items": ("lines are written again when their order changes; the state holds no earlier lines", _REBUILD),
}
"""Index -> what happens to its documents, and the remedy."""


class LostIndices:
    """Compares the identities that partitions hold with the current ones.

    Args:
        run: name of the run.
        sink: name of Elasticsearch among the sinks of customers' rows.
    """

    def __init__(self, run: str, sink: str) -> None:
        self._run, self._sink = run, sink
        self._logged: set[tuple[str, str]] = set()

    def mark_lost(self, partition: PartitionState, current: Mapping[str, str]) -> None:
        """Mark the partition's rows of lost indices as dirty.

        Args:
            partition: partition whose `index_ids` are updated.
            current: concrete index -> identity, of all existing indices of `WATCHED`.
        """
        known = partition.index_ids
        # the next document creates a fixed index again; a missing month may have been deleted on purpose
        gone = {name for name in (write_index(self._run, index) for index in FIXED) if known.get(name)} - current.keys()
        now = {**known, **current, **dict.fromkeys(gone, "")}
        if now == known:
            return
        for name in sorted(known):
            if known[name] and now[name] != known[name]:
                self._write_again(partition, name, now[name])
        partition.index_ids = now
        partition.changed = True

    def _write_again(self, partition: PartitionState, name: str, identity: str) -> None:
        index = next(one for one in WATCHED if belongs_to(self._run, one, name))
        state = partition.state
        if index == "customers":
            partition.customers_dirty[self._sink].add(
                np.arange(state.customer_count, dtype=np.int32), low_priority=True
            )
        elif index == "sessions":
            recent = state.sessions["recent"][: state.session_count] != NONE
            partition.sessions_dirty.add(np.flatnonzero(recent).astype(np.int32))
        if (name, identity) not in self._logged:
            self._logged.add((name, identity))
            consequence, remedy = _CONSEQUENCES[index]
            log.warning(
                "an index was deleted or restored; documents are missing",
                index=name,
                consequence=consequence,
                remedy=remedy,
            )

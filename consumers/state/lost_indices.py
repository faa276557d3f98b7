"""What the features consumer does when an index has lost documents that it acknowledged: writes its rows again.

Each partition holds the identities of the indices that its rows were acknowledged by; they are part of its checkpoint.
When an index has another identity, the partition's rows of it wait for the sink once more, and then the new identity
is held. Dying in between does it again. A partition without identities (an older checkpoint) takes those of now.

The state holds every customer, and the sessions that may still change. It holds no sent alerts, no ended sessions and
no records of orders: what is gone of these is told, with the remedy.
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
"""Indices that hold what a partition has acknowledged."""
_REBUILD: Final = (
    "For a whole index restore a snapshot, or read the history into a new run (`--run NAME`) and promote it."
)
_SAID: Final = {
    "customers": ("every customer is written again", ""),
    "sessions": ("sessions that may still change are written again, ended ones are not in the state", _REBUILD),
    "alerts": ("alerts that were sent are not in the state; their topic holds them for 90 days", ""),
    "orders": ("orders are written again when they change; what they were is not in the state", _REBUILD),
    "order-items": ("lines are written again when their order changes; what they were is not in the state", _REBUILD),
}
"""Index -> what becomes of its documents, and what a person may do."""


class LostIndices:
    """Compares the identities that partitions hold with those of now.

    Args:
        run: the run's name.
        sink: the name of Elasticsearch among the sinks of customers' rows.
    """

    def __init__(self, run: str, sink: str) -> None:
        self._run, self._sink = run, sink
        self._told: set[tuple[str, str]] = set()

    def see(self, partition: PartitionState, current: Mapping[str, str]) -> None:
        """Lets the partition's rows of lost indices wait for the sink again.

        Args:
            partition: whose `index_ids` follow.
            current: concrete index -> identity, of all indices of `WATCHED` that there are.
        """
        kept = partition.index_ids
        # a fixed index is made by the next document; a month that is gone may have been deleted on purpose
        gone = {name for name in (write_index(self._run, index) for index in FIXED) if kept.get(name)} - current.keys()
        now = {**kept, **current, **dict.fromkeys(gone, "")}
        if now == kept:
            return
        for name in sorted(kept):
            if kept[name] and now[name] != kept[name]:
                self._write_again(partition, name, now[name])
        partition.index_ids = now
        partition.changed = True

    def _write_again(self, partition: PartitionState, name: str, identity: str) -> None:
        index = next(one for one in WATCHED if belongs_to(self._run, one, name))
        state = partition.state
        if index == "customers":
            partition.customers_dirty[self._sink].add(np.arange(state.customer_count, dtype=np.int32), aged=True)
        elif index == "sessions":
            known = state.sessions["recent"][: state.session_count] != NONE
            partition.sessions_dirty.add(np.flatnonzero(known).astype(np.int32))
        if (name, identity) not in self._told:
            self._told.add((name, identity))
            what, remedy = _SAID[index]
            log.warning("an index was deleted or restored; documents are missing", index=name, now=what, remedy=remedy)

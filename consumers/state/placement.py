"""Refuses a run whose customers are not where the run's partitioner puts them: parts of one would be counted apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from connectors.kafka.client import PARTITIONERS
from consumers.state.partition import PartitionState
from features.errors import ShopstreamError
from features.placement import Placement
from features.schema import Partitioner


def set_placement(partition: PartitionState, placement: Placement) -> None:
    """Give a restored partition its placement, after a check of the customers that it holds.

    Raises:
        ShopstreamError: the state holds customers of other partitions: an earlier program did not check, or the
            partitioner of the run was changed.
    """
    partition.placement = placement
    ids, number = partition.state.customer_ids, partition.number
    misplaced = placement.of_texts(ids.offsets[: ids.count + 1], ids.data) != number
    profiles = list(partition.profiles)
    strangers = placement.misplaced(pa.array(profiles, pa.string()), number)
    if placement.partitions == 1 or not (misplaced.any() or strangers.any()):
        return
    count = int(misplaced.sum()) + int(strangers.sum())
    keys = [*ids.take(np.arange(ids.count, dtype=np.int32)).to_pylist(), *profiles]
    raise misplaced_error(
        f"The state of partition {number} holds {count:,} customers or profiles",
        placement,
        ((key, number) for key in keys),
    )


def misplaced_error(what: str, placement: Placement, keys: Iterable[tuple[str, int]]) -> ShopstreamError:
    """Return the error for records in partitions that the run's partitioner does not give their keys.

    Args:
        what: subject of the message, with its count.
        placement: placement of the run.
        keys: (key, partition) of all records of the same source, right or not, to find another partitioner.
    """
    positions = list(keys)
    other = next((name for name in PARTITIONERS.values() if _fits(name, positions, placement.partitions)), None)
    again = (
        "Write the records into a new run (`--run NAME`): `shopstream map run` and `shopstream replay` send each with "
        "its customer as the key."
    )
    if other is None:
        return ShopstreamError(
            f"{what} that the partitioner {placement.partitioner} puts into other partitions: their customers would be "
            "torn apart. No known partitioner puts all of them where they are.",
            again,
        )
    name = next(name for name, own in PARTITIONERS.items() if own == other)
    return ShopstreamError(
        f"{what} that the partitioner {placement.partitioner} puts into other partitions. The partitioner {other} puts "
        "all of them where they are.",
        f'If every producer of events, orders and customers uses it, set `partitioner = "{name}"` below '
        f"[kafka.properties]. Otherwise customers are torn apart. {again}",
    )


def _fits(partitioner: Partitioner, positions: list[tuple[str, int]], partitions: int) -> bool:
    keys = pa.array([key for key, _ in positions], pa.string())
    numbers = np.array([number for _, number in positions], np.int32)
    return bool((Placement(partitioner, partitions).of(keys) == numbers).all())

"""Whether a checkpoint holds exactly the records before its offsets: no more, no fewer, none twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from oracle.loops import loop_rows
from oracle.rows import assert_same_rows, feature_frame
from pyarrow import fs
from simulation.boundary import Bystander
from simulation.disk import Disk, Files
from stream.scene import Scene

from consumers.checkpoint import CheckpointStore
from consumers.outlets import ELASTIC, TOPIC
from consumers.recovery import restore
from consumers.source import Partition
from features.definitions import evaluate


def check_prefix(
    files: Files, run: str, number: int, name: str, offsets: Mapping[Partition, int], scene: Scene
) -> None:
    """Restores a checkpoint that was just committed and asks the oracle about the records before its offsets.

    Raises:
        AssertionError: they are not what the state counts.
    """
    store = CheckpointStore("state", run)
    store._files = fs.PyFileSystem(Disk(files, Bystander()))
    checkpoint = store.read(number, name)
    partition = restore(checkpoint, [ELASTIC, TOPIC])
    read = {where.topic: [row for row in scene.counting[where][:stop] if row] for where, stop in offsets.items()}
    as_of = max([row["ts"] for row in read["events"]] + [row["updated_ts"] for row in read["orders"]], default=0)
    assert partition.state.stream_time == as_of
    if as_of:
        everyone = np.arange(partition.state.customer_count, dtype=np.int32)
        got = evaluate(partition.state, everyone, as_of)
        expected = feature_frame(loop_rows(read["events"], read["orders"], as_of))
        assert_same_rows(got.select(expected.columns), expected, note=f"in checkpoint {name}")

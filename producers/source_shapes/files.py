"""Writes the messages of shapes to files: a folder for each shape, a file for each partition, a line for each message.

The lines of a file are in the order of the partition. `null` is a tombstone. Keys are not in the files: they only
choose the partition, by their CRC-32 as the partitioner `consistent` of librdkafka does.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from producers.archive.event_order import ArchiveRange, in_time_order
from producers.source_shapes.moments import Admission, moments
from producers.source_shapes.profiles import read_profiles
from producers.source_shapes.shape import Faults, ShapeReport
from producers.source_shapes.shapes import ShapeOptions, open_shapes
from producers.source_shapes.stream import raw_messages

FILE_NAME: Final = "partition-{}.jsonl"


@dataclass(frozen=True, slots=True)
class WrittenShapes:
    """Messages of an archive's shapes.

    Attributes:
        admission: records that no shape can say.
        reports: shape -> what it wrote and refused.
        messages: shape -> number of messages.
    """

    admission: Admission
    reports: Mapping[str, ShapeReport]
    messages: Mapping[str, int]


def write_message_files(
    archive: Path, target: Path, shapes: Sequence[str], faults: Faults, zone: ZoneInfo, partitions: int
) -> WrittenShapes:
    """Write the records of an archive as messages of shapes.

    Args:
        archive: folder of the archive.
        target: new folder for the folders of the shapes.
        shapes: names of shapes.
        faults: faults of the sources.
        zone: time zone of the shop.
        partitions: files of each shape.

    Raises:
        ShopstreamError: the archive is unreadable.
    """
    opened = open_shapes(shapes, ShapeOptions(faults, zone, read_profiles(archive)))
    admission = Admission()
    written: Counter[str] = Counter()
    with ExitStack() as stack:
        files = []
        for name in shapes:
            folder = target / name
            folder.mkdir(parents=True)
            files.append([stack.enter_context((folder / FILE_NAME.format(n)).open("wb")) for n in range(partitions)])
        for chunk in raw_messages(moments(in_time_order(ArchiveRange(archive)), admission), opened):
            for number, key, value in zip(chunk.topics.tolist(), chunk.keys, chunk.values, strict=True):
                files[number][zlib.crc32(key or b"") % partitions].write((b"null" if value is None else value) + b"\n")
                written[shapes[number]] += 1
    reports = {name: shape.report for name, shape in zip(shapes, opened, strict=True)}
    return WrittenShapes(admission, reports, written)

"""Stores a streaming query's own metadata next to Spark's checkpoint, in small numbered files.

Each file gets a new number and is never changed; the highest readable number counts. After a crash during a write
the previous file counts.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

FOLDER: Final = "shopstream"
RETAINED_FILES: Final = 3


class QueryLog(msgspec.Struct, frozen=True):
    """Metadata of one query.

    Attributes:
        run: name of the run.
        partitions: number of partitions of the topics, and of buckets.
        cells: number of cells per bucket.
        epoch: epoch of the current or last start; each start has a higher one.
        topic_ids: source topic -> topic id of the cluster.
        stream_times: bucket number as text -> max event time after the last written batch, epoch ms.
    """

    run: str
    partitions: int
    cells: int
    epoch: int
    topic_ids: dict[str, str]
    stream_times: dict[str, int] = {}


class QueryLogFolder:
    """Metadata files of a checkpoint, on the file system of Spark's checkpoint.

    Args:
        spark: the session.
        checkpoint: URI of the checkpoint.
    """

    def __init__(self, spark: Any, checkpoint: str) -> None:
        self._java = spark.sparkContext._jvm  # noqa: SLF001 - the file systems that Spark writes to
        self._folder = self._java.org.apache.hadoop.fs.Path(f"{checkpoint.rstrip('/')}/{FOLDER}")
        self._files = self._folder.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())  # noqa: SLF001 - as above
        self._next = max(self._numbers(), default=0) + 1

    def newest(self) -> QueryLog | None:
        """Read the newest readable file; None if there is none."""
        for number in sorted(self._numbers(), reverse=True):
            stream = self._files.open(self._path(number))
            try:
                return msgspec.json.decode(
                    bytes(self._java.org.apache.commons.io.IOUtils.toByteArray(stream)), type=QueryLog
                )
            except msgspec.MsgspecError:
                continue
            finally:
                stream.close()
        return None

    def write(self, log: QueryLog) -> None:
        """Write a new file, which counts from now on, and delete old ones."""
        stream = self._files.create(self._path(self._next), False)
        stream.write(msgspec.json.encode(log))
        stream.close()
        self._next += 1
        for number in self._numbers():
            if number < self._next - RETAINED_FILES:
                self._files.delete(self._path(number), False)

    def _numbers(self) -> list[int]:
        if not self._files.exists(self._folder):
            return []
        names = [status.getPath().getName() for status in self._files.listStatus(self._folder)]
        return [int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal()]

    def _path(self, number: int) -> Any:
        return self._java.org.apache.hadoop.fs.Path(self._folder, f"{number:012d}.json")

"""What a streaming query has to know of itself beside Spark's own checkpoint: small files in a folder of it.

Each is written under a new number and never changed; the highest that can be read counts, so that dying while one is
written leaves the one before.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

FOLDER: Final = "shopstream"
KEPT: Final = 3


class QueryLog(msgspec.Struct, frozen=True):
    """Of one query.

    Attributes:
        run: the run's name.
        partitions: of the topics, and buckets.
        cells: of each bucket.
        epoch: of the start that runs, or ran last; higher at each.
        topic_ids: source topic -> what the cluster told it apart by.
        stream_times: bucket's number as text -> its stream time after the last batch that was written, epoch ms.
    """

    run: str
    partitions: int
    cells: int
    epoch: int
    topic_ids: dict[str, str]
    stream_times: dict[str, int] = {}


class QueryLogFolder:
    """The notes of a checkpoint, on whatever file system Spark keeps it.

    Args:
        spark: the session.
        checkpoint: its URI.
    """

    def __init__(self, spark: Any, checkpoint: str) -> None:
        self._java = spark.sparkContext._jvm  # noqa: SLF001 - the file systems that Spark writes to
        self._folder = self._java.org.apache.hadoop.fs.Path(f"{checkpoint.rstrip('/')}/{FOLDER}")
        self._files = self._folder.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())  # noqa: SLF001 - as above
        self._next = max(self._numbers(), default=0) + 1

    def newest(self) -> QueryLog | None:
        """The notes that count; None when there are none."""
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

    def write(self, notes: QueryLog) -> None:
        """Notes that count from now on."""
        stream = self._files.create(self._path(self._next), False)
        stream.write(msgspec.json.encode(notes))
        stream.close()
        self._next += 1
        for number in self._numbers():
            if number < self._next - KEPT:
                self._files.delete(self._path(number), False)

    def _numbers(self) -> list[int]:
        if not self._files.exists(self._folder):
            return []
        names = [status.getPath().getName() for status in self._files.listStatus(self._folder)]
        return [int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal()]

    def _path(self, number: int) -> Any:
        return self._java.org.apache.hadoop.fs.Path(self._folder, f"{number:012d}.json")

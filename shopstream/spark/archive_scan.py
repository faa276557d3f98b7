"""Reads archive files in tasks, by `pyarrow.fs` or by Spark if only Hadoop supports the file system.

Either way the same code validates the same bytes. Arrow opens a file in place and reads a few row groups at a time.
Spark passes whole files, so a task holds all bytes of a file, and files should be of moderate size.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from features.errors import ShopstreamError
from features.records.archive_rows import event_rows, order_rows
from features.schema import DAY_COLUMN
from shopstream.spark.archive_files import REMEDY, DayFile, list_files, read_file, read_opened, select_days
from shopstream.spark.options import Reader
from shopstream.spark.shuffle_rows import SHUFFLED_DDL, shuffle_events, shuffle_orders

SPARK_FILE_BYTES_MAX: Final = 1_000_000_000
"""A row of Spark holds at most 2 GB, and both Java and Python hold a copy."""
_GLOB: Final = re.compile(r"([\[\]{}*?\\])")


class Files(Protocol):
    """Files of one archive, as seen by the driver."""

    @property
    def uri(self) -> str:
        """URI of the archive's folder."""

    def listed(self, up_to: int) -> list[DayFile]:
        """List the files of days that begin by a time (epoch ms), by path; raises ShopstreamError as `list_files`."""

    def read(self, file: DayFile) -> Iterator[pa.Table]:
        """Yield the rows of a file, as `archive_files.read_file`."""

    def records(self, task_files: Sequence[Sequence[DayFile]], up_to: int, file_counts: Any) -> Any:
        """Return the valid records, up to a time, as a Spark frame with the columns of `shuffle_rows.MOVED`.

        Args:
            task_files: files of each reading task, if tasks choose their files.
            up_to: latest time of a record, epoch ms.
            file_counts: accumulator: for each file its topic, rows, and invalid rows by reason.
        """


def hadoop_path(uri: str) -> str:
    """Decode a URI for Hadoop, which takes `%20` literally; Python writes it for a space in a path."""
    return unquote(uri) if uri.startswith("file:") else uri


def escape_glob(path: str) -> str:
    """Escape the pattern characters of a path for Spark."""
    return _GLOB.sub(r"\\\1", path)


def archive_files(spark: Any, uri: str, reader: Reader = "auto") -> Files:
    """Open the files of an archive.

    Args:
        spark: the session.
        uri: URI of the archive's folder.
        reader: reader of the files; `auto` takes Arrow if it supports the file system.
    """
    if reader == "spark" or (reader == "auto" and not arrow_opens(uri)):
        return SparkFiles(spark, hadoop_path(uri))
    return ArrowFiles(spark, uri)


def arrow_opens(uri: str) -> bool:
    """Return whether `pyarrow.fs` on this machine supports the file system of a URI."""
    try:
        fs.FileSystem.from_uri(uri)
    except (ValueError, NotImplementedError):
        return False
    except OSError:
        # Hadoop's file systems need a native library that Spark does not use; other systems' errors must be reported
        return not uri.startswith(("hdfs:", "viewfs:"))
    return True


@dataclass(frozen=True, slots=True)
class ArrowFiles:
    """Files that tasks open by `pyarrow.fs`."""

    spark: Any
    uri: str

    def listed(self, up_to: int) -> list[DayFile]:
        """Implements Files."""
        return list_files(self.uri, up_to)

    def read(self, file: DayFile) -> Iterator[pa.Table]:
        """Implements Files."""
        files, _ = fs.FileSystem.from_uri(self.uri)
        return read_file(files, file)

    def records(self, task_files: Sequence[Sequence[DayFile]], up_to: int, file_counts: Any) -> Any:
        """Implements Files."""
        shared = self.spark.sparkContext.broadcast(task_files)
        tasks = self.spark.range(0, len(task_files), 1, max(len(task_files), 1))
        return tasks.mapInArrow(functools.partial(read_task_files, self.uri, up_to, shared, file_counts), SHUFFLED_DDL)


@dataclass(frozen=True, slots=True)
class SparkFiles:
    """Files that Spark reads, on any file system that Hadoop supports."""

    spark: Any
    uri: str

    def listed(self, up_to: int) -> list[DayFile]:
        """Implements Files; also refuses a file that is too large."""
        files_of = {topic: files for topic in DAY_COLUMN if (files := self._of_topic(topic)) is not None}
        listed = select_days(self.uri, files_of, up_to)
        for file in listed:
            if file.size > SPARK_FILE_BYTES_MAX:
                raise ShopstreamError(
                    f"{file.path} has {file.size:,} bytes; Spark reads at most {SPARK_FILE_BYTES_MAX:,} per file.",
                    "Write the day as several files, or give the archive by a URI that pyarrow.fs can open.",
                )
        return listed

    def _of_topic(self, topic: str) -> list[tuple[str, int]] | None:
        """Return paths and bytes of all files in a topic's folder; None if there is no folder."""
        from pyspark.errors import AnalysisException, PySparkException  # noqa: PLC0415

        try:
            rows = self._whole([f"{self.uri.rstrip('/')}/{topic}"]).select("path", "length").collect()
        except AnalysisException as error:
            if error.getCondition() == "PATH_NOT_FOUND":
                return None
            raise
        except PySparkException as error:
            raise ShopstreamError(f"The archive {self.uri} cannot be listed: {error}.", REMEDY) from error
        return [(row.path, row.length) for row in rows]

    def _whole(self, paths: list[str]) -> Any:
        source = self.spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        return source.load([escape_glob(path) for path in paths])

    def read(self, file: DayFile) -> Iterator[pa.Table]:
        """Implements Files."""
        (row,) = self._whole([file.path]).select("content").collect()
        return read_opened(lambda: pa.BufferReader(row.content), file.path, file.topic)

    def records(self, task_files: Sequence[Sequence[DayFile]], up_to: int, file_counts: Any) -> Any:
        """Implements Files; Spark packs the files into tasks (`spark.sql.files.maxPartitionBytes`)."""
        records = self.spark.createDataFrame([], SHUFFLED_DDL)
        for topic in DAY_COLUMN:
            paths = [file.path for deal in task_files for file in deal if file.topic == topic]
            if paths:
                contents = self._whole(paths).select("path", "content")
                records = records.union(
                    contents.mapInArrow(functools.partial(read_contents, topic, up_to, file_counts), SHUFFLED_DDL)
                )
        return records


# --- in the tasks -----------------------------------------------------------------------------------------------------
def read_task_files(
    archive: str, up_to: int, task_files: Any, file_counts: Any, tasks: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield the valid records, up to a time, of the files assigned to some tasks.

    Args:
        archive: URI of the archive's folder.
        up_to: latest time of a record, epoch ms.
        task_files: broadcast: the files of each task.
        file_counts: accumulator: for each file its topic, rows, and invalid rows by reason.
        tasks: numbers of the tasks.

    Yields:
        Rows of `shuffle_rows.MOVED`.
    """
    files, _ = fs.FileSystem.from_uri(archive)
    for batch in tasks:
        for task in batch.column(0).to_pylist():
            for file in task_files.value[task]:
                yield from _validated(read_file(files, file), file.path, file.topic, up_to, file_counts)


def read_contents(
    topic: str, up_to: int, file_counts: Any, files: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield records like `read_task_files`, from the paths and contents of files that Spark has read."""
    for batch in files:
        for path, content in zip(batch.column("path"), batch.column("content"), strict=True):
            name = path.as_py()
            tables = read_opened(functools.partial(pa.BufferReader, content.as_buffer()), name, topic)
            yield from _validated(tables, name, topic, up_to, file_counts)


def _validated(
    tables: Iterable[pa.Table], path: str, topic: str, up_to: int, file_counts: Any
) -> Iterator[pa.RecordBatch]:
    number, rejected = 0, Counter[str]()
    for table in tables:
        number += table.num_rows
        if topic == "events":
            events = event_rows(table)
            rejected += events.rejected
            records = shuffle_events(events.columns)
        else:
            orders = order_rows(table)
            rejected += orders.rejected
            records = shuffle_orders(orders.columns)
        yield records.filter(pc.less_equal(records.column("at"), up_to))
    file_counts.add({path: (topic, number, dict(rejected))})

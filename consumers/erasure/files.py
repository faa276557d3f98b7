"""Erases one customer's profile from files: checkpoints of a run, and archives."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from connectors.files import PARTIAL_SUFFIX, store_whole
from consumers.archive.files import COMPRESSION, PARTS_FOLDER, STAGED_FOLDER
from consumers.checkpoints.store import CHECKPOINT, OWNER, PARTITION_FOLDER, CheckpointStore, DamagedError, open_files
from features.errors import ShopstreamError
from features.schema import CONTACT_FIELDS, CUSTOMERS_FILE

UNFINISHED: Final = (PARTIAL_SUFFIX, ".tmp")
"""Name suffixes of a writer's unfinished files; `.tmp` is that of archives of format 1."""
BUSY_MS: Final = 60_000
"""Age below which an unreadable file counts as being written, ms."""
_PROFILE_COLUMNS: Final = ("customer_id", *CONTACT_FIELDS)
_OURS: Final = re.compile(rf"{CHECKPOINT.pattern}|{OWNER.pattern}|\d+-[0-9a-f]+\.ids", re.ASCII)


@dataclass(slots=True)
class FileCounts:
    """Counts of files processed by an erasure.

    Attributes:
        seen: number of files examined.
        changed: number of files rewritten, or deleted because they are unreadable.
        busy: files that are being written and may hold the profile when complete.
        strange: files with foreign names; left unchanged.
    """

    seen: int = 0
    changed: int = 0
    busy: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)


def forget_in_checkpoints(uri: str, run: str, customer_id: str, now_ms: int) -> FileCounts:
    """Rewrite every checkpoint of a run that holds the profile without it; errors as ShopstreamError."""
    store = CheckpointStore(uri, run)
    files, root = open_files(uri)
    counts = FileCounts()
    try:
        for partition in store.partitions():
            for name in store.names(partition):
                path = f"{root.rstrip('/')}/{run}/partition={partition}/{name}"
                try:
                    counts.changed += store.forget_profile(partition, name, customer_id)
                    counts.seen += 1
                except DamagedError:
                    # a worker is writing or has deleted it; otherwise it is unreadable for good
                    _unreadable(files, path, counts, now_ms)
        _examine_other_files(files, f"{root.rstrip('/')}/{run}", counts)
    except OSError as error:
        raise ShopstreamError(f"The checkpoints of {run} in {uri} cannot be written: {error}.") from error
    return counts


def _examine_other_files(files: Any, root: str, counts: FileCounts) -> None:
    """Examine the files of a run's state folder that are neither checkpoints nor event ids."""
    for info in files.get_file_info(pafs.FileSelector(root, recursive=True, allow_not_found=True)):
        folder, _, name = info.path.removeprefix(f"{root}/").rpartition("/")
        if info.type != pafs.FileType.File or (PARTITION_FOLDER.fullmatch(folder) and _OURS.fullmatch(name)):
            continue
        if PARTITION_FOLDER.fullmatch(folder) and name.endswith(UNFINISHED) and CHECKPOINT.match(name):
            # copy of an erasure that was killed
            files.delete_file(info.path)
            counts.changed += 1
        else:
            counts.strange.append(info.path)


def _unreadable(files: Any, path: str, counts: FileCounts, now_ms: int) -> None:
    """Handle a truncated file: it is being written, or its writer crashed long ago and the file is not needed."""
    (info,) = files.get_file_info([path])
    if info.type == pafs.FileType.NotFound:
        return
    if info.mtime_ns is not None and now_ms - info.mtime_ns // 1_000_000 < BUSY_MS:
        counts.busy.append(path)
        return
    files.delete_file(path)
    counts.changed += 1


def forget_in_archive(uri: str, customer_id: str, now_ms: int) -> FileCounts:
    """Rewrite the profiles of an archive without the customer's, each file atomically.

    Raises:
        ShopstreamError: a file cannot be read or written.
    """
    try:
        files, root = pafs.FileSystem.from_uri(uri) if "://" in uri else (pafs.LocalFileSystem(), uri)
        counts = FileCounts()
        for path in _profile_files(files, root):
            counts.seen += 1
            _without(files, path, customer_id, counts, now_ms)
    except (OSError, pa.ArrowInvalid) as error:
        raise ShopstreamError(f"The profiles of the archive {uri} cannot be rewritten: {error}.") from error
    return counts


def _profile_files(files: Any, root: str) -> list[str]:
    parts = files.get_file_info(pafs.FileSelector(f"{root}/{PARTS_FOLDER}", allow_not_found=True))
    siblings = files.get_file_info(pafs.FileSelector(root, allow_not_found=True))
    paths = [info.path for info in parts if info.base_name.endswith((".parquet", *UNFINISHED))]
    # a crashed writer's unfinished file is in the same folder as the finished one
    paths += [info.path for info in siblings if CUSTOMERS_FILE in info.base_name and info.type == pafs.FileType.File]
    staged = files.get_file_info(pafs.FileSelector(f"{root}/{STAGED_FOLDER}", recursive=True, allow_not_found=True))
    return paths + [info.path for info in staged if info.type == pafs.FileType.File]


def _without(files: Any, path: str, customer_id: str, counts: FileCounts, now_ms: int) -> None:
    try:
        with files.open_input_file(path) as file:
            if not set(_PROFILE_COLUMNS) <= set(pq.read_schema(file).names):
                return  # staged clicks or orders
            file.seek(0)
            table = pq.read_table(file)
    except FileNotFoundError:  # a running archive consumer has replaced the file
        return
    except pa.ArrowInvalid:
        if not path.endswith(UNFINISHED) and f"/{STAGED_FOLDER}/" not in path:
            raise
        _unreadable(files, path, counts, now_ms)
        return
    remaining = table.filter(
        pc.fill_null(pc.not_equal(table["customer_id"], pa.scalar(customer_id, pa.string())), True)
    )
    if remaining.num_rows == table.num_rows:
        return
    try:
        # the schema is written with the consumer's metadata
        store_whole(files, path, lambda stream: pq.write_table(remaining, stream, compression=COMPRESSION))
    except FileNotFoundError:
        return
    counts.changed += 1

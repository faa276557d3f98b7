"""Lists, measures and removes the checkpoints in a state folder."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from consumers.checkpoints.recovery import DIRTY, CommittedCheckpoint
from consumers.checkpoints.store import CHECKPOINT, PARTITION_FOLDER, CheckpointStore, open_files
from features.errors import ShopstreamError
from features.schema import check_run


@dataclass(frozen=True, slots=True)
class StoredState:
    """Checkpoints of a run.

    Attributes:
        run: name of the run.
        partitions: number of partitions with checkpoints.
        checkpoints: number of current and previous checkpoints.
        size_bytes: size of all files, event ids included.
        newest_ms: modification time of the newest file, epoch ms; None if the store does not provide it.
    """

    run: str
    partitions: int
    checkpoints: int
    size_bytes: int
    newest_ms: int | None


def stored_states(uri: str) -> list[StoredState]:
    """Return the checkpoints of every run, sorted by run; none if the folder does not exist.

    Args:
        uri: local path, or URI that `pyarrow.fs` opens.

    Raises:
        ShopstreamError: the folder cannot be opened or listed.
    """
    files, root = open_files(uri)
    prefix = root.rstrip("/") + "/"
    try:
        entries = files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    except OSError as error:
        raise ShopstreamError(f"The state folder {uri} cannot be listed: {error}.", "Correct --state.") from error
    by_run: dict[str, list[tuple[list[str], fs.FileInfo]]] = {}
    for info in entries:
        run, *rest = info.path.removeprefix(prefix).split("/")
        if info.type == fs.FileType.File and len(rest) == 2 and PARTITION_FOLDER.fullmatch(rest[0]):
            by_run.setdefault(run, []).append((rest, info))
    return [
        StoredState(
            run,
            len({rest[0] for rest, _ in run_files}),
            sum(CHECKPOINT.fullmatch(rest[1]) is not None for rest, _ in run_files),
            sum(info.size or 0 for _, info in run_files),
            max((info.mtime_ns // 1_000_000 for _, info in run_files if info.mtime_ns), default=None),
        )
        for run, run_files in sorted(by_run.items())
    ]


def check_writable(uri: str) -> None:
    """Write and delete a small file, to detect a read-only folder before the first checkpoint is due.

    Raises:
        ShopstreamError: the folder cannot be written.
    """
    files, root = open_files(uri)
    path = f"{root.rstrip('/')}/.probe-{uuid.uuid4().hex}"
    try:
        files.create_dir(root, recursive=True)
        with files.open_output_stream(path) as stream:
            stream.write(b"probe")
        files.delete_file(path)
    except OSError as error:
        raise ShopstreamError(
            f"The state folder {uri} cannot be written: {error}.",
            "Choose another folder with --state, or grant write access.",
        ) from error


def unwritten_rows(uri: str, run: str, committed: Mapping[int, CommittedCheckpoint]) -> int:
    """Count the rows of the current checkpoints whose documents or messages were not acknowledged at checkpoint time.

    Args:
        uri: path or URI of the state folder.
        run: name of the run.
        committed: partition -> its committed checkpoint; a partition without one has no rows.

    Raises:
        ShopstreamError: a checkpoint is missing or damaged.
    """
    store = CheckpointStore(uri, run)
    outlines = [store.outline(number, one.checkpoint)[1] for number, one in committed.items() if one.checkpoint]
    return sum(rows for arrays in outlines for name, rows in arrays.items() if name.startswith(DIRTY))


def remove_state(uri: str, run: str) -> bool:
    """Delete every checkpoint of a run; return whether there was any.

    Raises:
        UsageError: the run's name is not allowed.
        ShopstreamError: the folder cannot be opened, or a part of it cannot be deleted.
    """
    check_run(run)
    return remove_folder(uri, run)


def remove_folder(uri: str, name: str) -> bool:
    """Delete a folder and its contents, or only the link if it is one; return whether it existed.

    Args:
        uri: local path or URI of the parent folder.
        name: name of the folder.

    Raises:
        ShopstreamError: the parent folder cannot be opened, or an entry cannot be deleted.
    """
    files, root = open_files(uri)
    path = f"{root.rstrip('/')}/{name}"
    try:
        if isinstance(files, fs.LocalFileSystem) and Path(path).is_symlink():
            Path(path).unlink()
            return True
        if files.get_file_info([path])[0].type != fs.FileType.Directory:
            return False
        files.delete_dir(path)
    except OSError as error:
        raise ShopstreamError(f"{path} cannot be deleted: {error}.", "Delete it manually, then try again.") from error
    return True

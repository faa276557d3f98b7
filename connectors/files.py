"""Writes files atomically and durably: after a crash or a power loss a reader finds the old file or the new one.

Small state files and the provenance of results are written the same way.

Logs are the exception: they are appended to, and `open_private_log` only keeps other users from reading them.

`write_whole` is for local paths, `store_whole` for any file system of `pyarrow.fs`. Both return only when the file and
its directory entry are on disk, so a commit that names the file may follow. Object stores show and keep an object only
when it is complete, so they need neither the rename nor the fsync.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

import filelock
import msgspec

from connectors.clock import wall_clock_ms
from features.errors import ShopstreamError

if TYPE_CHECKING:
    from pyarrow import fs

N = TypeVar("N", bound=msgspec.Struct)
MADE_FILE: Final = "made.json"
"""The only result file that holds a creation time."""
PARTIAL_SUFFIX: Final = ".partial"
"""Suffix of a file that is being written. A killed process leaves such a file behind."""

WHOLE_OR_NOTHING: Final = frozenset({"s3", "gcs", "abfs"})
"""Types of file systems where an object appears only when it is complete, and where a rename would be a copy."""


def write_whole(path: Path, write: Callable[[Path], object], *, mode: int | None = None) -> None:
    """Replace `path` atomically. The new file is on disk on return.

    Args:
        path: local file to create or replace. A missing folder is created.
        write: function that writes the file to the path it receives.
        mode: permission bits; None keeps those of the replaced file, or the process's default for a new one.

    Raises:
        OSError: the file cannot be written. The old one is unchanged and no partial file remains.
    """
    path = path.absolute()
    is_new_folder = not path.parent.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}")
    try:
        if mode is not None:
            # created with its final permissions: a secret is never readable, not even briefly
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        write(partial)
        if mode is not None:
            partial.chmod(mode)
        elif path.exists():
            partial.chmod(path.stat().st_mode & 0o7777)
        _fsync(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _fsync(path.parent)
    if is_new_folder:
        _sync_above(str(path.parent), lambda folder: _fsync(Path(folder)))


def store_whole(files: fs.FileSystem, path: str, write: Callable[[Any], object]) -> None:
    """Write a file of `files` atomically. It is on disk on return.

    Args:
        files: any file system of `pyarrow.fs`. The file's folder exists.
        path: file to create or replace. A replaced local file keeps its permission bits.
        write: function that writes the content to the open stream it receives.

    Raises:
        OSError: the file cannot be written. An older file of this name is unchanged and no partial file remains.
    """
    if files.type_name in WHOLE_OR_NOTHING:
        with files.open_output_stream(path) as stream:
            write(stream)
        return
    partial = f"{path}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}"
    try:
        mode = _mode_of(files, path)
        if mode is not None:
            # a file that only its owner may read is never readable by others, not even while it is written
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with files.open_output_stream(partial) as stream:
            write(stream)
        if mode is not None:
            Path(partial).chmod(mode)
        sync(files, partial)
        files.move(partial, path)
    except BaseException:
        delete_stray(files, partial)
        raise
    sync(files, path.rpartition("/")[0])


def _mode_of(files: fs.FileSystem, path: str) -> int | None:
    """Return the permission bits of a local file; None for a missing file and on other file systems."""
    from pyarrow import fs  # noqa: PLC0415 - as in `sync`

    if not isinstance(files, fs.LocalFileSystem) or not Path(path).exists():
        return None
    return Path(path).stat().st_mode & 0o7777


def make_folder(files: fs.FileSystem, path: str) -> None:
    """Create a folder and its parents. The directory entries of all of them are on disk on return.

    The entries of existing folders are synchronised too, up to the root. The process that created one may have
    crashed before synchronising it, and losing that entry would lose everything below.

    Raises:
        OSError: the folder cannot be created.
    """
    from pyarrow import fs  # noqa: PLC0415 - as in `sync`

    if files.get_file_info([path])[0].type == fs.FileType.NotFound:
        files.create_dir(path, recursive=True)
    _sync_above(path, lambda folder: sync(files, folder))


def _sync_above(path: str, sync_folder: Callable[[str], None]) -> None:
    """Synchronise the entries of a folder and of all folders above it."""
    parent = path.rpartition("/")[0]
    while parent:
        # a process that may not read a folder has not created anything in it
        with suppress(PermissionError):
            sync_folder(parent)
        parent = parent.rpartition("/")[0]


def delete_stray(files: fs.FileSystem, path: str) -> None:
    """Delete an unreferenced file if possible. It may never have been created."""
    with suppress(OSError):
        files.delete_file(path)


def publish_folder(partial: Path, target: Path) -> None:
    """Rename a finished folder to its final name. The folder and its contents are on disk on return.

    Args:
        partial: local folder on the file system of `target`.
        target: final path, where nothing or an empty folder may exist.

    Raises:
        OSError: the folder cannot be moved; `partial` stays.
    """
    for folder, _, names in os.walk(partial):
        for name in names:
            _fsync(Path(folder, name))
        _fsync(Path(folder))
    partial.rename(target)
    _fsync(target.parent)


def open_private_log(path: Path) -> BinaryIO:
    """Open a log for appending; file and folder are closed to other users, whatever the umask and the former mode.

    Raises:
        OSError: the file cannot be opened, or it belongs to another user.
    """
    private_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


def private_lock(path: Path) -> filelock.FileLock:
    """Return a lock whose file other users cannot open, and so cannot hold.

    Raises:
        OSError: the file belongs to another user.
    """
    with suppress(FileNotFoundError):
        path.chmod(0o600)
    return filelock.FileLock(path, mode=0o600)


def private_folder(path: Path) -> Path:
    """Return the folder, created if missing and closed to other users.

    Raises:
        OSError: the folder cannot be created, or it belongs to another user.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def sync(files: fs.FileSystem, path: str) -> None:
    """Return when a file's content, or a folder's entries, are on disk.

    Local file systems are synchronised, and file systems written in Python whose handler has a `sync(path)`. For all
    others a closed file counts as durable.
    """
    from pyarrow import fs  # noqa: PLC0415 - commands import this module for their help, too

    if isinstance(files, fs.LocalFileSystem):
        _fsync(Path(path))
    elif isinstance(files, fs.PyFileSystem) and hasattr(files.handler, "sync"):
        files.handler.sync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- small files ------------------------------------------------------------------------------------------------------


def read_note(path: Path, kind: type[N], remedy: str) -> N | None:
    """Return the program's own note in a file, or None if the file is missing.

    Raises:
        ShopstreamError: the file is damaged; with `remedy`.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ShopstreamError(f"{path} is damaged: {error}.", remedy) from error


def write_note(path: Path, note: msgspec.Struct) -> None:
    """Replace the note atomically. It is on disk on return and closed to other users."""
    content = msgspec.json.format(msgspec.json.encode(note)) + b"\n"
    write_whole(path, lambda partial: partial.write_bytes(content), mode=0o600)


def write_made(folder: Path, made_of: Mapping[str, Any], files: list[str]) -> None:
    """Write `made.json` next to results: their inputs, checksums and creation time.

    Args:
        folder: folder of the results.
        made_of: inputs and options, JSON values.
        files: names of the result files.
    """
    content = {
        "made_at": datetime.fromtimestamp(wall_clock_ms() // 1_000, UTC).isoformat(timespec="seconds"),
        "program": f"shopstream {importlib.metadata.version('shopstream')}",
        "made_of": dict(made_of),
        "files": {name: checksum(folder / name) for name in files},
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / MADE_FILE, lambda path: path.write_text(text, "utf-8"))


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()

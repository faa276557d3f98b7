"""Writes files whole and durably: after a crash or a power loss a reader finds the old file or the new one.

Logs are the exception: they are appended to, and `open_private_log` only sees to it that no other user reads them.

`write_whole` is for local paths, `store_whole` for any file system of `pyarrow.fs`. Both return only when the file and
its entry in the folder have reached the disk, so a commit that names the file may follow. Object stores show and keep
an object only when it is complete, and need neither the rename nor the fsync.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import filelock

if TYPE_CHECKING:
    from pyarrow import fs

PARTIAL_SUFFIX: Final = ".partial"
"""Ends the name of a file that is being written; a process that is killed leaves it behind."""

WHOLE_OR_NOTHING: Final = frozenset({"s3", "gcs", "abfs"})
"""Types of file systems where an object appears only when it is complete, and where a rename would be a copy."""


def write_whole(path: Path, write: Callable[[Path], object], *, mode: int | None = None) -> None:
    """Replaces `path` in one step; the new file has reached the disk when this returns.

    Args:
        path: local file to create or replace; its folder is made if it is missing.
        write: writes the file under the path that it is given.
        mode: permission bits; None keeps those of the file that is replaced, or the process's default for a new one.

    Raises:
        OSError: the file cannot be written; the old one is unchanged and nothing is left beside it.
    """
    path = path.absolute()
    is_new_folder = not path.parent.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}")
    try:
        if mode is not None:
            # created with its rights: a secret is never readable for a moment
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
    for folder in path.parents if is_new_folder else [path.parent]:
        with suppress(PermissionError):
            _fsync(folder)


def store_whole(files: fs.FileSystem, path: str, write: Callable[[Any], object]) -> None:
    """Writes a file of `files` in one step; it has reached the disk when this returns.

    Args:
        files: any file system of `pyarrow.fs`; its folder exists.
        path: file to create or replace; a local one that is replaced keeps its permission bits.
        write: writes the content to the open stream that it is given.

    Raises:
        OSError: the file cannot be written; an older one of this name is unchanged and nothing is left beside it.
    """
    if files.type_name in WHOLE_OR_NOTHING:
        with files.open_output_stream(path) as stream:
            write(stream)
        return
    partial = f"{path}.{uuid.uuid4().hex[:12]}{PARTIAL_SUFFIX}"
    try:
        mode = _mode_of(files, path)
        if mode is not None:
            # nobody else ever reads what only its owner may read
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
    """Permission bits of a local file; None for one that is not there, and on other file systems."""
    from pyarrow import fs  # noqa: PLC0415 - as in `sync`

    if not isinstance(files, fs.LocalFileSystem) or not Path(path).exists():
        return None
    return Path(path).stat().st_mode & 0o7777


def make_folder(files: fs.FileSystem, path: str) -> None:
    """Creates a folder and those above it; the entries of all of them have reached the disk when this returns.

    Entries of folders that exist are synchronised too, up to the root: the process that created one may have died
    before it did so, and what is lost with it is everything below.

    Raises:
        OSError: it cannot be created.
    """
    from pyarrow import fs  # noqa: PLC0415 - as in `sync`

    if files.get_file_info([path])[0].type == fs.FileType.NotFound:
        files.create_dir(path, recursive=True)
    parent = path.rpartition("/")[0]
    while parent:
        # a process that may not read a folder has not created anything in it
        with suppress(PermissionError):
            sync(files, parent)
        parent = parent.rpartition("/")[0]


def delete_stray(files: fs.FileSystem, path: str) -> None:
    """Deletes a file that nothing names, as far as it is possible: it may never have been created."""
    with suppress(OSError):
        files.delete_file(path)


def publish_folder(partial: Path, target: Path) -> None:
    """Gives a finished folder its name; it has reached the disk, with all that it holds, when this returns.

    Args:
        partial: local folder beside `target` or elsewhere on its file system.
        target: where it is to be; nothing, or an empty folder, may be there.

    Raises:
        OSError: it cannot be moved; `partial` stays.
    """
    for folder, _, names in os.walk(partial):
        for name in names:
            _fsync(Path(folder, name))
        _fsync(Path(folder))
    partial.rename(target)
    _fsync(target.parent)


def open_private_log(path: Path) -> BinaryIO:
    """Opens a log to append to it; file and folder are closed to other users, whatever the umask and the mode before.

    Raises:
        OSError: the file cannot be opened, or it belongs to another user.
    """
    private_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


def private_lock(path: Path) -> filelock.FileLock:
    """A lock whose file no other user can open, and so hold; earlier versions left it readable.

    Raises:
        OSError: the file belongs to another user.
    """
    with suppress(FileNotFoundError):
        path.chmod(0o600)
    return filelock.FileLock(path, mode=0o600)


def private_folder(path: Path) -> Path:
    """The folder, made where missing and closed to other users.

    Raises:
        OSError: it cannot be made, or it belongs to another user.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def sync(files: fs.FileSystem, path: str) -> None:
    """Returns when a file's content, or a folder's entries, have reached the disk.

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

"""A disk in memory: full or slow at times, cut off in the middle of a file by a death, torn by a power loss."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs
from simulation.boundary import Boundary, Killed

STATE = "/state"
"""The folder of checkpoints; as that of the archive, it is there before anything is written."""
SLOW_S = 12.0
"""How long a slow write takes: longer than a member's session."""


@dataclass(eq=False)
class Inode:
    """A file's content, whatever its name: what readers see, and what has reached the disk."""

    data: bytes = b""
    synced: bytes = b""
    is_folder: bool = False


@dataclass(frozen=True, eq=False)
class Change:
    """A name that was made, taken away, or both (a rename); a power loss may undo it until its folder is synced."""

    inode: Inode | None
    added: str | None = None
    removed: str | None = None

    @property
    def names(self) -> set[str]:
        return {name for name in (self.added, self.removed) if name is not None}

    def apply(self, names: dict[str, Inode]) -> None:
        """A rename is one step: no reader and no power loss finds both names, or neither."""
        if self.removed is not None:
            names.pop(self.removed, None)
        if self.added is not None and self.inode is not None:
            names[self.added] = self.inode


class Store:
    """The files of a world: they outlive every process, and a power loss only as far as they were synced."""

    def __init__(self) -> None:
        self._names: dict[str, Inode] = {}
        self._kept: dict[str, Inode] = {}
        self._pending: list[Change] = []

    def __contains__(self, path: str) -> bool:
        return path in self._names and not self._names[path].is_folder

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in sorted(self._names) if not self._names[name].is_folder])

    def inode(self, path: str) -> Inode | None:
        """What a name leads to."""
        return self._names.get(path)

    def below(self, folder: str) -> list[str]:
        """Names of files and folders in a folder and those in it, in the order of their bytes."""
        return [name for name in sorted(self._names) if name.startswith(f"{folder}/")]

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        return self._names[path].data

    def spoil(self, path: str, data: bytes | None) -> None:
        """Other bytes in place of a file's, or no file, durably so: damage, which nobody asked for."""
        if data is None:
            self.change(Change(None, removed=path))
            self.sync(path.rpartition("/")[0])
        else:
            self._names[path].data = self._names[path].synced = data

    def change(self, change: Change) -> None:
        """Seen immediately by everybody, durable later; the folder that a user has named is there."""
        change.apply(self._names)
        is_folder = change.inode is not None and change.inode.is_folder
        if is_folder and change.added is not None and change.added.rpartition("/")[0] == "":
            change.apply(self._kept)
        else:
            self._pending.append(change)

    def sync(self, path: str) -> None:
        """A file's content, or a folder's names, have reached the disk."""
        inode = self._names.get(path)
        if inode is not None and not inode.is_folder:
            inode.synced = inode.data
            return
        requested: list[Change] = []
        names: set[str] = set()
        inodes: set[int] = set()
        for change in reversed(self._pending):
            in_folder = any(name.rpartition("/")[0] == path for name in change.names)
            if in_folder or change.names & names or id(change.inode) in inodes:
                requested.append(change)
                names |= change.names
                inodes |= {id(change.inode)} if change.inode is not None else set()
        for change in reversed(requested):
            change.apply(self._kept)
            self._pending.remove(change)

    def lose_power(self, rng: np.random.Generator) -> int:
        """Leaves what was synced, and of all else what chance leaves; returns how many files and names changed."""
        before = {name: inode.data for name, inode in self._names.items()}
        keep = float(rng.choice((0.0, 0.5, 0.9)))
        lost_names: set[str] = set()
        lost_inodes: set[int] = set()
        for change in self._pending:
            # what builds on a lost change is lost with it
            builds = bool(change.names & lost_names) or id(change.inode) in lost_inodes
            if builds or rng.random() >= keep:
                lost_names |= change.names
                lost_inodes |= {id(change.inode)} if change.inode is not None else set()
            else:
                change.apply(self._kept)
        self._pending.clear()
        for name in [name for name in self._kept if self._is_orphan(name)]:
            del self._kept[name]
        self._names = dict(self._kept)
        for inode in set(self._names.values()):
            inode.data = inode.synced = _torn(inode, rng)
        after = {name: inode.data for name, inode in self._names.items()}
        return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())

    def _is_orphan(self, name: str) -> bool:
        folder = name.rpartition("/")[0]
        while folder:
            if folder not in self._kept:
                return True
            folder = folder.rpartition("/")[0]
        return False


def _torn(inode: Inode, rng: np.random.Generator) -> bytes:
    """Bytes that were never synced are there, missing or zero."""
    data, synced = inode.data, inode.synced
    if data == synced:
        return data
    match int(rng.integers(4)):
        case 0:
            return synced
        case 1:
            return data
        case 2:
            return data[: int(rng.integers(len(data) + 1))]
        case _:
            whole = int(rng.integers(len(data) + 1))
            return data[:whole] + bytes(len(data) - whole)


class Disk(fs.FileSystemHandler):
    """What one worker sees of the files that all share.

    Args:
        store: the files of the whole world.
        boundary: of the worker.
        immutable: files are written once.
    """

    def __init__(self, store: Store, boundary: Boundary, *, immutable: bool = True) -> None:
        self._store, self._boundary, self._immutable = store, boundary, immutable

    def get_type_name(self) -> str:
        return "simulated"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        self._boundary.cross("list files")
        base = selector.base_dir.rstrip("/")
        if self._store.inode(base) is None:
            if selector.allow_not_found:
                return []
            raise FileNotFoundError(base)
        return [
            self._info(name)
            for name in self._store.below(base)
            if selector.recursive or "/" not in name[len(base) + 1 :]
        ]

    def create_dir(self, path: str, recursive: bool) -> None:
        self._boundary.cross("make folder")
        parts = path.rstrip("/").split("/")
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder and self._store.inode(folder) is None:
                self._store.change(Change(Inode(is_folder=True), added=folder))

    def delete_file(self, path: str) -> None:
        self._boundary.cross("delete")
        if path not in self._store:
            raise FileNotFoundError(path)
        self._store.change(Change(None, removed=path))

    def move(self, src: str, dest: str) -> None:
        self._boundary.cross("move")
        inode = self._store.inode(src)
        if inode is None:
            raise FileNotFoundError(src)
        self._check_folder(dest)
        self._store.change(Change(inode, added=dest, removed=src))

    def open_input_file(self, path: str) -> Any:
        self._boundary.cross("open")
        if path not in self._store:
            raise FileNotFoundError(path)
        return pa.BufferReader(self._store.read(path))

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._boundary.cross("create")
        self._check_folder(path)
        inode = self._store.inode(path)
        if inode is None:
            inode = Inode()
            self._store.change(Change(inode, added=path))
        else:
            assert not self._immutable, "files are immutable"
            inode.data = b""
        return pa.PythonFile(_Output(inode, self._boundary), mode="w")

    def sync(self, path: str) -> None:
        """As `connectors.files.sync` asks for it."""
        self._boundary.cross("sync")
        if self._store.inode(path) is None:
            raise FileNotFoundError(path)
        self._store.sync(path)

    def _info(self, path: str) -> fs.FileInfo:
        inode = self._store.inode(path)
        if inode is None:
            return fs.FileInfo(path, fs.FileType.NotFound)
        return fs.FileInfo(path, fs.FileType.Directory if inode.is_folder else fs.FileType.File)

    def _check_folder(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if folder and self._store.inode(folder) is None:
            raise FileNotFoundError(folder)

    def delete_dir(self, path: str) -> None:
        """One file after the other, then the folder."""
        if self._store.inode(path) is None:
            raise FileNotFoundError(path)
        for name in self._store.below(path):
            self._boundary.cross("delete")
            self._store.change(Change(None, removed=name))
        self._boundary.cross("delete")
        self._store.change(Change(None, removed=path))

    def _never(self, *_: object) -> Any:
        raise NotImplementedError

    open_append_stream = copy_file = _never
    delete_dir_contents = delete_root_dir_contents = _never


class _Output:
    """A file being written: what was written before an end of any kind stays."""

    closed = False

    def __init__(self, inode: Inode, boundary: Boundary) -> None:
        self._inode, self._boundary = inode, boundary

    def write(self, data: Any) -> int:
        if self._boundary.is_dead:
            raise Killed
        data = bytes(data)
        half = len(data) // 2
        self._inode.data += data[:half]
        self._boundary.cross("write")
        if self._boundary.befalls("disk_full"):
            raise OSError(errno.ENOSPC, "No space left on device (simulated)")
        if self._boundary.befalls("disk_slow"):
            self._boundary.wait(SLOW_S)
        self._inode.data += data[half:]
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

"""A disk in memory: full at times, cut off in the middle of a file by a death, damaged by nobody's fault."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pyarrow import fs
from simulation.boundary import Boundary

Files = dict[str, bytes]


class Disk(fs.FileSystemHandler):
    """What one worker sees of the files that all share.

    Args:
        files: path -> bytes, of the whole world.
        boundary: of the worker.
    """

    def __init__(self, files: Files, boundary: Boundary) -> None:
        self._files, self._boundary = files, boundary

    def get_type_name(self) -> str:
        return "simulated"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return [fs.FileInfo(p, fs.FileType.File if p in self._files else fs.FileType.NotFound) for p in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        self._boundary.cross("list files")
        return [fs.FileInfo(p, fs.FileType.File) for p in self._files if p.startswith(f"{selector.base_dir}/")]

    def create_dir(self, path: str, recursive: bool) -> None:
        self._boundary.cross("make folder")

    def delete_file(self, path: str) -> None:
        self._boundary.cross("delete")
        if self._files.pop(path, None) is None:
            raise FileNotFoundError(path)

    def open_input_file(self, path: str) -> Any:
        self._boundary.cross("open")
        if path not in self._files:
            raise FileNotFoundError(path)
        return pa.BufferReader(self._files[path])

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._boundary.cross("create")
        return pa.PythonFile(_Output(self._files, path, self._boundary), mode="w")

    def _never(self, *_: object) -> Any:
        raise NotImplementedError

    open_append_stream = open_input_stream = copy_file = move = _never
    delete_dir = delete_dir_contents = delete_root_dir_contents = _never


class _Output:
    """A file being written: what was written before an end of any kind stays."""

    closed = False

    def __init__(self, files: Files, path: str, boundary: Boundary) -> None:
        assert path not in files, "files are immutable"
        self._files, self._path, self._boundary = files, path, boundary
        files[path] = b""

    def write(self, data: Any) -> int:
        data = bytes(data)
        half = len(data) // 2
        self._append(data[:half])
        self._boundary.cross("write")
        if self._boundary.befalls("disk_full"):
            raise OSError(errno.ENOSPC, "No space left on device (simulated)")
        self._append(data[half:])
        return len(data)

    def _append(self, data: bytes) -> None:
        # another owner may have deleted it meanwhile: an open file is written to all the same
        if self._path in self._files:
            self._files[self._path] += data

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

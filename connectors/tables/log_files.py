"""Finds the files of a log and opens them unpacked: folders, patterns, zip members, standard input; gzip and zstd."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import gzip
import io
import os
import shutil
import stat
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Final, Literal

import pyarrow as pa

from features.errors import ShopstreamError, UsageError

STDIN: Final = "-"
UNPACKED_BYTES_MAX: Final = 1 << 34
"""Bytes of a packed file that must be on disk or in memory as a whole."""

Packing = Literal["gzip", "zstd", "zip"]
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_MAGIC: Final[tuple[tuple[bytes, Packing], ...]] = (
    (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), *((magic, "zip") for magic in _ZIP),
)  # fmt: skip
_SKIPPABLE_FRAMES: Final = tuple(bytes([low, 0x2A, 0x4D, 0x18]) for low in range(0x50, 0x60))
"""Beginnings of zstd frames without content, which come first in some seekable files."""

_FOREIGN: Final = (
    (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"7z\xbc\xaf\x27\x1c", "7-Zip"), (b"Rar!\x1a\x07", "RAR"),
    (b"\x04\x22\x4d\x18", "lz4"), (b"\x1f\x9d", "compress"),
)  # fmt: skip
_TAR_AT: Final = 257
_START_BYTES: Final = 512
_BUFFER_BYTES: Final = 1 << 18
_DOCUMENT_MEMBERS: Final = frozenset({"[Content_Types].xml", "mimetype"})
"""Members by which a zip file is an Office document and not a folder of logs."""

_MEMBERS_SHOWN: Final = 5
_UNPACKED: Final = frozenset({"_SUCCESS"})
_FAULTS: Final = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    pa.ArrowException,
)


@dataclass(frozen=True, slots=True)
class LogFile:
    """File of a log: a file on disk, a member of a zip file, or a copy of standard input. It can be read many times.

    Attributes:
        name: name for messages.
        path: path of the file on disk.
        member: member of the zip file, if the log is one.
    """

    name: str
    path: Path
    member: str | None = None
    spool: IO[bytes] | None = field(default=None, repr=False, compare=False)
    """Temporary copy of a stream. It is deleted with the last reference."""
    inode: tuple[int, int] | None = field(default=None, compare=False)
    """Device and inode of the file, or of the stream: two names of one file share them. None: unknown."""
    folder: Path = field(default_factory=Path, compare=False)
    """Folder of the file; for standard input the current one."""

    def open(self) -> io.BufferedReader:
        """Open the unpacked content.

        Raises:
            ShopstreamError: the file is missing, unreadable, or in an unknown packing. Reading raises it for damage.
        """
        return io.BufferedReader(_Unpacked(self.name, *_open(self)), _BUFFER_BYTES)

    def start(self, size: int = _START_BYTES) -> bytes:
        """Return the first bytes of the unpacked content. Raises ShopstreamError as `open` and reading do."""
        with self.open() as stream:
            return stream.read(size)

    def open_seekable(self) -> BinaryIO:
        """Open the unpacked content for reading at any position; a packed file is copied to a temporary file.

        Raises:
            ShopstreamError: the file is missing, damaged, or larger than UNPACKED_BYTES_MAX.
        """
        if self.member is None and _packing(_first_bytes(self)) in (None, "zip"):
            return _open_path(self)
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with self.open() as stream:
            while chunk := stream.read(_BUFFER_BYTES):
                copy.write(chunk)
                if copy.tell() > UNPACKED_BYTES_MAX:
                    raise ShopstreamError(
                        f"{self.name} is larger than {UNPACKED_BYTES_MAX >> 30} GiB unpacked.", "Unpack it yourself."
                    )
        copy.seek(0)
        return copy


def log_files(paths: Sequence[str | Path]) -> list[LogFile]:
    """Return the files of a log in the order of `paths`, within a folder or a pattern sorted by name.

    Args:
        paths: files, folders, patterns such as data/*.csv, or "-" for standard input. Hidden files of a folder are no
            logs. A zip file is a folder of its members: export.zip/out/*.csv.

    Raises:
        UsageError: a path leads to no file, or a file is named twice: by its path, a link or a folder.
    """
    logs: list[LogFile] = []
    named: dict[object, str] = {}
    for given in paths:
        if str(given) == STDIN:
            inode = _stdin_inode()
            _name_once(STDIN, inode or STDIN, named)
            logs.extend(_members(_spooled("standard input", sys.stdin.buffer, inode, Path())))
            continue
        packed = _zip_file_above(Path(given))
        for path in _expanded(Path(given)) if packed is None else [packed]:
            chosen = _logs_of(path) if packed is None else _chosen_members(packed, Path(given))
            if packed is None:
                _name_once(str(path), _inode(path) or path.resolve(), named)
            for member, log in {log.member: log for log in chosen if log.member is not None}.items():
                _name_once(log.name, (_inode(path) or path.resolve(), member), named)
            logs.extend(chosen)
    if not logs:
        raise UsageError("No log is given.", "Name the files to read.")
    return logs


def named_twice(name: str, former: str) -> UsageError:
    """Return the error about a file that a call names twice, by two names or by one."""
    other = "" if name == former else f", also as {former}"
    return UsageError(f"{name} is named twice{other}; its rows would count twice.", "Name each file once.")


def paths_in_a_call(logs: Sequence[LogFile]) -> list[str]:
    """Return the paths by which a call names logs: the zip file if all of its members are among them.

    Raises:
        UsageError: a file is gone.
    """
    chosen: dict[Path, set[str | None]] = {}
    for log in logs:
        chosen.setdefault(log.path, set()).add(log.member)
    whole = {path for path, members in chosen.items() if {log.member for log in _logs_of(path)} <= members}
    names = (STDIN if log.spool is not None else _path_of(log, whole=log.path in whole) for log in logs)
    return list(dict.fromkeys(names))


def _path_of(log: LogFile, *, whole: bool) -> str:
    return str(log.path) if whole or log.member is None else f"{log.path}/{log.member}"


def choice_of_members(log: LogFile) -> str:
    """Return the advice to name members of a zip file of several; empty for another file."""
    if log.member is None or len(_logs_of(log.path)) < 2:
        return ""
    if log.spool is not None:
        return "Or unpack the zip file and name its files."
    return f'Or name the members that are logs, such as "{log.path}/**/*.csv".'


def _name_once(name: str, file: object, named: dict[object, str]) -> None:
    if file in named:
        raise named_twice(name, named[file])
    named[file] = name


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # the fault is raised when the file is opened
        return None
    return status.st_dev, status.st_ino


def _stdin_inode() -> tuple[int, int] | None:
    try:
        status = os.fstat(sys.stdin.fileno())
    except (OSError, ValueError):  # a stream of the program, which is no file
        return None
    return status.st_dev, status.st_ino


def _expanded(path: Path) -> Iterator[Path]:
    if path.is_dir():
        files = sorted(_files_below(path))
        if not files:
            raise UsageError(f"The folder {path} has no files.", "Name the log to read.")
        yield from files
    elif path.exists():
        yield path
    else:
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute patterns
        files = [match for match in matches if not match.is_dir()]
        if not files:
            raise UsageError(f"There is no file {path}.", "Name the log to read.")
        yield from files


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and name not in _UNPACKED and path.is_file():
                yield path


def _logs_of(path: Path) -> list[LogFile]:
    """Return the logs in one file. A fault of the file is raised when it is opened, so that others are read."""
    log = LogFile(str(path), path, inode=_inode(path), folder=path.parent)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe: it can be read only once
            with path.open("rb") as stream:
                log = _spooled(str(path), stream, log.inode, log.folder)
        return _members(log)
    except (ShopstreamError, *_FAULTS):
        return [log]


def _members(log: LogFile) -> list[LogFile]:
    """Return the members of a zip file of logs, and any other file as it is."""
    if _packing(_first_bytes(log)) != "zip":
        return [log]
    with zipfile.ZipFile(log.path) as packed:
        names = packed.namelist()
    if _DOCUMENT_MEMBERS.intersection(names):
        return [log]
    return [replace(log, name=f"{log.name}: {name}", member=name) for name in sorted(names) if _is_log(name)] or [log]


def _zip_file_above(path: Path) -> Path | None:
    """Return the zip file whose members a path names."""
    if path.exists():
        return None
    file = next((parent for parent in path.parents if parent.is_file()), None)
    if file is None:
        return None
    with contextlib.suppress(ShopstreamError):  # without access it is a missing file, as any other
        return file if _packing(_first_bytes(LogFile(str(file), file))) == "zip" else None
    return None


def _chosen_members(file: Path, path: Path) -> list[LogFile]:
    """Return the members of a zip file that a path names: a member, a folder, or a pattern such as out/*.csv."""
    log = LogFile(str(file), file, inode=_inode(file), folder=file.parent)
    try:
        members = [one for one in _members(log) if one.member is not None]
    except _FAULTS as error:
        raise _damaged(log.name, error) from None
    parts = path.relative_to(file).parts
    chosen = [one for one in members if one.member == "/".join(parts)] or [
        one for one in members if one.member is not None and _is_chosen(PurePosixPath(one.member).parts, parts)
    ]
    if not chosen:
        names = ", ".join(one.member or "" for one in members[:_MEMBERS_SHOWN])
        more = ", …" if len(members) > _MEMBERS_SHOWN else ""
        raise UsageError(
            f"The zip file {file} has no member {'/'.join(parts)}; it has {names or 'no logs'}{more}.",
            "Name its members.",
        )
    return chosen


def _is_chosen(member: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether parts of a path are below those of a name, or match those of a pattern; ** is any folders."""
    if tuple(member[: len(pattern)]) == tuple(pattern):
        return True
    if not pattern or not member:
        return False
    if pattern[0] == "**":
        return any(_is_chosen(member[at:], pattern[1:]) for at in range(len(member)))
    if len(pattern) == 1 and len(member) > 1:
        return False
    return fnmatch.fnmatchcase(member[0], pattern[0]) and _is_chosen(member[1:], pattern[1:])


def _is_log(member: str) -> bool:
    parts = member.split("/")
    return not member.endswith("/") and parts[0] != "__MACOSX" and not any(part.startswith(".") for part in parts)


def _spooled(name: str, stream: IO[bytes], inode: tuple[int, int] | None, folder: Path) -> LogFile:
    spool = tempfile.NamedTemporaryFile()  # noqa: SIM115 - the LogFile holds it open
    shutil.copyfileobj(stream, spool, _BUFFER_BYTES)
    spool.flush()
    return LogFile(name, Path(spool.name), None, spool, inode, folder)


def _packing(start: bytes) -> Packing | None:
    if start.startswith(_SKIPPABLE_FRAMES):
        return "zstd"
    return next((packing for magic, packing in _MAGIC if start.startswith(magic)), None)


def packing(log: LogFile) -> Packing | None:
    """Return how a log is packed, found by its content; None for a plain file and for an Office document.

    Raises:
        ShopstreamError: the file is missing or unreadable.
    """
    if log.member is not None:
        return "zip"
    kind = _packing(_first_bytes(log))
    return None if kind == "zip" else kind


def _first_bytes(log: LogFile) -> bytes:
    with _open_path(log) as stream:
        return stream.read(_START_BYTES)


def _open_path(log: LogFile) -> BinaryIO:
    try:
        return log.path.open("rb")
    except OSError as error:
        raise ShopstreamError(
            f"{log.name} cannot be read: {error.strerror or error}.", "Name the log to read."
        ) from None


def _open(log: LogFile) -> tuple[Any, list[Any]]:
    """Return a stream of the unpacked content, and the objects to close with it."""
    start = _first_bytes(log)
    foreign = _foreign(start)
    if foreign:
        raise ShopstreamError(f"{log.name} is packed by {foreign}.", "Unpack it, or pack it with gzip, zstd or zip.")
    opened = _open_path(log)
    packing = _packing(start)
    if log.member is not None:
        return _open_member(log, opened)
    if packing == "zip":
        return _open_zip(log, opened)
    if packing == "gzip":
        return gzip.GzipFile(fileobj=opened), [opened]
    if packing == "zstd":
        return pa.CompressedInputStream(pa.PythonFile(opened, "r"), "zstd"), [opened]
    return opened, []


def _open_zip(log: LogFile, opened: BinaryIO) -> tuple[Any, list[Any]]:
    """Return an Office document, which is a zip file, as it is. Any other zip file here has no log."""
    try:
        with zipfile.ZipFile(opened) as packed:
            document = _DOCUMENT_MEMBERS.intersection(packed.namelist())
    except _FAULTS as error:
        opened.close()
        raise _damaged(log.name, error) from None
    if not document:
        opened.close()
        raise ShopstreamError(f"The zip file {log.name} has no files.", "Name the log to read.")
    opened.seek(0)
    return opened, []


def _open_member(log: LogFile, opened: BinaryIO) -> tuple[Any, list[Any]]:
    assert log.member is not None
    try:
        packed = zipfile.ZipFile(opened)
        same = [one for one in packed.infolist() if one.filename == log.member]
        if len(same) != 1:
            raise ShopstreamError(f"{log.name} is in the zip file {len(same)} times.", "Unpack the file.")
        if same[0].flag_bits & 1:
            raise ShopstreamError(f"{log.name} is encrypted.", "Unpack the file with its password.")
        return packed.open(same[0]), [packed, opened]
    except _FAULTS as error:
        opened.close()
        raise _damaged(log.name, error) from None


def _foreign(start: bytes) -> str | None:
    if start[_TAR_AT:].startswith(b"ustar"):
        return "tar"
    if start.startswith(b"BZh") and start[4:10] != b"\x31\x41\x59\x26\x53\x59":
        return None
    return next((name for magic, name in _FOREIGN if start.startswith(magic)), None)


def _damaged(name: str, error: Exception) -> ShopstreamError:
    reason = str(error).rstrip(".") or type(error).__name__
    return ShopstreamError(f"{name} is damaged or cut off: {reason}.", "Copy the file again.")


class _Unpacked(io.RawIOBase):
    """Stream of the unpacked bytes. A damaged packing raises ShopstreamError with the name of the file."""

    def __init__(self, name: str, stream: Any, beneath: list[Any]) -> None:
        self._name = name
        self._stream = stream
        self._beneath = beneath
        self._packed = bool(beneath)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, except at the end."""
        view, filled = memoryview(buffer), 0
        try:
            while filled < len(view) and (part := self._stream.read(len(view) - filled)):
                view[filled : filled + len(part)] = part
                filled += len(part)
        except _FAULTS as error:
            raise _damaged(self._name, error) from error
        if self._packed and filled:
            self._packed = False
            start = bytes(view[:_START_BYTES])
            again = _packing(start) or _foreign(start)
            if again is not None and not (again == "zip" and _is_document(start)):
                raise ShopstreamError(f"{self._name} is packed twice, within by {again}.", "Unpack it once.")
        return filled

    def close(self) -> None:
        """Close the stream and the file beneath."""
        if not self.closed:
            for opened in (self._stream, *self._beneath):
                opened.close()
        super().close()


def _is_document(start: bytes) -> bool:
    """Return whether a zip file that begins with `start` is an Office document, by the names of its first members."""
    return any(name.encode() in start for name in (*_DOCUMENT_MEMBERS, "_rels/.rels", "docProps/", "xl/"))

"""Stores a partition's state in immutable, uniquely named, checksummed files under any `pyarrow.fs` URI.

A checkpoint is one file. Its event ids are in blocks: files that are written once and named by the checkpoints that
need them. A file becomes current only when a commit of the partition's offsets names it. No rename and no lock is
therefore needed. Reading verifies every byte.
"""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash
from pyarrow import fs

from connectors.files import delete_stray, make_folder, store_whole, sync
from consumers.state.alert_outbox import AlertOutbox
from features.errors import ShopstreamError
from features.schema import SCHEMA_VERSION
from features.state.tables import EVENT_ID, Rows

MAGIC: Final = b"SHOPSTREAM-CHECKPOINT-1\n"
BLOCKS_MAX: Final = 64
"""Number of a partition's event-id blocks at which some are merged."""
ALIGNMENT: Final = 64
CHECKPOINT: Final = re.compile(r"\d+-\d+-[0-9a-f]+\.checkpoint", re.ASCII)
OWNER_SUFFIX: Final = "-owner.json"
OWNER: Final = re.compile(rf"\d+{re.escape(OWNER_SUFFIX)}", re.ASCII)
PARTITION_FOLDER: Final = re.compile(r"partition=(\d{1,9})", re.ASCII)
HEAD_BYTES: Final = len(MAGIC) + 8 + 16
"""Size of the data before the header: magic, header size, header checksum."""

Arrays = dict[str, npt.NDArray[Any]]


class Block(msgspec.Struct, frozen=True):
    """A file of event ids."""

    name: str
    ids: int
    checksum: str
    hour_max: int
    """Highest UTC hour of the ids; the block is dropped when that hour leaves the horizon."""


class Manifest(msgspec.Struct, frozen=True):
    """Contents of a checkpoint other than its arrays."""

    schema_version: int
    run: str
    partition: int
    partitions: int
    epoch: int
    counter: int
    offsets: dict[str, int]
    """Topic without the run's name -> the next offset to apply."""
    profiles_read: bool
    contact: bool
    profiles: dict[str, bytes]
    """customer_id -> the JSON object's text without its braces."""
    orders: list[tuple[int, bytes]]
    """Row and JSON of the winning records whose documents were unwritten."""
    blocks: list[Block]
    bundle: str = ""
    alerts: list[tuple[int, bytes]] = []
    """Contents of the alert outbox: numbers and JSON."""
    topic_ids: dict[str, str] = {}
    """Topic without the run's name -> the topic's id in the cluster; empty in old checkpoints, as is `index_ids`."""
    index_ids: dict[str, str] = {}  # concrete index -> identity of the index that acknowledged documents


class _Header(msgspec.Struct, frozen=True):
    manifest: Manifest
    arrays: list[tuple[str, list[Any], int, int]]
    """Name, dtype description, byte offset, number of rows."""
    checksum: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory, ready to write or just read."""

    manifest: Manifest
    arrays: Arrays
    new_ids: Rows = field(default_factory=lambda: np.zeros(0, EVENT_ID))
    """Ids that are not in a block yet."""


class PartitionOwner(msgspec.Struct, frozen=True):
    """State of a partition at the start of a new owner.

    Attributes:
        epoch: epoch of the owner.
        checkpoint: name of the checkpoint that the owner resumed from; empty: from the beginning of the log.
    """

    epoch: int
    checkpoint: str = ""


class DamagedError(ShopstreamError):
    """A checkpoint file is missing, truncated or changed."""


class CheckpointStore:
    """Stores the checkpoints of one run's partitions.

    Args:
        uri: local path, or URI that `pyarrow.fs` opens.
        run: name of the run.
        files: file system that holds the path `uri`; None opens it.
    """

    def __init__(self, uri: str, run: str, files: Any = None) -> None:
        self._files, root = open_files(uri) if files is None else (files, uri)
        self._root = f"{root.rstrip('/')}/{run}"

    def write(self, checkpoint: Checkpoint, hour_min: int) -> tuple[str, list[Block], int]:
        """Store a checkpoint durably under a new name. May run concurrently with the consumer.

        Args:
            checkpoint: checkpoint to write; its manifest names the blocks of the previous one.
            hour_min: lowest UTC hour to keep; blocks with earlier ids only are left out.

        Returns:
            The name, the blocks it needs, and the bytes written.

        Raises:
            OSError: a file cannot be written; no file is left behind.
            DamagedError: a block that is due for merging is damaged.
        """
        manifest = checkpoint.manifest
        folder = self._folder(manifest.partition)
        make_folder(self._files, folder)
        blocks = [block for block in manifest.blocks if block.hour_max >= hour_min]
        new_ids = checkpoint.new_ids
        if len(blocks) >= BLOCKS_MAX:
            blocks, merged = _to_merge(blocks)
            new_ids = np.concatenate([*(self._read_block(manifest.partition, b) for b in merged), new_ids])
            new_ids = new_ids[_hours(new_ids) >= hour_min]
        name = f"{manifest.epoch}-{manifest.counter:012d}-{uuid.uuid4().hex[:12]}.checkpoint"
        block_name = f"{manifest.epoch}-{uuid.uuid4().hex}.ids"
        try:
            if len(new_ids):
                blocks.append(self._write_block(folder, block_name, new_ids))
            stored = msgspec.structs.replace(manifest, blocks=blocks)
            written = self._write_arrays(f"{folder}/{name}", stored, checkpoint.arrays)
            # the commit that follows must not name a file that a power loss removes
            sync(self._files, folder)
        except OSError:
            # on a full disk every attempt would leave another file
            for stray in (name, block_name):
                delete_stray(self._files, f"{folder}/{stray}")
            raise
        return name, blocks, written + new_ids.nbytes

    def read(self, partition: int, name: str) -> Checkpoint:
        """Read a checkpoint with all of its event ids in `new_ids`.

        Raises:
            DamagedError: a file is missing or damaged.
            ShopstreamError: the checkpoint has another schema version.
        """
        path = f"{self._folder(partition)}/{name}"
        data = self._read_file(path)
        header, payload_start = _parsed(data, path)
        payload = memoryview(data)[payload_start:]
        if xxhash.xxh3_128_hexdigest(payload) != header.checksum:
            raise DamagedError(f"The checkpoint {path} is damaged: wrong checksum.")
        if header.manifest.schema_version != SCHEMA_VERSION:
            raise ShopstreamError(
                f"The checkpoint {path} is of schema version {header.manifest.schema_version}, "
                f"this program writes {SCHEMA_VERSION}.",
                "Replay the history into a new run (`--run NAME`) and promote it.",
            )
        arrays = {
            name: np.frombuffer(payload, _dtype_of(description), rows, offset)
            for name, description, offset, rows in header.arrays
        }
        ids = [self._read_block(partition, block) for block in header.manifest.blocks]
        return Checkpoint(header.manifest, arrays, np.concatenate([np.zeros(0, EVENT_ID), *ids]))

    def outline(self, partition: int, name: str) -> tuple[Manifest, dict[str, int]]:
        """Return the manifest of a checkpoint and the number of rows of each array, without reading the arrays.

        Raises:
            DamagedError: the checkpoint is missing, or its header is damaged.
        """
        try:
            header = self._header(partition, name)
        except FileNotFoundError as error:
            raise DamagedError(f"The checkpoint {name} of partition {partition} is missing.") from error
        return header.manifest, {array: rows for array, _, _, rows in header.arrays}

    def names(self, partition: int) -> list[str]:
        """Return the names of a partition's stored checkpoints, newest first."""
        selector = fs.FileSelector(self._folder(partition), allow_not_found=True)
        names = [info.base_name for info in self._files.get_file_info(selector)]
        # the folder may hold foreign files, such as copies
        return sorted((name for name in names if CHECKPOINT.fullmatch(name)), key=age_of, reverse=True)

    def prune(self, partition: int, keep: list[str], blocks: list[Block]) -> None:
        """Delete the checkpoints other than `keep`, and the blocks that neither `blocks` nor those checkpoints need.

        Files of a later epoch stay: they belong to a new owner, and this worker has lost the partition meanwhile.
        """
        needed = {*keep, *(block.name for block in blocks)}
        for name in keep:
            try:
                needed |= {block.name for block in self._header(partition, name).manifest.blocks}
            except (DamagedError, FileNotFoundError):
                continue
        epoch = max((epoch_of(name) for name in keep), default=-1)
        needed.add(f"{epoch}{OWNER_SUFFIX}")
        selector = fs.FileSelector(self._folder(partition), allow_not_found=True)
        for info in self._files.get_file_info(selector):
            if info.base_name not in needed and epoch_of(info.base_name) <= epoch:
                self._files.delete_file(info.path)

    def make_durable(self, partition: int, name: str, blocks: list[Block]) -> None:
        """Synchronise a checkpoint that may not be committed: its writer may have crashed before synchronising it."""
        folder = self._folder(partition)
        for file in (name, *(block.name for block in blocks)):
            sync(self._files, f"{folder}/{file}")
        sync(self._files, folder)

    def write_owner(self, partition: int, owner: PartitionOwner) -> None:
        """Store durably which owner writes rows of a partition from now on.

        Raises:
            OSError: the file cannot be written.
        """
        folder = self._folder(partition)
        make_folder(self._files, folder)
        store_whole(self._files, f"{folder}/{owner.epoch}{OWNER_SUFFIX}", lambda f: f.write(msgspec.json.encode(owner)))

    def last_owner(self, partition: int) -> PartitionOwner | None:
        """Return the owner of the highest epoch that may have written rows; None in a folder of format 1.

        Raises:
            DamagedError: the owner's file is damaged.
        """
        selector = fs.FileSelector(self._folder(partition), allow_not_found=True)
        paths = [i.path for i in self._files.get_file_info(selector) if OWNER.fullmatch(i.base_name)]
        if not paths:
            return None
        path = max(paths, key=lambda path: epoch_of(path.rpartition("/")[2]))
        try:
            with self._files.open_input_file(path) as file:
                return msgspec.json.decode(file.read(), type=PartitionOwner)
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise DamagedError(f"The file {path} is damaged.", "Restore the state folder.") from error

    def forget_profile(self, partition: int, name: str, customer_id: str) -> bool:
        """Rewrite a stored checkpoint without the profile of a customer; return False if it holds none.

        The name stays, since a commit names it, and so do the arrays. Readers find either the old or the new file.
        """
        path = f"{self._folder(partition)}/{name}"
        data = self._read_file(path)
        header, payload_start = _parsed(data, path)
        profiles = {known_id: body for known_id, body in header.manifest.profiles.items() if known_id != customer_id}
        # alerts of format 1 have a field of the profile
        alerts = AlertOutbox(header.manifest.alerts).stored()
        manifest = msgspec.structs.replace(header.manifest, profiles=profiles, alerts=alerts)
        if manifest == header.manifest:
            return False
        head = _head(msgspec.structs.replace(header, manifest=manifest))
        # prune removes a stray partial file by its epoch, like a checkpoint that no commit names
        store_whole(self._files, path, lambda file: (file.write(head), file.write(data[payload_start:])))
        return True

    def partitions(self) -> list[int]:
        """Return the numbers of the partitions that have files."""
        selector = fs.FileSelector(self._root, allow_not_found=True)
        names = [info.base_name for info in self._files.get_file_info(selector)]
        return sorted(int(match[1]) for name in names if (match := PARTITION_FOLDER.fullmatch(name)))

    def _header(self, partition: int, name: str) -> _Header:
        path = f"{self._folder(partition)}/{name}"
        with self._files.open_input_file(path) as file:
            head = file.read(HEAD_BYTES)
            return _parsed(head + file.read(_header_bytes(head)), path)[0]

    def _write_arrays(self, path: str, manifest: Manifest, arrays: Arrays) -> int:
        table: list[tuple[str, list[Any], int, int]] = []
        parts: list[bytes | memoryview] = []
        offset = 0
        digest = xxhash.xxh3_128()
        for name, array in arrays.items():
            data = _bytes(array)
            table.append((name, _described(array.dtype), offset, len(array)))
            padding = b"\0" * (_aligned(len(data)) - len(data))
            for part in (data, padding):
                digest.update(part)
                parts.append(part)
            offset += len(data) + len(padding)
        head = _head(_Header(manifest, table, digest.hexdigest()))
        self._write_file(path, [head, *parts])
        return len(head) + offset

    def _write_block(self, folder: str, name: str, ids: Rows) -> Block:
        data = _bytes(ids)
        self._write_file(f"{folder}/{name}", [data])
        return Block(name, len(ids), xxhash.xxh3_128_hexdigest(data), int(_hours(ids).max()))

    def _write_file(self, path: str, parts: Sequence[bytes | memoryview]) -> None:
        """Write a file under a single-use name, which makes a rename unnecessary."""
        with self._files.open_output_stream(path, compression=None) as file:
            for part in parts:
                file.write(pa.py_buffer(part))
        sync(self._files, path)

    def _read_block(self, partition: int, block: Block) -> Rows:
        data = self._read_file(f"{self._folder(partition)}/{block.name}")
        if xxhash.xxh3_128_hexdigest(data) != block.checksum:
            raise DamagedError(f"The block of event ids {block.name} is damaged: wrong checksum.")
        return np.frombuffer(data, EVENT_ID)

    def _read_file(self, path: str) -> bytes:
        try:
            with self._files.open_input_file(path) as file:
                return bytes(file.read())
        except FileNotFoundError as error:
            raise DamagedError(f"The checkpoint file {path} is missing.") from error

    def _folder(self, partition: int) -> str:
        return f"{self._root}/partition={partition}"


def _head(header: _Header) -> bytes:
    """Return magic, size and checksum of the header, the header, and zeros up to the payload."""
    body = msgspec.msgpack.encode(header)
    body += b"\0" * (_aligned(HEAD_BYTES + len(body)) - HEAD_BYTES - len(body))
    return MAGIC + len(body).to_bytes(8, "little") + xxhash.xxh3_128_digest(body) + body


def _header_bytes(data: bytes) -> int:
    return int.from_bytes(data[len(MAGIC) : len(MAGIC) + 8], "little")


def _parsed(data: bytes, path: str) -> tuple[_Header, int]:
    """Return the header of a checkpoint and the start of its payload.

    Raises:
        DamagedError: the header is damaged.
    """
    if not data.startswith(MAGIC):
        raise DamagedError(f"The file {path} is not a checkpoint.")
    end = HEAD_BYTES + _header_bytes(data)
    body = data[HEAD_BYTES:end]
    if xxhash.xxh3_128_digest(body) != data[len(MAGIC) + 8 : HEAD_BYTES]:
        raise DamagedError(f"The checkpoint {path} is damaged: wrong checksum of the header.")
    try:
        # the last field is text, so all trailing zeros are padding
        return msgspec.msgpack.decode(body.rstrip(b"\0"), type=_Header), end
    except msgspec.DecodeError as error:
        raise DamagedError(f"The checkpoint {path} cannot be read: {error}.") from error


def open_files(uri: str) -> tuple[Any, str]:
    """Return the file system of a state folder, and the folder's path on it.

    Args:
        uri: local path, or URI that `pyarrow.fs` opens.

    Raises:
        ShopstreamError: the folder cannot be opened.
    """
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    try:
        files, root = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise ShopstreamError(f"The state folder {uri} cannot be opened: {error}.", "Correct --state.") from error
    return files, root


def age_of(name: str) -> tuple[int, int]:
    """Return epoch and counter of a checkpoint; those of a later one are higher."""
    epoch, counter, _ = name.split("-", 2)
    return int(epoch), int(counter)


def epoch_of(name: str) -> int:
    """Return the epoch of the owner that wrote a checkpoint or block; a foreign file's is later than any."""
    epoch = name.split("-", 1)[0]
    return int(epoch) if epoch.isdecimal() else sys.maxsize


def _hours(ids: Rows) -> npt.NDArray[np.uint64]:
    return np.asarray(ids["high"] & np.uint64((1 << 20) - 1), np.uint64)


def _to_merge(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Return the blocks to keep and those to merge: the newest, and older ones while they are not larger.

    A large block is rewritten only after about as many new ids as it holds: a few times until it expires.
    """
    start = len(blocks) - BLOCKS_MAX // 2
    total = sum(block.ids for block in blocks[start:])
    while start > 0 and blocks[start - 1].ids <= total:
        start -= 1
        total += blocks[start].ids
    return blocks[:start], blocks[start:]


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).data.cast("B") if array.size else memoryview(b"")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _described(dtype: np.dtype[Any]) -> list[Any]:
    """Return the description of a type for a checkpoint's header."""
    if dtype.names is None:
        return [dtype.str]
    return [dtype.itemsize, *((name, dtype[name].str, dtype.fields[name][1]) for name in dtype.names)]  # type: ignore[index]


def _dtype_of(description: list[Any]) -> np.dtype[Any]:
    """Return the type of a description; inverse of `_described`."""
    if isinstance(description[0], str):
        return np.dtype(description[0])
    itemsize, *columns = description
    return np.dtype(
        {
            "names": [name for name, _, _ in columns],
            "formats": [form for _, form, _ in columns],
            "offsets": [offset for _, _, offset in columns],
            "itemsize": itemsize,
        }
    )

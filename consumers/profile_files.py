"""Erasing one customer's profile from files: checkpoints of a run, and archives."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from connectors.files import PARTIAL_SUFFIX, store_whole
from consumers.checkpoint import CheckpointStore, DamagedError
from consumers.parquet import COMPRESSION, PARTS_FOLDER
from features.errors import ShopstreamError
from features.schema import CUSTOMERS_FILE

UNFINISHED: Final = (PARTIAL_SUFFIX, ".tmp")
"""Ends the names of files that a writer left behind; `.tmp` those of earlier versions."""


def forget_in_checkpoints(uri: str, run: str, customer_id: str) -> tuple[int, int]:
    """Writes every checkpoint of a run that holds the profile anew without it.

    Returns:
        How many were looked at, and how many were written anew.

    Raises:
        ShopstreamError: one cannot be read or written, so it may hold the profile still.
    """
    store = CheckpointStore(uri, run)
    seen = changed = 0
    try:
        for partition in store.partitions():
            for name in store.names(partition):
                try:
                    changed += store.forget_profile(partition, name, customer_id)
                    seen += 1
                except DamagedError:
                    # a running consumer has deleted it meanwhile, or it is damaged and will be deleted
                    if name in store.names(partition):
                        raise
    except OSError as error:
        raise ShopstreamError(f"The checkpoints of {run} in {uri} cannot be written: {error}.") from error
    return seen, changed


def forget_in_archive(uri: str, customer_id: str) -> tuple[int, int]:
    """Writes the profiles of an archive anew without the customer's, each file in one step.

    Returns:
        How many files of profiles there are, and how many were written anew.

    Raises:
        ShopstreamError: a file cannot be read or written.
    """
    try:
        files, root = pafs.FileSystem.from_uri(uri) if "://" in uri else (pafs.LocalFileSystem(), uri)
        seen = changed = 0
        for path in _profile_files(files, root):
            seen += 1
            changed += _without(files, path, customer_id)
    except (OSError, pa.ArrowInvalid) as error:
        raise ShopstreamError(f"The profiles of the archive {uri} cannot be written anew: {error}.") from error
    return seen, changed


def _profile_files(files: Any, root: str) -> list[str]:
    parts = files.get_file_info(pafs.FileSelector(f"{root}/{PARTS_FOLDER}", allow_not_found=True))
    beside = files.get_file_info(pafs.FileSelector(root, allow_not_found=True))
    found = [info.path for info in parts if info.base_name.endswith((".parquet", *UNFINISHED))]
    # an unfinished file of a writer that died lies beside the finished one
    return found + [info.path for info in beside if info.base_name.startswith(CUSTOMERS_FILE)]


def _without(files: Any, path: str, customer_id: str) -> bool:
    try:
        with files.open_input_file(path) as file:
            table = pq.read_table(file)
    except FileNotFoundError:  # a running archive consumer has replaced it by a newer one
        return False
    except pa.ArrowInvalid:
        if not path.endswith(UNFINISHED):
            raise
        files.delete_file(path)
        return True
    kept = table.filter(pc.fill_null(pc.not_equal(table["customer_id"], pa.scalar(customer_id, pa.string())), True))
    if kept.num_rows == table.num_rows:
        return False
    store_whole(files, path, lambda stream: pq.write_table(kept, stream, compression=COMPRESSION))
    return True

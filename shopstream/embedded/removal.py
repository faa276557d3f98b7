"""Deletes a data folder: only if no server uses it, and only files that Shopstream created."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from features.errors import ShopstreamError
from shopstream.embedded import process_identity, state_file
from shopstream.embedded.account import made_by
from shopstream.embedded.lifecycle import exclusive, lock_file, running
from shopstream.settings import Settings


def remove_data(settings: Settings) -> list[Path]:
    """Delete the whole data folder, and Elasticsearch's folder elsewhere if this data folder made it.

    Links to other folders are removed and never followed. The servers must be down.

    Returns:
        The linked folders that remain.

    Raises:
        ShopstreamError: the folder is not a data folder, or a server still runs.
    """
    home = settings.home
    if home.is_symlink():
        raise ShopstreamError(
            f"{home} is a link, and links are not followed.",
            f"Name the folder itself: SHOPSTREAM_HOME={home.resolve()}",
        )
    if not (home / state_file.RECORD_FILE).is_file():
        raise ShopstreamError(
            f"{home} is not a data folder: it has no {state_file.RECORD_FILE}.", "Delete it manually."
        )
    with ExitStack() as held:
        held.enter_context(exclusive(home, Console(quiet=True)))
        known = state_file.read(home)
        for name, entry in (("kafka", known.kafka), ("elasticsearch", known.elasticsearch)):
            if (identity := running(home, name, entry)) is not None:
                raise ShopstreamError(
                    f"A server of {home} still runs ({name}, pid {identity.pid}).", "Run `shopstream down` first."
                )
            held.enter_context(process_identity.held(lock_file(home, name), wait_s=0))
        return _remove(home)


def _remove(home: Path) -> list[Path]:
    links = [path for path in home.iterdir() if path.is_symlink()]
    elsewhere = [path.resolve() for path in links]
    own = [folder for folder in elsewhere if made_by(home, folder)]
    for folder in own:
        shutil.rmtree(folder.parent)
    shutil.rmtree(home)
    return [folder for folder in elsewhere if folder not in own and folder.exists()]

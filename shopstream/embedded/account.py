"""Chooses the unprivileged account of a server started by root, and grants that account access to its files."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from connectors.files import write_whole
from features.errors import ShopstreamError

OWN_UIDS: Final = range(60_920, 61_184)
"""Candidates for a server's own uid: above those of users, below the dynamic uids of systemd. All lie within the
65,536 uids of a container with a user namespace."""
SHARED_STATE: Final = Path("/var/lib/shopstream")
"""Parent of a server's folder if its account cannot reach the data folder."""
OWNER_FILE: Final = "home"
"""File next to a folder in `SHARED_STATE` that names the data folder it was made for."""


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """A system account."""

    uid: int
    gid: int
    name: str


def server_account(run_as: str | None, folder: Path, *, root: bool) -> ServerAccount | None:
    """Return the account for a server that refuses to run as root.

    Args:
        run_as: name or numeric uid from the settings. None takes the owner of `folder`, or for a new folder an unused
            uid, so that no other program reads the server's files and memory.
        folder: folder of the server.
        root: whether this process runs as root; only root can change accounts, and only root has to.

    Returns:
        The account; None if the server runs as the current user.

    Raises:
        ShopstreamError: the account does not exist, or is root.
    """
    if not root:
        return None
    name = run_as or str(_owner(folder) or free_uid())
    remedy = "Set SHOPSTREAM_ELASTICSEARCH__RUN_AS to an existing unprivileged user."
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        account = ServerAccount(entry.pw_uid, entry.pw_gid, entry.pw_name)
    except KeyError:
        if not name.isdecimal():
            raise ShopstreamError(f"There is no user {name} to run Elasticsearch as.", remedy) from None
        account = ServerAccount(int(name), int(name), f"uid {name}")
    if account.uid == 0:
        raise ShopstreamError("Elasticsearch refuses to run as root.", remedy)
    return account


def _owner(folder: Path) -> int | None:
    """Return the uid of a folder's owner; None if the folder is missing or root's."""
    try:
        return folder.stat().st_uid or None
    except FileNotFoundError:
        return None


def free_uid() -> int:
    """Return the first uid of `OWN_UIDS` without user, group or process. Raises ShopstreamError if none is free."""
    running = {process.info["uids"].real for process in psutil.process_iter(["uids"]) if process.info["uids"]}
    taken = running | {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()}
    for uid in OWN_UIDS:
        if uid not in taken:
            return uid
    raise ShopstreamError(
        f"No uid from {OWN_UIDS.start} to {OWN_UIDS.stop - 1} is free to run Elasticsearch as.",
        "Set SHOPSTREAM_ELASTICSEARCH__RUN_AS to an unprivileged user.",
    )


def obstacle(path: Path, account: ServerAccount) -> Path | None:
    """Return the first folder on the way to `path` that the account cannot enter; None if it can reach it."""
    for folder in (*reversed(path.absolute().parents), path.absolute()):
        try:
            status = folder.stat()
        except FileNotFoundError:
            return None  # created later by this program, readable
        if stat.S_ISDIR(status.st_mode) and not _may_enter(status, account):
            return folder
    return None


def _may_enter(status: os.stat_result, account: ServerAccount) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def reachable_folder(path: Path, account: ServerAccount | None, shared: Path = SHARED_STATE) -> Path:
    """Return a folder for a server's own files: `path`, or a stand-in its account can reach, linked from `path`.

    Args:
        path: preferred folder, inside the data folder.
        account: account of the server; None is the current user, who reaches everything.
        shared: parent of the stand-ins.

    Returns:
        The folder, existing, owned by the account and private to it: it holds customers' data and a keystore.

    Raises:
        ShopstreamError: neither folder can be used.
    """
    if account is None:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
        return path
    blocked = obstacle(path.parent, account)
    folder = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            folder = path.readlink()
            _take_over(path, folder)
        elif blocked is not None and not path.exists():
            folder = _stand_in(path, shared)
            path.symlink_to(folder)
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, account.uid, account.gid)
        folder.chmod(0o700)
    except OSError as error:
        raise ShopstreamError(f"{folder} cannot be created for {account.name}: {error}.", _remedy(blocked)) from error
    if (still := obstacle(folder, account)) is not None:
        raise ShopstreamError(
            f"Elasticsearch runs as {account.name}, not as root, and {account.name} cannot enter {still}.",
            _remedy(still),
        )
    return folder


def _stand_in(path: Path, shared: Path) -> Path:
    """Make a new folder each time: a data folder deleted by hand must not find its old indices again."""
    shared.mkdir(parents=True, exist_ok=True)
    shared.chmod(0o755)
    owner = path.parent.parent.name or "root"
    made = Path(tempfile.mkdtemp(prefix=f"{owner}-{path.name}-", dir=shared))
    made.chmod(0o711)
    _name_owner(made, path.parent)
    return made / path.name


def _name_owner(made: Path, home: Path) -> None:
    write_whole(made / OWNER_FILE, lambda partial: partial.write_text(f"{home}\n", "utf-8"), mode=0o600)


def _owner_of(folder: Path) -> Path | None:
    """Return the data folder that a folder in `SHARED_STATE` belongs to; None without a file that names the owner."""
    try:
        return Path((folder.parent / OWNER_FILE).read_text("utf-8").removesuffix("\n"))
    except OSError:
        return None


def made_by(home: Path, folder: Path, shared: Path = SHARED_STATE) -> bool:
    """Return whether this data folder, and not the original of a copy, made the folder."""
    return folder.parent.parent == shared.resolve() and _owner_of(folder) == home


def _take_over(path: Path, folder: Path) -> None:
    """Assign a stand-in to its renamed data folder; a copy must not write into the original's stand-in.

    Raises:
        ShopstreamError: the folder belongs to another data folder.
    """
    owner, home = _owner_of(folder), path.parent
    if owner is None or owner == home:
        return
    original = owner / path.name
    if original.is_symlink() and original.readlink() == folder:
        raise ShopstreamError(
            f"{path} links to {folder}, which belongs to the data folder {owner}: {home} is a copy of it.",
            f"Run `rm {path}` to start with an empty Elasticsearch, or copy {folder} to {path}.",
        )
    _name_owner(folder.parent, home)


def _remedy(blocked: Path | None) -> str:
    where = "Set SHOPSTREAM_HOME to a folder every user can reach, such as /var/lib/shopstream/home"
    return f"{where}." if blocked is None else f"Run `chmod o+x {blocked}`, or s{where[1:]}."


def give(path: Path, account: ServerAccount | None) -> None:
    """Make the account the owner of a folder and its content."""
    if account is None:
        return
    for entry in (path, *path.rglob("*")):
        os.chown(entry, account.uid, account.gid, follow_symlinks=False)

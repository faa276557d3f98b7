"""The unprivileged account a server runs as when root starts it, and what that account can reach."""

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
"""Where a uid of the server's own is looked for: above people's, below those that systemd gives away, and within the
65,536 of a container with a user namespace."""
SHARED_STATE: Final = Path("/var/lib/shopstream")
"""Where a server's tree goes when its account cannot reach the data folder."""
OWNER_FILE: Final = "home"
"""Beside a folder in `SHARED_STATE`: names the data folder that it was made for."""


@dataclass(frozen=True, slots=True)
class Account:
    """A system account."""

    uid: int
    gid: int
    name: str


def server_account(run_as: str | None, folder: Path, *, root: bool) -> Account | None:
    """The account for a server that refuses to run as root.

    Args:
        run_as: name or numeric uid from the settings; None takes the owner of `folder`, or for a new one a uid that
            no user, group or process has, so that no other program reads the server's files and memory.
        folder: the server's own folder.
        root: whether we are root; nobody else can change accounts, and nobody else has to.

    Returns:
        None where the server runs as ourselves.

    Raises:
        ShopstreamError: there is no such account, or it is root.
    """
    if not root:
        return None
    name = run_as or str(_owner(folder) or free_uid())
    remedy = "Name an existing unprivileged user by SHOPSTREAM_ELASTICSEARCH__RUN_AS."
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        account = Account(entry.pw_uid, entry.pw_gid, entry.pw_name)
    except KeyError:
        if not name.isdecimal():
            raise ShopstreamError(f"There is no user {name} to run Elasticsearch as.", remedy) from None
        account = Account(int(name), int(name), f"uid {name}")
    if account.uid == 0:
        raise ShopstreamError("Elasticsearch refuses to run as root.", remedy)
    return account


def _owner(folder: Path) -> int | None:
    """Who owns a folder that is there and is not root's."""
    try:
        return folder.stat().st_uid or None
    except FileNotFoundError:
        return None


def free_uid() -> int:
    """The first uid of `OWN_UIDS` that no user, group or process has. Raises ShopstreamError where none is free."""
    running = {process.info["uids"].real for process in psutil.process_iter(["uids"]) if process.info["uids"]}
    taken = running | {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()}
    for uid in OWN_UIDS:
        if uid not in taken:
            return uid
    raise ShopstreamError(
        f"No uid from {OWN_UIDS.start} to {OWN_UIDS.stop - 1} is free to run Elasticsearch as.",
        "Name an unprivileged user by SHOPSTREAM_ELASTICSEARCH__RUN_AS.",
    )


def obstacle(path: Path, account: Account) -> Path | None:
    """The first folder on the way to `path` that the account cannot enter; None if it can reach it."""
    for folder in (*reversed(path.absolute().parents), path.absolute()):
        try:
            status = folder.stat()
        except FileNotFoundError:
            return None  # to be made by us, readable
        if stat.S_ISDIR(status.st_mode) and not _may_enter(status, account):
            return folder
    return None


def _may_enter(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def reachable_folder(path: Path, account: Account | None, shared: Path = SHARED_STATE) -> Path:
    """A folder for a server's own files: `path`, or a stand-in its account can reach, linked from `path`.

    Args:
        path: where the folder should be, inside the data folder.
        account: the server's account; None is our own, which reaches everything.
        shared: the parent of stand-ins.

    Returns:
        The folder, existing and owned by the account, open to it alone: it holds customers' data and a keystore.

    Raises:
        ShopstreamError: neither place can be used.
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
        raise ShopstreamError(f"{folder} cannot be made for {account.name}: {error}.", _remedy(blocked)) from error
    if (still := obstacle(folder, account)) is not None:
        raise ShopstreamError(
            f"Elasticsearch runs as {account.name}, not as root, and {account.name} cannot enter {still}.",
            _remedy(still),
        )
    return folder


def _stand_in(path: Path, shared: Path) -> Path:
    """A new folder each time: a data folder deleted by hand must not find its old indices again."""
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
    """The data folder that a folder in `SHARED_STATE` belongs to; None for others, and for those of old versions."""
    try:
        return Path((folder.parent / OWNER_FILE).read_text("utf-8").removesuffix("\n"))
    except OSError:
        return None


def made_by(home: Path, folder: Path, shared: Path = SHARED_STATE) -> bool:
    """Whether this data folder, and not one that it is a copy of, made the folder."""
    return folder.parent.parent == shared.resolve() and _owner_of(folder) == home


def _take_over(path: Path, folder: Path) -> None:
    """A data folder that was moved goes on with its folder elsewhere; a copy must not write into the original's.

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
            f"Run `rm {path}` to begin with an empty Elasticsearch, or copy {folder} to {path}.",
        )
    _name_owner(folder.parent, home)


def _remedy(blocked: Path | None) -> str:
    where = "Set SHOPSTREAM_HOME to a folder every user can reach, such as /var/lib/shopstream/home"
    return f"{where}." if blocked is None else f"Run `chmod o+x {blocked}`, or s{where[1:]}."


def give(path: Path, account: Account | None) -> None:
    """Make a folder and all in it the account's own."""
    if account is None:
        return
    for place in (path, *path.rglob("*")):
        os.chown(place, account.uid, account.gid, follow_symlinks=False)

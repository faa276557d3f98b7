"""Disks of a test's own: an ext4 file system in a file, which can lose its power, freeze and be full. As root."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


class Image:
    """A mounted file system in a file.

    Args:
        folder: where the file and the mount point are.
        size_mb: of the file system.
    """

    def __init__(self, folder: Path, size_mb: int) -> None:
        self._file, self.place = folder / "disk.ext4", folder / "disk"
        self.place.mkdir()
        with self._file.open("wb") as file:
            file.truncate(size_mb * 2**20)
        _run("mkfs.ext4", "-q", "-F", str(self._file))
        self._mount()

    def lose_power(self) -> None:
        """What has reached the file by now is all that is left; nobody may have a file open."""
        left = self._file.with_suffix(".left")
        shutil.copyfile(self._file, left)
        self.close()
        left.replace(self._file)
        self._mount()

    def freeze(self) -> None:
        """Writes wait until `thaw`."""
        _run("fsfreeze", "--freeze", str(self.place))

    def thaw(self) -> None:
        """Writes go on."""
        _run("fsfreeze", "--unfreeze", str(self.place))

    def fill(self) -> None:
        """Takes all room that is left, until `make_room`."""
        with (self.place / "ballast").open("wb") as ballast:
            try:
                while True:
                    ballast.write(bytes(2**16))
                    ballast.flush()
            except OSError:
                pass

    def make_room(self) -> None:
        """Gives back what `fill` took."""
        (self.place / "ballast").unlink()

    def close(self) -> None:
        """Unmounts it."""
        _run("umount", str(self.place))

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self._file), str(self.place))


def mounted(folder: Path, size_mb: int) -> Image:
    """A new one; skips the test where none can be mounted."""
    try:
        return Image(folder, size_mb)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system of its own can be mounted here: {error}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)

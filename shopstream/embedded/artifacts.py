"""Downloads the files of the embedded servers, pinned by `artifacts.lock`: once, and verified on every use.

The rule of this file: no byte is used unless its SHA-256 is in the lock. This holds for downloaded files and for
unpacked trees. Only the locked files are requested from the registry, never versions, so a warm cache needs no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from connectors.files import private_lock
from features.errors import ShopstreamError

LOCK_FILE: Final = "artifacts.lock"
DOWNLOADS_MAX: Final = 6
ATTEMPTS: Final = 3
REQUEST_TIMEOUT_S: Final = 60


class Artifact(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pinned file of the central Maven repository."""

    group: str
    name: str
    version: str
    packaging: str
    sha256: str
    size: int
    tree_sha256: str = ""
    """`tree_sha256` of the content; for archives only."""

    @property
    def filename(self) -> str:
        """File name, such as `kafka-clients-4.1.0.jar`."""
        return f"{self.name}-{self.version}.{self.packaging}"

    @property
    def coordinate(self) -> str:
        """Maven coordinate for display, such as `org.apache.kafka:kafka-clients:4.1.0`."""
        return f"{self.group}:{self.name}:{self.version}"

    def path(self, cache: Path) -> Path:
        """Return the path of the verified file in the cache."""
        return cache / "artifacts" / self.group / self.name / self.version / self.filename


class ArtifactLock(msgspec.Struct, frozen=True):
    """The content of `artifacts.lock`: the files of each server."""

    kafka: tuple[Artifact, ...]
    elasticsearch: tuple[Artifact, ...]

    def version(self, server: str) -> str:
        """Return the version of `kafka` or `elasticsearch`."""
        main = {"kafka": "kafka_2.13", "elasticsearch": "elasticsearch"}[server]
        artifacts: tuple[Artifact, ...] = getattr(self, server)
        return next(artifact.version for artifact in artifacts if artifact.name == main)


def read_lock() -> ArtifactLock:
    """Read the lock of the package."""
    return msgspec.json.decode(
        resources.files("shopstream.embedded").joinpath(LOCK_FILE).read_bytes(), type=ArtifactLock
    )


Update = Callable[[int], None]
"""Callback with the number of bytes received."""
Download = Callable[[Artifact, Path, Update], Path]
"""Downloads an artifact below an empty folder and returns the file. Raises OSError or RuntimeError."""


def fetch(artifacts: Iterable[Artifact], cache: Path, console: Console, download: Download) -> dict[str, Path]:
    """Return the verified files of `artifacts`; download those that are missing from the cache.

    Safe to run in several processes at the same time; shows a progress bar only during downloads.

    Args:
        artifacts: artifacts to fetch.
        cache: cache folder, made if missing.
        console: console for the progress bar.
        download: download function, such as `central_repository`.

    Returns:
        The path of each artifact by its filename, in the order given.

    Raises:
        ShopstreamError: a download failed, or a file differs from the pinned one.
    """
    requested = list(artifacts)
    if any(not _is_intact(artifact, cache) for artifact in requested):
        with locked(cache):
            # another process may have filled the cache while this one waited for the lock
            missing = [artifact for artifact in requested if not _is_intact(artifact, cache)]
            if missing:
                _download_all(missing, cache, console, download)
    return {artifact.filename: artifact.path(cache) for artifact in requested}


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the lock that keeps other processes from writing to the cache."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShopstreamError(
            f"The cache folder {cache} cannot be created: {error.strerror}.",
            "Set SHOPSTREAM_CACHE to a folder of yours.",
        ) from error
    with private_lock(cache / ".lock"):
        yield


def _is_intact(artifact: Artifact, cache: Path) -> bool:
    path = artifact.path(cache)
    return path.is_file() and path.stat().st_size == artifact.size and sha256_of(path) == artifact.sha256


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(top: Path) -> str:
    """Return the SHA-256 over path, executable bit and content of all files of a tree, in hex; links by target."""
    paths = sorted(Path(folder) / name for folder, _, names in os.walk(top) for name in names)
    links = sorted(Path(folder) / name for folder, names, _ in os.walk(top) for name in names)
    with ThreadPoolExecutor() as pool:
        lines = pool.map(lambda path: _tree_line(top, path), [*paths, *(link for link in links if link.is_symlink())])
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _tree_line(top: Path, path: Path) -> str:
    name = path.relative_to(top).as_posix()
    if path.is_symlink():
        return f"link {path.readlink()} {name}\0"
    return f"{'x' if path.stat().st_mode & stat.S_IXUSR else '-'} {sha256_of(path)} {name}\0"


class _InterruptedError(Exception):
    """Another download failed or Ctrl-C was pressed, so this one is cancelled."""


def _download_all(missing: list[Artifact], cache: Path, console: Console, download: Download) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
        _scratch(cache, ".download-") as scratch,
        ThreadPoolExecutor(DOWNLOADS_MAX) as pool,
    ):
        total = sum(artifact.size for artifact in missing)
        files = "file" if len(missing) == 1 else "files"
        task = progress.add_task(f"Downloading {len(missing)} {files} of the servers", total=total)
        interrupted = threading.Event()
        jobs = []
        for number, artifact in enumerate(missing):
            folder = scratch / str(number)
            jobs.append(pool.submit(_download_one, artifact, cache, folder, download, progress, task, interrupted))
        try:
            for job in jobs:
                job.result()
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _download_one(
    artifact: Artifact,
    cache: Path,
    folder: Path,
    download: Download,
    progress: Progress,
    task: TaskID,
    interrupted: threading.Event,
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        received = 0

        def update(count: int) -> None:
            nonlocal received
            if interrupted.is_set():
                raise _InterruptedError
            received += count
            progress.advance(task, count)

        attempt_folder = folder / str(attempt)
        attempt_folder.mkdir(parents=True)
        try:
            file = download(artifact, attempt_folder, update)
        except (OSError, RuntimeError) as error:
            progress.advance(task, -received)
            if attempt == ATTEMPTS:
                raise ShopstreamError(
                    f"{artifact.coordinate} could not be downloaded: {error}.",
                    "Check the network and the proxy, then run the command again; complete downloads are kept. "
                    "SHOPSTREAM_MAVEN_URL sets a mirror.",
                ) from error
            continue
        progress.advance(task, artifact.size - received)
        _store(artifact, file, cache)
        return


def _store(artifact: Artifact, file: Path, cache: Path) -> None:
    size, digest = file.stat().st_size, sha256_of(file)
    if (size, digest) != (artifact.size, artifact.sha256):
        file.unlink()
        raise ShopstreamError(
            f"{artifact.coordinate} differs from the pinned file: expected {artifact.size} bytes with SHA-256 "
            f"{artifact.sha256}, got {size} bytes with {digest}. It was deleted.",
            "Try again from another network; if it repeats, the source or a proxy changes files and must not be "
            "trusted.",
        )
    path = artifact.path(cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.replace(path)


def central_repository(mirror: str | None) -> Download:
    """Return a function that downloads from the central Maven repository or a mirror of it."""
    bytes_of_thread = threading.local()

    @contextmanager
    def report(_name: str, _size: int) -> Iterator[Update]:
        yield bytes_of_thread.update

    def download(artifact: Artifact, folder: Path, update: Update) -> Path:
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - costs 0.2 s, needed once

        bytes_of_thread.update = update
        context = MavenContext(
            resolver=PythonResolver(progress_callback=report),
            repo_cache=folder,
            local_repos=[],
            remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
            timeout=REQUEST_TIMEOUT_S,
        )
        component = context.project(artifact.group, artifact.name).at_version(artifact.version)
        path: Path = component.artifact("", artifact.packaging).resolve()
        return path

    return download


def tree_path(artifact: Artifact, cache: Path) -> Path:
    """Return the path of an unpacked archive; the folder exists only when it is complete."""
    return cache / "trees" / f"{artifact.name}-{artifact.version}-{artifact.sha256[:12]}"


def unpack(artifact: Artifact, cache: Path, console: Console, download: Download) -> Path:
    """Return the unpacked tree of a zip whose single top folder is `name-version`.

    Compares the tree with the lock at every call, and unpacks it again if it differs.

    Returns:
        The top folder, in the cache.

    Raises:
        ShopstreamError: the archive differs from the pinned one.
    """
    tree = tree_path(artifact, cache)
    if tree.is_dir() and tree_sha256(tree) == artifact.tree_sha256:
        return tree
    archive = fetch([artifact], cache, console, download)[artifact.filename]
    with locked(cache):
        if tree.is_dir():
            if tree_sha256(tree) == artifact.tree_sha256:
                return tree  # unpacked by another process in the meantime
            console.print(f"{tree} has changed since it was unpacked; unpacking it again", highlight=False)
        with _scratch(cache, ".unpack-") as scratch:
            extract(archive, scratch)
            (top,) = scratch.iterdir()
            if tree_sha256(top) != artifact.tree_sha256:
                raise ShopstreamError(
                    f"{artifact.coordinate} unpacks to other files than the pinned ones.",
                    f"Check the disk of {cache} and its free space, then run the command again.",
                )
            tree.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(tree, ignore_errors=True)
            top.rename(tree)
    return tree


def extract(archive: Path, folder: Path) -> None:
    """Unpack a zip with the modes of its files; others never get write permission, whatever the umask."""
    with zipfile.ZipFile(archive) as content:
        for entry in content.infolist():
            file = Path(content.extract(entry, folder))
            mode = entry.external_attr >> 16
            if mode and not entry.is_dir():
                file.chmod(mode & 0o755)  # zipfile drops the mode, and bin/ must be executable


@contextmanager
def _scratch(cache: Path, prefix: str) -> Iterator[Path]:
    """Yield a temporary folder in the cache. Needs the cache's lock: it also removes those of killed processes."""
    for stale in cache.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=cache) as scratch:
        yield Path(scratch)

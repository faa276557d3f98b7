"""The cache of downloads: pinned, checked, safe for several processes, quiet when warm."""

import hashlib
import io
import multiprocessing
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from features.errors import ShopstreamError
from shopstream.embedded import artifacts, java
from shopstream.embedded.account import ServerAccount
from shopstream.embedded.artifacts import Artifact, Update

CONTENT = {"one": b"first file", "two": b"second file" * 1000}
QUIET = Console(quiet=True)


def artifact(name: str, content: bytes | None = None, packaging: str = "jar", tree: str = "") -> Artifact:
    content = CONTENT[name] if content is None else content
    return Artifact("org.example", name, "1.0", packaging, hashlib.sha256(content).hexdigest(), len(content), tree)


class FakeRepository:
    """Serves bytes, and remembers what it was asked for; the first `failures` requests break off."""

    def __init__(self, served: dict[str, bytes], failures: int = 0) -> None:
        self.served = served
        self.failures = failures
        self.asked: list[str] = []

    def __call__(self, requested: Artifact, folder: Path, update: Update) -> Path:
        self.asked.append(requested.name)
        content = self.served[requested.name]
        path = folder / requested.filename
        if self.failures:
            self.failures -= 1
            path.write_bytes(content[:3])
            update(3)
            raise ConnectionResetError("broken off")
        path.write_bytes(content)
        update(len(content))
        return path


def refuse(requested: Artifact, _folder: Path, _update: Update) -> Path:
    raise AssertionError(f"the network was asked for {requested.name}")


def test_artifact_is_downloaded_once_and_then_read_from_the_cache(tmp_path: Path) -> None:
    repository = FakeRepository(CONTENT)
    requested = [artifact("one"), artifact("two")]
    paths = artifacts.fetch(requested, tmp_path, QUIET, repository)
    assert [paths["one-1.0.jar"].read_bytes(), paths["two-1.0.jar"].read_bytes()] == list(CONTENT.values())
    assert sorted(repository.asked) == ["one", "two"]
    assert artifacts.fetch(requested, tmp_path, QUIET, refuse) == paths


def test_file_with_another_checksum_is_refused_and_not_cached(tmp_path: Path) -> None:
    swapped = b"x" * len(CONTENT["one"])  # of the right size
    with pytest.raises(ShopstreamError, match=r"org\.example:one:1\.0 differs from the pinned file") as caught:
        artifacts.fetch([artifact("one")], tmp_path, QUIET, FakeRepository({"one": swapped}))
    assert caught.value.remedy
    assert not list(tmp_path.rglob("*.jar"))


def test_a_damaged_cache_is_repaired(tmp_path: Path) -> None:
    requested = artifact("one")
    artifacts.fetch([requested], tmp_path, QUIET, FakeRepository(CONTENT))
    requested.path(tmp_path).write_bytes(b"x" * requested.size)
    artifacts.fetch([requested], tmp_path, QUIET, FakeRepository(CONTENT))
    assert requested.path(tmp_path).read_bytes() == CONTENT["one"]


def test_interrupted_download_is_retried(tmp_path: Path) -> None:
    repository = FakeRepository(CONTENT, failures=artifacts.ATTEMPTS - 1)
    artifacts.fetch([artifact("one")], tmp_path, QUIET, repository)
    assert repository.asked == ["one"] * artifacts.ATTEMPTS


def test_missing_network_names_the_artifacts_and_preserves_completed_downloads(tmp_path: Path) -> None:
    repository = FakeRepository(CONTENT, failures=artifacts.ATTEMPTS)
    with pytest.raises(ShopstreamError, match=r"org\.example:one:1\.0 could not be downloaded") as caught:
        artifacts.fetch([artifact("one")], tmp_path, QUIET, repository)
    assert "network" in caught.value.remedy
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


def _fetch_in_process(cache: Path, asked: Path) -> None:
    def slow(requested: Artifact, folder: Path, _update: Update) -> Path:
        with asked.open("a") as file:
            file.write("x")
        path = folder / requested.filename
        path.write_bytes(CONTENT["two"])
        return path

    artifacts.fetch([artifact("two")], cache, QUIET, slow)


def test_concurrent_processes_download_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "cache", tmp_path / "asked")
    processes = [context.Process(target=_fetch_in_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert arguments[1].read_text() == "x"


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Artifact, bytes]:
    """An archive with a program and a library, and its pin."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        entry = zipfile.ZipInfo("server-1.0/bin/run")
        entry.external_attr = 0o100755 << 16
        content.writestr(entry, "#!/bin/sh\n")
        content.writestr("server-1.0/lib/server.jar", b"classes")
    (tmp_path / "archive.zip").write_bytes(archive.getvalue())
    artifacts.extract(tmp_path / "archive.zip", tmp_path / "unpacked")
    tree = artifacts.tree_sha256(tmp_path / "unpacked" / "server-1.0")
    return artifact("server", archive.getvalue(), "zip", tree), archive.getvalue()


def test_unpack_preserves_file_modes(tmp_path: Path, packed: tuple[Artifact, bytes]) -> None:
    requested, content = packed
    tree = artifacts.unpack(requested, tmp_path, QUIET, FakeRepository({"server": content}))
    assert (tree / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert artifacts.unpack(requested, tmp_path, QUIET, refuse) == tree


CHANGES = {
    "content": lambda tree: (tree / "bin" / "run").write_text("#!/bin/sh\necho owned\n"),
    "of the same size": lambda tree: (tree / "lib" / "server.jar").write_bytes(b"CLASSES"),
    "mode": lambda tree: (tree / "lib" / "server.jar").chmod(0o755),
    "a file more": lambda tree: (tree / "lib" / "more.jar").write_bytes(b"more"),
    "a file less": lambda tree: (tree / "lib" / "server.jar").unlink(),
    "a linked file": lambda tree: (tree / "lib" / "link").symlink_to("server.jar"),
    "a linked folder": lambda tree: (tree / "plugins").symlink_to("lib"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_tree_is_unpacked_again(
    change: Callable[[Path], object], tmp_path: Path, packed: tuple[Artifact, bytes]
) -> None:
    expected, content = packed
    tree = artifacts.unpack(expected, tmp_path, QUIET, FakeRepository({"server": content}))
    change(tree)
    message = Console(file=io.StringIO(), width=200)
    assert artifacts.unpack(expected, tmp_path, message, refuse) == tree
    assert "has changed since it was unpacked" in message.file.getvalue()
    assert artifacts.tree_sha256(tree) == expected.tree_sha256
    assert (tree / "bin" / "run").read_text() == "#!/bin/sh\n"


def test_archive_with_another_tree_checksum_is_refused(tmp_path: Path, packed: tuple[Artifact, bytes]) -> None:
    requested = msgspec.structs.replace(packed[0], tree_sha256="0" * 64)
    with pytest.raises(ShopstreamError, match="unpacks to other files"):
        artifacts.unpack(requested, tmp_path, QUIET, FakeRepository({"server": packed[1]}))
    assert not artifacts.tree_path(requested, tmp_path).exists()


def test_remains_of_a_killed_unpack_are_removed(tmp_path: Path, packed: tuple[Artifact, bytes]) -> None:
    left = tmp_path / ".unpack-killed"
    left.mkdir()
    artifacts.unpack(packed[0], tmp_path, QUIET, FakeRepository({"server": packed[1]}))
    assert not left.exists()


def test_a_copy_for_another_account_is_compared_with_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "obstacle", lambda _tree, _account: tmp_path)
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "run").write_text("run")
    (tree / "link").symlink_to("bin/run")
    stranger = ServerAccount(64_999, 64_999, "stranger")
    assert java.readable(tree, stranger, copy) == copy
    first = (copy / "bin").stat().st_ino
    assert java.readable(tree, stranger, copy) == copy
    assert (copy / "bin").stat().st_ino == first  # nothing was copied a second time
    for change in (
        lambda: ((copy / "bin" / "run").unlink(), (copy / "bin" / "run").write_text("owned")),
        lambda: (copy / "bin" / "more").write_text("more"),
        lambda: ((copy / "link").unlink(), (copy / "link").symlink_to("elsewhere")),
    ):
        change()
        java.readable(tree, stranger, copy)
        assert (copy / "bin" / "run").read_text() == "run"
        assert sorted(path.name for path in copy.rglob("*")) == ["bin", "link", "run"]
        assert (copy / "link").readlink() == Path("bin/run")


def test_lock_file_pins_every_file_of_both_servers() -> None:
    lock = artifacts.read_lock()
    assert (lock.version("kafka"), lock.version("elasticsearch")) == ("4.1.0", "9.2.0")
    names = [entry.name for entry in lock.kafka]
    assert len(names) == len(set(names)) >= 45
    # all of Kafka is of one version: a mixed class path starts, and breaks later
    assert {entry.version for entry in lock.kafka if entry.group == "org.apache.kafka"} == {"4.1.0"}
    for entry in (*lock.kafka, *lock.elasticsearch):
        assert len(entry.sha256) == 64
        assert entry.size > 1000
        assert len(entry.tree_sha256) == (64 if entry.packaging == "zip" else 0)

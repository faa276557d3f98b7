"""What other people of the machine could see while something runs: the command lines of all processes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path

EVERY_S = 0.03
STARTED: set[bytes] = set()
"""Command lines that were seen while the servers were made and started."""


@contextmanager
def command_lines():
    """Collects the command line of every process that lives meanwhile."""
    seen: set[bytes] = set()
    done = threading.Event()

    def look():
        while not done.is_set():
            for location in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(location.read_bytes())
                except OSError:
                    continue
            done.wait(EVERY_S)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def files(folder: Path):
    """Every regular file below a folder, links followed at the top (the stand-in of Elasticsearch's folder)."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and path.is_dir():
            yield from files(path.resolve())
        elif path.is_file():
            yield path


def holding(folder: Path, words: list[str]) -> dict[Path, str]:
    """Files that hold one of the words, as UTF-8 bytes."""
    result = {}
    for path in files(folder):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # gone meanwhile
        for word in words:
            if word.encode() in content:
                result[path] = word
    return result

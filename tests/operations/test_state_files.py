"""Notes of a program to itself: the former one or the new one, never a half."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from connectors.files import read_note, write_note
from features.errors import ShopstreamError


class Note(msgspec.Struct, frozen=True):
    count: int
    name: str = ""


def test_state_file_reads_back_as_written(tmp_path):
    path = tmp_path / "note.json"
    assert read_note(path, Note, "Delete it.") is None
    for note in (Note(1, "é"), Note(2)):
        write_note(path, note)
        assert read_note(path, Note, "Delete it.") == note
    assert list(tmp_path.iterdir()) == [path]


def test_crash_while_writing_leaves_the_previous_state_file(tmp_path, monkeypatch):
    path = tmp_path / "note.json"
    write_note(path, Note(1))
    on_disk = []
    with monkeypatch.context() as patch:

        def dies(handle):
            on_disk.append(Path(f"/proc/self/fd/{handle}").resolve().read_bytes())
            raise KeyboardInterrupt

        patch.setattr(os, "fsync", dies)
        with pytest.raises(KeyboardInterrupt):
            write_note(path, Note(2))
    assert msgspec.json.decode(on_disk[0], type=Note) == Note(2)  # all of it was handed over before it was synced
    assert read_note(path, Note, "") == Note(1)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"count": "one"}', b"\xff"])
def test_damaged_state_file_is_an_error_with_its_path_and_remedy(tmp_path, text):
    path = tmp_path / "note.json"
    path.write_bytes(text)
    with pytest.raises(ShopstreamError, match=r"note\.json is damaged") as caught:
        read_note(path, Note, "Delete it.")
    assert caught.value.remedy == "Delete it."

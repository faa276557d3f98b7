"""Checkpoints that are damaged or of another program: never a wrong number, always a word about it."""

from __future__ import annotations

import shutil

import msgspec
import pytest

from consumers.checkpoints import store as checkpoint_store
from features.schema import SCHEMA_VERSION

pytestmark = [pytest.mark.timeout(1_800), pytest.mark.campaign]


def newest_checkpoints(scene) -> list:
    """The newest file of each partition."""
    store = checkpoint_store.CheckpointStore(str(scene.folder / "state"), scene.run)
    folders = sorted((scene.folder / "state" / scene.run).glob("partition=*"))
    return [folder / store.names(int(folder.name.partition("=")[2]))[0] for folder in folders]


def twice_caught_up(scene) -> None:
    """Two checkpoints of each partition, the first one of 40 % of the stream, the second one of 70 %."""
    for share in (0.4, 0.7):
        scene.feeder.send_share(share)
        scene.catch_up()


def test_damaged_newest_checkpoint_falls_back_to_the_previous_one(scene, nothing_lost):
    twice_caught_up(scene)
    for path in newest_checkpoints(scene):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    scene.feeder.hurry()
    output = scene.catch_up().output()
    assert output.count("falling back to the previous one") == 3
    assert output.count("resuming from an older checkpoint") == 3
    nothing_lost(scene, "checkpoint damaged", "one bit of the newest checkpoint of every partition", None)


def test_checkpoint_of_another_schema_version_is_refused(scene, tmp_path, nothing_lost):
    twice_caught_up(scene)
    paths = newest_checkpoints(scene)
    for path in paths:
        shutil.copy(path, tmp_path / path.name)
        data = path.read_bytes()
        header, start = checkpoint_store._parsed(data, str(path))
        manifest = msgspec.structs.replace(header.manifest, schema_version=SCHEMA_VERSION + 1)
        head = checkpoint_store._head(msgspec.structs.replace(header, manifest=manifest))
        path.write_bytes(head + data[start:])
    before = scene.stored_results()
    message = scene.refused()
    assert f"schema version {SCHEMA_VERSION + 1}" in message
    assert "into a new run" in message
    assert scene.stored_results() == before
    for path in paths:
        shutil.copy(tmp_path / path.name, path)
    scene.finish()
    nothing_lost(scene, "checkpoint of another schema", "schema version raised in every checkpoint: refused", None)

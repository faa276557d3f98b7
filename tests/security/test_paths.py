"""No word of a record becomes a part of a path: what stands in ids, names and categories cannot lead out."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import pytest
from consume.command_line import call, environment
from security.world import ESCAPES

from features.errors import UsageError
from features.schema import index_name
from shopstream.settings import load_settings

NAMES = re.compile(r"[A-Za-z0-9_.=-]+")


def test_every_file_name_is_generated_by_shopstream(world):
    outside = {path.name for path in world.home.parent.iterdir()}
    assert outside == {"home", "data"}
    for path in world.home.rglob("*"):
        parts = path.relative_to(world.home).parts
        assert all(NAMES.fullmatch(part) and "escaped" not in part for part in parts), path


def test_archive_holds_hostile_ids_as_values_only(world):
    folder = world.home / "archive"
    files = [path for path in folder.rglob("*.parquet") if "events" in path.parts]
    entries = {
        word for file in files for word in pq.read_table(file, columns=["customer_id"])["customer_id"].to_pylist()
    }
    assert set(ESCAPES) <= entries
    folders = {path.name for path in folder.rglob("date=*")}
    assert all(re.fullmatch(r"date=\d{4}-\d{2}-\d{2}", name) for name in folders)
    assert folders


@pytest.mark.parametrize("run", ["..", "../x", "a/b", "/tmp/x", "a\0b", "a b", ".hidden", "A", "", "x" * 65, "a\n"])
def test_run_name_is_never_a_path(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="run"):
        load_settings(run=run)
    assert list(tmp_path.iterdir()) == []


def test_invalid_run_option_is_a_usage_error(tmp_path):
    done = call(["consume", "--run", "../escaped"], environment(tmp_path / "home"), 60)
    assert done.returncode == 2
    assert "run" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_index_names_depend_on_the_run_only(world):
    from elasticsearch import Elasticsearch  # noqa: PLC0415

    with Elasticsearch(**world.endpoints.elasticsearch.client_options()) as client:
        names = list(client.indices.get(index=index_name("*", ""), filter_path="*.aliases"))
    assert [name for name in names if "escaped" in name] == []

"""A role of a run is consumed by one process of a data folder, which says immediately where it cannot write."""

import subprocess
import sys

import pytest

from consumers.checkpoints.inventory import check_writable
from features.errors import ShopstreamError
from shopstream.jobs.consume import LOCKS, exclusive_consumer_lock
from shopstream.settings import Settings

OTHER = """
import sys
from pathlib import Path
from shopstream.jobs.consume import exclusive_consumer_lock
from shopstream.settings import Settings
with exclusive_consumer_lock(Settings(home=Path(sys.argv[1]), run="mine"), ("features",)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    arguments = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_with_the_remedy(tmp_path, other):
    with (
        pytest.raises(ShopstreamError, match="role features of run mine") as refused,
        exclusive_consumer_lock(Settings(home=tmp_path, run="mine"), ("features",)),
    ):
        pass
    assert "--workers" in refused.value.remedy


def test_lock_does_not_affect_other_roles_or_runs(tmp_path, other):
    with exclusive_consumer_lock(Settings(home=tmp_path, run="mine"), ("index", "archive")):
        pass
    with exclusive_consumer_lock(Settings(home=tmp_path, run="theirs"), ("features",)):
        pass


def test_refused_process_releases_its_other_locks(tmp_path, other):
    with (
        pytest.raises(ShopstreamError),
        exclusive_consumer_lock(Settings(home=tmp_path, run="mine"), ("index", "features")),
    ):
        pass
    with exclusive_consumer_lock(Settings(home=tmp_path, run="mine"), ("index",)):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path, other):
    other.kill()
    other.wait()
    with exclusive_consumer_lock(Settings(home=tmp_path, run="mine"), ("features",)):
        assert (tmp_path / LOCKS / "mine-features.lock").exists()


def test_data_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    with (
        pytest.raises(ShopstreamError, match=str(home)),
        exclusive_consumer_lock(Settings(home=home, run="mine"), ("features",)),
    ):
        pass


def test_state_folder_is_created_and_left_empty(tmp_path):
    check_writable(str(tmp_path / "new" / "state"))
    assert list((tmp_path / "new" / "state").iterdir()) == []


def test_state_folder_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ShopstreamError, match="cannot be written") as refused:
        check_writable(str(tmp_path / "file" / "state"))
    assert "--state" in refused.value.remedy

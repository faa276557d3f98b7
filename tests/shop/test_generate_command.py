"""`shopstream generate`, as a user calls it: what it prints, refuses and leaves behind."""

import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from producers.archive import archive
from shopstream.cli.app import build_app

SMALL = ["--customers", "100", "--events", "3000", "--days", "20", "--end", "2025-06-01"]


@pytest.fixture
def app():
    return build_app()


def run(app, *arguments):
    return CliRunner().invoke(app, ["generate", *map(str, arguments)])


def test_generate_writes_the_archive_and_prints_its_counts(app, tmp_path):
    done = run(app, "--out", tmp_path / "a", *SMALL, "--dirt", "0.01")
    assert done.exit_code == 0, done.output
    rows = dict(line.strip("│ ").split("│") for line in done.output.splitlines() if line.startswith("│"))
    figures = {name.strip(): value.strip() for name, value in rows.items()}
    assert figures["events"] == "3,000"
    assert figures["customers"] == "100"
    planted = sum(archive.count_rows(tmp_path / "a", "events", day) for day in archive.days(tmp_path / "a", "events"))
    assert planted == 3_000 + 30
    assert set(figures) >= {"sessions", "orders", "revenue (placed)", "conversion", "abandoned carts", "events/s"}
    assert archive.days(tmp_path / "a", "events")[-1].isoformat() == "2025-05-31"


def test_archive_is_replaced_only_with_force(app, tmp_path):
    assert run(app, "--out", tmp_path / "a", *SMALL).exit_code == 0
    refused = run(app, "--out", tmp_path / "a", *SMALL)
    assert isinstance(refused.exception, ShopstreamError)
    assert "--force" in refused.exception.remedy
    assert run(app, "--out", tmp_path / "a", *SMALL, "--force", "--seed", 2).exit_code == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--end", "yesterday"],
        ["--end", "2025-06-01T12:00"],
        ["--events", "0"],
        ["--dirt", "2"],
        ["--conversion", "1.5"],
    ],
)
def test_wrong_options_are_usage_errors_and_leave_nothing(app, tmp_path, wrong):
    done = run(app, "--out", tmp_path / "a", *SMALL, *wrong)
    assert isinstance(done.exception, UsageError)
    assert list(tmp_path.iterdir()) == []


def test_default_end_is_two_weeks_ago(app, tmp_path):
    assert run(app, "--out", tmp_path / "a", *SMALL[:-2]).exit_code == 0
    day = archive.days(tmp_path / "a", "events")[-1]
    assert 14 <= time.time() / 86_400 - day.toordinal() + 719_163 < 16.1  # noqa: TID251


def test_an_interrupted_run_leaves_nothing(tmp_path):
    """Ctrl-C in the middle of a long run."""
    code = "from shopstream.cli.app import main; main()"
    options = ["--out", str(tmp_path / "a"), "--events", "50000000", "--end", "2025-06-01"]
    child = subprocess.Popen(
        [sys.executable, "-c", code, "generate", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".a.partial-*/new/events/*/*.parquet")):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGINT)
        assert child.wait(timeout=30) != 0
    finally:
        child.kill()
        child.wait()
    assert list(tmp_path.iterdir()) == []

"""The commands as a user calls them, where no server is needed."""

import io
import os
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from connectors.clock import iso
from connectors.formats.strict_yaml import read_yaml
from features.errors import ShopstreamError, UsageError
from producers.importing.mapping import builtin_mappings, parse_mapping, questions
from shopstream.cli.app import build_app
from shopstream.cli.options import parse_duration_s, parse_time
from shopstream.cli.produce import parse_rate, parse_speed, with_heartbeat
from shopstream.cli.progress import progress
from shopstream.jobs import produce as produce_job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def call():
    app = build_app()

    def run(*words):
        result = CliRunner().invoke(app, list(words))
        if isinstance(result.exception, ShopstreamError):
            raise result.exception
        return result

    return run


@pytest.mark.parametrize("command", ["replay", "live", "import"])
def test_help_has_an_example(call, command):
    assert f"shopstream {command} " in re.sub(r"\s+", " ", call(command, "--help").output)


def test_a_ready_mapping_can_be_listed_shown_and_used(call, tmp_path):
    assert all(name in call("import", "--list").output for name in builtin_mappings())
    (tmp_path / "mine.yaml").write_text(call("import", "--show", "orders-csv").output, "utf-8")
    (tmp_path / "o.csv").write_text("order_id,customer_id,created_at,total\n1,a,2025-01-01,2.5\n", "utf-8")
    words = ["import", str(tmp_path / "o.csv"), "--mapping", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "a")]
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert "order records" in result.output
    assert list((tmp_path / "a" / "orders" / "date=2025-01-01").glob("*.parquet"))
    with pytest.raises(ShopstreamError, match="not empty"):
        call(*words)


def test_the_heartbeat_file_is_touched_once_a_second_while_records_are_sent(tmp_path, monkeypatch):
    now_s, shown, sign = [10.0], [], tmp_path / "alive"
    monkeypatch.setattr(produce_job.time, "monotonic", lambda: now_s[0])
    show = with_heartbeat(sign, shown.append)
    signed = []
    for now_s[0] in (10.0, 10.5, 11.2, 11.9, 12.3):
        os.utime(sign, (1, 1))
        show(now_s[0])
        signed.append(sign.stat().st_mtime > 1)
    assert signed == [True, False, True, False, True]
    assert shown == [10.0, 10.5, 11.2, 11.9, 12.3]
    tmp_path.joinpath("alive").unlink()
    tmp_path.rename(tmp_path.with_name("gone"))
    now_s[0] = 20.0
    show("not ended by it")
    assert shown[-1] == "not ended by it"


def test_a_heartbeat_file_that_cannot_be_written_is_an_error_before_anything_is_sent(tmp_path):
    with pytest.raises(UsageError, match="--heartbeat-file"):
        with_heartbeat(tmp_path / "no-such-folder" / "alive", print)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["replay", "x", "--speed", "fast"], "--speed"),
        (["replay", "x", "--speed", "0"], "--speed"),
        (["replay", "x", "--from", "2025-13-01"], "--from"),
        (["replay", "x", "--from", "2025-01-02", "--to", "2025-01-02"], "is empty"),
        (["replay", "x", "--topics", "events,clicks"], "clicks"),
        (["live", "x", "--rate", "-1/s"], "--rate"),
        (["live", "x", "--for", "1 fortnight"], "--for"),
        (["import", "x"], "--mapping"),
        (["import", "x", "--mapping", "cdnow", "--mapping", "cdnow", "--out", "y"], "1 files, but 2"),
        (["import", "--show", "none"], "none"),
    ],
)
def test_wrong_call_is_a_usage_error_with_a_reason(call, words, message):
    with pytest.raises(UsageError, match=message):
        call(*words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-02", 86_400_000),
        ("1970-01-02T00:00:00.250", 86_400_250),
        ("1970-01-02T01:00:00+01:00", 86_400_000),
        ("1970-01-02T00:00Z", 86_400_000),
        ("2026-03-21T14:29:03.485Z", 1_774_103_343_485),
    ],
)
def test_times_are_exact_and_utc_by_default(text, expected):
    assert parse_time(text, "--from") == expected
    assert parse_time(iso(expected), "--from") == expected


def test_durations_rates_and_speeds_are_parsed():
    assert [parse_duration_s(t, "--for") for t in ("90", "90s", "1.5h", "2d")] == [90, 90, 5_400, 172_800]
    assert [parse_rate(t, "--rate") for t in ("500", "500/s")] == [500, 500]
    assert [parse_speed(t) for t in ("max", "60", "0.5")] == [None, 60, 0.5]


def test_the_guide_names_every_key_and_every_ready_mapping():
    guide = (ROOT / "docs" / "import.md").read_text("utf-8")
    for name in builtin_mappings():
        assert f"`{name}`" in guide
    for text in builtin_mappings().values():
        if "refused" in read_yaml(text, "ready").content:
            continue
        mapping = parse_mapping(text, "ready", dict.fromkeys(questions(text), "UTC"))
        part = mapping.order if mapping.kind == "orders" else mapping.click
        for key in (*type(part).model_fields, *type(mapping).model_fields, *type(mapping.file).model_fields):
            assert re.search(rf"`[^`]*\b{key}\b", guide), key


def test_progress_without_a_terminal_is_a_line_for_each_step():
    out = io.StringIO()
    with progress(Console(file=out, width=40)) as on_step:
        for step, share in [("reading", 0.1), ("reading", 0.2), ("fitting [a]", None), ("reading", 0.1)]:
            on_step(step, share)
    assert out.getvalue().splitlines() == ["reading", "fitting [a]", "reading"]

import json
from dataclasses import dataclass

import pytest

from consumers.metrics.progress import Progress, Totals
from consumers.metrics.prometheus import RateMeter, add_figures, figures, metrics_file, write_metrics
from shopstream.embedded.status import read_metrics


def test_a_rate_is_that_of_the_last_seconds():
    meter = RateMeter(window_s=5.0)
    for second in range(11):
        meter.read(1_000 * second, float(second))
    assert meter.per_s == pytest.approx(1_000)
    for second in range(11, 21):
        meter.read(10_000, float(second))
    assert meter.per_s == 0


def test_the_mean_rate_leaves_out_the_idle_time_at_the_end():
    meter = RateMeter()
    for second, count in enumerate([0, 100, 200, 200, 200, 200]):
        meter.read(count, float(second))
    assert meter.mean_per_s == pytest.approx(100)


def test_a_count_that_falls_is_a_new_beginning():
    meter = RateMeter()
    for second, count in enumerate([0, 5_000, 0, 10]):
        meter.read(count, float(second))
    assert meter.per_s == pytest.approx(10)


def test_before_two_readings_there_is_no_rate():
    meter = RateMeter()
    assert (meter.per_s, meter.mean_per_s) == (0, 0)
    meter.read(10, 1.0)
    assert (meter.per_s, meter.mean_per_s) == (0, 0)


def test_totals_stand_beside_the_progress():
    flat = figures(Progress("index", Totals(consumed=3, written=2), lag_records=1, waiting_records=0))
    assert (flat["role"], flat["consumed"], flat["written"], flat["lag_records"]) == ("index", 3, 2, 1)
    assert "totals" not in flat


def test_counts_add_up_and_times_are_the_highest():
    first = {"consumed": 1, "stream_ts": 50, "freshness_p99_ms": 3.0, "role": "index", "trouble": None}
    second = {"consumed": 2, "stream_ts": 40, "freshness_p99_ms": 9.0, "role": "index", "trouble": "slow"}
    assert add_figures([first, second]) == {
        "consumed": 3, "stream_ts": 50, "freshness_p99_ms": 9.0, "role": "index", "trouble": "slow",
    }  # fmt: skip


def test_the_file_is_replaced_whole_and_status_reads_it(tmp_path):
    path = metrics_file(tmp_path / "metrics", "shop", "index", 2)
    write_metrics(path, {"consumed": 1})
    write_metrics(path, {"consumed": 2})
    assert read_metrics(tmp_path / "metrics", "shop") == {"index-2": {"consumed": 2}}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert json.loads(path.read_text())["consumed"] == 2


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "metrics").write_text("a file stands there")
    write_metrics(metrics_file(tmp_path / "metrics", "shop", "index", 0), {"consumed": 1})


@dataclass
class _Odd:
    a: int
    b: str | None


def test_any_flat_dataclass_is_taken():
    assert figures(_Odd(1, None)) == {"a": 1, "b": None}

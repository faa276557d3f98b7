import json

import pytest

from consumers.metrics.definitions import METRICS
from consumers.metrics.reports import RateMeter, merged, metrics_file, write_metrics
from shopstream.embedded.status import read_metrics


def test_rate_covers_the_last_seconds():
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


def test_rate_restarts_when_a_count_falls():
    meter = RateMeter()
    for second, count in enumerate([0, 5_000, 0, 10]):
        meter.read(count, float(second))
    assert meter.per_s == pytest.approx(10)


def test_rate_needs_two_readings():
    meter = RateMeter()
    assert (meter.per_s, meter.mean_per_s) == (0, 0)
    meter.read(10, 1.0)
    assert (meter.per_s, meter.mean_per_s) == (0, 0)


def test_merged_figures_are_sums_maxima_or_the_first_text():
    first = {"consumed": 1, "stream_ts": 50, "freshness_p99_ms": 3.0, "psi.x": 0.2, "role": "index", "last_error": None}
    second = {"consumed": 2, "stream_ts": 40, "freshness_p99_ms": 9.0, "psi.x": 0.1, "role": "x", "last_error": "slow"}
    assert merged([first, second]) == {
        "consumed": 3, "stream_ts": 50, "freshness_p99_ms": 9.0, "psi.x": 0.2, "role": "index", "last_error": "slow",
    }  # fmt: skip


def test_counts_and_sizes_are_summed_and_times_and_ages_are_not():
    reports = [dict.fromkeys(METRICS, 2), dict.fromkeys(METRICS, 3)]
    by_maximum = {name for name, value in merged(reports).items() if value == 3}
    assert by_maximum == {name for name, metric in METRICS.items() if metric.unit in ("s", "ms", "epoch ms")}


def test_metrics_file_is_replaced_atomically_and_read_by_status(tmp_path):
    path = metrics_file(tmp_path / "metrics", "shop", "index", 2)
    write_metrics(path, {"consumed": 1})
    write_metrics(path, {"consumed": 2})
    assert read_metrics(tmp_path / "metrics", "shop") == {"index-2": {"consumed": 2}}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert json.loads(path.read_text())["consumed"] == 2


def test_metrics_folder_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "metrics").write_text("a file stands there")
    write_metrics(metrics_file(tmp_path / "metrics", "shop", "index", 0), {"consumed": 1})

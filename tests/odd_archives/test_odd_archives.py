"""Every batch command on every odd archive: a right figure, or one sentence with a remedy; never a stack trace."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))

from kinds import DAYS, KINDS, START, order, write

from features.errors import ShopstreamError, UsageError
from features.schema import DAY_MS
from shopstream.cli.app import build_app

NOW = START + 1_000 * DAY_MS
NO_DAY = "no complete day"
NO_SALES = "has no sales"
FEW_DAYS = "complete days are too few"
FEW = "customers are too few for"
CONSTANT = "columns of the table are constant"
AHEAD = r"All records of the archive are ahead of now .*order o2 of customer ann at 2223-11-14"
NO_BUYER = "no customer has an order in the 365 days"
LABELS = "same label"
SHORT = r"The archive holds \d+ days; a cut-off needs"
NO_HISTORY = "No customer has ordered by the last cut-off"
TOO_FEW_FOLDS = "too few to train a model"

OUTCOMES: dict[str, dict[str, str]] = {
    "one order": {"cluster": CONSTANT, "forecast": NO_DAY, "train": SHORT},
    "one click": {"cluster": CONSTANT, "forecast": NO_SALES, "train": SHORT},
    "one customer": {"cluster": CONSTANT, "train": LABELS},
    "one day": {"cluster": FEW, "forecast": NO_DAY, "train": SHORT},
    "clicks only": {"cluster": CONSTANT, "forecast": NO_SALES, "train": NO_HISTORY},
    "orders only": {"cluster": FEW, "train": LABELS},
    "purchases only": {"cluster": FEW, "train": LABELS},
    "more orders than visits": {"cluster": FEW, "train": LABELS},
    "constant": {"cluster": CONSTANT, "train": LABELS},
    "free": {"cluster": FEW, "train": LABELS},
    "refunded": {"cluster": CONSTANT, "forecast": NO_SALES, "rollup": NO_BUYER, "train": NO_HISTORY},
    "three customers": {"cluster": FEW, "train": LABELS},
    "future only": dict.fromkeys(("segment", "cluster", "forecast", "explore", "features", "rollup", "train"), AHEAD),
    "one future": {"cluster": FEW, "train": LABELS},
    "one stray": {"cluster": FEW, "train": LABELS},
    "one old": {"cluster": FEW, "train": TOO_FEW_FOLDS},
    "dates": {"cluster": FEW, "train": LABELS},
    "namibia": {"cluster": FEW, "train": LABELS},
    "one gone": {"cluster": FEW, "train": TOO_FEW_FOLDS},
}
"""Kind of archive -> command -> sentence that it ends with; the other commands succeed."""

SLOW = ("one stray", "purchases only", "more orders than visits", "free", "namibia")
"""Kinds of which the slow commands do the same as of another kind."""


def arguments(command: str, archive: Path, out: Path) -> list[str]:
    options: dict[str, list[object]] = {
        "clean": ["--out", out, "--now", "2026-09-27"],
        "segment": ["--out", out],
        "cluster": ["--out", out, "--k", "2-3", "--methods", "k-means"],
        "forecast": ["--out", out / "f.csv", "--horizon", 7],
        "explore": ["--out", out / "e.html"],
        "features": ["--out", out / "f.csv"],
        "rollup": ["--out", out],
        "train": ["--out", out, "--tries", 1, "--horizon", 10, "--history", 10, "--spacing", 5, "--cutoffs", 4,
                  "--repeats", 20],
    }  # fmt: skip
    return [command, *map(str, [archive, *options[command]])]


COMMANDS = ("clean", "segment", "cluster", "forecast", "explore", "features", "rollup", "train")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: make(folder / kind.replace(" ", "-")) for kind, make in KINDS.items()}


@pytest.fixture(autouse=True)
def world(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SHOPSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("connectors.clock.wall_clock_ms", lambda: NOW)


def run(command: str, archive: Path, out: Path, *more: object):
    return CliRunner().invoke(build_app(), [*arguments(command, archive, out), *map(str, more)])


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (kind, command)
        for kind in KINDS
        for command in COMMANDS
        if kind not in SLOW or command not in ("clean", "forecast", "rollup")
    ],
)
def test_command_gives_a_result_or_one_sentence(kind, command, archives, tmp_path):
    done = run(command, archives[kind], tmp_path / "out")
    sentence = OUTCOMES[kind].get(command)
    if sentence is None:
        assert done.exit_code == 0, (done.output, done.exception)
        assert not re.search(r"\bnan\b|\bNone\b|\binf\b", done.output)
        shares = [float(text) for text in re.findall(r"(?<![-+.\d])(\d+(?:\.\d+)?) ?%", done.output)]
        assert command == "forecast" or all(share <= 100 for share in shares), done.output
        return
    error = done.exception
    assert isinstance(error, ShopstreamError), (done.output, error)
    assert not isinstance(error, UsageError)
    assert re.search(sentence, error.message), error
    assert "\n" not in str(error)
    assert error.remedy


# --- the end of the archive -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["segment", "features", "explore"])
def test_record_ahead_of_now_is_named_and_left_out(command, archives, tmp_path):
    done = run(command, archives["one future"], tmp_path / "out")
    assert "1 record is more than a day ahead of now (2026-09-27T00:00:00.000Z) and left out" in done.output
    assert "order o9999 of customer fay at 2203-11-19T00:00:00.000Z" in done.output
    assert "as of 2024-02-11T21:00:00.000Z, the last record" in done.output


def test_later_as_of_counts_the_records_ahead_of_now(archives, tmp_path):
    rows = {}
    for name, more in {"default": (), "later": ("--as-of", "2204-01-01")}.items():
        done = run("features", archives["one future"], tmp_path / name, *more)
        assert done.exit_code == 0, done.output
        assert ("ahead of now" in done.output) == (name == "default")
        rows[name] = pl.read_csv(tmp_path / name / "f.csv", infer_schema=False)["customer_id"].to_list()
    assert rows["later"] == sorted([*rows["default"], "fay"])


def test_stray_records_are_named_and_series_begin_after_the_first_ones(archives, tmp_path):
    late = run("segment", archives["one stray"], tmp_path / "late")
    assert "1 record is more than 558 days after all others, and counted: order o9999" in late.output.replace("\n", " ")
    early = run("explore", archives["one old"], tmp_path / "early")
    assert "1 record is more than 8,999 days before all others: order o9999 of customer old" in early.output
    assert "2024-01-01 to 2024-02-11: 8 customers" in early.output


def test_log_of_dates_keeps_its_last_day(archives, tmp_path):
    archive = archives["dates"]
    last = START + DAYS * DAY_MS - 1
    forecast = run("forecast", archive, tmp_path / "forecast")
    assert forecast.exit_code == 0, forecast.output
    figures = json.loads((tmp_path / "forecast" / "f.json").read_text())
    assert (figures["last"], figures["days"]) == ("2024-02-11", DAYS)
    assert "as of 2024-02-11T23:59:59.999Z, the end of the last day" in forecast.output
    run("segment", archive, tmp_path / "segment")
    table = pl.read_parquet(tmp_path / "segment" / "customer_segments.parquet")
    assert table["as_of"].dt.epoch("ms").unique().to_list() == [last]
    run("rollup", archive, tmp_path / "rollup")
    days = pl.read_parquet(tmp_path / "rollup" / "segments-daily.parquet")
    assert days.filter("complete")["day"].max() == "2024-02-11"
    explored = run("explore", archive, tmp_path / "explore")
    assert "Hours of the day" not in explored.output
    assert "No data for:" in explored.output
    assert "by hour" in explored.output


def test_last_day_of_dates_is_not_whole_before_it_is_over(archives, tmp_path, monkeypatch):
    noon = START + DAYS * DAY_MS - DAY_MS // 2
    monkeypatch.setattr("connectors.clock.wall_clock_ms", lambda: noon)
    done = run("forecast", archives["dates"], tmp_path / "out")
    assert "as of 2024-02-11T12:00:00.000Z, now" in done.output
    assert json.loads((tmp_path / "out" / "f.json").read_text())["last"] == "2024-02-10"


# --- figures ----------------------------------------------------------------------------------------------------------
def test_shop_without_orders_has_prospects_only(archives, tmp_path):
    done = run("segment", archives["clicks only"], tmp_path / "out")
    table = pl.read_parquet(tmp_path / "out" / "customer_segments.parquet")
    assert table["segment"].unique().to_list() == ["Prospect"]
    assert "7  100.0%  Prospect" in done.output
    assert run("rollup", archives["clicks only"], tmp_path / "rollup").exit_code == 0
    days = pl.read_parquet(tmp_path / "rollup" / "segments-daily.parquet")
    assert days.filter(pl.col("customers") > 0)["segment"].unique().to_list() == ["Prospect"]


def test_conversion_is_not_known_without_a_purchase_among_the_clicks(archives, tmp_path):
    done = run("explore", archives["more orders than visits"], tmp_path / "out")
    assert "How many of 15 visits buy is not known: no click is a purchase; no visit is lost" in done.output
    assert "the conversion of 1 of them is not known: they have more orders than views" in done.output
    assert "How many visits bought is not known: no click is a purchase" in done.output
    assert not re.search(r"Of 100 visits|orders per 100", done.output)


def test_share_of_visits_that_buy_is_that_of_the_clicks(archives, tmp_path):
    done = run("explore", archives["purchases only"], tmp_path / "out")
    assert f"100.0 % of {DAYS} visits buy; no visit is lost between the recorded steps." in done.output
    assert "Of 100 visits 100.0 bought in the first quarter and 100.0 in the last" in done.output


def test_country_na_is_namibia(archives, tmp_path):
    run("rollup", archives["namibia"], tmp_path / "out")
    days = pl.read_parquet(tmp_path / "out" / "segments-daily.parquet")
    assert set(days["country"]) <= {"NA", "DE", "(none)"}
    assert "NA" in set(days["country"])
    cohorts = pl.read_parquet(tmp_path / "out" / "cohorts.parquet")
    assert "NA" in set(cohorts["country"])


def test_ids_keep_their_zeros_in_csv(tmp_path):
    ids = ["007", "7", "NA", "0.50", "1e5"]
    archive = write(tmp_path / "a", orders=[order(n, START + n, customer_id=one) for n, one in enumerate(ids)])
    run("features", archive, tmp_path / "out")
    rows = pl.read_csv(tmp_path / "out" / "f.csv", infer_schema=False)
    assert sorted(rows["customer_id"].to_list()) == sorted(ids)
    assert set(rows["orders_total"]) == {"1"}

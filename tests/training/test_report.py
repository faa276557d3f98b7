"""`report`: two pages out of measured things, every number in a file, and no gap ever printed."""

import dataclasses
import json
import math
import shutil
from datetime import UTC, datetime

import msgspec
import polars as pl
import pytest
from typer.testing import CliRunner

from connectors.formats.money_format import NO_CURRENCY, money_format
from features.errors import ShopstreamError, UsageError
from features.schema import DAY_COLUMN, DAY_MS, STAGES
from shopstream.cli.app import build_app
from shopstream.jobs import report as report_job
from shopstream.jobs.archive_features import archive_days
from shopstream.jobs.history import known_history
from training.html import Table, Text
from training.report.funnel import funnel, leak
from training.report.interventions import Assumptions, interventions
from training.report.rendering import Section, as_html, as_markdown, check, markdown
from training.report.sections import FILES, sections
from training.report.uplift import Uplift


def date_of(ms: int) -> str:
    return str(datetime.fromtimestamp(ms / 1000, UTC).date())


def run(*arguments):
    return CliRunner().invoke(build_app(), ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def written(archive, bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report"
    done = run(archive, "--bundle", bundle.folder, "--horizon", 7, "--out", out)
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stderr.count(NO_CURRENCY) == 1
    return out


@pytest.fixture(scope="module")
def found(archive, bundle, written):
    asked = report_job.ReportRequest(7, written / FILES["forecast"])
    return report_job.compute_findings(archive, known_history(archive).end_ms, bundle, asked, lambda *_: None)


@pytest.mark.slow
def test_both_pages_are_complete_and_every_number_is_in_a_file(written):
    page, text = (written / "report.html").read_text(), (written / "report.md").read_text()
    for title in (
        "Actions",
        "Data",
        "Funnel",
        "Segments",
        "Churn",
        "Forecast",
    ):
        assert f"<h2>{title}</h2>" in page
        assert f"## {title}" in text
    assert page.count("Plotly.newPlot") == 2
    for name in FILES.values():
        assert (written / name).stat().st_size > 0
        assert f"[{name}]" in text
        assert f'href="{name}"' in page
    made = json.loads((written / "made.json").read_text())
    assert set(made["files"]) == {"report.html", "report.md", *FILES.values()}


KNOWN = Uplift(90, 900, 300, 600, 0, 4, 0, 0.3, 0.2, (0.15, 0.08, 0.22), (12.0, 4.0, 20.0), (0.2, 0.11, 0.29))


def test_measured_effect_replaces_the_assumed_one_and_is_named(found):
    whole, _ = found
    assumed, measured = (
        {one.whom: one for one in interventions(whole.customers, whole.funnel, whole.assumptions, uplift=uplift)}
        for uplift in (None, KNOWN)
    )
    for risk in ("high", "critical"):
        before, after = assumed[f"churn risk {risk}"], measured[f"churn risk {risk}"]
        assert "saved (assumed)" in before.arithmetic
        assert "20.0% saved (measured, 95 %: 11.0% to 29.0%)" in after.arithmetic
        assert (before.low, before.high) == (None, None)
        assert after.low < after.effect < after.high
        band = whole.customers.filter(pl.col("churn_risk") == risk, pl.col("revenue_365d") > 0)
        share = whole.assumptions.days / 365
        lost = (band["revenue_365d"] * band["churn_probability"]).sum() * share
        cost = getattr(whole.assumptions.retention, risk).cost * band["revenue_365d"].sum() * share
        assert [after.effect, after.low, after.high] == pytest.approx([x * lost - cost for x in (0.2, 0.11, 0.29)])
    assert measured["churn risk medium"] == assumed["churn risk medium"]


def test_report_states_the_effect_or_what_it_needs(found):
    whole, _ = found
    pages = {
        uplift: as_markdown("t", sections(dataclasses.replace(whole, uplift=uplift)))
        for uplift in (None, KNOWN, Uplift(90, 40, 10, 20, 0, 5, 700))
    }
    none, known, early = pages.values()
    assert "not yet known. It needs a hold-out group" in none
    assert "needs 700 customers" in early
    assert "risk are assumed" in early
    assert "+15.0% of the contacted ordered within 90 days because of it (95 %: +8.0% to +22.0%)" in known
    assert "risk are measured" in known
    assert "revenue per contacted customer" in known


def test_numbers_of_the_pages_equal_the_files(written):
    text = (written / "report.md").read_text()
    steps = pl.read_csv(written / FILES["funnel"])
    for _, ended, reached, _ in steps.iter_rows():
        assert f"| {reached:,} |" in text
        assert f"| {ended:,} |" in text
    for row in pl.read_csv(written / FILES["interventions"]).iter_rows(named=True):
        assert markdown(row["arithmetic"]) in text
        assert f"| {row['effect']:,.0f} |" in text
    data = json.loads((written / FILES["data"]).read_text())
    mart = pl.read_parquet(written / FILES["customers"])
    assert data["customers"] == len(mart)
    assert f"{data['events']:,} events" in text
    ahead = pl.read_parquet(written / FILES["forecast"]).filter(pl.col("forecast").is_not_null(), level="total")
    tested = json.loads((written / FILES["tested"]).read_text())
    assert ahead["forecast"].sum() == pytest.approx(tested["series"][0]["sum"])


def test_report_in_a_currency_names_it_in_texts_and_heads(found, tmp_path):
    euro = money_format("EUR", "de-DE")
    whole, segmented = found
    whole = dataclasses.replace(
        whole, money=euro, interventions=interventions(whole.customers, whole.funnel, whole.assumptions, euro)
    )
    report_job.write_report(whole, dataclasses.replace(segmented, money=euro), tmp_path, {})
    text = (tmp_path / "report.md").read_text()
    revenue = pl.read_parquet(tmp_path / FILES["customers"])["revenue_365d"].sum()
    assert f" times for {markdown(euro.text(revenue))}." in text
    actions = pl.read_csv(tmp_path / FILES["interventions"])
    assert "effect (EUR)" in actions.columns
    assert f"| {markdown(euro.text(actions['effect (EUR)'][0], whole=True))} |" in text
    assert "revenue_365d (EUR)" in pl.read_csv(tmp_path / FILES["segments"]).columns
    assert "orders_365d" in pl.read_csv(tmp_path / FILES["segments"]).columns


def test_the_same_input_gives_the_same_bytes(written, found, bundle, tmp_path):
    report_job.write_report(*found, tmp_path, {})
    for name in ("report.html", "report.md", *FILES.values()):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes(), name


def test_report_of_a_past_time_uses_no_later_records(archive, bundle, tmp_path):
    """It is the report of an archive from which everything later was removed, byte by byte."""
    noon = (known_history(archive).end_ms // DAY_MS - 20) * DAY_MS + DAY_MS // 2
    cut = tmp_path / archive.name
    for topic, time in DAY_COLUMN.items():
        for file in (archive / topic).rglob("*.parquet"):
            kept = pl.read_parquet(file, hive_partitioning=False).filter(pl.col(time).dt.epoch("ms") <= noon)
            if len(kept):
                (cut / file.parent.relative_to(archive)).mkdir(parents=True, exist_ok=True)
                kept.write_parquet(cut / file.relative_to(archive))
    shutil.copy(archive / "customers.parquet", cut)
    for source, out in ((archive, "then"), (cut, "cut")):
        found = report_job.compute_findings(source, noon, bundle, report_job.ReportRequest(7), lambda *_: None)
        report_job.write_report(*found, tmp_path / out, {})
    for name in ("report.html", "report.md", *FILES.values()):
        assert (tmp_path / "then" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    assert json.loads((tmp_path / "then" / FILES["tested"]).read_text())["last"] == date_of(noon - DAY_MS)


def test_as_of_is_an_option_and_a_later_forecast_is_refused(archive, bundle, written, tmp_path):
    before = date_of(known_history(archive).end_ms - 2 * DAY_MS)
    refused = run(
        archive, "--bundle", bundle.folder, "--as-of", before, "--forecast", written / FILES["forecast"], "--out",
        tmp_path,
    )  # fmt: skip
    assert isinstance(refused.exception, UsageError)
    assert "uses sales up to" in str(refused.exception)
    assert not any(tmp_path.iterdir())
    nothing = run(archive, "--bundle", bundle.folder, "--as-of", "1990-01-01", "--out", tmp_path)
    assert isinstance(nothing.exception, ShopstreamError)


def test_funnel_equals_that_of_the_features(archive, found):
    mart, steps = found[0].customers, found[0].funnel
    reached = dict(steps.select("stage", "reached").iter_rows())
    assert reached["visit"] == mart["sessions_30d"].sum()
    assert reached["purchase"] == mart["converted_sessions_30d"].sum()
    assert steps["ended"].sum() == reached["visit"]
    before, after, lost = leak(steps)
    assert lost == max(1 - kept for kept in steps["kept"])
    assert STAGES.index(after) == STAGES.index(before) + 1
    with pytest.raises(ShopstreamError):
        funnel(*archive_days(archive), 30 * DAY_MS)


def test_value_of_interventions_equals_figures_worked_out_by_hand():
    mart = pl.DataFrame({
        "customer_id": ["a", "b", "c", "d"], "churn_risk": ["critical", "low", None, "critical"],
        "churn_probability": [0.9, 0.1, None, 0.8], "revenue_365d": [365.0, 730.0, 0.0, 730.0],
        "orders_365d": [1, 10, 0, 4], "orders_total": [1, 10, 0, 4], "days_since_visit": [3.0, 1.0, 2.0, 90.0],
    })  # fmt: skip
    steps = pl.DataFrame({"stage": list(STAGES), "ended": [10, 20, 100, 40, 30]})
    said = Assumptions(days=60)
    found = {one.name: one for one in interventions(mart, steps, said)}
    call = found["A personal call for customers at critical risk"]
    assert call.customers == 2
    assert call.effect == pytest.approx(0.155 * (0.9 * 60 + 0.8 * 120) - 0.10 * (60 + 120))
    worth = 1825 / 15
    assert found["Cart reminder"].effect == pytest.approx(200 * 0.05 * worth * 0.9)
    assert found["Shorter checkout"].effect == pytest.approx(80 * 0.10 * worth * 0.9)
    assert found["Welcome series to a second order"].effect == pytest.approx(0.03 * worth * 0.9)
    assert found["Invitation to a first order"].effect == pytest.approx(0.01 * worth * 0.9)
    effects = [one.effect for one in interventions(mart, steps, said)]
    assert effects == sorted(effects, reverse=True)
    with pytest.raises(ShopstreamError, match="churn"):
        interventions(mart.with_columns(churn_risk=pl.lit(None, pl.String)), steps, said)


GAPS = [
    Section("S", ()),
    Section("S", (Text("revenue is nan", "f"),)),
    Section("S", (Text("it grew by None", "f"),)),
    Section("S", (Text(" ", "f"),)),
    Section("S", (Table(("a", "b"), (), "f"),)),
    Section("S", (Table(("a", "b"), (("x", ""),), "f"),)),
    Section("S", (Table(("a", "b"), (("x", "nan"),), "f"),)),
    Section("S", (Table(("a", "b"), (("x", "inf"),), "f"),)),
    Section("S", (Table(("a", "b"), (("x",),), "f"),)),
]


@pytest.mark.parametrize("section", GAPS, ids=range(len(GAPS)))
def test_missing_placeholder_value_is_an_error(section):
    with pytest.raises(ShopstreamError, match="report is incomplete"):
        check([section])


def test_placeholder_syntax_in_data_is_text():
    check(
        [Section("S", (Table(("segment", "n"), (("none", "1"), ("nan", "2")), "f"), Text("information on Nancy", "f")))]
    )


def test_missing_input_fails_and_leaves_no_page(found, tmp_path):
    whole, segmented = found
    for change in (
        {"groups": ()},
        {"data": {**whole.data, "revenue_365d": math.nan}},
        {"drivers": whole.drivers.clear()},
        {"interventions": ()},
        {"tested": {**whole.tested, "series": [{**whole.tested["series"][0], "measured": None}]}},
    ):
        with pytest.raises(ShopstreamError, match="report is incomplete"):
            report_job.write_report(dataclasses.replace(whole, **change), segmented, tmp_path / "r", {})
        assert not (tmp_path / "r").exists()


HOSTILE = "<script>alert('x')</script>"


def test_page_escapes_hostile_words(found, tmp_path):
    whole, segmented = found
    groups = [dataclasses.replace(one, name=f"{HOSTILE}|[x](javascript:y)`*_{i}") for i, one in enumerate(whole.groups)]
    segmented = dataclasses.replace(segmented, groups=groups)
    report_job.write_report(dataclasses.replace(whole, groups=groups), segmented, tmp_path, {})
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert HOSTILE not in page
    assert HOSTILE not in text
    assert r"\|\[x\](javascript:y)\`\*\_" in text
    widths = {
        line.count("|") - line.count(r"\|") for line in text.splitlines() if line.startswith("| ") and "script" in line
    }
    assert widths == {8}


def test_pages_show_the_same_tables():
    told = [Section("A & B", (Text("1 < 2", "f.csv"), Table(("h",), (("=x",),), "f.csv")))]
    assert "<h2>A &amp; B</h2>" in as_html("t", told)
    assert "1 &lt; 2" in as_markdown("t", told)


def test_valid_assumptions_are_read_and_invalid_ones_refused(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"cart_recovered": 0.5, "retention": {"high": {"cost": 0.1, "saved": 0.2}}}')
    said = report_job.read_assumptions(file)
    assert (said.cart_recovered, said.retention.high.saved, said.first_orders) == (0.5, 0.2, Assumptions().first_orders)
    for wrong in ('{"cart_recovered": 2}', '{"unknown": 1}', "{"):
        file.write_text(wrong)
        with pytest.raises(UsageError):
            report_job.read_assumptions(file)


def test_a_report_without_a_model_or_a_forecast_file_is_refused(archive, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("SHOPSTREAM_HOME", str(tmp_path / "home"))
    for arguments in (["--out", tmp_path / "r"], ["--bundle", bundle.folder, "--forecast", tmp_path / "no.parquet"]):
        done = run(archive, *arguments)
        assert isinstance(done.exception, ShopstreamError)
        assert not (tmp_path / "r").exists()


def test_every_assumption_is_in_the_report(found):
    (first, *_) = sections(found[0])
    told = next(block for block in first.blocks if isinstance(block, Table) and block.head[0] == "assumption")
    flat = msgspec.to_builtins(found[0].assumptions)
    assert len(told.rows) == len(flat) - 1 + 6

"""The notebooks run from their paired text to the end, and show words of the data as words."""

import jupytext
import nbclient
import polars as pl
import pytest
from guards.repository import ROOT

from shopstream.jobs.segment import segment_customers, write_segments

HOSTILE = "<script>alert('x')</script>"


def executed(name, monkeypatch, folder, **places):
    for variable, path in places.items():
        monkeypatch.setenv(f"NOTEBOOK_{variable.upper()}", str(path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    book = jupytext.read(ROOT / "notebooks" / f"{name}.py")
    nbclient.NotebookClient(book, timeout=240, resources={"metadata": {"path": str(folder)}}).execute()
    return book


def shown(book, kind):
    """What cells put out of a MIME type."""
    return [out["data"][kind] for cell in book.cells for out in cell.get("outputs", []) if kind in out.get("data", {})]


@pytest.fixture
def customer_table(archive, bundle, training, tmp_path):
    found = segment_customers(archive, training.end_ms, bundle, None, [])
    write_segments(found, tmp_path / "mart", {})
    file = tmp_path / "mart" / "customer_segments.parquet"
    hostile = pl.when(pl.col("segment") == "Lost").then(pl.lit(HOSTILE)).otherwise(pl.col("segment")).alias("segment")
    pl.read_parquet(file).with_columns(hostile).write_parquet(file)
    return tmp_path / "mart"


def test_segments_notebook_runs_and_escapes_hostile_text(customer_table, monkeypatch, tmp_path):
    book = executed("segments", monkeypatch, tmp_path, customer_table=customer_table)
    tables = shown(book, "text/html")
    assert any("&lt;script&gt;" in table for table in tables)
    assert not any(HOSTILE in table for table in tables)
    assert any("Big and recent" in table for table in tables)
    said = [out["text"] for cell in book.cells for out in cell.get("outputs", []) if out["output_type"] == "stream"]
    assert any("clusters" in text for text in said)


@pytest.mark.campaign  # of `make models`: the budget of the default suite
def test_churn_notebook_runs(archive, bundle, monkeypatch, tmp_path):
    book = executed("churn", monkeypatch, tmp_path, archive=archive, bundle=bundle.folder)
    tables = shown(book, "text/html")
    assert any("XGBoost" in table for table in tables)
    assert any("recommended_action" in table for table in tables)
    assert sum("application/vnd.plotly.v1+json" in out.get("data", {}) for cell in book.cells
               for out in cell.get("outputs", [])) == 2  # fmt: skip


@pytest.mark.parametrize("name", ["segments", "churn"])
def test_notebook_is_stored_as_text_without_outputs(name):
    book = jupytext.read(ROOT / "notebooks" / f"{name}.py")
    assert book.metadata["jupytext"]["text_representation"]["format_name"] == "percent"
    assert book.cells[0]["cell_type"] == "markdown"
    assert sum(cell["cell_type"] == "code" for cell in book.cells) >= 7

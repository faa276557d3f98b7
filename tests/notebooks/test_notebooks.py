"""Notebooks are kept as text; each one runs from its first cell to its last."""

from pathlib import Path

import jupytext
import nbclient
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"

NEED_A_BUNDLE = ("churn.py", "segments.py")
"""Those run in tests/training, where there is one."""


@pytest.mark.parametrize(
    "path", [path for path in sorted(FOLDER.glob("*.py")) if path.name not in NEED_A_BUNDLE], ids=lambda path: path.stem
)
def test_notebook_runs_without_error(path, tmp_path, monkeypatch):
    monkeypatch.delenv("ARCHIVE", raising=False)
    book = jupytext.read(path)
    client = nbclient.NotebookClient(book, timeout=180, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [out for cell in book.cells for out in cell.get("outputs", [])]
    assert outputs
    assert not [out for out in outputs if out["output_type"] == "error"]


def test_expected_notebooks_exist():
    assert {path.name for path in FOLDER.glob("*.py")} >= {"exploration.py", *NEED_A_BUNDLE}

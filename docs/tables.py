"""Generates the tables of the documents from the code: `python docs/tables.py`.

The text between `<!-- begin NAME -->` and `<!-- end NAME -->` is replaced. A guard fails if a table in a document
differs from the code.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from connectors.kafka.topic_settings import topic_configs
from consumers.index_definitions import run_definitions
from consumers.metrics.definitions import METRICS, PREFIXED_METRICS, Metric
from consumers.permissions import ELASTIC_DUTIES, KAFKA_DUTIES, acl_commands, elastic_role
from dashboards.boards import DASHBOARDS
from dashboards.markdown import explained
from features.definitions import FEATURES
from features.schema import DEFAULT_RUN
from features.scores.score import SCORES
from shopstream import settings
from shopstream.cli import app as cli

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- begin (\w+) -->\n)(.*?)(<!-- end \2 -->)", re.DOTALL)
TYPES = {"string": "string", "strings": "list of strings", "int": "int64", "float": "float64", "time": "int64"}

TOPIC_HOLDS = {
    "events": "one message per click",
    "orders": "one message per change of an order",
    "customers": "the newest profile of each customer",
    "customer-features": "the newest feature row of each customer, with `version`",
    "alerts": "customers whose churn risk rose; unique by customer, risk and UTC day",
    "dead-letter": "rejected records with the reason",
    "dead-letter-replays": "positions of the replayed dead letters",
}
INDEX_HOLDS = {
    "alerts": "customers whose churn risk rose; id from customer_id, risk and UTC day",
    "events": "every valid event; id = event_id",
    "customers": "profile and newest feature row; id = customer_id",
    "sessions": "the newest version of each session; id from customer_id and session_id",
    "orders": "the winning record of each order; id from customer_id and order_id",
    "order-items": "the lines of the orders; id from customer_id, order_id and line",
    "pipeline": "metrics of each worker, every few seconds; retained for 7 days",
    "segments-daily": "from `rollup`: customers, revenue and churn by day, segment, country and channel",
    "cohorts": "from `rollup`: active customers and revenue by month of the first order and month",
    "second-orders": "from `rollup`: second orders, with the days since the first order; no customer id",
    "movement": "from `rollup`: new, returning, reactivated, lost and active customers by week, and their net change",
    "forecast": "from `forecast --index`: revenue by day, actual or forecast, in total and by category",
    "contacts": "from the page and `contacts import`: state of a customer on the work list, and earlier contacts",
    "notes": "from `note add`: events of the shop for the time axis of charts",
    "views": "from the page: saved views, a name and an address; id = name",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; bars in cells are escaped."""
    lines = [list(head), ["---"] * len(list(head)), *(list(row) for row in rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def features() -> str:
    """Return the columns of a row."""
    key = [("`customer_id`", "string", "id of the customer"), ("`as_of`", "int64", "time at which the row is valid")]
    return table(("column", "type", "definition"), [*key, *((f"`{f.name}`", TYPES[f.kind], f.help) for f in FEATURES)])


def scores() -> str:
    """Return the columns that a bundle adds to a row."""
    return table(("column", "type", "definition"), ((f"`{s.name}`", TYPES[s.kind], s.help) for s in SCORES))


def commands() -> str:
    """Return every command of the command line."""
    return table(
        ("command", "does"),
        (
            (f"`shopstream {name}`", " ".join((one.help or "").split("\n\n")[0].split()))
            for name, one in cli.load_commands().items()
        ),
    )


def configuration() -> str:
    """Return every setting."""
    documented = _docstrings(Path(settings.__file__))
    rows: list[tuple[str, ...]] = []

    def add(model: type[BaseModel], section: str) -> None:
        for name, field in model.model_fields.items():
            kind = _section(field.annotation)
            of_each = next(iter(get_args(kind)[1:]), None) if get_origin(kind) is dict else None
            if isinstance(of_each, type) and issubclass(of_each, BaseModel):
                add(of_each, f"{section}{name}.NAME.")
                continue
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                add(kind, f"{section}{name}.")
                continue
            path = section + name
            variable = settings.ENV_PREFIX + path.replace(".", "__").upper()
            meaning = documented[model.__name__, name]
            rows.append((f"`{path}`", f"`{variable}`", _default(path, field), meaning))

    add(settings.Settings, "")
    return table(("setting", "variable", "default", "meaning"), rows)


def _section(kind: object) -> object:
    """Return the section of an optional one; any other type is unchanged."""
    sections = [one for one in get_args(kind) if isinstance(one, type) and issubclass(one, BaseModel)]
    return sections[0] if sections and type(None) in get_args(kind) else kind


def _default(path: str, field: object) -> str:
    value = getattr(field, "default", None)
    if path == "cache":
        return "the user's cache folder, `shopstream`"
    if value is None or value is PydanticUndefined:
        return "" if value is None else "none"
    return f"`{value}`"


def _docstrings(path: Path) -> dict[tuple[str, str], str]:
    """Return (class, attribute) -> the string literal after it."""
    texts = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for before, after in zip(node.body, node.body[1:], strict=False):
            match before, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[node.name, name] = " ".join(text.split())
    return texts


def measures() -> str:
    """Return the metrics of a worker."""
    by_name: dict[str, list[Metric]] = {}
    for metric in METRICS.values():
        if metric.name:
            by_name.setdefault(metric.exported_name, []).append(metric)
    rows = []
    for name, metrics in by_name.items():
        labels = {f'{label}="{value}"': None for metric in metrics for label, value in metric.labels}
        fields = {f"`{metric.index_field}`": None for metric in metrics if metric.index_field}
        rows.append((f"`{name}`", metrics[0].kind, ", ".join(labels), ", ".join(fields), metrics[0].help))
    for label, metric in PREFIXED_METRICS.values():
        index_field = "`psi`" if label == "feature" else ""
        rows.append((f"`{metric.exported_name}`", metric.kind, label, index_field, metric.help))
    return table(("metric", "kind", "labels", "field of `shop-pipeline`", "meaning"), rows)


def topics() -> str:
    """Return the topics of a run with their retention."""
    rows = []
    for name, config in topic_configs(DEFAULT_RUN).items():
        short = name.removeprefix(f"{DEFAULT_RUN}.")
        retention = "the newest of each key" if config.get("cleanup.policy") == "compact" else _days(config)
        rows.append((f"`{name}`", TOPIC_HOLDS[short], retention))
    return table(("topic", "contents", "retention"), rows)


def _days(config: dict[str, str]) -> str:
    retention = int(config["retention.ms"])
    return "for ever" if retention < 0 else f"{retention // 86_400_000} days"


def indices() -> str:
    """Return the indices of a run."""
    rows = []
    for index in run_definitions(contact=False):
        name = f"`{DEFAULT_RUN}-{index.name}`"
        number = "by month" if index.monthly else "one"
        rows.append((name, number, INDEX_HOLDS[index.name]))
    return table(("alias", "indices", "contents"), rows)


def kafka_permissions() -> str:
    """Return the permissions of each duty in Kafka, and the calls that grant them."""
    rows = [
        (f"`{duty}`", permission.resource, f"`{permission.name}`", ", ".join(permission.operations))
        for duty, permissions in KAFKA_DUTIES.items()
        for permission in permissions(DEFAULT_RUN)
    ]
    lines = [
        f"kafka-acls $server {line}\n"
        for duty in KAFKA_DUTIES
        for line in acl_commands(duty, DEFAULT_RUN, f"{DEFAULT_RUN}-{duty}")
    ]
    return table(("duty", "resource", "name", "operations"), rows) + "\n```text\n" + "".join(lines) + "```\n"


def elastic_permissions() -> str:
    """Return the roles in Elasticsearch as API requests."""
    calls = (
        f"PUT /_security/role/{DEFAULT_RUN}-{duty}\n{json.dumps(elastic_role(duty, DEFAULT_RUN), indent=2)}\n"
        for duty in ELASTIC_DUTIES
    )
    return "```text\n" + "\n".join(calls) + "```\n"


def dashboards() -> str:
    """Return every panel of every dashboard: its question and the formula of each figure."""
    return explained(DASHBOARDS)


PACKAGES = ("features", "connectors", "producers", "consumers", "training", "dashboards", "shopstream")


def modules() -> str:
    """Return every module by folder, with the first paragraph of its docstring."""
    parts = []
    for folder in sorted({path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}):
        rows = [(f"`{p.name}`", _summary(p)) for p in sorted(folder.glob("*.py")) if p.name not in _NO_MODULES]
        summary = _summary(folder / "__init__.py")
        name = folder.relative_to(ROOT).as_posix()
        parts.append(f"\n### `{name}/`\n\n{summary}\n\n{table(('module', 'purpose'), rows)}" if rows else "")
    return "".join(parts)


_NO_MODULES = ("__init__.py", "__main__.py")


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


TABLES: dict[str, Callable[[], str]] = {
    "modules": modules,
    "features": features,
    "scores": scores,
    "commands": commands,
    "configuration": configuration,
    "measures": measures,
    "topics": topics,
    "indices": indices,
    "dashboards": dashboards,
    "kafka_permissions": kafka_permissions,
    "elastic_permissions": elastic_permissions,
}


def rewritten(text: str) -> str:
    """Return a document with its tables regenerated."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}{block[4]}", text)


def main() -> None:
    """Rewrite the documents whose tables have changed."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        before = path.read_text("utf-8")
        after = rewritten(before)
        if after != before:
            path.write_text(after, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

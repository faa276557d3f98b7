"""Writes the tables of the documents that the code knows better: `python docs/tables.py`.

A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; what stands between them is replaced. A guard
fails when a document has another table than the code gives.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from connectors.kafka.topic_settings import topic_configs
from consumers.index_definitions import index_definitions, trend_definitions
from consumers.metrics.definitions import DRIFT_HELP, DRIFT_METRIC, METRICS, Metric
from consumers.permissions import ELASTIC_DUTIES, KAFKA_DUTIES, acl_commands, elastic_role
from dashboards.boards import DASHBOARDS
from dashboards.markdown import explained
from features.definitions import FEATURES
from features.schema import DEFAULT_RUN, Field
from features.scores.score import SCORED_ROW_FIELDS, SCORES
from shopstream import settings
from shopstream.cli import app as cli

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- begin (\w+) -->\n)(.*?)(<!-- end \2 -->)", re.DOTALL)
TYPES = {"string": "string", "strings": "list of strings", "int": "int64", "float": "float64", "time": "int64"}

TOPIC_HOLDS = {
    "events": "one message a click",
    "orders": "one message a change of an order",
    "customers": "the newest profile of each customer",
    "customer-features": "the newest feature row of each customer, with `version`",
    "alerts": "customers whose churn risk rose; told apart by customer, risk and UTC day",
    "dead-letter": "records that do not count, with the reason",
    "dead-letter-replays": "which dead letters were sent back",
}
INDEX_HOLDS = {
    "alerts": "customers whose churn risk rose; id from customer_id, risk and UTC day",
    "events": "every valid event; id = event_id",
    "customers": "profile and newest feature row; id = customer_id",
    "sessions": "each session as it stands; id from customer_id and session_id",
    "orders": "the winning record of each order; id = order_id",
    "order-items": "one line of an order; id = `order_id#n`",
    "pipeline": "how each worker is doing, every few seconds; kept for 7 days",
    "segments-daily": "by `rollup`: customers, revenue and churn of each day, segment, country and channel",
    "cohorts": "by `rollup`: what became of the customers of each month of first orders, month by month",
    "movement": "by `rollup`: new, returning, reactivated, lost and active customers of each week",
    "forecast": "by `forecast --index`: revenue of each day, known or forecast, in all and by category",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [list(head), ["---"] * len(list(head)), *(list(row) for row in rows)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def features() -> str:
    """The columns of a row."""
    key = [("`customer_id`", "string", "the customer"), ("`as_of`", "int64", "the time for which the row is true")]
    return table(("column", "type", "what it is"), [*key, *((f"`{f.name}`", TYPES[f.kind], f.help) for f in FEATURES)])


def scores() -> str:
    """The columns that a bundle adds to a row."""
    return table(("column", "type", "what it is"), ((f"`{s.name}`", TYPES[s.kind], s.help) for s in SCORES))


def commands() -> str:
    """Every command of the command line."""
    return table(
        ("command", "does"),
        (
            (f"`shopstream {name}`", " ".join((one.help or "").split("\n\n")[0].split()))
            for name, one in cli.load_commands().items()
        ),
    )


def configuration() -> str:
    """Every setting."""
    documented = _docstrings(Path(settings.__file__))
    rows: list[tuple[str, ...]] = []

    def add(model: type[BaseModel], section: str) -> None:
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                add(kind, f"{section}{name}.")
                continue
            path = section + name
            variable = settings.ENV_PREFIX + path.replace(".", "__").upper()
            meaning = documented[model.__name__, name]
            rows.append((f"`{path}`", f"`{variable}`", _default(path, field), meaning))

    add(settings.Settings, "")
    return table(("setting", "variable", "default", "meaning"), rows)


def _default(path: str, field: object) -> str:
    value = getattr(field, "default", None)
    if path == "cache":
        return "the user's cache folder, `shopstream`"
    if value is None or value is PydanticUndefined:
        return "" if value is None else "none"
    return f"`{value}`"


def _docstrings(path: Path) -> dict[tuple[str, str], str]:
    """(class, attribute) -> the string literal that follows it."""
    found = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for before, after in zip(node.body, node.body[1:], strict=False):
            match before, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[node.name, name] = " ".join(text.split())
    return found


def measures() -> str:
    """Metrics of a worker."""
    by_name: dict[str, list[Metric]] = {}
    for metric in METRICS.values():
        if metric.name:
            by_name.setdefault(metric.exported_name, []).append(metric)
    rows = []
    for name, metrics in by_name.items():
        labels = {f'{label}="{value}"': None for metric in metrics for label, value in metric.labels}
        fields = {f"`{metric.index_field}`": None for metric in metrics if metric.index_field}
        rows.append((f"`{name}`", metrics[0].kind, ", ".join(labels), ", ".join(fields), metrics[0].help))
    rows.append((f"`{DRIFT_METRIC}`", "gauge", "feature", "`psi`", DRIFT_HELP))
    return table(("metric", "kind", "labels", "field of `shop-pipeline`", "meaning"), rows)


def topics() -> str:
    """Topics of a run with their settings."""
    rows = []
    for name, config in topic_configs(DEFAULT_RUN).items():
        short = name.removeprefix(f"{DEFAULT_RUN}.")
        kept = "the newest of each key" if config.get("cleanup.policy") == "compact" else _days(config)
        rows.append((f"`{name}`", TOPIC_HOLDS[short], kept))
    return table(("topic", "holds", "is kept"), rows)


def _days(config: dict[str, str]) -> str:
    retention = int(config["retention.ms"])
    return "for ever" if retention < 0 else f"{retention // 86_400_000} days"


def indices() -> str:
    """Indices of a run."""
    rows = []
    for found in (*index_definitions((*SCORED_ROW_FIELDS, Field("version", "int"))), *trend_definitions()):
        name = f"`{DEFAULT_RUN}-{found.name}`"
        rows.append(
            (
                name,
                "by month" if found.monthly else "one, made by its first document" if found.on_demand else "one",
                INDEX_HOLDS[found.name],
            )
        )
    return table(("alias", "indices", "holds"), rows)


def kafka_rights() -> str:
    """What each duty may do in Kafka, and the calls that allow it."""
    rows = [
        (f"`{duty}`", right.resource, f"`{right.name}`", ", ".join(right.operations))
        for duty, rights in KAFKA_DUTIES.items()
        for right in rights(DEFAULT_RUN)
    ]
    lines = [
        f"kafka-acls $server {line}\n"
        for duty in KAFKA_DUTIES
        for line in acl_commands(duty, DEFAULT_RUN, f"{DEFAULT_RUN}-{duty}")
    ]
    return table(("duty", "of", "named", "may"), rows) + "\n```text\n" + "".join(lines) + "```\n"


def elastic_rights() -> str:
    """The roles of Elasticsearch, as its API takes them."""
    calls = (
        f"PUT /_security/role/{DEFAULT_RUN}-{duty}\n{json.dumps(elastic_role(duty, DEFAULT_RUN), indent=2)}\n"
        for duty in ELASTIC_DUTIES
    )
    return "```text\n" + "\n".join(calls) + "```\n"


def dashboards() -> str:
    """Every panel of every dashboard: its question and the formula of each of its figures."""
    return explained(DASHBOARDS)


PACKAGES = ("features", "connectors", "producers", "consumers", "training", "dashboards", "shopstream")


def modules() -> str:
    """Every module by its folder, with the first line of its docstring."""
    parts = []
    for folder in sorted({path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}):
        rows = [(f"`{p.name}`", _says(p)) for p in sorted(folder.glob("*.py")) if p.name not in _NO_MODULES]
        says = _says(folder / "__init__.py")
        name = folder.relative_to(ROOT).as_posix()
        parts.append(f"\n### `{name}/`\n\n{says}\n\n{table(('module', 'what it is'), rows)}" if rows else "")
    return "".join(parts)


_NO_MODULES = ("__init__.py", "__main__.py")


def _says(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(said.split("\n\n")[0].split())


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
    "kafka_rights": kafka_rights,
    "elastic_rights": elastic_rights,
}


def rewritten(text: str) -> str:
    """A document with its tables as the code gives them."""
    return BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[4]}", text)


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

"""Inspects small files for tests, and reads what is reported of them."""

from connectors.tables.log_files import log_files
from producers.inspection.draft import draft
from producers.inspection.inspection import inspect_logs
from producers.inspection.report import column_sentences, file_sentences

NOW_MS = 1_735_689_600_000  # 2025-01-01
HEADER = "order_id,customer_id,created_at,total\n"
ROW = "1,ann,2024-03-01,10\n"


def group_of(tmp_path, content, name="log.csv", rows_max=None):
    """Inspect one file with this content, text or bytes."""
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    inspection = inspect_logs(log_files([file]), rows_max, NOW_MS)
    assert not inspection.unreadable, inspection.unreadable
    (group,) = inspection.groups
    return group


def sentences(group):
    return " ".join(file_sentences(group))


def topics(group):
    """Return topic -> choices of what a person must decide, without the zone of local times."""
    return {one.topic: one.choices for one in draft(group).questions if one.topic != "zone"}


def notes(group, column):
    return " ".join(column_sentences(group.column(column)))


def orders(**columns):
    """Return a CSV with the usual columns, some of them replaced."""
    count = len(next(iter(columns.values())))
    table = {
        "order_id": [f"o{n}" for n in range(count)], "customer_id": [f"c{n}" for n in range(count)],
        "created_at": ["2024-03-01T10:00:00Z"] * count, "total": ["10.50"] * count, **columns,
    }  # fmt: skip
    rows = ["\t".join(table), *("\t".join(row) for row in zip(*table.values(), strict=True))]
    return "\n".join(rows) + "\n"

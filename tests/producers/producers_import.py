"""Imports small texts and reads what came of them."""

import json

from producers.archive.event_order import ArchiveRange, in_time_order
from producers.importing.importer import import_logs
from producers.importing.mapping import parse_mapping


def import_text(folder, text, mapping, **options):
    """Import one text file by a mapping, given as YAML or as a mapping, to the archive `a`."""
    file = folder / "log.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    parsed = parse_mapping(mapping, "m.yaml") if isinstance(mapping, str) else mapping
    return import_logs([(file, "m", parsed)], folder / "a", force=True, **options)


def records(archive):
    return [json.loads(value) for chunk in in_time_order(ArchiveRange(archive)) for value in chunk.values]


def orders_of(archive, *fields):
    """The given fields of all order records, sorted by id and change."""
    found = sorted(records(archive), key=lambda order: (order["order_id"], order["updated_ts"]))
    return [tuple(order[field] for field in fields) for order in found]

"""Names the files that cleaning writes next to the records of an archive."""

from __future__ import annotations

from typing import Final

REPORT_FILE: Final = "cleaning_report.json"
REPORT_PAGE: Final = "cleaning_report.html"
DROPPED_FILE: Final = "cleaning_dropped.parquet"
FLAGS_FILE: Final = "cleaning_flags.parquet"
CUSTOMER_IDS_FILE: Final = "customer_ids.parquet"
CLEANING_FILES: Final = frozenset({REPORT_FILE, REPORT_PAGE, DROPPED_FILE, FLAGS_FILE, CUSTOMER_IDS_FILE})

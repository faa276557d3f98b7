"""Builds the panel that explains the figures of a dashboard, from the definitions and notes of its panels."""

from __future__ import annotations

import math
import re
from typing import Final

from dashboards.kibana.formats import Json
from dashboards.panels import GRID_COLUMNS, Dashboard, Panel, time_position
from dashboards.web.declaration import badges

HELP_PANEL: Final = "help"
INCOMPLETE: Final = "The first and the last interval may be incomplete."
TITLE: Final = "About these figures"
LINE_CHARS: Final = 180
"""Characters of a line of text on a panel of full width, about."""
ROWS_A_LINE: Final = 1.3
"""Height of a line in rows of the grid, with the distance between paragraphs."""
ROWS_MIN: Final = 5
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|])")


def help_text(dashboard: Dashboard) -> str:
    """Return the definitions of a dashboard as Markdown: one paragraph for each panel that has something to explain."""
    entries = [_entry(panel, dashboard) for panel in dashboard.panels]
    return "\n\n".join([_plain(dashboard.summary), *(entry for entry in entries if entry)])


def description(panel: Panel) -> str:
    """Return the definition of a panel, with a remark on the intervals of its time axis, which Lens cannot mark."""
    cut = time_position(panel) is not None and not panel.data.whole
    return " ".join(part for part in (panel.definition, INCOMPLETE if cut else "") if part)


def _entry(panel: Panel, dashboard: Dashboard) -> str:
    remarks = [f"{badge}." for badge in badges(panel, dashboard)]
    text = " ".join(part for part in (description(panel), panel.note, *remarks) if part)
    return f"**{_plain(panel.title)}**: {_plain(text)}" if text else ""


def _plain(text: str) -> str:
    """Return a text without the signs of Markdown."""
    return _SPECIAL.sub(r"\\\1", text)


def help_panel(dashboard: Dashboard, y: int) -> Json:
    """Return the panel, below all others.

    Args:
        dashboard: dashboard that it explains.
        y: first row of the grid below the other panels.
    """
    text = help_text(dashboard)
    lines = sum(math.ceil(len(paragraph) / LINE_CHARS) for paragraph in text.split("\n\n"))
    height = max(ROWS_MIN, math.ceil(lines * ROWS_A_LINE) + 2)
    return {
        "type": "visualization",
        "panelIndex": HELP_PANEL,
        "gridData": {"x": 0, "y": y, "w": GRID_COLUMNS, "h": height, "i": HELP_PANEL},
        "embeddableConfig": {
            "title": TITLE,
            "hidePanelTitles": False,
            "enhancements": {},
            "savedVis": {
                "id": "",
                "title": "",
                "description": "",
                "type": "markdown",
                "params": {"fontSize": 12, "openLinksInNewTab": False, "markdown": text},
                "uiState": {},
                "data": {"aggs": [], "searchSource": {"query": {"query": "", "language": "kuery"}, "filter": []}},
            },
        },
    }

"""Declares every dashboard with its panels."""

from __future__ import annotations

from typing import Final

from dashboards.boards.churn import CHURN
from dashboards.boards.funnel import FUNNEL
from dashboards.boards.now import NOW
from dashboards.boards.pipeline import PIPELINE_BOARD
from dashboards.boards.products import PRODUCTS
from dashboards.boards.retention import RETENTION
from dashboards.boards.revenue import REVENUE_BOARD
from dashboards.panels import Dashboard

DASHBOARDS: Final[tuple[Dashboard, ...]] = (NOW, REVENUE_BOARD, FUNNEL, CHURN, PRODUCTS, RETENTION, PIPELINE_BOARD)
"""All dashboards, in the order of their links."""

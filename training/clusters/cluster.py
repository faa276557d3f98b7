"""Clusters a table of customers: prepares, compares methods, chooses, fits to all, names and visualises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.errors import ShopstreamError
from training.clusters.accuracy import against
from training.clusters.assigners import Assigner, Float, Labels
from training.clusters.comparison import ClusterPlan, Comparison, compare
from training.clusters.mapping import TableMapping
from training.clusters.matrix import Preparation, learn, unused
from training.clusters.methods import METHODS, by_size
from training.clusters.null_comparison import NullComparison, compare_with_null
from training.clusters.personas import Persona, personas
from training.clusters.views import View, view


@dataclass(frozen=True, slots=True)
class Clusters:
    """Result of a clustering.

    Attributes:
        table: mapped customers.
        preparation: preparation of the matrix.
        comparison: comparison of methods and numbers of clusters.
        assigner: chosen assigner, fitted to all customers.
        order: label of the assigner -> number of the cluster, 0 the largest.
        labels: cluster number of each customer.
        personas: persona of each cluster.
        view: two-dimensional views.
        null: comparison with tables without groups; None if the plan asks for none.
        truth: see `accuracy.against`; None if no groups are known.
        plan: plan of the clustering.
        left_out: columns of the mapping that distinguish no customers -> reason.
    """

    table: pl.DataFrame
    preparation: Preparation
    comparison: Comparison
    assigner: Assigner
    order: tuple[int, ...]
    labels: Labels
    personas: tuple[Persona, ...]
    view: View
    null: NullComparison | None
    truth: dict[str, Any] | None
    plan: ClusterPlan
    left_out: dict[str, str]


def find(
    table: pl.DataFrame,
    mapping: TableMapping,
    plan: ClusterPlan,
    known: pl.Series | None = None,
    on_step: Callable[[str, float | None], None] = lambda *_: None,
) -> Clusters:
    """Find the clusters of a table.

    It runs on one thread, because sums over several threads differ in their last bits from run to run.

    Args:
        table: see `TableMapping.table`.
        mapping: mapping that made the table.
        plan: plan of the clustering.
        known: groups of the customers, in the order of the table, null where unknown; never used to find clusters.
        on_step: callback with the current step, and the completed share or None.

    Raises:
        ShopstreamError: nothing varies, there are too few customers, or no clusters exist.
    """
    with threadpool_limits(limits=1):
        preparation = learn(table, mapping)
        matrix = preparation.matrix(table)
        comparison = compare(matrix, plan, on_step)
        on_step("fitting the chosen method", None)
        assigner, order, labels = _fitted(matrix, comparison, plan)
        null = compare_with_null(matrix, preparation, comparison, plan, on_step)
        described = personas(table, labels, len(order), mapping.themes, "" if null is None else null.note)
        on_step("views", None)
        projection = view(matrix, labels, plan.seed, plan.view_rows)
        truth = None if known is None else _truth(matrix, labels, known, plan.seed)
    return Clusters(
        table, preparation, comparison, assigner, order, labels, described, projection, null, truth, plan,
        unused(table, mapping, preparation),
    )  # fmt: skip


def _fitted(matrix: Float, comparison: Comparison, plan: ClusterPlan) -> tuple[Assigner, tuple[int, ...], Labels]:
    chosen = comparison.candidates[comparison.chosen]
    fitted = METHODS[chosen.method].fit(matrix, chosen.setting, plan.seed)
    if fitted is None:
        raise ShopstreamError(
            f"{chosen.title} found clusters in the sample but none in all customers.",
            "Give another --seed or --methods.",
        )
    raw = fitted.assigner.labels(matrix)
    order = by_size(raw, fitted.clusters)
    return fitted.assigner, tuple(int(one) for one in order), order[raw]


def _truth(matrix: Float, labels: Labels, known: pl.Series, seed: int) -> dict[str, Any] | None:
    has_group = known.is_not_null().to_numpy()
    if not has_group.any():
        return None
    return against(matrix[has_group], labels[has_group], np.asarray(known.drop_nulls().to_list()), seed)

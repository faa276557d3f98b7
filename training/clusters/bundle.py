"""Writes and loads cluster bundles: one JSON file that assigns new customers and contains no code.

| file | contents |
| --- | --- |
| `clusters.json` | mapping, preparation, assigner, personas, reason of the choice; rejected when damaged |
| `customers.parquet` | id, cluster and persona of the customers of the clustering |
| `comparison.csv`, `profiles.csv` | every candidate with its measures; means and shares by cluster |
| `clusters.html` | the results as a page |
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.errors import ShopstreamError, UsageError
from training.clusters.assigners import Assigner
from training.clusters.cluster import Clusters
from training.clusters.comparison import CRITERIA, Candidate, Comparison
from training.clusters.mapping import parse_mapping
from training.clusters.matrix import Preparation
from training.clusters.null_comparison import NullComparison
from training.clusters.personas import Persona

FORMAT: Final = 1
CLUSTERS_FILE: Final = "clusters.json"
_AGAIN: Final = "Find clusters with this version: shopstream cluster TABLE --out CLUSTERS."


class ClusterBundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Assigns customers to clusters.

    Attributes:
        format: format version of the file.
        name: name derived from the contents: equal names mean equal clusters.
        mapping: YAML text of the table's mapping.
        preparation: conversion of rows to a matrix.
        assigner: conversion of a matrix to labels.
        order: label -> number of the cluster.
        personas: personas by cluster number.
        method: chosen method, and reason of the choice.
    """

    format: int
    name: str
    mapping: str
    preparation: Preparation
    assigner: Assigner
    order: tuple[int, ...]
    personas: tuple[Persona, ...]
    method: dict[str, Any]

    def assign(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Return `id`, `cluster`, `persona` and `action` of customers, ordered by id.

        Args:
            raw: table that fits the mapping.

        Raises:
            ShopstreamError: a column is missing, or ids are missing or not unique.
        """
        table = parse_mapping(self.mapping, CLUSTERS_FILE).table(raw)
        with threadpool_limits(limits=1):
            clusters = np.asarray(self.order)[self.assigner.labels(self.preparation.matrix(table))]
        return labelled(table["id"], clusters, self.personas)


def labelled(ids: pl.Series, labels: Any, personas: tuple[Persona, ...]) -> pl.DataFrame:
    """Return customers with the number, the persona and the first action of their cluster."""
    numbers = pl.Series("cluster", labels, pl.Int64)
    names = pl.Series("persona", [one.name for one in personas], pl.String).gather(numbers)
    actions = pl.Series("action", [one.actions[0] for one in personas], pl.String).gather(numbers)
    return pl.DataFrame([ids.alias("id"), numbers, names, actions])


def encode(clusters: Clusters, mapping_text: str) -> bytes:
    """Encode clusters as `clusters.json`."""
    method = msgspec.to_builtins(clusters.comparison.candidates[clusters.comparison.chosen])
    method |= {"reason": clusters.comparison.reason, "seed": clusters.plan.seed, "truth": clusters.truth}
    method |= {"null": None if clusters.null is None else msgspec.to_builtins(clusters.null)}
    without = ClusterBundle(
        FORMAT, "", mapping_text, clusters.preparation, clusters.assigner, clusters.order, clusters.personas, method
    )
    return msgspec.json.encode(msgspec.structs.replace(without, name=_name(without))) + b"\n"


def load_clusters(path: Path) -> ClusterBundle:
    """Load the bundle of a folder, or of its JSON file.

    Raises:
        UsageError: no bundle exists.
        ShopstreamError: the bundle is damaged or has another format version.
    """
    file = path / CLUSTERS_FILE if path.is_dir() else path
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} has no cluster bundle: {error.strerror}.", _AGAIN) from None
    try:
        bundle = msgspec.json.decode(content, type=ClusterBundle)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ShopstreamError(f"The cluster bundle {file} is damaged: {error}.", _AGAIN) from None
    if bundle.format != FORMAT or bundle.name != _name(bundle):
        raise ShopstreamError(f"The cluster bundle {file} was changed, or has another version.", _AGAIN)
    return bundle


def _name(bundle: ClusterBundle) -> str:
    content = msgspec.json.encode(msgspec.structs.replace(bundle, name=""))
    return f"clusters-{len(bundle.personas)}-{hashlib.sha256(content).hexdigest()[:10]}"


def comparison_frame(comparison: Comparison, null: NullComparison | None = None) -> pl.DataFrame:
    """Return every candidate with its measures, in the order of the trials.

    Candidates of the chosen method also have mean and standard deviation of each measure on tables without groups.
    """
    rows = [
        {**msgspec.to_builtins(one), "mean_rank": rank, "chosen": position == comparison.chosen, **_null(one, null)}
        for position, (one, rank) in enumerate(zip(comparison.candidates, comparison.ranks, strict=True))
    ]
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.selectors.float().round(6))


def _null(candidate: Candidate, null: NullComparison | None) -> dict[str, float | None]:
    rows = () if null is None or null.method != candidate.method else null.plain.rows
    row = next((one for one in rows if one.setting == candidate.setting), None)
    columns: dict[str, float | None] = {}
    for name in CRITERIA:
        mean, spread = (None, None) if row is None else row.spread(name)
        columns |= {f"null_{name}_mean": mean, f"null_{name}_sd": spread}
    return columns

"""Finds clusters of customers and assigns new customers to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.errors import UsageError
from shopstream.cli.options import AsOf, OutFile, OutFolder, Seed
from shopstream.cli.progress import progress, stated_history, write_table

CustomerTable = Annotated[
    Path,
    typer.Argument(metavar="TABLE", help="CSV or Parquet file of customers, a folder of `segment`, or an archive."),
]


def cluster(
    source: CustomerTable,
    out: OutFolder = Path("clusters"),
    mapping: Annotated[
        str, typer.Option("--mapping", help="Mapping of columns: built-in (shop, customer_personality) or a YAML file.")
    ] = "shop",
    k: Annotated[
        str, typer.Option("--k", metavar="FIRST-LAST", help="Range of the numbers of clusters to try.")
    ] = "3-8",
    methods: Annotated[
        str, typer.Option("--methods", help="Comma-separated clustering methods to try.")
    ] = "k-means,mixture,agglomerative,dbscan,hdbscan",
    min_cluster_share: Annotated[
        float, typer.Option("--min-cluster-share", help="Minimum share of the customers in a cluster.", min=0, max=0.5)
    ] = 0.03,
    seed: Seed = 1,
    as_of: AsOf = None,
) -> None:
    """Find clusters in a table of customers: compare methods, choose one, describe personas with actions.

    --as-of applies to an archive only.

    Example: `shopstream cluster marketing_campaign.csv --mapping customer_personality --out clusters`
    """
    from shopstream.jobs.cluster import is_archive, known_groups, read_table, write_clusters
    from training.clusters.cluster import find
    from training.clusters.comparison import ClusterPlan
    from training.clusters.mapping import load_mapping

    console = Console(stderr=True)
    columns, text = load_mapping(mapping)
    plan = ClusterPlan(k=_range(k), methods=_methods(methods), seed=seed, smallest_share=min_cluster_share)
    if as_of is None and is_archive(source):
        as_of = stated_history(console, source, None).end_ms
    with progress(console) as on_step:
        table = columns.table(read_table(source, columns.separator, as_of, on_step))
        result = find(table, columns, plan, known_groups(source, table), on_step)
        on_step("writing", None)
        made_of = {"table": str(source), "mapping": mapping, "k": k, "methods": methods, "seed": str(seed)}
        write_clusters(result, columns, text, out, made_of)
    for name, reason in result.left_out.items():
        console.print(f"column {name} is left out: {reason}", highlight=False, markup=False)
    console.print(result.comparison.reason, highlight=False, markup=False)
    if result.null is not None:
        console.print(result.null.text, highlight=False, markup=False)
    for number, persona in enumerate(result.personas):
        line = f"{number:>3} {persona.customers:>9,}  {persona.share:6.1%}  {persona.name}"
        console.print(line, highlight=False, markup=False)
    if result.truth is not None:
        console.print(
            f"adjusted Rand index with the {result.truth['groups']} known groups: {result.truth['adjusted_rand']:.3f} "
            f"(a forest trained on them: {result.truth['taught_adjusted_rand']:.3f})", highlight=False,
        )  # fmt: skip
    console.print(f"{len(table):,} customers → {out} (see clusters.html)", highlight=False, markup=False)


def assign(
    source: CustomerTable,
    clusters: Annotated[Path, typer.Option("--clusters", help="Output folder of `cluster`.", show_default=False)],
    out: OutFile,
    as_of: AsOf = None,
) -> None:
    """Assign customers, also new ones, to existing clusters: id, cluster, persona, action.

    --as-of applies to an archive only.

    Example: `shopstream assign new_customers.csv --clusters clusters --out assigned.csv`
    """
    from shopstream.jobs.cluster import is_archive, read_table
    from training.clusters.bundle import CLUSTERS_FILE, load_clusters
    from training.clusters.mapping import parse_mapping

    console = Console(stderr=True)
    bundle = load_clusters(clusters)
    separator = parse_mapping(bundle.mapping, CLUSTERS_FILE).separator
    if as_of is None and is_archive(source):
        as_of = stated_history(console, source, None).end_ms
    with progress(console) as on_step:
        assigned = bundle.assign(read_table(source, separator, as_of, on_step))
    write_table(out, assigned)
    for number, persona in enumerate(bundle.personas):
        size = int((assigned["cluster"] == number).sum())
        shares = f"{size / len(assigned):6.1%}  (was {persona.share:.1%})"
        console.print(f"{number:>3} {size:>9,}  {shares}  {persona.name}", highlight=False, markup=False)
    console.print(f"{len(assigned):,} customers assigned by {bundle.name} → {out}", highlight=False, markup=False)


def _range(text: str) -> tuple[int, ...]:
    first, _, last = text.partition("-")
    if first.isdecimal() and (last or first).isdecimal() and 2 <= int(first) <= int(last or first) <= 30:
        return tuple(range(int(first), int(last or first) + 1))
    raise UsageError(
        f"Invalid value for --k: {text!r}.", "Give the smallest and the largest number of clusters, from 2 to 30: 3-8."
    )


def _methods(text: str) -> tuple[str, ...]:
    from training.clusters.methods import METHODS

    methods = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in methods if name not in METHODS]:
        raise UsageError(f"Unknown --methods: {', '.join(unknown)}.", f"Choose from {','.join(METHODS)}.")
    return methods

"""`shopstream cluster` and `assign`: find clusters of customers and assign new customers to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    Path, typer.Argument(metavar="TABLE", help="CSV or Parquet file of customers, a mart's folder, or an archive.")
]
AsOf = Annotated[str | None, typer.Option("--as-of", help="Of an archive, ISO 8601; default: its last moment.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("cluster")(cluster)
    app.command("assign")(assign)


def cluster(
    source: Source,
    out: Annotated[Path, typer.Option("--out", help="Folder of the clusters.")] = Path("clusters"),
    mapping: Annotated[
        str, typer.Option("--mapping", help="Which columns: a ready name (shop, customer_personality) or a YAML file.")
    ] = "shop",
    k: Annotated[str, typer.Option("--k", help="Numbers of clusters that are tried, from-to.")] = "3-8",
    methods: Annotated[
        str, typer.Option("--methods", help="Methods that are tried.")
    ] = "k-means,mixture,agglomerative,dbscan,hdbscan",
    smallest: Annotated[
        float, typer.Option("--smallest", help="A cluster has at least this share of the customers.", min=0, max=0.5)
    ] = 0.03,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same clusters.", min=0)] = 1,
    as_of: AsOf = None,
) -> None:
    """Find clusters in a table of customers: methods compared, one chosen with the reason, personas with actions.

    Example: `shopstream cluster marketing_campaign.csv --mapping customer_personality --out clusters`
    """
    from rich.console import Console

    from shopstream.cli.options import parse_time
    from shopstream.cli.progress import progress
    from shopstream.jobs.cluster import known_groups, read_table, write_clusters
    from training.clusters.cluster import find
    from training.clusters.comparison import ClusterPlan
    from training.clusters.mapping import load_mapping

    console = Console(stderr=True)
    asked, text = load_mapping(mapping)
    plan = ClusterPlan(k=_numbers(k), methods=_methods(methods), seed=seed, smallest_share=smallest)
    moment = None if as_of is None else parse_time(as_of, "--as-of")
    with progress(console) as on_step:
        table = asked.table(read_table(source, asked.separator, moment, on_step))
        found = find(table, asked, plan, known_groups(source, table), on_step)
        on_step("writing", None)
        made_of = {"table": str(source), "mapping": mapping, "k": k, "methods": methods, "seed": str(seed)}
        write_clusters(found, asked, text, out, made_of)
    console.print(found.comparison.reason, highlight=False, markup=False)
    for number, one in enumerate(found.personas):
        console.print(f"{number:>3} {one.customers:>9,}  {one.share:6.1%}  {one.name}", highlight=False, markup=False)
    if found.truth is not None:
        console.print(
            f"adjusted Rand index with the {found.truth['groups']} known groups: {found.truth['adjusted_rand']:.3f} "
            f"(a forest that is taught them: {found.truth['taught_adjusted_rand']:.3f})", highlight=False,
        )  # fmt: skip
    console.print(f"{len(table):,} customers → {out} (see clusters.html)", highlight=False, markup=False)


def assign(
    source: Source,
    clusters: Annotated[Path, typer.Option("--clusters", help="Folder that `cluster` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Parquet file, or CSV by its ending.", show_default=False)],
    as_of: AsOf = None,
) -> None:
    """Assign customers, new ones too, to the clusters that were found: id, cluster, persona, action.

    Example: `shopstream assign new_customers.csv --clusters clusters --out assigned.csv`
    """
    from rich.console import Console

    from shopstream.cli.options import parse_time
    from shopstream.cli.progress import progress, write_table
    from shopstream.jobs.cluster import read_table
    from training.clusters.bundle import CLUSTERS_FILE, load_clusters
    from training.clusters.mapping import parse_mapping

    console = Console(stderr=True)
    loaded = load_clusters(clusters)
    separator = parse_mapping(loaded.mapping, CLUSTERS_FILE).separator
    with progress(console) as on_step:
        raw = read_table(source, separator, None if as_of is None else parse_time(as_of, "--as-of"), on_step)
        found = loaded.assign(raw)
    write_table(out, found)
    for number, one in enumerate(loaded.personas):
        size = int((found["cluster"] == number).sum())
        told = f"{number:>3} {size:>9,}  {size / len(found):6.1%}  (was {one.share:.1%})  {one.name}"
        console.print(told, highlight=False, markup=False)
    console.print(f"{len(found):,} customers assigned by {loaded.name} → {out}", highlight=False, markup=False)


def _numbers(said: str) -> tuple[int, ...]:
    from features.errors import UsageError

    low, _, high = said.partition("-")
    if low.isdecimal() and (high or low).isdecimal() and 2 <= int(low) <= int(high or low) <= 30:
        return tuple(range(int(low), int(high or low) + 1))
    raise UsageError(f"--k is {said!r}.", "Give the smallest and the largest number of clusters, from 2 to 30: 3-8.")


def _methods(said: str) -> tuple[str, ...]:
    from features.errors import UsageError
    from training.clusters.methods import METHODS

    found = tuple(dict.fromkeys(one.strip() for one in said.split(",")))
    if unknown := [one for one in found if one not in METHODS]:
        raise UsageError(f"--methods has {', '.join(unknown)}.", f"Give some of {','.join(METHODS)}.")
    return found

"""Builds the customer table of an archive from rows, profiles and a scorer, and writes the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.files import write_made, write_whole
from connectors.formats.csv_safety import safe_frame
from connectors.formats.money_format import PLAIN_MONEY, MoneyFormat
from connectors.formats.rules_file import DEFAULT_RULES, load_rules
from features.rules.segments import PROFILE_SCHEMA, Rules, with_profiles
from features.scores.score import NO_BREAKS, RfmScorer, learn_breaks
from producers.archive.archive import read_customers
from shopstream.jobs.archive_features import batch_features
from shopstream.runtime.bundles import FOLDER, FolderBundles
from training.bundle import load_bundle
from training.segments import page as segments_page
from training.segments.customer_table import (
    CUSTOMER_TABLE_FILE,
    ROW_GROUP,
    build_customer_table,
    order_of_segments,
    whole_profiles,
    with_time,
)
from training.segments.summary import Group, summarize, summary_frame

if TYPE_CHECKING:
    import polars as pl

    from features.backfill import ArchiveCounts
    from features.scores.score import Scorer
    from training.bundle import Bundle

OnStep = Callable[[str, float | None], None]

SUMMARY_CSV = "segment_summary.csv"
SUMMARY_HTML = "segment_summary.html"


@dataclass(frozen=True, slots=True)
class Segmented:
    """A customer table with its segments.

    Attributes:
        customer_table: see `training.segments.customer_table.build_mart`.
        groups: segments of the table.
        rules: rules that define the segments.
        further: name of another rule set -> segment -> customers.
        as_of: time of the table, epoch ms.
        bundle: bundle that scored the customers; None: RFM scores alone, with breaks fitted at as_of.
        money: format of amounts of money.
    """

    customer_table: pl.DataFrame
    groups: list[Group]
    rules: Rules
    further: Mapping[str, Mapping[str, int]]
    as_of: int
    bundle: Bundle | None
    money: MoneyFormat = PLAIN_MONEY

    @property
    def scored_by(self) -> str:
        """Name of the source of the scores, for display."""
        return self.bundle.name if self.bundle else "RFM scores without a model"


def chosen_bundle(given: Path | None, home: Path) -> Bundle | None:
    """Load the given bundle, else the current one of the data folder, else return None. Raises as `load_bundle`."""
    if given is not None:
        return load_bundle(given)
    return load_bundle(home / FOLDER) if FolderBundles(home / FOLDER).current() else None


def customers_at(directory: Path, as_of: int, on_step: OnStep, counts: ArchiveCounts | None = None) -> pl.DataFrame:
    """Compute the feature rows of every customer of an archive at a time, with all profile columns."""
    import polars as pl  # noqa: PLC0415

    def on_day(position: int, total: int, _: str) -> None:
        on_step("reading the archive", position / total)

    rows = batch_features(directory, as_of, counts, on_day)
    table = read_customers(directory)
    if table is None:
        return whole_profiles(rows)
    profiles = pl.DataFrame(pl.from_arrow(table)).unique("customer_id", keep="last", maintain_order=True)
    return with_profiles(rows, profiles, list(PROFILE_SCHEMA))


def segment_customers(
    directory: Path,
    as_of: int,
    bundle: Bundle | None,
    rules: str | None,
    further: list[str],
    on_step: OnStep = lambda *_: None,
    counts: ArchiveCounts | None = None,
    money: MoneyFormat = PLAIN_MONEY,
) -> Segmented:
    """Segment the customers of an archive.

    Args:
        directory: folder of the archive.
        as_of: time of the segments, epoch ms.
        bundle: bundle that scores the customers; None: RFM breaks fitted at as_of, and no churn probability.
        rules: a built-in name or a YAML file; None: the rules of the bundle, or the default ones.
        further: rules whose segments are added in further columns.
        on_step: called with the name of the current step, and the share that is done or None.
        counts: filled with the numbers of records read and left out.
        money: format of amounts of money.

    Raises:
        UsageError: rules are not valid.
        ShopstreamError: the archive has no customer at that time.
    """
    chosen = bundle.rules if bundle and rules is None else load_rules(rules or DEFAULT_RULES)
    others = {Path(name).stem: load_rules(name) for name in further}
    rows = customers_at(directory, as_of, on_step, counts)
    on_step("scores and segments", None)
    breaks = learn_breaks(rows) if (rows["orders_365d"] > 0).any() else NO_BREAKS
    scorer: Scorer = bundle.scorer(chosen) if bundle else RfmScorer(breaks, chosen)
    customer_table = build_customer_table(rows, scorer, chosen, others)
    groups = summarize(customer_table, order_of_segments(chosen, customer_table), chosen, money)
    sizes = {name: _sizes(customer_table[f"{name}_segment"]) for name in others}
    return Segmented(customer_table, groups, chosen, sizes, as_of, bundle, money)


def _sizes(segments: pl.Series) -> dict[str, int]:
    """Return segment -> customers, the largest first, ties by name."""
    counts = segments.value_counts(name="n")
    return dict(counts.sort(["n", segments.name], descending=[True, False]).iter_rows())


def write_segments(segmented: Segmented, out: Path, made_of: Mapping[str, str]) -> None:
    """Write the customer table, its summary as CSV and as a page, and the provenance into a folder."""
    about = {
        "customers": f"{len(segmented.customer_table):,}",
        "at": datetime.fromtimestamp(segmented.as_of / 1000, UTC).isoformat(timespec="milliseconds"),
        "scored by": segmented.scored_by,
    }
    customer_table = with_time(segmented.customer_table)
    write_whole(
        out / CUSTOMER_TABLE_FILE, partial(customer_table.write_parquet, compression="zstd", row_group_size=ROW_GROUP)
    )
    write_whole(out / SUMMARY_CSV, safe_frame(summary_frame(segmented.groups, segmented.money)).write_csv)
    page = segments_page.render(segmented.groups, about, segmented.further, segmented.money)
    write_whole(out / SUMMARY_HTML, lambda path: path.write_text(page, "utf-8"))
    write_made(out, made_of, [CUSTOMER_TABLE_FILE, SUMMARY_CSV, SUMMARY_HTML])

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Segments and clusters
#
# What `shopstream segment` and `shopstream cluster` say of the customers of an archive, and how to try rules of your own.
# Open it with Jupyter (jupytext pairs it with a notebook), or run the cells in an editor. First:
#
# ```sh
# shopstream generate --customers 2000 --events 200000 --out shop-archive
# shopstream segment shop-archive --out mart
# ```

# %%
import os
from pathlib import Path

import pandas as pd
import plotly.express as px
import polars as pl

from connectors.formats.rules_file import parse_rules
from training.clusters.comparison import ClusterPlan
from training.clusters.cluster import find
from training.clusters.mapping import load_mapping
from training.segments.customer_table import MART_FILE
from training.segments.summary import summarize, summary_frame

MART = Path(os.environ.get("NOTEBOOK_MART", "mart"))
mart = pl.read_parquet(MART / MART_FILE)
mart.to_pandas().head()

# %% [markdown]
# ## How large they are, and what they bring

# %%
sizes = (
    mart.group_by("segment")
    .agg(pl.len().alias("customers"), pl.col("revenue_365d").sum().round(2).alias("revenue"))
    .sort("revenue", "segment", descending=[True, False])
    .with_columns((pl.col("revenue") / pl.col("revenue").sum()).round(3).alias("of revenue"))
    .to_pandas()
)
sizes

# %%
summary = pd.read_csv(MART / "segment_summary.csv")
summary[["segment", "customers", "trait_1", "action_1", "risks"]]

# %%
px.strip(mart.to_pandas(), x="segment", y="revenue_365d", log_y=True, title="Revenue of 365 days by segment").show()

# %% [markdown]
# ## Rules of your own
#
# The first rule that holds wins; a mistake is told with its line. What may be asked stands in `docs/segments.md`.

# %%
rules = parse_rules(
    """
version: 1
actions:
  thank: a note and early access
  remind: what is new in their category
  leave: no contact
segments:
  - name: Big and recent
    help: spends more than most and was here lately
    when: {revenue_365d: {at_least: 200}, recency_days: {below: 60}}
    action: thank
  - name: Cooling
    help: ordered more than once, not lately
    when: {orders_total: {above: 1}, recency_days: {at_least: 60}}
    action: remind
default: {name: Others, action: leave}
""",
    "my rules",
)
times = [name for name in mart.columns if mart.schema[name] == pl.Datetime("ms", "UTC")]
rows = mart.with_columns(pl.col(times).dt.epoch("ms"))
tried = rows.with_columns(rules.assign(rows.drop("segment", "recommended_action")))
groups = summarize(tried, [name for name in rules.names if name in set(tried["segment"])], rules)
summary_frame(groups).select("segment", "customers", "revenue_share", "trait_1", "risks").to_pandas()

# %% [markdown]
# ## Groups that nobody declared
#
# k-means only, to be quick; `shopstream cluster` compares four methods.

# %%
mapping, _ = load_mapping("shop")
found = find(mapping.table(mart), mapping, ClusterPlan(methods=("k-means",), k=(3, 4, 5), bootstraps=2))
print(found.comparison.reason)
pd.DataFrame([{"persona": one.name, "customers": one.customers, "first action": one.actions[0]} for one in found.personas])

# %% [markdown]
# Rules and clusters answer different questions: where they agree, both see the same customers.

# %%
personas = [found.personas[label].name for label in found.labels]
segments = found.table.select("id").join(mart, left_on="id", right_on="customer_id", how="left", maintain_order="left")
pd.crosstab(segments["segment"].to_pandas(), pd.Series(personas, name="persona"))

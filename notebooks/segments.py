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
# This notebook shows the results of `shopstream segment` and `shopstream cluster`, and tries other rules. Open it in
# Jupyter (jupytext pairs it with a notebook), or run the cells in an editor. First:
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
from shopstream.settings import load_settings
from training.clusters.comparison import ClusterPlan
from training.clusters.cluster import find
from training.clusters.mapping import load_mapping
from training.segments.customer_table import CUSTOMER_TABLE_FILE
from training.segments.summary import summarize, summary_frame

money = load_settings().shop.money

FOLDER = Path(os.environ.get("NOTEBOOK_CUSTOMER_TABLE", "mart"))
customers = pl.read_parquet(FOLDER / CUSTOMER_TABLE_FILE)
customers.to_pandas().head()

# %% [markdown]
# ## Size and revenue

# %%
sizes = (
    customers.group_by("segment")
    .agg(pl.len().alias("customers"), pl.col("revenue_365d").sum().round(2).alias("revenue"))
    .sort("revenue", "segment", descending=[True, False])
    .with_columns((pl.col("revenue") / pl.col("revenue").sum()).round(3).alias("of revenue"))
    .to_pandas()
)
sizes

# %%
summary = pd.read_csv(FOLDER / "segment_summary.csv")
summary[["segment", "customers", "trait_1", "action_1", "risks"]]

# %%
px.strip(customers.to_pandas(), x="segment", y="revenue_365d", log_y=True, title=money.heading("Revenue of 365 days by segment")).show()

# %% [markdown]
# ## Custom rules
#
# The first matching rule wins. An error names the line of the mistake. `docs/segments.md` lists the available conditions.

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
    help: spends more than most and ordered recently
    when: {revenue_365d: {at_least: 200}, recency_days: {below: 60}}
    action: thank
  - name: Cooling
    help: ordered more than once, but not recently
    when: {orders_total: {above: 1}, recency_days: {at_least: 60}}
    action: remind
default: {name: Others, action: leave}
""",
    "my rules",
)
times = [name for name in customers.columns if customers.schema[name] == pl.Datetime("ms", "UTC")]
rows = customers.with_columns(pl.col(times).dt.epoch("ms"))
tried = rows.with_columns(rules.assign(rows.drop("segment", "recommended_action")))
groups = summarize(tried, [name for name in rules.names if name in set(tried["segment"])], rules, money)
summary_frame(groups, money).select("segment", "customers", "revenue_share", "trait_1", "risks").to_pandas()

# %% [markdown]
# ## Clusters
#
# This cell uses k-means only, to save time. `shopstream cluster` compares all methods.

# %%
mapping, _ = load_mapping("shop")
clusters = find(mapping.table(customers), mapping, ClusterPlan(methods=("k-means",), k=(3, 4, 5), bootstraps=2))
print(clusters.comparison.reason)
pd.DataFrame([{"persona": one.name, "customers": one.customers, "first action": one.actions[0]} for one in clusters.personas])

# %% [markdown]
# Rules and clusters answer different questions. The table shows how far they agree.

# %%
personas = [clusters.personas[label].name for label in clusters.labels]
segments = clusters.table.select("id").join(customers, left_on="id", right_on="customer_id", how="left", maintain_order="left")
pd.crosstab(segments["segment"].to_pandas(), pd.Series(personas, name="persona"))

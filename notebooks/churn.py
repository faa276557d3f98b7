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
# # Features and churn
#
# This notebook computes feature rows from an archive, then churn probabilities and their reasons. First:
#
# ```sh
# shopstream generate --customers 2000 --events 200000 --out shop-archive
# shopstream train shop-archive --out bundles/first
# ```

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.express as px
import polars as pl

from features.definitions import FEATURES
from features.rules.segments import with_profiles
from producers.archive.archive import read_customers
from shopstream.jobs.archive_features import batch_features
from training.bundle import load_bundle
from training.report.drivers import drivers

ARCHIVE = Path(os.environ.get("NOTEBOOK_ARCHIVE", "shop-archive"))
bundle = load_bundle(Path(os.environ.get("NOTEBOOK_BUNDLE", "bundles/first")))

# %% [markdown]
# ## Rows
#
# There is one row per customer at a time: here the end of the bundle's training data. The stream uses the same
# declarations, so a live score has the same meaning as in training.

# %%
rows = batch_features(ARCHIVE, bundle.trained_until_ms)
rows.to_pandas().describe().T[["mean", "50%", "max"]].round(2)

# %%
pd.DataFrame([{"feature": one.name, "definition": one.help} for one in FEATURES])

# %% [markdown]
# ## Quality of the model
#
# Measured on customers and times outside the training data, with 95 % intervals in brackets.

# %%
report = bundle.metrics
pd.DataFrame([
    {"model": one["title"], **{name: round(one["metrics"][name], 3) for name in ("roc_auc", "pr_auc", "brier", "ece")}}
    for one in report["models"].values()
])

# %%
chosen = report["models"][report["chosen"]]["curves"]["calibration"]
figure = px.line(x=chosen["x"], y=chosen["y"], markers=True, title="Calibration", labels={"x": "predicted", "y": "observed"})
figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot"}, showlegend=False)
figure.show()

# %% [markdown]
# ## Scores

# %%
table = read_customers(ARCHIVE)
if table is not None and bundle.rules.profile_columns:
    profiles = pl.DataFrame(pl.from_arrow(table)).unique("customer_id", keep="last", maintain_order=True)
    rows = with_profiles(rows, profiles, bundle.rules.profile_columns)
scored = rows.hstack(bundle.scorer().score(rows))
scored["churn_risk"].value_counts(name="customers").sort("customers", "churn_risk", descending=True).to_pandas()

# %%
drivers(bundle.scorer(), rows).head(10).to_pandas()

# %% [markdown]
# ## One customer
#
# The customer with the highest risk among the top spenders: reasons for the score, and the score after a visit yesterday.

# %%
best = scored.filter(pl.col("revenue_365d") >= scored["revenue_365d"].quantile(0.8))
one = best.sort("churn_probability", "customer_id", descending=[True, False], nulls_last=True).head(1)
one.select("customer_id", "segment", "churn_probability", "churn_reasons", "recommended_action").to_pandas()

# %%
row = rows.filter(pl.col("customer_id") == one["customer_id"][0])
visits = np.linspace(0, 60, 13)
what_if = pl.concat([row.with_columns(pl.lit(days).alias("days_since_visit")) for days in visits])
probability = bundle.scorer().score(what_if)["churn_probability"]
px.line(x=visits, y=probability.to_list(), labels={"x": "days since the last visit", "y": "P(no order)"}).show()

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
# From an archive to rows, from rows to the probability that a customer stays away, and why. First:
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
# One row a customer, at a moment: here the end of what the bundle was trained on. The same declarations make the rows of
# the stream, so a score means live what it meant in training.

# %%
rows = batch_features(ARCHIVE, bundle.trained_until_ms)
rows.to_pandas().describe().T[["mean", "50%", "max"]].round(2)

# %%
pd.DataFrame([{"feature": one.name, "what it is": one.help} for one in FEATURES])

# %% [markdown]
# ## How good the model is
#
# On customers and times that did not teach it; in brackets 95 % intervals.

# %%
report = bundle.metrics
pd.DataFrame([
    {"model": one["title"], **{name: round(one["metrics"][name], 3) for name in ("roc_auc", "pr_auc", "brier", "ece")}}
    for one in report["models"].values()
])

# %%
chosen = report["models"][report["chosen"]]["curves"]["calibration"]
figure = px.line(x=chosen["x"], y=chosen["y"], markers=True, title="Calibration", labels={"x": "predicted", "y": "happened"})
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
# The riskiest of those who spent most: what pushes the score up, and what happens to it if they had been here yesterday.

# %%
best = scored.filter(pl.col("revenue_365d") >= scored["revenue_365d"].quantile(0.8))
one = best.sort("churn_probability", "customer_id", descending=[True, False], nulls_last=True).head(1)
one.select("customer_id", "segment", "churn_probability", "churn_reasons", "recommended_action").to_pandas()

# %%
asked = rows.filter(pl.col("customer_id") == one["customer_id"][0])
visits = np.linspace(0, 60, 13)
what_if = pl.concat([asked.with_columns(pl.lit(days).alias("days_since_visit")) for days in visits])
probability = bundle.scorer().score(what_if)["churn_probability"]
px.line(x=visits, y=probability.to_list(), labels={"x": "days since the last visit", "y": "P(no order)"}).show()

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
# # Cleaning and exploration of a shop
#
# This notebook cleans an archive and plots it. Set `ARCHIVE` to the folder of your own archive. Without it, the notebook
# generates a small synthetic shop with planted dirt.

# %%
import os
import tempfile
from datetime import date
from pathlib import Path

from producers.archive.archive import day_start_ms
from producers.shop.generate import generate
from producers.shop.shop import Shop

ARCHIVE = os.environ.get("ARCHIVE")
folder = Path(tempfile.mkdtemp())
if ARCHIVE is None:
    dirty = folder / "dirty"
    generate(Shop(end_ms=day_start_ms(date(2025, 6, 1)), seed=4, customers=250, events=15_000, days=70), dirty, dirt=0.02)
else:
    dirty = Path(ARCHIVE)

# %% [markdown]
# ## Clean
#
# Every row is in the result or is counted under the rule that dropped it.

# %%
import pandas as pd

from shopstream.jobs.clean import clean_archive
from training.cleaning.plan import CleaningPlan

now_ms = day_start_ms(date(2027, 1, 1))
report = clean_archive(dirty, folder / "clean", CleaningPlan(), now_ms)
pd.DataFrame(report["rows"]).T

# %%
pd.DataFrame(report["rules"])[["topic", "rule", "action", "count", "why"]]

# %% [markdown]
# The planted errors of a synthetic shop are known, so the result can be compared with them:

# %%
if report["truth"]:
    print(pd.DataFrame({name: one for name, one in report["truth"].items() if name != "kinds"}).T)

# %% [markdown]
# ## Explore

# %%
from features.calendar import Calendar
from shopstream.jobs.explore import explore_archive
from shopstream.jobs.history import known_history
from shopstream.settings import load_settings
from training.exploration import panels, shopping
from training.exploration.notebook import show
from training.exploration.page import panels_of, summary

history = known_history(folder / "clean", calendar=Calendar("Europe/Berlin"))
seen = explore_archive(folder / "clean", history=history, money=load_settings().shop.money)
print(summary(seen))

# %%
for make in (panels.visits_by_day, panels.revenue_by_day, panels.by_weekday_and_hour, shopping.funnel, shopping.retention):
    for panel in panels_of(make, seen):
        show(panel)

# %% [markdown]
# ## Continue in pandas
#
# There is one row per customer, with the same features as in the stream.

# %%
customers = seen.features.to_pandas()
customers[["orders_365d", "revenue_365d", "sessions_30d", "recency_days"]].describe()

# %%
top = customers.nlargest(10, "revenue_365d")
top[["customer_id", "revenue_365d", "orders_365d", "top_category_90d"]]

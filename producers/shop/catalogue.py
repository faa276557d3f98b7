"""Draws the shop's products: categories with Zipf popularity and log-normal prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from producers.shop.ids import decimal_ids
from producers.shop.random_streams import Stream, generator


@dataclass(frozen=True, slots=True)
class Category:
    """Product category."""

    name: str
    products: int
    median_price: float
    price_sigma: float
    """Standard deviation of the logarithm of the price."""
    taste: float
    """Weight of the category in the taste of an average customer."""
    refund_factor: float
    """Factor on the refund rate of orders of this category."""


CATEGORIES: Final = (
    Category("electronics", 140, 72.0, 0.75, 0.12, 1.2),
    Category("fashion", 220, 38.0, 0.55, 0.17, 2.0),
    Category("shoes", 110, 69.0, 0.45, 0.08, 2.3),
    Category("home", 150, 34.0, 0.75, 0.12, 0.8),
    Category("kitchen", 90, 29.0, 0.70, 0.08, 0.7),
    Category("beauty", 120, 19.0, 0.55, 0.10, 0.4),
    Category("sports", 100, 45.0, 0.70, 0.08, 1.0),
    Category("toys", 80, 24.0, 0.55, 0.06, 0.6),
    Category("books", 140, 14.0, 0.40, 0.07, 0.2),
    Category("garden", 60, 32.0, 0.80, 0.04, 0.7),
    Category("groceries", 60, 8.5, 0.50, 0.04, 0.1),
    Category("pets", 50, 16.0, 0.55, 0.03, 0.3),
)
ZIPF_EXPONENT: Final = 0.95
PRICE_CENTS_MIN: Final = 199


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All products, ordered by category and then by popularity."""

    product_id: pa.StringArray
    category: npt.NDArray[np.uint8]
    """Index into CATEGORIES of each product."""
    price_cents: npt.NDArray[np.int64]
    """List price of each product."""
    popularity: npt.NDArray[np.float64]
    """category + cumulative share within it, ascending over all products: one search finds a product."""

    def draw(self, category: npt.NDArray[np.uint8], uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Draw a product (index) of each category by popularity; `uniform` in [0, 1), one per category."""
        return np.searchsorted(self.popularity, category + uniform, side="right")


def build_catalogue(seed: int) -> Catalogue:
    """Build the catalogue of a seed."""
    rng = generator(seed, Stream.CATALOGUE)
    category, price, popularity = [], [], []
    for index, kind in enumerate(CATEGORIES):
        shares = np.arange(1, kind.products + 1, dtype=np.float64) ** -ZIPF_EXPONENT
        edges = np.cumsum(shares) / shares.sum()
        edges[-1] = 1.0
        drawn = np.exp(rng.normal(np.log(kind.median_price), kind.price_sigma, kind.products))
        # prices end in 9 or 99, as in shops
        tagged = np.where(drawn < 20, np.round(drawn * 10) * 10 - 1, np.round(drawn) * 100 - 1)
        category.append(np.full(kind.products, index, np.uint8))
        price.append(np.maximum(tagged.astype(np.int64), PRICE_CENTS_MIN))
        popularity.append(index + edges)
    size = sum(kind.products for kind in CATEGORIES)
    numbers = rng.permutation(size) + 1  # a low number must not indicate a popular product
    return Catalogue(
        product_id=decimal_ids("p", numbers, 5),
        category=np.concatenate(category),
        price_cents=np.concatenate(price),
        popularity=np.concatenate(popularity),
    )

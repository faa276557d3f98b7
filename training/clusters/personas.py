"""Describes clusters as personas: a rule-based name from the strongest traits, with actions and risks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import polars as pl

from training.clusters.assigners import Labels
from training.segments import traits
from training.segments.themes import Side, Themed
from training.segments.traits import Trait

WORDS: Final = 2
"""Words of a name; more only to make names unique."""
AVERAGE_BELOW: Final = 0.2
"""Difference in standard deviations that is too small to mention."""
_AVERAGE: Final = Side("Average", "standard treatment; watch for customers who move to another group")


class Persona(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Description of a cluster.

    Attributes:
        name: name, unique among the clusters.
        customers: number of customers at the time of the clustering.
        share: share of all customers at that time.
        traits: strongest differences, in words.
        actions: two or three actions.
        risks: risks, at least one sentence.
    """

    name: str
    customers: int
    share: float
    traits: tuple[str, ...]
    actions: tuple[str, ...]
    risks: tuple[str, ...]


def personas(
    table: pl.DataFrame, labels: Labels, clusters: int, themes: Mapping[str, str], note: str = ""
) -> tuple[Persona, ...]:
    """Return a persona for each cluster, in their order.

    Args:
        table: mapped customers, see `TableMapping.table`.
        labels: cluster of each customer.
        clusters: number of clusters.
        themes: column -> theme.
        note: a risk that all of them share, such as that they are slices of a continuum; empty for none.
    """
    numbers, words = traits.columns_of(table, ["id"])
    measured = traits.measure(table, numbers, words)
    themed = Themed(themes)
    described: list[Persona] = []
    for cluster in range(clusters):
        inside = labels == cluster
        strongest = measured.of(inside)
        sides = [(one, themed.side(one.column, one.value, one.difference)) for one in strongest]
        strong = [(one, side) for one, side in sides if abs(one.difference) >= AVERAGE_BELOW]
        name = _name([side.word for _, side in strong] or [_AVERAGE.word], {one.name for one in described})
        texts = tuple(str(one) for one in strongest) or ("all customers are in this cluster",)
        size = int(inside.sum())
        risks = (*_risks(strong, size), *([note] if note else []))
        described.append(Persona(name, size, round(size / len(table), 6), texts, tuple(_actions(strong)), risks))
    return tuple(described)


def _name(words: Sequence[str], taken: set[str]) -> str:
    """Return the first words; more words if the name is taken, finally a number."""
    unique = list(dict.fromkeys(words))
    for count in range(min(WORDS, len(unique)), len(unique) + 1):
        name = ", ".join([unique[0], *(word[:1].lower() + word[1:] for word in unique[1:count])])
        if name not in taken:
            return name
    return next(f"{name} {number}" for number in range(2, len(taken) + 3) if f"{name} {number}" not in taken)


def _actions(strong: Sequence[tuple[Trait, Side]]) -> list[str]:
    advice = [*dict.fromkeys(side.action for _, side in strong)][:3]
    return [*advice, _AVERAGE.action, "ask some of them what they miss"][: max(2, len(advice))]


def _risks(strong: Sequence[tuple[Trait, Side]], size: int) -> list[str]:
    risks = [f"{side.risk} ({one})" for one, side in strong if side.risk]
    risks = [text for position, text in enumerate(risks) if text.split(" (")[0] not in "".join(risks[:position])]
    if size < traits.WORDS_MAX:
        risks.append(f"only {size} customers: new ones may differ")
    return risks or ["none from its traits; customers may still change: assign them again each month"]


def profiles(table: pl.DataFrame, labels: Labels, described: Sequence[Persona]) -> pl.DataFrame:
    """Return means of numbers and shares of frequent words, a column for each cluster and one for all."""
    numbers, words = traits.columns_of(table, ["id"])
    measured = traits.measure(table, numbers, words)
    names = [column if value is None else f"{column} = {value}" for column, value in measured.names]
    groups = {f"{number}: {one.name}": labels == number for number, one in enumerate(described)}
    columns = {name: _rounded(traits.means(measured.values[inside])) for name, inside in groups.items()}
    return pl.DataFrame({"trait": names, **columns, "all": _rounded(traits.means(measured.values))}).with_columns(
        pl.selectors.numeric().fill_nan(None)
    )


def _rounded(values: traits.Float) -> traits.Float:
    return np.round(values, 6)

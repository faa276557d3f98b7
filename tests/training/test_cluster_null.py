"""Clusters against tables without groups: the null tables, the declared rule, and the words where they are shown."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from shopstream.jobs.cluster import write_clusters
from training.clusters.bundle import comparison_frame, load_clusters
from training.clusters.cluster import find
from training.clusters.comparison import CRITERIA, ClusterPlan
from training.clusters.mapping import parse_mapping
from training.clusters.matrix import learn
from training.clusters.null import null_tables, rank_correlation, shared_values
from training.clusters.null_comparison import LIMITS, SHARED_SLICE, SLICE, is_better

TEXT = """
version: 1
id: id
columns:
  spend: {log: true, theme: spend}
  visits: {log: true, theme: visits}
  age: {theme: age}
"""
QUICK = ClusterPlan(
    k=(3, 4, 5), methods=("k-means",), bootstraps=2, fit_rows=900, evaluation_rows=600, view_rows=60, null_draws=4
)


def table_of(values: np.ndarray) -> pl.DataFrame:
    ids = [f"c{i:05}" for i in range(len(values))]
    return pl.DataFrame({"id": ids, "spend": values[:, 0], "visits": values[:, 1], "age": values[:, 2]})


def continuum(rows: int = 900, seed: int = 1) -> np.ndarray:
    """Correlated, skewed and without groups."""
    normal = np.random.default_rng(seed).multivariate_normal(
        [0, 0, 0], [[1, 0.7, 0.2], [0.7, 1, 0.1], [0.2, 0.1, 1]], rows
    )
    return np.column_stack([np.exp(4 + normal[:, 0]), np.exp(1 + normal[:, 1]), 40 + 10 * normal[:, 2]])


def blobs(rows: int = 900) -> np.ndarray:
    rng = np.random.default_rng(5)
    centres = np.array([[3, 1, 30], [6, 1, 30], [3, 3, 60], [6, 3, 60]])[rng.integers(0, 4, rows)]
    values = centres + rng.normal(size=(rows, 3)) * [0.2, 0.2, 3]
    return np.column_stack([np.exp(values[:, :2]), values[:, 2]])


def with_customers_without_orders(rows: int = 900) -> np.ndarray:
    """Independent columns without groups, but for the customers who share the value 0."""
    rng = np.random.default_rng(6)
    values = np.column_stack([np.exp(rng.normal(4, 0.7, (rows, 2))), rng.normal(40, 10, rows)])
    values[rng.random(rows) < 0.35, :2] = 0
    return values


def clustered(values: np.ndarray, plan: ClusterPlan = QUICK):
    mapping = parse_mapping(TEXT, "made")
    return find(mapping.table(table_of(values)), mapping, plan)


@pytest.fixture(scope="module")
def slices():
    return clustered(continuum())


# --- tables without groups --------------------------------------------------------------------------------------------
def mixed():
    rows = 1_500
    values = continuum(rows)
    word = np.array(["a", "b", "c", "d"])[np.clip((np.log(values[:, 0]) - 2).astype(int), 0, 3)]
    table = table_of(values).with_columns(
        orders=pl.Series(np.random.default_rng(2).poisson(values[:, 1] / 3).astype(float)), word=pl.Series(word)
    )
    mapping = parse_mapping(TEXT + "  orders: {}\n  word: {kind: category}\n", "mixed")
    mapped = mapping.table(table)
    preparation = learn(mapped, mapping)
    return preparation.matrix(mapped), preparation


def test_null_table_has_the_margins_and_rank_correlations_of_the_customers():
    matrix, preparation = mixed()
    drawn = null_tables(matrix, preparation, seed=1).draw(2)
    assert np.array_equal(np.sort(drawn, axis=0), np.sort(matrix, axis=0))
    gap = rank_correlation(drawn[:, :4]) - rank_correlation(matrix[:, :4])
    assert np.abs(gap).max() < 0.06
    assert np.abs(rank_correlation(matrix[:, :4]) - np.eye(4)).max() > 0.5  # there is something to keep
    assert not np.array_equal(drawn, matrix)


def test_flags_of_a_category_stay_together_and_keep_most_of_their_dependence():
    matrix, preparation = mixed()
    drawn = null_tables(matrix, preparation, seed=1).draw(2)
    flags = slice(4, matrix.shape[1])
    assert {tuple(row) for row in drawn[:, flags].round(9)} == {tuple(row) for row in matrix[:, flags].round(9)}

    def explained(rows):
        values, group = np.unique(rows[:, flags].round(9), axis=0, return_inverse=True)
        means = [rows[group.reshape(-1) == one, 0].mean() for one in range(len(values))]
        return np.var(np.asarray(means)[group.reshape(-1)])

    assert explained(drawn) > 0.6 * explained(matrix)


def test_a_seed_gives_the_same_null_table_and_another_seed_another():
    matrix, preparation = mixed()
    tables = null_tables(matrix, preparation, seed=1)
    assert np.array_equal(tables.draw(7), null_tables(matrix, preparation, seed=1).draw(7))
    assert not np.array_equal(tables.draw(7), tables.draw(8))


def test_shared_values_stay_where_they_are_on_request():
    values = with_customers_without_orders()
    mapping = parse_mapping(TEXT, "made")
    table = mapping.table(table_of(values))
    preparation = learn(table, mapping)
    matrix = preparation.matrix(table)
    none = values[:, 0] == 0
    assert shared_values(matrix, preparation) == {
        "spend": pytest.approx(none.mean(), abs=1e-3),
        "visits": pytest.approx(none.mean(), abs=1e-3),
    }
    drawn = null_tables(matrix, preparation, seed=1, keep_shared=True).draw(2)
    assert np.array_equal(drawn[:, :2] == matrix[none][0, :2], matrix[:, :2] == matrix[none][0, :2])
    assert np.array_equal(np.sort(drawn, axis=0), np.sort(matrix, axis=0))
    plain = null_tables(matrix, preparation, seed=1).draw(2)
    assert not np.array_equal(plain[:, 0] == matrix[none][0, 0], none)


# --- the verdict ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "better", "worse"), [("silhouette", 0.5, 0.3), ("davies_bouldin", 0.3, 0.5)])
def test_measure_is_better_outside_of_the_prediction_interval_only(name, better, worse):
    draws = [0.39, 0.40, 0.41, 0.40]
    assert is_better(name, better, draws)
    assert not is_better(name, worse, draws)
    assert not is_better(name, 0.4, draws)
    # t(3) x 0.00816 x sqrt(1 + 1/4) = 0.029
    sign = 1 if name == "silhouette" else -1
    assert not is_better(name, 0.4 + sign * 0.028, draws)
    assert is_better(name, 0.4 + sign * 0.030, draws)
    assert is_better(name, worse, [float("nan")] * 3)  # no clusters at all in the null tables


def test_a_continuum_has_slices_and_its_personas_say_so(slices):
    assert slices.null.verdict == "slices"
    assert slices.null.within is None
    assert "slices of a continuum" in slices.null.text
    assert all(SLICE in one.risks for one in slices.personas)


def test_separate_groups_are_more_than_slices():
    found = clustered(blobs())
    assert found.null.verdict == "groups"
    assert not any(SLICE in one.risks or SHARED_SLICE in one.risks for one in found.personas)
    chosen = next(row for row in found.null.plain.rows if row.setting == found.null.setting)
    assert chosen.clusters == 4
    assert chosen.measures["silhouette"] > chosen.spread("silhouette")[0] + 0.2


def test_customers_without_orders_are_a_group_by_a_shared_value():
    found = clustered(with_customers_without_orders())
    assert found.null.plain.better
    assert found.null.verdict == "shared"
    assert "spend 3" in found.null.text  # with its share
    assert all(SHARED_SLICE in one.risks for one in found.personas)


def test_every_number_of_clusters_is_compared_with_every_draw(slices):
    assert [row.setting for row in slices.null.plain.rows] == [3, 4, 5]
    for row in slices.null.plain.rows:
        assert set(row.draws) == set(row.measures) == set(CRITERIA)
        assert all(len(values) == QUICK.null_draws for values in row.draws.values())
        assert row.spread("silhouette")[1] > 0


def test_density_methods_are_compared_by_their_settings():
    found = clustered(blobs(), replace(QUICK, methods=("hdbscan",), null_draws=2))
    settings = [one.setting for one in found.comparison.candidates]
    assert [row.setting for row in found.null.plain.rows] == settings
    assert found.null.setting in settings


# --- where it is shown ------------------------------------------------------------------------------------------------
def test_page_csv_and_bundle_have_the_null_with_the_indices(slices, tmp_path):
    write_clusters(slices, parse_mapping(TEXT, "made"), TEXT, tmp_path, {})
    page = (tmp_path / "clusters.html").read_text()
    assert "Comparison with tables without groups" in page
    assert slices.null.text in page
    for limit in LIMITS:
        assert limit in page
    row = slices.null.plain.rows[0]
    mean, spread = row.spread("silhouette")
    assert f"{row.measures['silhouette']:.3f} ({mean:.3f} ± {spread:.3f})" in page
    assert load_clusters(tmp_path).method["null"]["verdict"] == "slices"
    frame = pl.read_csv(tmp_path / "comparison.csv")
    assert frame["null_silhouette_mean"][0] == pytest.approx(mean, abs=1e-6)
    assert frame["null_stability_sd"].null_count() == 0


def test_without_draws_there_is_no_comparison():
    found = clustered(continuum(300), ClusterPlan(k=(3,), methods=("k-means",), view_rows=60, null_draws=0))
    assert found.null is None
    assert comparison_frame(found.comparison)["null_silhouette_mean"].null_count() == 1
    assert not any(SLICE in one.risks for one in found.personas)

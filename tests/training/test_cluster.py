"""`cluster` and `assign`: methods compared, one chosen, personas named, new customers assigned, on any table."""

import gzip
import json
import re

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from shopstream.cli.app import build_app
from shopstream.jobs.cluster import FILES, read_table, write_clusters
from training.clusters.assigners import Assigner
from training.clusters.bundle import load_clusters
from training.clusters.cluster import find
from training.clusters.comparison import Candidate, ClusterPlan, compare, mean_ranks
from training.clusters.mapping import load_mapping, parse_mapping, ready_mappings
from training.clusters.matrix import CLIP, learn
from training.clusters.methods import METHODS, knee, neighbour_distances
from training.clusters.personas import personas

BLOBS = """
version: 1
id: id
columns:
  spend: {theme: spend}
  visits: {theme: visits}
  age: {theme: age}
"""
QUICK = ClusterPlan(k=(3, 4, 5), bootstraps=2, fit_rows=800, evaluation_rows=600, view_rows=100)


def blobs(rows: int = 600, seed: int = 4) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0, 40], [400, 0, 40], [0, 30, 40], [400, 30, 80]])
    kind = rng.integers(0, 4, rows)
    values = centres[kind] + rng.normal(size=(rows, 3)) * [25, 2, 3]
    ids = [f"c{i:05}" for i in range(rows)]
    return pl.DataFrame({"id": ids, "spend": values[:, 0], "visits": values[:, 1], "age": values[:, 2]}), kind


def personality(path, rows: int = 2_240) -> pl.DataFrame:
    """A table of the published one's shape and columns: made here, of three kinds of households."""
    rng = np.random.default_rng(7)
    kind = rng.choice(3, rows, p=[0.5, 0.3, 0.2])
    level = np.array([1.0, 3.0, 9.0])[kind]
    income = (20_000 + 8_000 * level) * rng.lognormal(0, 0.2, rows)
    column = {
        "ID": rng.permutation(rows) + 1, "Year_Birth": rng.integers(1945, 1996, rows),
        "Education": rng.choice(["Graduation", "PhD", "Master", "2n Cycle", "Basic"], rows),
        "Marital_Status": rng.choice(["Married", "Together", "Single", "Divorced", "YOLO"], rows),
        "Income": np.where(np.arange(rows) % 93 == 0, np.nan, income.round()),
        "Kidhome": rng.integers(0, 2, rows) * (kind < 2), "Teenhome": rng.integers(0, 2, rows),
        "Dt_Customer": [f"{d:02}-{m:02}-{y}" for d, m, y in zip(
            rng.integers(1, 29, rows), rng.integers(1, 13, rows), rng.integers(2012, 2015, rows), strict=True)],
        "Recency": rng.integers(0, 100, rows),
    }  # fmt: skip
    for name, scale in (("Wines", 60), ("Fruits", 6), ("MeatProducts", 35), ("FishProducts", 8), ("SweetProducts", 6)):
        column[f"Mnt{name}"] = rng.poisson(scale * level * rng.gamma(4, 0.25, rows))
    column["MntGoldProds"] = rng.poisson(10 * level)
    for name, scale in (("Deals", 2), ("Web", 2), ("Catalog", 1), ("Store", 3)):
        column[f"Num{name}Purchases"] = rng.poisson(scale * np.sqrt(level))
    column["NumWebVisitsMonth"] = rng.poisson(7 - 2 * kind)
    for name in ("AcceptedCmp3", "AcceptedCmp4", "AcceptedCmp5", "AcceptedCmp1", "AcceptedCmp2", "Complain"):
        column[name] = (rng.random(rows) < 0.02 * level).astype(int)
    column |= {"Z_CostContact": np.full(rows, 3), "Z_Revenue": np.full(rows, 11)}
    column["Response"] = (rng.random(rows) < 0.03 * level).astype(int)
    frame = pl.DataFrame(column).with_columns(pl.col("Income").fill_nan(None))
    frame.write_csv(path, separator="\t")
    return frame.with_columns(pl.Series("kind", kind))


def run(*arguments):
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    frame = personality(folder / "marketing_campaign.csv")
    done = run("cluster", folder / "marketing_campaign.csv", "--mapping", "customer_personality", "--k", "3-3",
               "--out", folder / "clusters")  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    return folder, frame


def test_one_command_clusters_a_csv_table_into_personas(published):
    folder, frame = published
    table = pl.read_csv(folder / "clusters" / "comparison.csv")
    assert set(table["method"]) >= {"k-means", "mixture", "agglomerative", "hdbscan"}
    assert table["chosen"].sum() == 1
    customers = pl.read_parquet(folder / "clusters" / "customers.parquet")
    assert customers.height == 2_240
    both = customers.with_columns(pl.col("id").cast(pl.Int64)).join(frame, left_on="id", right_on="ID")
    assert adjusted_rand_score(both["kind"], both["cluster"]) > 0.4
    bundle = load_clusters(folder / "clusters")
    assert len({one.name for one in bundle.personas}) == len(bundle.personas)
    for one in bundle.personas:
        assert len(one.traits) == 5
        assert 2 <= len(one.actions) <= 3
        assert one.risks
    sizes = [one.customers for one in bundle.personas]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 2_240
    page = (folder / "clusters" / "clusters.html").read_text()
    assert all(f'id="{name}"' in page for name in ("pca", "neighbours", "column-0"))
    assert "has the best mean rank" in page or "the clusters are weak" in page
    assert sorted(path.name for path in (folder / "clusters").iterdir()) == sorted([*FILES, "made.json"])


def test_one_command_assigns_new_customers_and_old_ones_are_unchanged(published, tmp_path):
    folder, frame = published
    done = run(
        "assign", folder / "marketing_campaign.csv", "--clusters", folder / "clusters", "--out", tmp_path / "a.csv"
    )
    assert done.exit_code == 0, done.output
    again = pl.read_csv(tmp_path / "a.csv", schema_overrides={"id": pl.String})
    known = pl.read_parquet(folder / "clusters" / "customers.parquet")
    assert again.equals(known)
    new = frame.drop("kind").head(3).with_columns(pl.Series("ID", ["=new()", "b", "a"]), Education=pl.lit("unseen"))
    new.write_csv(tmp_path / "new.csv", separator="\t")
    assert (
        run("assign", tmp_path / "new.csv", "--clusters", folder / "clusters", "--out", tmp_path / "n.csv").exit_code
        == 0
    )
    assert pl.read_csv(tmp_path / "n.csv")["id"].to_list() == ["'=new()", "a", "b"]
    frame.drop("Income").write_csv(tmp_path / "bad.csv", separator="\t")
    refused = run("assign", tmp_path / "bad.csv", "--clusters", folder / "clusters", "--out", tmp_path / "b.csv")
    assert isinstance(refused.exception, ShopstreamError)
    assert "no column Income" in str(refused.exception)
    assert not (tmp_path / "b.csv").exists()


def test_damaged_clusters_are_refused(published, tmp_path):
    folder, _ = published
    said = json.loads((folder / "clusters" / "clusters.json").read_bytes())
    with pytest.raises(UsageError):
        load_clusters(tmp_path)
    for change in ({"order": said["order"][::-1]}, {"format": 99}, {"assigner": {"type": "os.system"}}):
        (tmp_path / "clusters.json").write_text(json.dumps(said | change))
        with pytest.raises(ShopstreamError):
            load_clusters(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_separates_clusters_and_assigns_equally_after_json(method):
    frame, kind = blobs()
    mapping = parse_mapping(BLOBS, "blobs")
    found = find(mapping.table(frame), mapping, ClusterPlan(**{**plan_of(QUICK), "methods": (method,), "k": (3, 4)}))
    assert len(found.personas) == 4
    assert adjusted_rand_score(kind, found.labels) > 0.98
    again = msgspec.json.decode(msgspec.json.encode(found.assigner), type=Assigner)
    fresh = mapping.table(blobs(seed=9)[0])
    matrix = found.preparation.matrix(fresh)
    assert (again.labels(matrix) == found.assigner.labels(matrix)).all()
    assert adjusted_rand_score(blobs(seed=9)[1], again.labels(matrix)) > 0.98


def test_dbscan_radius_is_at_the_bend_of_the_distances():
    assert knee(np.array([1.0, 1.1, 1.2, 1.3, 5.0, 9.0])) == 1.3
    assert knee(np.full(4, 2.0)) == 2.0
    rows = np.array([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0], [0.0, 0.0]])
    assert neighbour_distances(rows, 2).tolist() == [0.0, 0.0, 3.0, 4.0]


def test_dbscan_excludes_outliers_and_reports_its_parameters(tmp_path):
    """Four dense groups and a tenth of the customers anywhere: these belong to none."""
    frame, _ = blobs(500)
    rng = np.random.default_rng(1)
    stray = pl.DataFrame({
        "id": [f"s{i:03}" for i in range(50)], "spend": rng.uniform(-200, 700, 50), "visits": rng.uniform(-20, 50, 50),
        "age": rng.uniform(10, 110, 50),
    })  # fmt: skip
    mapping = parse_mapping(BLOBS, "blobs")
    plan = ClusterPlan(**{**plan_of(QUICK), "methods": ("dbscan",)})
    found = find(mapping.table(pl.concat([frame, stray])), mapping, plan)
    write_clusters(found, mapping, BLOBS, tmp_path, {})
    table = pl.read_csv(tmp_path / "comparison.csv")
    assert table["clusters"].to_list() == [4, 4, 4]
    assert table["noise"].is_between(0.05, 0.12).all()
    assert table["parameters"].str.contains(r"^eps 0\.\d+, min_samples \d+$").all()
    least = [int(text.rpartition(" ")[2]) for text in table["parameters"]]
    assert least == [5, 6, 12]
    assert all(text in (tmp_path / "clusters.html").read_text() for text in table["parameters"])


def test_equal_customers_have_no_dbscan_radius():
    same = np.zeros((60, 3))
    assert METHODS["dbscan"].fit(same, 2.0, 1) is None
    assert METHODS["dbscan"].fit(np.eye(3), 4.0, 1) is None


def plan_of(plan: ClusterPlan) -> dict:
    return {name: getattr(plan, name) for name in plan.__slots__}


def test_true_number_of_clusters_is_chosen_and_a_seed_gives_the_same_bytes(tmp_path):
    frame, _ = blobs()
    mapping = parse_mapping(BLOBS, "blobs")
    plan = ClusterPlan(**{**plan_of(QUICK), "methods": ("k-means", "mixture")})
    for name in ("one", "two"):
        found = find(mapping.table(frame.sample(fraction=1.0, shuffle=True, seed=len(name))), mapping, plan)
        write_clusters(found, mapping, BLOBS, tmp_path / name, {})
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    chosen = found.comparison.candidates[found.comparison.chosen]
    assert chosen.clusters == 4
    assert "best mean rank" in found.comparison.reason


def candidate(**values) -> Candidate:
    common = {"method": "k-means", "setting": 3.0, "parameters": "", "clusters": 3, "silhouette": 0.3,
              "davies_bouldin": 1.0,
              "calinski_harabasz": 100.0, "stability": 0.9, "smallest_share": 0.2, "noise": 0.0,
              "refused": ""}  # fmt: skip
    return Candidate(**{**common, **values})


def test_ranks_weight_criteria_equally_and_exclude_refused_candidates():
    found = [candidate(silhouette=0.5), candidate(davies_bouldin=0.5), candidate(silhouette=0.9, refused="small")]
    assert mean_ranks(found) == (1.5, 1.5, None)
    better = [candidate(silhouette=0.5, stability=0.95), candidate(davies_bouldin=0.5)]
    assert mean_ranks(better) == (1.375, 1.625)


def test_candidates_with_too_small_clusters_are_refused_with_a_reason():
    frame, _ = blobs(400)
    lonely = frame.with_columns(spend=pl.when(pl.col("id") < "c00004").then(5000.0).otherwise(pl.col("spend")))
    mapping = parse_mapping(BLOBS, "blobs")
    matrix = learn(mapping.table(lonely), mapping).matrix(mapping.table(lonely))
    assert np.abs(matrix).max() <= CLIP
    plan = ClusterPlan(**{**plan_of(QUICK), "methods": ("k-means",), "k": (8,), "smallest_share": 0.3})
    found = compare(matrix, plan)
    assert found.candidates[0].refused == "smallest cluster below 30%"
    assert "the clusters are weak" in found.reason
    with pytest.raises(ShopstreamError, match="too few"):
        compare(matrix[:20], plan)


HOSTILE = "<script>alert('x')</script>"


def test_page_escapes_hostile_words(tmp_path):
    frame, kind = blobs(300)
    words = np.array([HOSTILE, "=cmd()", "@x", "+1"])[kind]
    frame = frame.with_columns(pl.Series("word", words), pl.Series("id", [f"={i:04}{HOSTILE}" for i in range(300)]))
    text = BLOBS + "profile: {word: {kind: category}}\n"
    mapping = parse_mapping(text, "hostile")
    plan = ClusterPlan(**{**plan_of(QUICK), "methods": ("k-means",), "k": (4,)})
    found = find(mapping.table(frame), mapping, plan)
    write_clusters(found, mapping, text, tmp_path, {})
    assert HOSTILE in "".join(one.name + "".join(one.traits) for one in found.personas)
    page = (tmp_path / "clusters.html").read_text()
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    for name in ("comparison.csv", "profiles.csv"):
        lines = pl.read_csv(tmp_path / name, infer_schema=False)
        cells = [*lines.columns, *(cell for row in lines.rows() for cell in row if cell)]
        assert not [cell for cell in cells if cell[0] in "=@+"], name


def test_persona_names_are_unique_and_an_average_cluster_is_named_average():
    table = pl.DataFrame({"id": ["a", "b", "c", "d"] * 10, "x": [0.0, 10.0, 10.0, 0.0] * 10})
    labels = np.array([0, 1, 2, 3] * 10)
    names = [one.name for one in personas(table, labels, 4, {})]
    assert len(set(names)) == 4
    assert names[1].startswith("High x")
    flat = pl.DataFrame({"id": ["a", "b"] * 5, "x": [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0]})
    (first, _) = personas(flat, np.array([0, 1] * 5), 2, {})
    assert first.name == "Average"
    assert len(first.actions) >= 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spend: {theme: spend}": "spend: {theme: luck}"}, "line 5: columns.spend: unknown theme luck"),
        ({"spend: {theme: spend}": "spend: {sum: [a], from: b}"}, "one source"),
        ({"id: id": "key: id"}, "id"),
        ({"age: {theme: age}": "age: {kind: category, log: true}"}, "a category has one source column"),
        ({"age: {theme: age}": "age: {date: x}"}, "need each other"),
        ({"age: {theme: age}": "age: {wait: 1}"}, "line 7"),
    ],
)
def test_errors_in_a_mapping_name_their_line(change, said):
    text = BLOBS
    for old, new in change.items():
        text = text.replace(old, new)
    with pytest.raises(UsageError) as error:
        parse_mapping(text, "my.yaml")
    assert said in str(error.value)


def test_supplied_mappings_are_valid_and_unknown_ones_are_refused():
    for name in ready_mappings():
        assert load_mapping(name)[0].columns
    with pytest.raises(UsageError, match="nowhere"):
        load_mapping("nowhere")


def test_columns_are_built_as_declared_and_missing_numbers_are_null():
    mapping = parse_mapping(
        "version: 1\nid: key\ncolumns:\n  a: {sum: [p, q]}\n  b: {difference: [10, p]}\n  c: {ratio: [p, q]}\n"
        "  d: {date: day, days_before: '2020-01-10', format: '%d.%m.%Y'}\n  e: {from: text}\n", "made",
    )  # fmt: skip
    raw = pl.DataFrame({
        "key": [2, 1], "p": [1, 4], "q": [0.0, 2.0], "day": ["01.01.2020", "NA"], "text": ["nan", "7"],
    })  # fmt: skip
    assert mapping.table(raw).to_dict(as_series=False) == {
        "id": ["1", "2"], "a": [6.0, 1.0], "b": [6.0, 9.0], "c": [2.0, None], "d": [None, 9.0], "e": [7.0, None],
    }  # fmt: skip
    with pytest.raises(ShopstreamError, match="1 is repeated"):
        mapping.table(pl.concat([raw, raw]))
    with pytest.raises(ShopstreamError, match="Column day has 1 texts that are not a date"):
        mapping.table(raw.with_columns(day=pl.Series(["01.01.2020", "never"])))
    with pytest.raises(ShopstreamError, match="Column text has 1 texts that are not a number: '12,5' is the first"):
        mapping.table(raw.with_columns(text=pl.Series(["12,5", "7"])))
    with pytest.raises(ShopstreamError, match="no column text"):
        mapping.table(raw.drop("text"))


TABLE = "version: 1\nid: id\ncolumns:\n  spend: {}\n  same: {}\n  country: {kind: category}\n"


def _table(path, rows: int = 60) -> None:
    ids = ["7", "007", "0010.50", *(f"{number:05d}" for number in range(rows - 3))]
    lines = [f"{one},{(10, 100, 1000)[n % 3] + n % 7},5,{('NA', 'DE', 'null')[n % 3]}" for n, one in enumerate(ids)]
    path.write_text("\n".join(["id,spend,same,country", *lines]) + "\n")


def test_csv_keeps_ids_and_countries_and_names_the_columns_that_it_leaves_out(tmp_path):
    _table(tmp_path / "t.csv")
    (tmp_path / "m.yaml").write_text(TABLE)
    done = run("cluster", tmp_path / "t.csv", "--mapping", tmp_path / "m.yaml", "--k", "3-3", "--methods", "k-means",
               "--out", tmp_path / "c")  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    ids = pl.read_parquet(tmp_path / "c" / "customers.parquet")["id"]
    assert ids.head(4).to_list() == ["00000", "00001", "00002", "00003"]
    assert {"7", "007", "0010.50"} <= set(ids)
    parts = json.loads((tmp_path / "c" / "clusters.json").read_text())["preparation"]["parts"]
    assert [part["values"] for part in parts if "values" in part] == [["DE", "NA", "null"]]
    assert "column same is left out: it is constant, 5.0" in done.output
    assert "left out: same" in (tmp_path / "c" / "clusters.html").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "id,spend,same,country\n1,2,3,4\n1,2,3\n",
            r"t\.csv, line 3: 3 columns where the header has 4: 1 \| 2 \| 3\. Quote",
        ),
        ('id,spend,same,country\n1,2,3,DE\n1,2,3,"DE\n', r"t\.csv, line 3: a quote is opened and never closed\. Write"),
        ('id,spend,same,country\n1,2,3,"D"E\n', r"t\.csv, line 2: text follows the closing quote of a value"),
        ("id,spend,same,country\n1,2,3,Z\xfcrich\n".encode("latin-1"), r"t\.csv, line 2: 0xFC is not UTF-8"),
        (b"PK\3\4", r"t\.csv is (a file of excel|damaged)"),
        ("id,id\n1,2\n", "names the column id twice"),
        ("id,spend,same,country\n", "The table of customers is empty"),
        ("", "has no column|is empty"),
    ],
)
def test_damaged_csv_is_refused_in_words(tmp_path, text, said):
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "m.yaml").write_text(TABLE)
    done = run("cluster", tmp_path / "t.csv", "--mapping", tmp_path / "m.yaml", "--out", tmp_path / "c")
    assert isinstance(done.exception, ShopstreamError), done.exception
    assert re.search(said, str(done.exception))
    assert "`file." not in done.exception.remedy  # a key of a mapping of an import


@pytest.mark.parametrize("separator", ['"', "\n", "\r"])
def test_a_separator_that_separates_nothing_is_a_usage_error(tmp_path, separator):
    _table(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="separates no columns"):
        read_table(tmp_path / "t.csv", separator, None, lambda *_: None)


def test_a_csv_of_any_packing_is_read_whole_with_its_unnamed_column_left_out(tmp_path):
    rows = "".join(f"{number},{number:05d}, x,\n" for number in range(60_000))
    text = f"\ufeff,id,name,empty\n{rows}".encode()
    for name, content in (("t.csv", text), ("t.csv.gz", gzip.compress(text))):
        (tmp_path / name).write_bytes(content)
        table = read_table(tmp_path / name, ",", None, lambda *_: None)
        assert (table.columns, len(table)) == (["id", "name", "empty"], 60_000)
        assert table.row(-1) == ("59999", " x", None)
    (tmp_path / "e.csv").write_text("id,name\n")
    assert read_table(tmp_path / "e.csv", ",", None, lambda *_: None).schema == {"id": pl.String, "name": pl.String}


def test_integral_floats_of_a_table_are_integers():
    raw = pl.DataFrame({"id": [17850.0, 2.0**60, 1.5], "spend": [1, 2, 3], "same": [1, 1, 1], "country": ["NA"] * 3})
    assert parse_mapping(TABLE, "made").table(raw)["id"].to_list() == ["1.5", "1152921504606846976", "17850"]
    with pytest.raises(ShopstreamError, match="1 rows have no id"):
        parse_mapping(TABLE, "made").table(raw.with_columns(id=pl.Series([1.0, 2.0, float("nan")])))


def test_archive_is_clustered_and_compared_with_its_latent_types(archive, tmp_path):
    done = run("cluster", archive, "--k", "3-4", "--methods", "k-means", "--out", tmp_path / "c")
    assert done.exit_code == 0, (done.output, done.exception)
    said = load_clusters(tmp_path / "c").method["truth"]
    assert said["groups"] == 6
    assert 0 <= said["adjusted_rand"] <= 1
    assert said["taught_accuracy"] > said["largest_group"] - 0.1
    assert "known groups" in done.output


@pytest.mark.parametrize(
    ("option", "value"), [("--k", "1-3"), ("--k", "5-3"), ("--methods", "magic"), ("--mapping", "x")]
)
def test_impossible_options_are_refused(archive, tmp_path, option, value):
    done = run("cluster", archive, option, value, "--out", tmp_path / "c")
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "c").exists()

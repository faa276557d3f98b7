"""Spark's checkpoints lie anywhere: where a run was streamed from is noted, and told by `forget`."""

from __future__ import annotations

from shopstream.jobs.erase import Erasure
from shopstream.settings import Settings
from shopstream.spark.checkpoint_registry import record_spark_checkpoint, spark_checkpoints


def test_spark_paths_are_recorded_once_and_reported_by_forget(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spark-1").mkdir()
    settings = Settings(home=tmp_path / "home")
    for location in ("spark-1", "s3a://shop/spark", "spark-1", str(tmp_path / "gone")):
        record_spark_checkpoint(settings, "shop", location)
    assert spark_checkpoints(settings, "shop") == [str(tmp_path / "spark-1"), "s3a://shop/spark"]
    assert spark_checkpoints(settings, "shop-2") == []
    work = Erasure(settings, "ann", str(tmp_path / "state"))
    work._in_spark("shop")
    assert [result.location for result in work.results] == [
        f"Spark's checkpoint {tmp_path}/spark-1",
        "Spark's checkpoint s3a://shop/spark",
    ]
    assert all("first batch after the tombstone" in result.message for result in work.results)

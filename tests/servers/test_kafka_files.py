"""The files of the embedded Kafka: which letters of a data folder's path they can name."""

from pathlib import Path

import pytest
from rich.console import Console

from features.errors import ShopstreamError, UsageError
from shopstream.embedded import lifecycle
from shopstream.embedded.kafka import KafkaServer, check_home, escaped
from shopstream.settings import Settings


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/tmp/home 1", "/tmp/home 1"),
        ("/tmp/hö mé", "/tmp/h\\u00F6 m\\u00E9"),
        ("/tmp/店", "/tmp/\\u5E97"),
        ("/tmp/😀", "/tmp/\\uD83D\\uDE00"),
        ("a\\b", "a\\u005Cb"),
        (" a", "\\ a"),
    ],
)
def test_property_values_are_escaped_for_java(value: str, written: str) -> None:
    assert escaped(value) == written


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a\\b", "a\nb", "a${b}", "a\udce9"])
def test_home_with_unsupported_characters_is_refused_before_creation(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="data folder") as caught:
        lifecycle.up(Settings(home=tmp_path / name), Console(quiet=True))
    assert "SHOPSTREAM_HOME" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_home_with_other_characters_is_accepted() -> None:
    check_home(Path("/tmp/hö mé/#it's 100 % (of $x): 店=1;"))


def test_log_misplaced_by_format_1_is_not_replaced(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "hö mé")
    settings.home.mkdir()
    misplaced = tmp_path / "hÃ¶ mÃ©" / "kafka" / "data"
    misplaced.mkdir(parents=True)
    (misplaced / "meta.properties").touch()
    with pytest.raises(ShopstreamError, match="Kafka misread the path") as caught:
        KafkaServer(settings, (), "4.1.0").prepare(1, 2, Console(quiet=True), 0)
    assert f"mv '{misplaced}' '{settings.home}/kafka/data'" in caught.value.remedy

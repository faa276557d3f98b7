"""`generate --as` and `replay --as` as a user calls them, where no server is needed."""

import pytest
from archives import NOON, event, order, write
from typer.testing import CliRunner

from features.errors import ShopstreamError, UsageError
from shopstream.cli.app import build_app
from shopstream.cli.shape_options import topics_of

SMALL = ["--customers", "60", "--events", "1500", "--days", "20", "--end", "2025-06-01"]


@pytest.fixture
def call():
    app = build_app()

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if isinstance(result.exception, ShopstreamError):
            raise result.exception
        return result

    return run


def files_below(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.*") if file.is_file()}


def test_generate_writes_archive_and_messages_and_prints_the_faults(call, tmp_path):
    words = ["generate", *SMALL, "--as", "segment,debezium", "--dirt", "0.1", "--poison", "0.1", "--partitions", "2"]
    result = call(*words, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    messages = {name for name in files_below(tmp_path / "a") if name.startswith("messages")}
    assert messages == {f"messages/{shape}/partition-{n}.jsonl" for shape in ("segment", "debezium") for n in (0, 1)}
    assert "retry" in result.output
    assert "broken: truncated" in result.output


def test_archive_with_messages_equals_the_archive_without_them(call, tmp_path):
    assert call("generate", *SMALL, "--out", tmp_path / "plain").exit_code == 0
    assert call("generate", *SMALL, "--as", "segment", "--dirt", "0.2", "--out", tmp_path / "with").exit_code == 0
    plain, both = files_below(tmp_path / "plain"), files_below(tmp_path / "with")
    assert {name: content for name, content in both.items() if not name.startswith("messages")} == plain


def test_archive_with_messages_is_replaced_by_force(call, tmp_path):
    words = ["generate", *SMALL, "--as", "segment", "--out", tmp_path / "a"]
    assert call(*words).exit_code == 0
    assert call(*words, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--as", "segmant"], "Unknown names in --as: segmant"),
        (["--poison", "0.1"], "--poison needs --as"),
        (["--zone", "UTC"], "--zone needs --as"),
        (["--partitions", "4"], "--partitions needs --as"),
        (["--as", "debezium", "--zone", "Mars/Base"], "--zone Mars/Base is no time zone"),
        (["--as", "shopify", "--deleted", "0.1"], "cannot say --deleted"),
        (["--as", "segment", "--dirt", "1.5"], "Dirt is a share of the messages"),
    ],
)
def test_wrong_options_of_generate_are_usage_errors_and_leave_nothing(call, tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        call("generate", *SMALL, "--out", tmp_path / "a", *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--as", "segment", "--topics", "events"], "--topics is for replays without --as"),
        (["--topic", "web.events"], "--topic needs --as"),
        (["--as", "segment,shopify", "--topic", "web.events"], "is for no shape of --as"),
        (["--as", "segment", "--topic", "shop.events"], "shop.events is a topic of the run shop"),
        (["--as", "segment,shopify", "--topic", "segment=raw", "--topic", "shopify=raw"], "raw to two shapes"),
    ],
)
def test_wrong_options_of_replay_are_usage_errors(call, tmp_path, words, message):
    archive = write(tmp_path / "a", events=[event(1, NOON)], orders=[order(1, NOON)])
    with pytest.raises(UsageError, match=message):
        call("replay", archive, "--run", "shop", *words)


def test_replay_of_a_missing_archive_is_refused_before_topics_are_made(call, tmp_path):
    with pytest.raises(ShopstreamError, match="none"):
        call("replay", tmp_path / "none", "--as", "segment")


def test_topic_names_are_read_with_and_without_their_shape():
    assert topics_of(["web.events"], ["segment"]) == {"segment": "web.events"}
    assert topics_of(["segment=a", "shopify=b"], ["segment", "shopify"]) == {"segment": "a", "shopify": "b"}
    assert topics_of([], ["segment"]) == {}

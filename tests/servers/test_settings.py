"""Settings: where they come from, which wins, and what a wrong one says."""

from pathlib import Path

import pytest

from features.errors import UsageError
from shopstream.settings import RUNS_CODE, Settings, load_settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_settings_have_their_defaults(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home == tmp_path / ".shopstream"
    assert settings.cache.name == "shopstream"
    assert settings.run == "shop"
    assert settings.kafka.bootstrap_servers is None
    assert settings.elasticsearch.url is None


def test_flag_beats_variable_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shopstream.toml").write_text('run = "file"\n[kafka]\npartitions = 8\nport = 1111\nheap = "1g"\n')
    monkeypatch.setenv("SHOPSTREAM_KAFKA__PORT", "2222")
    monkeypatch.setenv("SHOPSTREAM_KAFKA__HEAP", "2g")
    settings = load_settings(kafka={"heap": "3g"}, run=None)
    assert (settings.run, settings.kafka.partitions) == ("file", 8)
    assert (settings.kafka.port, settings.kafka.heap) == (2222, "3g")


def test_named_settings_file_replaces_the_local_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shopstream.toml").write_text('run = "here"\n')
    (tmp_path / "other.toml").write_text('run = "named"\n')
    monkeypatch.setenv("SHOPSTREAM_CONFIG", "other.toml")
    assert load_settings().run == "named"
    monkeypatch.setenv("SHOPSTREAM_CONFIG", "absent.toml")
    with pytest.raises(UsageError, match=r"absent\.toml"):
        load_settings()


def test_kafka_properties_become_strings(tmp_path: Path) -> None:
    (tmp_path / "shopstream.toml").write_text(
        '[kafka.properties]\n"security.protocol" = "SASL_SSL"\n"enable.ssl.certificate.verification" = false\n'
        '"socket.timeout.ms" = 500\n'
    )
    assert load_settings().kafka.properties == {
        "security.protocol": "SASL_SSL",
        "enable.ssl.certificate.verification": "false",
        "socket.timeout.ms": "500",
    }


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SHOPSTREAM_KAFKA__PORT", "http", r"kafka\.port.*integer.*'http'"),
        ("SHOPSTREAM_KAFKA__PORT", "70000", r"kafka\.port.*65535.*'70000'"),
        ("SHOPSTREAM_ELASTICSEARCH__HEAP", "1 gigabyte", r"elasticsearch\.heap.*'1 gigabyte'"),
        ("SHOPSTREAM_RUN", "Shop.One", r"run \(SHOPSTREAM_RUN\)"),
        ("SHOPSTREAM_ELASTICSEARCH__OPTIONS", "{", "elasticsearch"),
        ("SHOPSTREAM_KAFKA__BOOTSTRAP_SERVER", "a:1", "did you mean bootstrap_servers"),
        ("SHOPSTREAM_HOM", "/tmp", "did you mean home"),
    ],
)
def test_invalid_setting_is_named(variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=message) as caught:
        load_settings()
    assert caught.value.exit_code == 2
    assert "SHOPSTREAM_" in caught.value.remedy


@pytest.mark.parametrize(
    "variables",
    [
        {"SHOPSTREAM_ELASTICSEARCH__PASSWORD": "geheim"},  # without a url
        {"SHOPSTREAM_ELASTICSEARCH__URL": "http://x:1", "SHOPSTREAM_ELASTICSEARCH__API_KEY": '["geheim"]'},
        {"SHOPSTREAM_ELASTICSEARCH__OPTIONS": '["geheim"]'},
        {"SHOPSTREAM_KAFKA__PROPERTIES": '{"sasl.password": ["geheim"]}'},
        {"SHOPSTREAM_KAFKA__PROPERTIES": '{"sasl.password": "geheim"'},
        {
            "SHOPSTREAM_ELASTICSEARCH__URL": "http://x:1",
            "SHOPSTREAM_ELASTICSEARCH__PASSWORD": "geheim",
            "SHOPSTREAM_ELASTICSEARCH__API_KEY": "geheim",
        },
    ],
)
def test_error_of_a_setting_never_shows_a_secret(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        shown = repr(load_settings())
    except UsageError as error:
        shown = str(error)
    assert "geheim" not in shown


def test_repr_of_settings_shows_no_secret() -> None:
    settings = load_settings(
        kafka={"properties": {"sasl.password": "geheim"}},
        elasticsearch={"url": "http://x:1", "username": "u", "password": "geheim", "options": {"a": "geheim"}},
    )
    assert "geheim" not in repr(settings)
    assert "geheim" not in str(settings)


def test_malformed_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "shopstream.toml").write_text("run = \n")
    with pytest.raises(UsageError, match="settings cannot be read"):
        load_settings()


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().run = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(RUNS_CODE))
def test_file_in_the_working_folder_runs_no_code(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = f'[kafka.properties]\n"{name}" = "{tmp_path}/evil"\n'
    (tmp_path / "shopstream.toml").write_text(content)
    with pytest.raises(UsageError, match=name) as caught:
        load_settings()
    assert caught.value.exit_code == 2
    assert f"SHOPSTREAM_CONFIG={tmp_path / 'shopstream.toml'}" in caught.value.remedy
    # a file that the user names, and the user's own environment, may
    monkeypatch.setenv("SHOPSTREAM_CONFIG", "shopstream.toml")
    assert load_settings().kafka.properties == {name: f"{tmp_path}/evil"}
    monkeypatch.delenv("SHOPSTREAM_CONFIG")
    (tmp_path / "shopstream.toml").unlink()
    monkeypatch.setenv("SHOPSTREAM_KAFKA__PROPERTIES", f'{{"{name}": "x"}}')
    assert load_settings().kafka.properties == {name: "x"}


def test_every_command_refuses_invalid_properties_before_a_client_is_created(tmp_path: Path) -> None:
    (tmp_path / "shopstream.toml").write_text('[kafka.properties]\n"plugin.library.paths" = "./evil"\n')
    with pytest.raises(UsageError):
        load_settings(run="other", kafka={"bootstrap_servers": "127.0.0.1:1"})

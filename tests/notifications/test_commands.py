"""The commands of `notify`: settings from the file and the environment, refused combinations, and no secret shown."""

import pytest
from consume.command_line import call, environment

from features.errors import UsageError
from shopstream.settings import load_settings

SECRET = "https://hooks.example/s3cret-token"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_target_comes_from_file_and_environment(tmp_path, monkeypatch):
    (tmp_path / "shopstream.toml").write_text(
        '[notify.targets.team]\nkind = "slack"\nminimum_risk = "critical"\n'
        '[notify.targets.anne]\nkind = "email"\nto = "Anne <anne@example.org>"\n'
        '[notify.smtp]\nhost = "localhost"\nsender = "shop@example.org"\n'
    )
    monkeypatch.setenv("SHOPSTREAM_NOTIFY__TARGETS__TEAM__URL", SECRET)
    settings = load_settings().notify
    assert settings.targets["team"].url.get_secret_value() == SECRET
    assert settings.targets["team"].minimum_risk == "critical"
    assert settings.smtp.port == 587
    assert SECRET not in repr(settings)


def test_error_of_a_setting_does_not_show_the_secret(monkeypatch):
    monkeypatch.setenv("SHOPSTREAM_NOTIFY__TARGETS__TEAM__KIND", "fax")
    monkeypatch.setenv("SHOPSTREAM_NOTIFY__TARGETS__TEAM__URL", SECRET)
    with pytest.raises(UsageError, match=r"notify\.targets\.team\.kind") as refused:
        load_settings()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["notify", "alerts"], "The settings have no target"),
        (["notify", "digest"], "The settings have no target"),
        (["notify", "digest", "--every", "day", "--again"], "--every sends each digest once"),
        (["notify", "digest", "--every", "month"], "Invalid value"),
    ],
)
def test_call_without_targets_or_with_contradicting_options_is_refused(tmp_path, arguments, message):
    done = call(arguments, environment(tmp_path))
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_address_that_is_none_is_refused_without_showing_it(tmp_path):
    variables = environment(tmp_path) | {
        "SHOPSTREAM_NOTIFY__TARGETS__TEAM__KIND": "slack",
        "SHOPSTREAM_NOTIFY__TARGETS__TEAM__URL": "ftp://hooks.example/s3cret-token",
    }
    done = call(["notify", "alerts"], variables)
    assert done.returncode == 2
    assert "The address of notify.targets.team is not an http or https URL" in " ".join(done.stderr.split())
    assert "s3cret" not in done.stderr + done.stdout

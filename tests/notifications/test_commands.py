"""The commands of `notify`: settings from the file and the environment, refused combinations, and no secret shown."""

import pytest
from consume.command_line import call, environment
from typer.testing import CliRunner

from connectors.notifications.webhook import is_webhook_url
from features.errors import UsageError
from shopstream.cli.app import build_app
from shopstream.jobs import notify
from shopstream.jobs.notify import Retried, targets
from shopstream.settings import NotifySettings, Settings, SmtpSettings, TargetSettings, load_settings

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


@pytest.mark.parametrize(
    "address",
    ["https://", "https:///s3cret", "http://h:99999/s3cret", "http://h:0/", "http://a..b/", "http://[::1/s3cret", "no"],
)
def test_address_that_nobody_can_post_to_is_refused_at_the_start(address):
    assert not is_webhook_url(address)
    given = TargetSettings(kind="webhook", url=address)
    with pytest.raises(UsageError) as refused:
        targets(Settings(notify=NotifySettings(targets={"team": given})), lambda _: True)
    assert "notify.targets.team" in str(refused.value)
    assert refused.value.remedy == "Correct notify.targets.team.url."
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["http://localhost:8080/x", "https://user:pw@hooks.example/a?b=c", "http://[::1]:9/", "https://bücher.de/"],
)
def test_address_that_can_be_requested_is_accepted(address):
    assert is_webhook_url(address)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_file_that_is_no_authority_is_refused_at_the_start_with_its_setting(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    web = TargetSettings(kind="webhook", url="https://hooks.example/", ca_certs=file)
    anne = TargetSettings(kind="email", to="anne@example.org")
    smtp = SmtpSettings(host="localhost", sender="shop@example.org", ca_certs=file)
    for given, setting in (
        (NotifySettings(targets={"team": web}), "notify.targets.team.ca_certs"),
        (NotifySettings(targets={"anne": anne}, smtp=smtp), "notify.smtp.ca_certs"),
    ):
        with pytest.raises(UsageError, match=setting):
            targets(Settings(notify=given), lambda _: True)


def test_authority_that_is_missing_ends_the_command_with_2(tmp_path):
    variables = environment(tmp_path) | {
        "SHOPSTREAM_NOTIFY__TARGETS__TEAM__KIND": "webhook",
        "SHOPSTREAM_NOTIFY__TARGETS__TEAM__URL": SECRET,
        "SHOPSTREAM_NOTIFY__TARGETS__TEAM__CA_CERTS": str(tmp_path / "missing.pem"),
    }
    done = call(["notify", "alerts"], variables)
    assert done.returncode == 2
    assert "notify.targets.team.ca_certs" in " ".join(done.stderr.split())


def test_retry_ends_with_1_and_names_the_file_of_messages_that_can_never_be_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOPSTREAM_HOME", str(tmp_path))
    monkeypatch.setattr(notify, "retry_set_aside", lambda *_: Retried(delivered=2, undeliverable=1))
    done = CliRunner().invoke(build_app(), ["notify", "retry", "--run", "some"])
    assert done.exit_code == 1
    assert "2 delivered, 0 still set aside, 1 that can never be sent" in done.output
    assert "some.undeliverable.jsonl" in "".join(done.output.split())
    monkeypatch.setattr(notify, "retry_set_aside", lambda *_: Retried(delivered=2))
    done = CliRunner().invoke(build_app(), ["notify", "retry"])
    assert (done.exit_code, done.output) == (0, "2 delivered, 0 still set aside\n")

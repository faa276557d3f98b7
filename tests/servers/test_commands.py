"""The commands of this group, without servers."""

import json
import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from features.errors import ShopstreamError
from shopstream.cli.app import build_app
from shopstream.embedded import state_file
from shopstream.embedded.account import OWN_UIDS
from shopstream.embedded.artifacts import read_lock
from shopstream.embedded.process_identity import Identity
from shopstream.embedded.state_file import Record, ServerRecord
from shopstream.jobs import doctor as doctor_job
from shopstream.settings import Settings

UNREACHABLE = {
    "SHOPSTREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "SHOPSTREAM_ELASTICSEARCH__URL": "http://127.0.0.1:1",
    "SHOPSTREAM_ELASTICSEARCH__PASSWORD": "geheim",
}


@pytest.fixture
def app() -> typer.Typer:
    return build_app()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOPSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("command", ["up", "down", "status", "doctor"])
def test_help_has_an_example(app: typer.Typer, command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"shopstream {command}" in shown.output


def test_status_before_the_first_up_reports_no_servers(app: typer.Typer, home: Path) -> None:
    shown = CliRunner().invoke(app, ["status", "--json"])
    messages = json.loads(shown.stdout)
    assert shown.exit_code == 1
    assert messages["kafka"]["bootstrap_servers"] is None
    assert "shopstream up" in messages["kafka"]["problem"]
    assert messages["elasticsearch"]["password_file"] is None
    assert not home.exists()  # asking changes nothing


def test_status_reports_unreachable_servers(app: typer.Typer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in UNREACHABLE.items():
        monkeypatch.setenv(name, value)
    shown = CliRunner().invoke(app, ["status", "--json"])
    messages = json.loads(shown.stdout)
    assert shown.exit_code == 1
    assert "127.0.0.1:1 does not answer" in messages["kafka"]["problem"]
    assert "Can't reach Elasticsearch at http://127.0.0.1:1" in messages["elasticsearch"]["problem"]
    assert messages["elasticsearch"]["mode"] == "external"
    assert "geheim" not in shown.output


def test_status_of_secure_servers_reports_missing_password_files(app: typer.Typer, home: Path) -> None:
    home.mkdir()
    entry = ServerRecord("1", 29_092, 29_093, Identity.of(os.getpid()), secure=True)
    state_file.write(home, Record(kafka=entry, elasticsearch=entry))
    shown = CliRunner().invoke(app, ["status", "--json"])
    assert shown.exit_code == 1
    status = json.loads(shown.stdout)
    assert status["kafka"]["bootstrap_servers"] == "127.0.0.1:29092"
    assert status["elasticsearch"]["url"] == "https://127.0.0.1:29092"
    for server in (status["kafka"], status["elasticsearch"]):
        assert (server["healthy"], server["pid"]) == (False, os.getpid())
        assert "password file" in server["problem"]


def test_up_reports_unreachable_existing_servers(app: typer.Typer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in UNREACHABLE.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["up"])
    assert isinstance(result.exception, ShopstreamError)
    assert "does not answer" in str(result.exception)
    assert "geheim" not in str(result.exception)


def test_down_without_running_servers_succeeds(app: typer.Typer, home: Path) -> None:
    shown = CliRunner().invoke(app, ["down"])
    assert shown.exit_code == 0
    assert "nothing was running" in shown.output


def test_down_asks_before_it_deletes(app: typer.Typer, home: Path) -> None:
    home.mkdir()
    state_file.write(home, Record())
    assert CliRunner().invoke(app, ["down", "--data"], input="n\n").exit_code == 1
    assert home.exists()
    assert CliRunner().invoke(app, ["down", "--data"], input="y\n").exit_code == 0
    assert not home.exists()


def test_doctor_reports_broken_parts(
    app: typer.Typer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SHOPSTREAM_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("SHOPSTREAM_ELASTICSEARCH__RUN_AS", "no-such-user")
    monkeypatch.setattr(doctor_job, "DISK_BYTES_MIN", 10**18)
    monkeypatch.setattr(doctor_job, "MEMORY_BYTES_MIN", 10**18)
    versions = {"xgboost": "3.0", "xgboost-cpu": "3.0"}
    monkeypatch.setattr(doctor_job, "_version_of", versions.get)
    findings = doctor_job.examine(Settings())
    broken = "\n".join(finding.what for finding in findings if finding.level == "broken")
    assert "cache" in broken
    assert "GB free" in broken
    warnings = "\n".join(finding.what for finding in findings if finding.level == "warning")
    assert "memory" in warnings
    assert "xgboost-cpu" in warnings
    assert all(finding.remedy for finding in findings if finding.level != "ok")
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


def test_doctor_before_the_first_up_reports_no_fault(home: Path, tmp_path: Path) -> None:
    findings = doctor_job.examine(Settings(home=home, cache=tmp_path / "cache"))
    assert [finding for finding in findings if finding.level == "broken"] == []
    assert any("`shopstream up` downloads" in finding.what for finding in findings)


def test_doctor_reports_a_damaged_cache(home: Path, tmp_path: Path) -> None:
    jar = read_lock().kafka[0].path(tmp_path)
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"damaged")
    findings = doctor_job.examine(Settings(home=home, cache=tmp_path))
    (broken,) = (finding for finding in findings if finding.level == "broken")
    assert jar.name in broken.what


@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
def test_doctor_explains_the_account_of_elasticsearch(home: Path) -> None:
    """A data folder of format 1 belongs to nobody."""
    folder = home / "elasticsearch"
    folder.mkdir(parents=True)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    (result,) = (one for one in doctor_job.examine(Settings(home=home)) if "the user nobody owns" in one.what)
    assert result.level == "warning"
    remedy = re.search(r"`(cd [^`]+)`", result.remedy)
    assert remedy is not None
    (folder / "data").mkdir()
    (folder / "logs").mkdir()
    (folder / "copy-of-java").mkdir()
    subprocess.run(["sh", "-c", remedy[1]], check=True)
    owners = {path.name: path.stat().st_uid for path in (folder, *folder.iterdir())}
    assert {name for name, uid in owners.items() if uid in OWN_UIDS} == {"elasticsearch", "data", "logs"}

"""The service `secrets` of docker-compose.yml: its files, who may read them, and that a second run changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys

import pytest
import yaml

from features.errors import ShopstreamError
from shopstream.jobs.create_users import USERS, chosen
from shopstream.runtime import secret_files
from shopstream.runtime.secret_files import ALL, NAMES, write_secrets


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_missing_secrets_are_generated_and_differ(tmp_path):
    assert set(write_secrets(tmp_path, {}).values()) == {"is generated"}
    values = [(tmp_path / ALL / name).read_text().strip() for name in NAMES]
    assert len(set(values)) == len(NAMES) == 10
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", value) for value in values)


def test_second_run_changes_nothing(tmp_path):
    write_secrets(tmp_path, {})
    before = files(tmp_path)
    assert set(write_secrets(tmp_path, {"ELASTIC_PASSWORD": "", "WRITER_PASSWORD": "(generated)"}).values()) == {
        "is unchanged"
    }
    assert files(tmp_path) == before


def test_value_of_the_environment_replaces_the_stored_one(tmp_path):
    write_secrets(tmp_path, {})
    done = write_secrets(tmp_path, {"WRITER_PASSWORD": "of-my-own"})
    assert done.pop("WRITER_PASSWORD") == "is taken from the environment"
    assert set(done.values()) == {"is unchanged"}
    assert files(tmp_path)[f"{ALL}/WRITER_PASSWORD"] == files(tmp_path)["consumer/WRITER_PASSWORD"] == "of-my-own\n"


def test_each_folder_holds_only_the_secrets_of_its_service(tmp_path):
    write_secrets(tmp_path, {})
    names = {name for name in files(tmp_path) if not name.startswith(f"{ALL}/")}
    assert names == {
        "elasticsearch/ELASTIC_PASSWORD", "consumer/WRITER_PASSWORD", "trainer/TRAINER_PASSWORD", "web/PAGE_PASSWORD",
        "kibana/kibana.yml",
    }  # fmt: skip


def test_kibana_settings_hold_its_password_and_keys(tmp_path):
    write_secrets(tmp_path, {})
    text = files(tmp_path)["kibana/kibana.yml"]
    settings = yaml.safe_load(text)
    assert settings == json.loads(text)
    assert settings.keys() == {
        "elasticsearch.password", "xpack.encryptedSavedObjects.encryptionKey", "xpack.security.encryptionKey",
        "xpack.reporting.encryptionKey",
    }  # fmt: skip
    assert settings["elasticsearch.password"] == files(tmp_path)[f"{ALL}/KIBANA_PASSWORD"].strip()


def test_short_key_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="KIBANA_SESSION_KEY has 3 characters"):
        write_secrets(tmp_path, {"KIBANA_SESSION_KEY": "abc"})
    assert files(tmp_path) == {}


def test_only_the_reader_may_read_a_file(tmp_path, monkeypatch):
    """Elasticsearch requires mode 400 or 600, and every service that mounts a volume can read it."""
    given = []
    monkeypatch.setattr(secret_files.os, "geteuid", lambda: 0)
    monkeypatch.setattr(secret_files.os, "fchown", lambda _, user, group: given.append((user, group)))
    write_secrets(tmp_path, {})
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in files(tmp_path)}
    assert {modes["elasticsearch/ELASTIC_PASSWORD"], modes["kibana/kibana.yml"]} == {0o400}
    assert {mode for name, mode in modes.items() if not name.startswith(("elastic", "kibana"))} == {0o440}
    assert sorted(set(given)) == [(1000, 0), (10001, 0)]
    assert given.count((1000, 0)) == 2


def test_setup_reads_the_passwords_of_its_folder(tmp_path):
    write_secrets(tmp_path, {})
    users = dict(chosen({}, tmp_path / ALL))
    assert {user.variable: password for user, password in users.items()} == {
        user.variable: (tmp_path / ALL / user.variable).read_text().strip() for user in USERS
    }
    kept = dict(chosen({"WRITER_PASSWORD": "of-my-own", "KIBANA_PASSWORD": ""}, tmp_path / ALL))
    by_variable = {user.variable: password for user, password in kept.items()}
    assert by_variable["WRITER_PASSWORD"] == "of-my-own"
    assert "KIBANA_PASSWORD" not in by_variable
    with pytest.raises(ShopstreamError, match="does not exist"):
        chosen({}, tmp_path / "none")


def test_program_prints_names_and_shows_one_secret_on_request(tmp_path):
    call = [sys.executable, "-m", "shopstream.runtime.secret_files", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    output = subprocess.run(call, capture_output=True, text=True, check=True, env=environment).stdout
    assert output.splitlines() == [f"{name} is generated" for name in NAMES]
    shown = subprocess.run([*call, "--show", "ANALYST_PASSWORD"], capture_output=True, text=True, check=True).stdout
    assert shown == (tmp_path / ALL / "ANALYST_PASSWORD").read_text()
    assert subprocess.run([*call, "--show", "NONE"], capture_output=True, check=False).returncode == 2


def test_unwritable_folder_is_an_error_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert secret_files.main([str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root has capabilities to drop")
def test_capabilities_of_the_service_suffice_for_two_runs(composed, tmp_path):
    """Root without DAC_OVERRIDE reads what it gave away only by its group."""
    if (setpriv := shutil.which("setpriv")) is None:
        pytest.skip("setpriv (util-linux) is not installed here")
    kept = ",".join(f"+{name.lower()}" for name in composed.services["secrets"].cap_add)
    limits = [f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--no-new-privs"]
    call = [setpriv, *limits, sys.executable, "-m", "shopstream.runtime.secret_files", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    for action in ("is generated", "is unchanged"):
        done = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
        assert done.stdout.count(action) == len(NAMES), done.stderr
    owners = {path.relative_to(tmp_path).parts[0]: path.stat().st_uid for path in tmp_path.rglob("*") if path.is_file()}
    assert owners == {
        "setup": 10001, "consumer": 10001, "trainer": 10001, "web": 10001, "elasticsearch": 1000, "kibana": 1000,
    }  # fmt: skip

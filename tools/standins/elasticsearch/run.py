#!/usr/bin/python3
"""Starts Elasticsearch as the official image does: settings from variables with a dot, the password's file once.

This distribution cannot create users. Its files contain the users with a password, with the roles that
`shopstream setup` would create.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

SETTING = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
NOT_HERE = {"xpack.ml.enabled", "ingest.geoip.downloader.enabled"}
"""Settings of modules that this distribution lacks; it refuses unknown settings."""
ROUNDS = 10_000

home = Path("/usr/share/elasticsearch")
config = home / "config"


def hashed(password: str) -> str:
    """Return the hash of a password in the format of the file realm."""
    salt = os.urandom(32)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ROUNDS, 32)
    return f"{{PBKDF2}}{ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


unwanted = json.loads(Path("/unwanted.json").read_text())
options = config / "jvm.options"
options.write_text(
    "\n".join(line for line in options.read_text().splitlines() if not any(word in line for word in unwanted)) + "\n"
)
accounts = {
    name: os.environ[variable]
    for name, variable in json.loads(Path("/accounts.json").read_text()).items()
    if os.environ.get(variable)
}
(config / "users").write_text("".join(f"{name}:{hashed(password)}\n" for name, password in accounts.items()))
(config / "users_roles").write_text("".join(f"{name}:{name}\n" for name in accounts))
os.environ["ES_JAVA_HOME"] = "/opt/java"
keystore = str(home / "bin" / "elasticsearch-keystore")
if not (config / "elasticsearch.keystore").exists():
    subprocess.run(
        [keystore, "add", "--stdin", "--force", "bootstrap.password"],
        input=Path(os.environ["ELASTIC_PASSWORD_FILE"]).read_text(), text=True, check=True,
    )  # fmt: skip
given = {name: value for name, value in os.environ.items() if SETTING.match(name) and value and name not in NOT_HERE}
settings = {"network.host": "0.0.0.0", "xpack.security.autoconfiguration.enabled": "false", **given}  # noqa: S104
server = str(home / "bin" / "elasticsearch")
os.execv(server, [server, *(f"-E{name}={value}" for name, value in settings.items())])  # noqa: S606 - the program itself, no shell

"""Builds stand-ins for images of docker-compose.yml that cannot be pulled: `make compose-images-local`.

The stand-ins run the servers of `shopstream up` on a base of Debian packages. They have the names of the official
images and read the same variables. Kibana's stand-in is the fake of tests/panels. They are for tests on this machine.
Requires docker, mmdebstrap, root, and the package indices that apt and pip use here.
"""
# ruff: noqa: INP001 - a script of the repository, part of no package

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console

from consumers.permissions import elastic_role
from features.schema import DEFAULT_RUN
from shopstream.embedded import artifacts
from shopstream.embedded.elasticsearch import LOG4J as ELASTIC_LOG4J
from shopstream.embedded.elasticsearch import UNWANTED_JVM_OPTIONS
from shopstream.embedded.java import java_home
from shopstream.embedded.kafka import LOG4J as KAFKA_LOG4J
from shopstream.jobs.create_users import USERS
from shopstream.settings import load_settings

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
BASE, BUILD = "shopstream-standin/base:bookworm", "shopstream-standin/build:bookworm"
PACKAGES: Final = "python3,python3-venv,ca-certificates,curl,libgomp1"
DOCKER: Final = os.environ.get("DOCKER", "docker")


def main() -> int:
    """Build every stand-in, and Shopstream's image on the same base."""
    settings = load_settings()
    lock = artifacts.read_lock()
    download = artifacts.central_repository(settings.maven_url)
    console = Console(stderr=True)
    if "--keep-base" not in sys.argv or not _is_there(BASE):
        _base()
    jars = artifacts.fetch(lock.kafka, settings.cache, console, download)
    tree = artifacts.unpack(lock.elasticsearch[0], settings.cache, console, download)
    _build(f"apache/kafka:{lock.version('kafka')}", "kafka", {"jars": jars, "java": java_home(), "log4j2": KAFKA_LOG4J})
    version = lock.version("elasticsearch")
    roles = {one.name: elastic_role(one.duty, DEFAULT_RUN) for one in USERS if one.duty is not None}
    _build(
        f"elasticsearch:{version}",
        "elasticsearch",
        {
            "elasticsearch": tree,
            "java": java_home(),
            "log4j2": ELASTIC_LOG4J,
            "roles.yml": "".join(f"{name}: {json.dumps(role)}\n" for name, role in roles.items()),
            "accounts.json": json.dumps({one.name: one.variable for one in USERS if one.duty is not None}),
            "unwanted.json": json.dumps(UNWANTED_JVM_OPTIONS),
        },
    )
    played = ROOT / "tests" / "panels" / "played_kibana.py"
    _build(f"kibana:{version}", "kibana", {"played_kibana.py": played.read_text("utf-8")})
    _wheels()
    _docker(
        "build", "--quiet", "--tag", "shopstream:0.1.0", "--build-arg", f"PYTHON_IMAGE={BASE}",
        "--build-arg", f"BUILD_IMAGE={BUILD}", str(ROOT),
    )  # fmt: skip
    return 0


def _base() -> None:
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "base.tar"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(tar)], check=True
        )
        _docker("import", str(tar), BASE)


def _wheels() -> None:
    """Build the base with every wheel of the image's lock, so that the build needs no index."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder) / "wheels"
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps",
                "--only-binary=:all:", "--requirement", str(ROOT / "requirements/image.lock"), "--dest", str(wheels),
            ],
            check=True,
        )  # fmt: skip
        (Path(folder) / "Dockerfile").write_text(
            f"FROM {BASE}\nCOPY wheels /wheels\n"
            "RUN printf '[global]\\nno-index = true\\nfind-links = /wheels\\n' > /etc/pip.conf\n"
        )
        _docker("build", "--quiet", "--tag", BUILD, folder)


def _build(tag: str, name: str, parts: Mapping[str, str | Path | Mapping[str, Path]]) -> None:
    """Build an image from the folder `name` next to this file; `parts` adds files and folders to its context."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        shutil.copytree(HERE / name, folder)
        for part, content in parts.items():
            if isinstance(content, str):
                (folder / part).write_text(content, "utf-8")
            elif isinstance(content, Path):
                shutil.copytree(content, folder / part, symlinks=True)
            else:
                (folder / part).mkdir()
                for filename, path in content.items():
                    shutil.copy2(path, folder / part / filename)
        _docker("build", "--quiet", "--build-arg", f"BASE={BASE}", "--tag", tag, str(folder))
    sys.stderr.write(f"{tag}\n")


def _is_there(image: str) -> bool:
    return subprocess.run([DOCKER, "image", "inspect", image], capture_output=True, check=False).returncode == 0


def _docker(*words: str) -> None:
    subprocess.run([DOCKER, *words], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "DOCKER_BUILDKIT": "1"})


if __name__ == "__main__":
    sys.exit(main())

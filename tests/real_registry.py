"""A real registry for tests: Apicurio Registry on the loopback, from the central Maven repository, in memory."""

from __future__ import annotations

import os
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from shopstream.embedded.artifacts import Artifact, fetch
from shopstream.embedded.java import java_home
from shopstream.embedded.ports import choose
from shopstream.settings import Settings

APICURIO = Artifact(
    "io.apicurio", "apicurio-registry-app", "3.3.3", "tar.gz",
    "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63", 158_577_952,
)  # fmt: skip
"""The file of the classifier `all`."""
PATH = "/apis/ccompat/v7"
START_TIMEOUT_S = 120


def _download(artifact: Artifact, folder: Path, _update: object) -> Path:
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - costs 0.2 s, needed once

    mirror = Settings().maven_url
    context = MavenContext(
        resolver=PythonResolver(), repo_cache=folder, local_repos=[], timeout=60,
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
    )  # fmt: skip
    component = context.project(artifact.group, artifact.name).at_version(artifact.version)
    return component.artifact("all", artifact.packaging).resolve()


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a registry with its files in a folder; yield the address of the interface of Confluent's registry."""
    cache = Settings().cache
    archive = fetch([APICURIO], cache, Console(stderr=True, quiet=True), _download)[APICURIO.filename]
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    port = choose(18_080)
    management = choose(port + 1)
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder),
        "QUARKUS_HTTP_HOST": "127.0.0.1", "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_HOST": "127.0.0.1", "QUARKUS_MANAGEMENT_PORT": str(management),
    }  # fmt: skip
    command = [str(java_home() / "bin" / "java"), "-Xmx256m", "-XX:+UseSerialGC", "-jar", "quarkus-run.jar"]
    log = folder / "registry.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}{PATH}"
        _wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/schemas/types", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(log.read_text("utf-8", "replace")[-3000:]) from None
            time.sleep(0.2)

